/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Writing: the mc_write_* functions. What may come next (a key, a value,
 * nothing), depth, text and the first error are kept here, so that all formats
 * give the same errors; a codec only encodes.
 */
#include "serialize/format.h"
#include "serialize/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int keep(struct mc_writer *writer, int error)
{
    writer->error = error;
    snprintf(writer->message, sizeof(writer->message), "%s", error_message());
    return error;
}

static bool expects_key(const struct mc_writer *writer)
{
    if (writer->depth == 0)
        return false;
    const struct writer_level *level = &writer->levels[writer->depth - 1];
    return level->is_map && level->remaining % 2 == 0;
}

static int check_place(const struct mc_writer *writer, const struct node *node)
{
    if (writer->has_root && writer->depth == 0)
        return error_set(-EINVAL,
                         "%s was written after a complete value: a payload holds one, which "
                         "may be an array",
                         value_type_name(node->type));
    if (expects_key(writer) && node->type != MC_STRING)
        return error_set(-EINVAL, "%s was written where a key of a map goes: keys are strings",
                         value_type_name(node->type));
    if ((writer->codec->types & TYPE_BIT(node->type)) == 0)
        return error_set(-EINVAL, "%s cannot be written as %s: %s", value_type_name(node->type),
                         writer->codec->name, writer->codec->refusal);
    return 0;
}

static int check_text(const struct mc_writer *writer, const struct node *node)
{
    if (!writer->codec->text_is_utf8)
        return 0;
    size_t valid = utf8_valid_prefix(node->bytes, node->count);
    if (valid != node->count)
        return error_set(-EINVAL,
                         "the string \"%s\" is not UTF-8: byte 0x%02x at offset %zu; convert it, "
                         "or use mc_write_bytes() with MessagePack",
                         utf8_excerpt(node->bytes, node->count).text, (uint8_t)node->bytes[valid],
                         valid);
    /* mc_value_get() could not name it, nor could a JSON reader. */
    if (expects_key(writer) && memchr(node->bytes, 0, node->count) != NULL)
        return error_set(-EINVAL, "the key \"%s\" has a zero byte in it",
                         utf8_excerpt(node->bytes, node->count).text);
    return 0;
}

/* Elements take a byte at least, so that an impossible announcement is refused
 * before anything is written for it. */
static int check_container(const struct mc_writer *writer, const struct node *node)
{
    if (writer->depth == DEPTH_LIMIT)
        return error_set(-EMSGSIZE, "%s is nested too deep: the limit is %d levels",
                         value_type_name(node->type), DEPTH_LIMIT);
    return sink_check(writer->sink, node->count);
}

static int check(const struct mc_writer *writer, const struct node *node)
{
    int error = check_place(writer, node);
    if (error != 0)
        return error;
    if (node->type == MC_STRING)
        return check_text(writer, node);
    if (node->type == MC_ARRAY || node->type == MC_MAP)
        return check_container(writer, node);
    return 0;
}

static void advance(struct mc_writer *writer, const struct node *node)
{
    if (writer->depth == 0)
        writer->has_root = true;
    else
        writer->levels[writer->depth - 1].remaining--;
    if (node->type == MC_ARRAY || node->type == MC_MAP)
        writer->levels[writer->depth++] = (struct writer_level){
            .remaining = (uint64_t)node->count * (node->type == MC_MAP ? 2 : 1),
            .is_map = node->type == MC_MAP,
        };
    while (writer->depth > 0 && writer->levels[writer->depth - 1].remaining == 0)
        writer->depth--;
}

/* 0 while the writer is begun and has met no error. */
static int usable(const struct mc_writer *writer)
{
    if (writer == NULL || writer->codec == NULL)
        return error_set(-EINVAL, "no value is being written: the writer was not begun, or ended");
    return writer->error != 0 ? error_set(writer->error, "%s", writer->message) : 0;
}

static int put(struct mc_writer *writer, const struct node *node)
{
    int error = usable(writer);
    if (error != 0)
        return error;
    error = check(writer, node);
    if (error == 0)
        error = expects_key(writer) ? writer->codec->key(writer, node)
                                    : writer->codec->value(writer, node);
    if (error != 0)
        return keep(writer, error);
    advance(writer, node);
    return 0;
}

