/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Short kernel files and the numbers in them. Nothing here asks the locale:
 * the host may have chosen one in which "0.85" is not a number.
 */
#ifndef LOADAVG_TEXT_H
#define LOADAVG_TEXT_H

#include <stddef.h>
#include <stdint.h>

/* Reads a file as a string, cut to size - 1 bytes. Keeps no descriptor open.
 * Returns its length or a negative errno, without a message. */
int text_read(const char *path, char *buffer, size_t size);

/* Reads "12", "0.85" or ".85" as thousandths; further digits are dropped.
 * Returns the first character after it, or NULL when there is no number or it
 * is above UINT32_MAX thousandths. */
const char *text_milli(const char *text, uint32_t *milli);

/* The same for an integer without a sign. */
const char *text_integer(const char *text, uint64_t *value);

#endif
