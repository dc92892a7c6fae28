/* SPDX-License-Identifier: BSD-3-Clause
 *
 * JSON, by jansson.
 *
 * Reading   The parser makes its own tree, which is then laid out as nodes. The
 *           strings of these stay in the parser's tree, which the document owns.
 * Writing   The tree grows value by value and is dumped at the end. It hangs
 *           together by json.root from the first value on, so that dropping the
 *           root drops everything but a key that waits for its value.
 */
#include "base/check.h"
#include "serialize/format.h"
#include "serialize/json_check.h"
#include "serialize/utf8.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

/* ---- Reading ------------------------------------------------------------- */

/* Nodes below json. The recursion is bounded by the parser's own limit of 2,048
 * even where the text was changed after json_check(). */
static size_t count_nodes(json_t *json)
{
    size_t count = 0;
    if (json_is_array(json)) {
        size_t size = json_array_size(json);
        count = size;
        for (size_t i = 0; i < size; i++)
            count += count_nodes(json_array_get(json, i));
    } else if (json_is_object(json)) {
        count = 2 * json_object_size(json);
        for (void *at = json_object_iter(json); at != NULL; at = json_object_iter_next(json, at))
            count += count_nodes(json_object_iter_value(at));
    }
    return count;
}

static void lay_out(struct document *document, json_t *json, struct node *node);

static struct node lay_out_array(struct document *document, json_t *json)
{
    size_t size = json_array_size(json);
    struct node *children = document_take(document, size);
    CHECK(children != NULL);
    for (size_t i = 0; i < size; i++)
        lay_out(document, json_array_get(json, i), &children[i]);
    return (struct node){.type = MC_ARRAY, .count = (uint32_t)size, .children = children};
}

static struct node lay_out_map(struct document *document, json_t *json)
{
    size_t size = json_object_size(json);
    struct node *children = document_take(document, 2 * size);
    CHECK(children != NULL);
    struct node *next = children;
    for (void *at = json_object_iter(json); at != NULL; at = json_object_iter_next(json, at)) {
        const char *key = json_object_iter_key(at);
        *next++ = (struct node){.type = MC_STRING, .count = (uint32_t)strlen(key), .bytes = key};
        lay_out(document, json_object_iter_value(at), next++);
    }
    return (struct node){.type = MC_MAP, .count = (uint32_t)size, .children = children};
}

static void lay_out(struct document *document, json_t *json, struct node *node)
{
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        *node = lay_out_map(document, json);
        break;
    case JSON_ARRAY:
        *node = lay_out_array(document, json);
        break;
    case JSON_STRING:
        *node = (struct node){.type = MC_STRING,
                              .count = (uint32_t)json_string_length(json),
                              .bytes = json_string_value(json)};
        break;
    case JSON_INTEGER:
        *node = (struct node){.type = MC_INT, .integer = json_integer_value(json)};
        break;
    case JSON_REAL:
        *node = (struct node){.type = MC_DOUBLE, .real = json_real_value(json)};
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        *node = (struct node){.type = MC_BOOL, .boolean = json_is_true(json)};
        break;
    case JSON_NULL:
        *node = (struct node){.type = MC_NIL};
        break;
    }
}

static int parse_error(const json_error_t *error)
{
    /* Mostly there is no text when memory ran out. (In a few places jansson
     * cannot tell, and calls the text invalid.) */
    if (error->text[0] == '\0' || json_error_code(error) == json_error_out_of_memory)
        return error_set(-ENOMEM, "no memory to parse JSON");
    /* The position is where the parser stopped, that is, behind what it did not
     * like. The text may quote the input. */
    return error_set(-EBADMSG, "malformed JSON at offset %d, line %d: %s", error->position,
                     error->line, utf8_excerpt(error->text, strlen(error->text)).text);
}

