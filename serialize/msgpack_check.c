/* SPDX-License-Identifier: BSD-3-Clause */
#include "serialize/msgpack_check.h"

#include "serialize/codec.h"
#include "serialize/utf8.h"

#include <inttypes.h>

enum kind { RESERVED, EXTENSION, SCALAR, STRING, BYTES, ARRAY, MAP };

/* What a value begins with: one byte, and the extra bytes that it asks for,
 * which are a scalar or a count. */
struct shape {
    enum kind kind;
    unsigned extra;
};

struct head {
    enum kind kind;
    uint64_t count; /* of bytes, elements or pairs that follow */
    size_t body;    /* offset of what follows */
};

struct level {
    uint64_t remaining; /* values to come; a map has two for each pair */
    bool is_map;
};

struct walk {
    const uint8_t *data;
    size_t size;
    size_t at; /* of the value that is looked at */
    size_t values;
    unsigned depth;
    struct level levels[DEPTH_LIMIT];
};

static const struct shape shapes[32] = {
    [0xc0 - 0xc0] = {SCALAR, 0},    [0xc1 - 0xc0] = {RESERVED, 0},  [0xc2 - 0xc0] = {SCALAR, 0},
    [0xc3 - 0xc0] = {SCALAR, 0},    [0xc4 - 0xc0] = {BYTES, 1},     [0xc5 - 0xc0] = {BYTES, 2},
    [0xc6 - 0xc0] = {BYTES, 4},     [0xc7 - 0xc0] = {EXTENSION, 0}, [0xc8 - 0xc0] = {EXTENSION, 0},
    [0xc9 - 0xc0] = {EXTENSION, 0}, [0xca - 0xc0] = {SCALAR, 4},    [0xcb - 0xc0] = {SCALAR, 8},
    [0xcc - 0xc0] = {SCALAR, 1},    [0xcd - 0xc0] = {SCALAR, 2},    [0xce - 0xc0] = {SCALAR, 4},
    [0xcf - 0xc0] = {SCALAR, 8},    [0xd0 - 0xc0] = {SCALAR, 1},    [0xd1 - 0xc0] = {SCALAR, 2},
    [0xd2 - 0xc0] = {SCALAR, 4},    [0xd3 - 0xc0] = {SCALAR, 8},    [0xd4 - 0xc0] = {EXTENSION, 0},
    [0xd5 - 0xc0] = {EXTENSION, 0}, [0xd6 - 0xc0] = {EXTENSION, 0}, [0xd7 - 0xc0] = {EXTENSION, 0},
    [0xd8 - 0xc0] = {EXTENSION, 0}, [0xd9 - 0xc0] = {STRING, 1},    [0xda - 0xc0] = {STRING, 2},
    [0xdb - 0xc0] = {STRING, 4},    [0xdc - 0xc0] = {ARRAY, 2},     [0xdd - 0xc0] = {ARRAY, 4},
    [0xde - 0xc0] = {MAP, 2},       [0xdf - 0xc0] = {MAP, 4},
};

static struct shape classify(uint8_t byte)
{
    if (byte < 0x80 || byte >= 0xe0)
        return (struct shape){SCALAR, 0};
    if (byte < 0x90)
        return (struct shape){MAP, 0};
    if (byte < 0xa0)
        return (struct shape){ARRAY, 0};
    if (byte < 0xc0)
        return (struct shape){STRING, 0};
    return shapes[byte - 0xc0];
}

/* The short forms have their count in the first byte. */
static uint64_t short_count(uint8_t byte, enum kind kind)
{
    return byte & (kind == STRING ? 0x1f : 0x0f);
}

static const char *kind_name(enum kind kind)
{
    switch (kind) {
    case STRING:
        return "a string";
    case BYTES:
        return "a byte string";
    case ARRAY:
        return "an array";
    case MAP:
        return "a map";
    default:
        return "a number";
    }
}

static bool expects_key(const struct walk *walk)
{
    if (walk->depth == 0)
        return false;
    const struct level *level = &walk->levels[walk->depth - 1];
    return level->is_map && level->remaining % 2 == 0;
}

