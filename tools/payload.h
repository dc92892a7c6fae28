/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Arguments and results as text, for people and for programs.
 */
#ifndef TOOLS_PAYLOAD_H
#define TOOLS_PAYLOAD_H

#include "multicore.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* "raw", "json" or "msgpack"; NULL for any other number. */
const char *payload_format_name(enum mc_format format);
/* The other way round; -1 if there is no such format. */
int payload_format(const char *name);

/* Writes one JSON or MessagePack value as JSON: indented, or on one line. What JSON
 * lacks becomes a string: bytes as hexadecimal digits, NaN and infinity in words.
 * -EBADMSG and the like, with a message, when it is no such value; nothing is written
 * then. */
int payload_print_value(FILE *out, enum mc_format format, const void *data, size_t size,
                        bool indented);

/* Bytes on one line: what is not printable as \n, \\ or \x7f. plain: nor is anything but
 * ASCII, since others have written it, and no terminal is to obey them. */
void payload_print_escaped(FILE *out, const void *data, size_t size, bool plain);
/* A JSON value over several lines, likewise in printable ASCII only. */
void payload_print_plain(FILE *out, const json_t *json);
/* As hexdump -C has them, each line after so many blanks. */
void payload_dump(FILE *out, const void *data, size_t size, int indent);

/* Writes the value into the writer, whatever format that has; the writer keeps errors. */
void payload_copy(mc_value value, mc_writer *writer);

#endif
