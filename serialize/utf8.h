/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SERIALIZE_UTF8_H
#define SERIALIZE_UTF8_H

#include <stddef.h>

/* The length of the longest prefix that is valid UTF-8 by RFC 3629: without
 * overlong forms, surrogates, and anything above U+10FFFF. All of it when the
 * text is valid. Zero bytes are valid. */
size_t utf8_valid_prefix(const char *text, size_t size);

/* Text from anywhere, made fit for an error message: the first 60 bytes, with
 * "..." where more would follow, and "?" for bytes that are invalid or would
 * break the line. */
struct excerpt {
    char text[64];
};
struct excerpt utf8_excerpt(const char *text, size_t size);

#endif
