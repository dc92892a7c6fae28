/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the formats have in common: the tree that each decodes to and encodes
 * from, and the table of what a format brings. Only for the files of this
 * module; owners of memory include codec.h.
 *
 * Every decoder builds the same tree, so that reading is one code and costs the
 * same for each format. In particular mc_value_entry() is an index into an
 * array: the objects of jansson can only be walked, which made a loop over a
 * map quadratic.
 */
#ifndef SERIALIZE_FORMAT_H
#define SERIALIZE_FORMAT_H

#include "serialize/codec.h"

/* One value: in a decoded tree, or on its way from mc_write_* to an encoder
 * (where containers have a count but no children). */
struct node {
    enum mc_type type;
    uint32_t count; /* bytes of a string, elements of an array, pairs of a map */
    union {
        bool boolean;
        int64_t integer;
        uint64_t unsigned_integer; /* above INT64_MAX */
        double real;
        const char *bytes;
        struct node *children; /* count elements, or key, value, key, value ... */
    };
};

_Static_assert(sizeof(struct node) == 16, "codec.h promises 16 bytes");

struct document {
    const struct codec *codec;
    struct json_t *json; /* owns the strings of a JSON document */
    struct node root;
    size_t used;
    size_t capacity;
    struct node nodes[];
};

/* One format. Errors come with their message set. */
struct codec {
    const char *name;
    unsigned types;      /* TYPE_BIT of each type that can be written */
    const char *refusal; /* what to do instead of writing any other type */
    bool text_is_utf8;   /* what is written as a string has to be */

    int (*open)(const void *data, size_t size, struct document **document);
    void (*close)(struct document *document); /* NULL: nothing but the block */

    /* Write to the innermost open container; the writer has checked that a
     * value, or a key, may come there. */
    int (*value)(struct mc_writer *writer, const struct node *node);
    int (*key)(struct mc_writer *writer, const struct node *node);
    int (*finish)(struct mc_writer *writer); /* NULL: all is in the sink */
    void (*drop)(struct mc_writer *writer);  /* NULL: holds nothing */
};

#define TYPE_BIT(type) (1u << (type))
#define TYPE_ALL       ((TYPE_BIT(MC_MAP) << 1) - 1)

extern const struct codec raw_codec;
extern const struct codec json_codec;
extern const struct codec msgpack_codec;

/* NULL with a message when there is no such format. */
const struct codec *codec_find(enum mc_format format);

/* An empty document with room for capacity nodes, or NULL with a message. */
struct document *document_new(const struct codec *codec, size_t capacity);

/* The next count nodes, or NULL when fewer are left. */
struct node *document_take(struct document *document, size_t count);

/* With an article, as in "an integer". */
const char *value_type_name(enum mc_type type);

#endif
