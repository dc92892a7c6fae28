/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SERIALIZE_JSON_CHECK_H
#define SERIALIZE_JSON_CHECK_H

#include <stddef.h>

/* Looks for what the parser would let through: containers more than
 * DEPTH_LIMIT deep (-EMSGSIZE), and zero bytes, which jansson drops when they
 * follow a number or a word (-EBADMSG). Everything else is left to the parser.
 * Pure: no allocation, no recursion. */
int json_check(const char *text, size_t size);

#endif
