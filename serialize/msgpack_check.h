/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SERIALIZE_MSGPACK_CHECK_H
#define SERIALIZE_MSGPACK_CHECK_H

#include <stddef.h>

/* Walks MessagePack bytes without decoding them: 0 says that they are exactly
 * one value, that every announced length is there, that strings are UTF-8 and
 * keys are strings, that containers are at most DEPTH_LIMIT deep, and that there
 * are no extension types. Keys may repeat. *values is then the number of values
 * in all containers, without the root: what a decoder has to find room for.
 * Errors: -EBADMSG and -EMSGSIZE, with the offset in the message.
 * Pure: no allocation, no recursion. */
int msgpack_check(const void *data, size_t size, size_t *values);

#endif