/* A node whose count is not yet known to fit its 32 bits. */
static int put_sized(struct mc_writer *writer, enum mc_type type, const char *bytes, size_t count)
{
    int error = usable(writer);
    if (error != 0)
        return error;
    if (count > UINT32_MAX)
        return keep(writer, error_set(-EMSGSIZE, "%s of %zu is too large: the limit is %u",
                                      value_type_name(type), count, UINT32_MAX));
    return put(writer, &(struct node){.type = type, .count = (uint32_t)count, .bytes = bytes});
}

static int put_bytes(struct mc_writer *writer, enum mc_type type, const void *bytes, size_t size)
{
    int error = usable(writer);
    if (error != 0)
        return error;
    if (bytes == NULL && size != 0)
        return keep(writer, error_set(-EINVAL, "%s was written from NULL", value_type_name(type)));
    return put_sized(writer, type, bytes != NULL ? bytes : "", size);
}

int mc_write_nil(mc_writer *writer)
{
    return put(writer, &(struct node){.type = MC_NIL});
}

int mc_write_bool(mc_writer *writer, bool value)
{
    return put(writer, &(struct node){.type = MC_BOOL, .boolean = value});
}

int mc_write_int(mc_writer *writer, int64_t value)
{
    return put(writer, &(struct node){.type = MC_INT, .integer = value});
}

int mc_write_uint(mc_writer *writer, uint64_t value)
{
    if (value <= INT64_MAX)
        return mc_write_int(writer, (int64_t)value);
    return put(writer, &(struct node){.type = MC_UINT, .unsigned_integer = value});
}

int mc_write_double(mc_writer *writer, double value)
{
    return put(writer, &(struct node){.type = MC_DOUBLE, .real = value});
}

int mc_write_string(mc_writer *writer, const char *text)
{
    /* Unlike mc_write_text(NULL, 0), this is no empty string. */
    return put_bytes(writer, MC_STRING, text, text != NULL ? strlen(text) : 1);
}

int mc_write_text(mc_writer *writer, const char *text, size_t size)
{
    return put_bytes(writer, MC_STRING, text, size);
}

int mc_write_bytes(mc_writer *writer, const void *data, size_t size)
{
    return put_bytes(writer, MC_BYTES, data, size);
}

int mc_write_array(mc_writer *writer, size_t count)
{
    return put_sized(writer, MC_ARRAY, NULL, count);
}

int mc_write_map(mc_writer *writer, size_t count)
{
    return put_sized(writer, MC_MAP, NULL, count);
}

int writer_init(struct mc_writer *writer, enum mc_format format, struct sink *sink)
{
    const struct codec *codec = codec_find(format);
    if (codec == NULL)
        return -EINVAL;
    *writer = (struct mc_writer){.codec = codec, .sink = sink, .origin = sink->size};
    return 0;
}

static int complete(const struct mc_writer *writer)
{
    if (!writer->has_root)
        return error_set(-EINVAL, "the value is not complete: nothing was written");
    if (writer->depth == 0)
        return 0;
    const struct writer_level *level = &writer->levels[writer->depth - 1];
    return error_set(-EINVAL,
                     "the value is not complete: %" PRIu64 " more %s missing from %s at level %u",
                     level->remaining, level->is_map ? "keys and values are" : "elements are",
                     level->is_map ? "a map" : "an array", writer->depth);
}

int writer_finish(struct mc_writer *writer)
{
    int error = usable(writer);
    if (writer->codec == NULL)
        return error;
    if (error == 0)
        error = complete(writer);
    if (error == 0 && writer->codec->finish != NULL)
        error = writer->codec->finish(writer);
    if (error != 0)
        writer->sink->size = writer->origin;
    writer_fini(writer);
    return error;
}

void writer_fini(struct mc_writer *writer)
{
    if (writer->codec != NULL && writer->codec->drop != NULL)
        writer->codec->drop(writer);
    writer->codec = NULL;
}