static int json_open(const void *data, size_t size, struct document **document)
{
    int result = json_check(data, size);
    if (result != 0)
        return result;
    json_error_t error;
    json_t *json =
        json_loadb(data, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (json == NULL)
        return parse_error(&error);
    struct document *opened = document_new(&json_codec, count_nodes(json));
    if (opened == NULL) {
        json_decref(json);
        return -ENOMEM;
    }
    opened->json = json;
    lay_out(opened, json, &opened->root);
    *document = opened;
    return 0;
}

static void json_close(struct document *document)
{
    json_decref(document->json);
}

/* ---- Writing ------------------------------------------------------------- */

static int no_memory(void)
{
    return error_set(-ENOMEM, "no memory for the JSON that is being written");
}

static size_t least_size(const struct node *node)
{
    switch (node->type) {
    case MC_STRING:
        return node->count + strlen("\"\"");
    case MC_ARRAY:
    case MC_MAP:
        return strlen("[]");
    default:
        return 1;
    }
}

/* The tree must not outgrow what could ever be dumped. */
static int count_bytes(struct mc_writer *writer, const struct node *node)
{
    size_t least = least_size(node);
    int error = sink_check(writer->sink, writer->json.least + least);
    if (error == 0)
        writer->json.least += least;
    return error;
}

static int make(const struct node *node, json_t **out)
{
    json_t *json = NULL;
    switch (node->type) {
    case MC_NIL:
        json = json_null();
        break;
    case MC_BOOL:
        json = json_boolean(node->boolean);
        break;
    case MC_INT:
        json = json_integer(node->integer);
        break;
    case MC_DOUBLE:
        if (!isfinite(node->real))
            return error_set(-EINVAL,
                             "%f cannot be written as JSON, which has finite numbers only: write "
                             "nil, or use MessagePack",
                             node->real);
        json = json_real(node->real);
        break;
    case MC_STRING:
        json = json_stringn_nocheck(node->bytes, node->count);
        break;
    case MC_ARRAY:
        json = json_array();
        break;
    case MC_MAP:
        json = json_object();
        break;
    case MC_UINT:
        return error_set(-EINVAL,
                         "%" PRIu64 " cannot be written as JSON: the limit is INT64_MAX, %" PRId64
                         "; write a string, or use MessagePack",
                         node->unsigned_integer, INT64_MAX);
    case MC_BYTES:
        break; /* refused by the table below */
    }
    if (json == NULL)
        return no_memory();
    *out = json;
    return 0;
}

static int json_value(struct mc_writer *writer, const struct node *node)
{
    json_t *json = NULL;
    int error = count_bytes(writer, node);
    if (error == 0)
        error = make(node, &json);
    if (error != 0)
        return error;
    /* Setting also drops the reference when it fails. */
    int failed = 0;
    if (writer->depth == 0) {
        writer->json.root = json;
    } else if (writer->json.key != NULL) {
        json_t *map = writer->json.containers[writer->depth - 1];
        failed = json_object_set_new_nocheck(map, json_string_value(writer->json.key), json);
        json_decref(writer->json.key);
        writer->json.key = NULL;
    } else {
        failed = json_array_append_new(writer->json.containers[writer->depth - 1], json);
    }
    if (failed != 0)
        return no_memory();
    if (node->type == MC_ARRAY || node->type == MC_MAP)
        writer->json.containers[writer->depth] = json;
    return 0;
}

static int json_key(struct mc_writer *writer, const struct node *node)
{
    int error = count_bytes(writer, node);
    if (error == 0)
        error = make(node, &writer->json.key);
    if (error != 0)
        return error;
    const char *key = json_string_value(writer->json.key);
    if (json_object_get(writer->json.containers[writer->depth - 1], key) != NULL)
        return error_set(-EINVAL, "the key \"%s\" was written twice in one map",
                         utf8_excerpt(key, node->count).text);
    return 0;
}

/* Dumps into what room there is; returns the room that it takes, 0 when there
 * is no memory for the dump itself. */
static size_t dump(const struct mc_writer *writer)
{
    const struct sink *sink = writer->sink;
    char *room = sink->data != NULL ? (char *)sink->data + sink->size : NULL;
    return json_dumpb(writer->json.root, room, sink->capacity - sink->size,
                      JSON_COMPACT | JSON_ENCODE_ANY);
}

static int json_finish(struct mc_writer *writer)
{
    struct sink *sink = writer->sink;
    size_t size = dump(writer);
    if (size > sink->capacity - sink->size) {
        int error = sink_reserve(sink, size);
        if (error != 0)
            return error;
        size = dump(writer);
    }
    if (size == 0)
        return no_memory();
    sink->size += size;
    return 0;
}

static void json_drop(struct mc_writer *writer)
{
    json_decref(writer->json.root);
    json_decref(writer->json.key);
}

const struct codec json_codec = {
    .name = "JSON",
    .types = TYPE_ALL & ~TYPE_BIT(MC_BYTES),
    .refusal = "JSON has no bytes; use MessagePack, or write them as a string in base64",
    .text_is_utf8 = true,
    .open = json_open,
    .close = json_close,
    .value = json_value,
    .key = json_key,
    .finish = json_finish,
    .drop = json_drop,
};
