/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The parser of msgpack-c, with nodes of a document as its objects.
 *
 * msgpack-c has its parser as a template in a header, which its own
 * msgpack_unpack_next() instantiates with a stack of 32 levels, fixed when the
 * library was built: what is deeper ends there in an out-of-memory error. Here
 * the stack has DEPTH_LIMIT levels, and nodes come from one block of known size
 * instead of a zone that grows.
 */
#include "serialize/msgpack_parse.h"

#define MSGPACK_EMBED_STACK_SIZE DEPTH_LIMIT
#include <msgpack/sysdep.h>
#include <msgpack/unpack.h>
#include <msgpack/unpack_define.h>

/* A node on the parser's stack. */
struct parsed {
    struct node node;
    uint32_t room; /* children that a container was given */
};

/* ---- What the template calls --------------------------------------------- */

static inline struct parsed parse_root(struct document **document)
{
    (void)document;
    return (struct parsed){.node = {.type = MC_NIL}};
}

static inline int parse_nil(struct document **document, struct parsed *out)
{
    (void)document;
    out->node = (struct node){.type = MC_NIL};
    return 0;
}

static inline int parse_true(struct document **document, struct parsed *out)
{
    (void)document;
    out->node = (struct node){.type = MC_BOOL, .boolean = true};
    return 0;
}

static inline int parse_false(struct document **document, struct parsed *out)
{
    (void)document;
    out->node = (struct node){.type = MC_BOOL, .boolean = false};
    return 0;
}

static inline int parse_int64(struct document **document, int64_t value, struct parsed *out)
{
    (void)document;
    out->node = (struct node){.type = MC_INT, .integer = value};
    return 0;
}

static inline int parse_uint64(struct document **document, uint64_t value, struct parsed *out)
{
    if (value <= INT64_MAX)
        return parse_int64(document, (int64_t)value, out);
    out->node = (struct node){.type = MC_UINT, .unsigned_integer = value};
    return 0;
}

static inline int parse_double(struct document **document, double value, struct parsed *out)
{
    (void)document;
    out->node = (struct node){.type = MC_DOUBLE, .real = value};
    return 0;
}

/* Narrower numbers convert by being passed. */
#define parse_int8   parse_int64
#define parse_int16  parse_int64
#define parse_int32  parse_int64
#define parse_uint8  parse_uint64
#define parse_uint16 parse_uint64
#define parse_uint32 parse_uint64
#define parse_float  parse_double

/* The template gives the place of what is empty as NULL; readers may pass it to
 * functions that want none. */
static inline const char *place(const char *data, const char *bytes)
{
    return bytes != NULL ? bytes : data;
}

static inline int parse_str(struct document **document, const char *data, const char *bytes,
                            unsigned size, struct parsed *out)
{
    (void)document;
    out->node = (struct node){.type = MC_STRING, .count = size, .bytes = place(data, bytes)};
    return 0;
}

static inline int parse_bin(struct document **document, const char *data, const char *bytes,
                            unsigned size, struct parsed *out)
{
    (void)document;
    out->node = (struct node){.type = MC_BYTES, .count = size, .bytes = place(data, bytes)};
    return 0;
}

static inline int parse_ext(struct document **document, const char *data, const char *bytes,
                            unsigned size, struct parsed *out)
{
    (void)document;
    (void)data;
    (void)bytes;
    (void)size;
    (void)out;
    return MSGPACK_UNPACK_PARSE_ERROR;
}

/* The template evaluates count more than once, that is, it may read it again
 * from the bytes: room is what keeps items within what was allocated. */
static inline int parse_array(struct document **document, unsigned count, struct parsed *out)
{
    struct node *children = document_take(*document, count);
    out->node = (struct node){.type = MC_ARRAY, .children = children};
    out->room = count;
    return children != NULL ? 0 : MSGPACK_UNPACK_PARSE_ERROR;
}

static inline int parse_array_item(struct document **document, struct parsed *array,
                                   struct parsed item)
{
    (void)document;
    if (array->node.count == array->room)
        return MSGPACK_UNPACK_PARSE_ERROR;
    array->node.children[array->node.count++] = item.node;
    return 0;
}

static inline int parse_map(struct document **document, unsigned count, struct parsed *out)
{
    struct node *children = document_take(*document, 2 * (size_t)count);
    out->node = (struct node){.type = MC_MAP, .children = children};
    out->room = count;
    return children != NULL ? 0 : MSGPACK_UNPACK_PARSE_ERROR;
}

static inline int parse_map_item(struct document **document, struct parsed *map, struct parsed key,
                                 struct parsed value)
{
    (void)document;
    if (map->node.count == map->room || key.node.type != MC_STRING)
        return MSGPACK_UNPACK_PARSE_ERROR;
    struct node *pair = map->node.children + 2 * (size_t)map->node.count++;
    pair[0] = key.node;
    pair[1] = value.node;
    return 0;
}

#define msgpack_unpack_struct(name)    struct parse##name
#define msgpack_unpack_func(ret, name) static inline ret parse##name
#define msgpack_unpack_callback(name)  parse##name
#define msgpack_unpack_object          struct parsed
#define msgpack_unpack_user            struct document *

#include <msgpack/unpack_template.h>

/* -------------------------------------------------------------------------- */

bool msgpack_parse(const char *data, size_t size, struct document *document)
{
    struct parse_context context;
    size_t end = 0;
    parse_init(&context);
    context.user = document;
    if (parse_execute(&context, data, size, &end) != 1 || end != size)
        return false;
    document->root = parse_data(&context).node;
    return true;
}
