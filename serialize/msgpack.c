/* SPDX-License-Identifier: BSD-3-Clause
 *
 * MessagePack: written by the packer of msgpack-c straight into the sink, read
 * by msgpack_parse() after msgpack_check() found nothing wrong.
 */
#include "base/check.h"
#include "serialize/format.h"
#include "serialize/msgpack_check.h"
#include "serialize/msgpack_parse.h"

#include <msgpack.h>

static int msgpack_open(const void *data, size_t size, struct document **document)
{
    size_t values = 0;
    int error = msgpack_check(data, size, &values);
    if (error != 0)
        return error;
    struct document *opened = document_new(&msgpack_codec, values);
    if (opened == NULL)
        return -ENOMEM;
    if (!msgpack_parse(data, size, opened)) {
        document_close(opened);
        return error_set(-EBADMSG, "malformed MessagePack: the bytes changed while they were read");
    }
    *document = opened;
    return 0;
}

static int append(void *sink, const char *bytes, size_t size)
{
    return sink_append(sink, bytes, size);
}

static int msgpack_value(struct mc_writer *writer, const struct node *node)
{
    msgpack_packer packer;
    msgpack_packer_init(&packer, writer->sink, append);
    int error;
    switch (node->type) {
    case MC_NIL:
        return msgpack_pack_nil(&packer);
    case MC_BOOL:
        return node->boolean ? msgpack_pack_true(&packer) : msgpack_pack_false(&packer);
    case MC_INT:
        return msgpack_pack_int64(&packer, node->integer);
    case MC_UINT:
        return msgpack_pack_uint64(&packer, node->unsigned_integer);
    case MC_DOUBLE:
        return msgpack_pack_double(&packer, node->real);
    case MC_STRING:
        error = msgpack_pack_str(&packer, node->count);
        return error != 0 ? error : msgpack_pack_str_body(&packer, node->bytes, node->count);
    case MC_BYTES:
        error = msgpack_pack_bin(&packer, node->count);
        return error != 0 ? error : msgpack_pack_bin_body(&packer, node->bytes, node->count);
    case MC_ARRAY:
        return msgpack_pack_array(&packer, node->count);
    case MC_MAP:
        return msgpack_pack_map(&packer, node->count);
    }
    CHECK(false);
}

const struct codec msgpack_codec = {
    .name = "MessagePack",
    .types = TYPE_ALL,
    .text_is_utf8 = true,
    .open = msgpack_open,
    .value = msgpack_value,
    .key = msgpack_value,
};
