/* SPDX-License-Identifier: BSD-3-Clause */
#include "serialize/format.h"

#include <stdlib.h>

const struct codec *codec_find(enum mc_format format)
{
    switch (format) {
    case MC_RAW:
        return &raw_codec;
    case MC_JSON:
        return &json_codec;
    case MC_MSGPACK:
        return &msgpack_codec;
    }
    error_set(-EINVAL, "%d is no format: it is MC_RAW, MC_JSON or MC_MSGPACK", (int)format);
    return NULL;
}

struct document *document_new(const struct codec *codec, size_t capacity)
{
    size_t size = sizeof(struct document) + capacity * sizeof(struct node);
    struct document *document = malloc(size);
    if (document == NULL) {
        error_set(-ENOMEM, "no memory for the %zu bytes of a decoded %s value", size, codec->name);
        return NULL;
    }
    *document = (struct document){.codec = codec, .capacity = capacity};
    return document;
}

struct node *document_take(struct document *document, size_t count)
{
    if (count > document->capacity - document->used)
        return NULL;
    struct node *nodes = document->nodes + document->used;
    document->used += count;
    return nodes;
}

int document_open(enum mc_format format, const void *data, size_t size, struct document **document)
{
    const struct codec *codec = codec_find(format);
    if (codec == NULL)
        return -EINVAL;
    /* Nodes count in 32 bits. */
    if (size > UINT32_MAX)
        return error_set(-EMSGSIZE, "%zu bytes are too many for one %s value; the limit is %u",
                         size, codec->name, UINT32_MAX);
    if (size == 0 && format != MC_RAW)
        return error_set(-EBADMSG, "malformed %s at offset 0: it is empty", codec->name);
    return codec->open(data, size, document);
}

mc_value document_root(const struct document *document)
{
    return (mc_value){.codec_ = document->codec, .node_ = &document->root};
}

void document_close(struct document *document)
{
    if (document == NULL)
        return;
    if (document->codec->close != NULL)
        document->codec->close(document);
    free(document);
}
