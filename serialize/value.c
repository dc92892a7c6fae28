/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Reading: the mc_value_* functions. A zeroed mc_value reads as nil.
 */
#include "serialize/format.h"
#include "serialize/utf8.h"

#include <inttypes.h>
#include <string.h>

static const struct node nil = {.type = MC_NIL};

static const struct node *node_of(mc_value value)
{
    return value.node_ != NULL ? value.node_ : &nil;
}

static mc_value sibling(mc_value value, const struct node *node)
{
    return (mc_value){.codec_ = value.codec_, .node_ = node};
}

const char *value_type_name(enum mc_type type)
{
    static const char *const names[] = {
        [MC_NIL] = "nil",         [MC_BOOL] = "a boolean",
        [MC_INT] = "an integer",  [MC_UINT] = "an integer above INT64_MAX",
        [MC_DOUBLE] = "a double", [MC_STRING] = "a string",
        [MC_BYTES] = "bytes",     [MC_ARRAY] = "an array",
        [MC_MAP] = "a map",
    };
    return names[type];
}

static int mismatch(mc_value value, const char *asked)
{
    const char *found = value_type_name(node_of(value)->type);
    const struct codec *codec = value.codec_;
    if (codec == NULL)
        return error_set(-EINVAL, "%s was asked for, but the value is %s", asked, found);
    return error_set(-EINVAL, "%s was asked for, but the value is %s (decoded as %s)", asked, found,
                     codec->name);
}

enum mc_type mc_value_type(mc_value value)
{
    return node_of(value)->type;
}

int mc_value_bool(mc_value value, bool *out)
{
    const struct node *node = node_of(value);
    if (node->type != MC_BOOL)
        return mismatch(value, value_type_name(MC_BOOL));
    *out = node->boolean;
    return 0;
}

int mc_value_int(mc_value value, int64_t *out)
{
    const struct node *node = node_of(value);
    if (node->type == MC_UINT)
        return error_set(-ERANGE, "%" PRIu64 " is above INT64_MAX; read it with mc_value_uint()",
                         node->unsigned_integer);
    if (node->type != MC_INT)
        return mismatch(value, value_type_name(MC_INT));
    *out = node->integer;
    return 0;
}

int mc_value_uint(mc_value value, uint64_t *out)
{
    const struct node *node = node_of(value);
    if (node->type == MC_UINT) {
        *out = node->unsigned_integer;
        return 0;
    }
    if (node->type != MC_INT)
        return mismatch(value, "an integer of 0 or more");
    if (node->integer < 0)
        return error_set(-ERANGE, "%" PRId64 " is below 0; read it with mc_value_int()",
                         node->integer);
    *out = (uint64_t)node->integer;
    return 0;
}

int mc_value_double(mc_value value, double *out)
{
    const struct node *node = node_of(value);
    switch (node->type) {
    case MC_DOUBLE:
        *out = node->real;
        return 0;
    case MC_INT:
        *out = (double)node->integer;
        return 0;
    case MC_UINT:
        *out = (double)node->unsigned_integer;
        return 0;
    default:
        return mismatch(value, "a number");
    }
}

int mc_value_string(mc_value value, const char **out, size_t *size)
{
    const struct node *node = node_of(value);
    if (node->type != MC_STRING)
        return mismatch(value, value_type_name(MC_STRING));
    *out = node->bytes;
    *size = node->count;
    return 0;
}

int mc_value_bytes(mc_value value, const void **out, size_t *size)
{
    const struct node *node = node_of(value);
    if (node->type != MC_BYTES)
        return mismatch(value, value_type_name(MC_BYTES));
    *out = node->bytes;
    *size = node->count;
    return 0;
}

size_t mc_value_count(mc_value value)
{
    const struct node *node = node_of(value);
    return node->type == MC_ARRAY || node->type == MC_MAP ? node->count : 0;
}

static int past_end(const struct node *container, size_t index)
{
    return error_set(-ERANGE, "index %zu is past the end: %s of %" PRIu32 " elements", index,
                     value_type_name(container->type), container->count);
}

int mc_value_at(mc_value array, size_t index, mc_value *out)
{
    const struct node *node = node_of(array);
    if (node->type != MC_ARRAY)
        return mismatch(array, value_type_name(MC_ARRAY));
    if (index >= node->count)
        return past_end(node, index);
    *out = sibling(array, node->children + index);
    return 0;
}

int mc_value_entry(mc_value map, size_t index, mc_value *key, mc_value *out)
{
    const struct node *node = node_of(map);
    if (node->type != MC_MAP)
        return mismatch(map, value_type_name(MC_MAP));
    if (index >= node->count)
        return past_end(node, index);
    *key = sibling(map, node->children + 2 * index);
    *out = sibling(map, node->children + 2 * index + 1);
    return 0;
}

int mc_value_get(mc_value map, const char *key, mc_value *out)
{
    const struct node *node = node_of(map);
    if (node->type != MC_MAP)
        return mismatch(map, value_type_name(MC_MAP));
    if (key == NULL)
        return error_set(-EINVAL, "key is NULL; a string was expected");
    size_t size = strlen(key);
    const struct node *end = node->children + 2 * (size_t)node->count;
    for (const struct node *entry = node->children; entry != end; entry += 2) {
        if (entry->count == size && memcmp(entry->bytes, key, size) == 0) {
            *out = sibling(map, entry + 1);
            return 0;
        }
    }
    return error_set(-ENOENT, "the map has no key \"%s\" among its %" PRIu32,
                     utf8_excerpt(key, size).text, node->count);
}
