/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SERIALIZE_MSGPACK_PARSE_H
#define SERIALIZE_MSGPACK_PARSE_H

#include "serialize/format.h"

/* Decodes bytes that msgpack_check() let pass into a document that has room for
 * as many nodes as it counted. False when it notices that they changed since. */
bool msgpack_parse(const char *data, size_t size, struct document *document);

#endif