/* Whether a value of this shape may begin here, and its head is there. */
static int check_head(const struct walk *walk, uint8_t first, struct shape shape)
{
    if (shape.kind == RESERVED)
        return error_set(-EBADMSG,
                         "malformed MessagePack at offset %zu: byte 0x%02x begins nothing",
                         walk->at, first);
    if (shape.kind == EXTENSION)
        return error_set(-EBADMSG,
                         "MessagePack at offset %zu has an extension type (0x%02x): only nil, "
                         "booleans, numbers, strings, bytes, arrays and maps are understood",
                         walk->at, first);
    if (expects_key(walk) && shape.kind != STRING)
        return error_set(-EBADMSG, "MessagePack at offset %zu has a key that is no string (0x%02x)",
                         walk->at, first);
    size_t left = walk->size - walk->at - 1;
    if (shape.extra > left)
        return error_set(-EBADMSG,
                         "malformed MessagePack at offset %zu: %s is cut off, it needs %u bytes "
                         "more, but %zu remain",
                         walk->at, kind_name(shape.kind), shape.extra, left);
    return 0;
}

static int read_head(const struct walk *walk, struct head *head)
{
    if (walk->at == walk->size)
        return error_set(-EBADMSG,
                         "malformed MessagePack at offset %zu: it ends where a value was expected",
                         walk->at);
    uint8_t first = walk->data[walk->at];
    struct shape shape = classify(first);
    int error = check_head(walk, first, shape);
    if (error != 0)
        return error;
    head->kind = shape.kind;
    head->body = walk->at + 1 + shape.extra;
    head->count = 0;
    if (shape.kind == SCALAR)
        return 0;
    if (shape.extra == 0)
        head->count = short_count(first, shape.kind);
    for (unsigned i = 1; i <= shape.extra; i++)
        head->count = head->count << 8 | walk->data[walk->at + i];
    return 0;
}

/* Checks the count against the bytes that are left. Elements take a byte at
 * least, pairs two. */
static int check_count(const struct walk *walk, const struct head *head)
{
    uint64_t least = head->kind == MAP ? head->count * 2 : head->count;
    if (least <= walk->size - head->body)
        return 0;
    return error_set(-EBADMSG,
                     "malformed MessagePack at offset %zu: %s of %" PRIu64
                     " is announced, but %zu bytes remain",
                     walk->at, kind_name(head->kind), head->count, walk->size - head->body);
}

static int enter(struct walk *walk, const struct head *head)
{
    if (walk->depth == DEPTH_LIMIT)
        return error_set(-EMSGSIZE,
                         "MessagePack at offset %zu is nested too deep: the limit is %d levels",
                         walk->at, DEPTH_LIMIT);
    walk->levels[walk->depth++] = (struct level){
        .remaining = head->kind == MAP ? head->count * 2 : head->count,
        .is_map = head->kind == MAP,
    };
    return 0;
}

static int check_text(const struct walk *walk, const struct head *head)
{
    size_t valid = utf8_valid_prefix((const char *)walk->data + head->body, head->count);
    if (valid == head->count)
        return 0;
    return error_set(-EBADMSG, "MessagePack at offset %zu has a string that is not UTF-8 (0x%02x)",
                     head->body + valid, walk->data[head->body + valid]);
}

static int check_value(struct walk *walk)
{
    struct head head = {.kind = RESERVED};
    int error = read_head(walk, &head);
    if (error != 0)
        return error;
    if (walk->depth > 0) {
        walk->levels[walk->depth - 1].remaining--;
        walk->values++;
    }
    error = check_count(walk, &head);
    if (error == 0 && head.kind == STRING)
        error = check_text(walk, &head);
    if (error == 0 && (head.kind == ARRAY || head.kind == MAP))
        error = enter(walk, &head);
    if (error != 0)
        return error;
    walk->at = head.body;
    if (head.kind == STRING || head.kind == BYTES)
        walk->at += head.count;
    while (walk->depth > 0 && walk->levels[walk->depth - 1].remaining == 0)
        walk->depth--;
    return 0;
}

int msgpack_check(const void *data, size_t size, size_t *values)
{
    struct walk walk = {.data = data, .size = size};
    do {
        int error = check_value(&walk);
        if (error != 0)
            return error;
    } while (walk.depth > 0);
    if (walk.at != size)
        return error_set(-EBADMSG,
                         "malformed MessagePack at offset %zu: %zu bytes follow the value", walk.at,
                         size - walk.at);
    *values = walk.values;
    return 0;
}
