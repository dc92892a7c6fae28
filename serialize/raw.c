/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Raw payloads: bytes as they are, in and out.
 */
#include "serialize/format.h"

static int raw_open(const void *data, size_t size, struct document **document)
{
    struct document *opened = document_new(&raw_codec, 0);
    if (opened == NULL)
        return -ENOMEM;
    opened->root =
        (struct node){.type = MC_BYTES, .count = (uint32_t)size, .bytes = size != 0 ? data : ""};
    *document = opened;
    return 0;
}

static int raw_value(struct mc_writer *writer, const struct node *node)
{
    int error = sink_reserve(writer->sink, node->count);
    return error != 0 ? error : sink_append(writer->sink, node->bytes, node->count);
}

const struct codec raw_codec = {
    .name = "raw bytes",
    .types = TYPE_BIT(MC_STRING) | TYPE_BIT(MC_BYTES),
    .refusal = "write the payload with one mc_write_bytes(), or choose MessagePack or JSON",
    .open = raw_open,
    .value = raw_value,
};
