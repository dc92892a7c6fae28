/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Structured values for the owner of the memory that they live in: it brings a
 * sink to write into, or bytes to read. Public calls do the rest: mc_write_*
 * fills a struct mc_writer, mc_value_* reads an open document.
 *
 *     writer_init(&writer, MC_JSON, &block->sink);
 *     ... mc_write_*(&writer, ...) ...
 *     error = writer_finish(&writer);      block->sink.size bytes are the value
 *
 *     error = document_open(MC_JSON, data, size, &document);
 *     ... mc_value_*(document_root(document), ...) ...
 *     document_close(document);
 *
 * No function here blocks, and none keeps state outside of its arguments but
 * for the message behind an error. A writer belongs to one thread at a time; a
 * document never changes and may be read by many.
 */
#ifndef SERIALIZE_CODEC_H
#define SERIALIZE_CODEC_H

#include "base/error.h"
#include "multicore.h"

/* Containers inside each other, for writers and readers of every format. */
enum { DEPTH_LIMIT = 64 };

/* ---- Sinks --------------------------------------------------------------- */

/* Where an encoder puts bytes. The owner embeds it in what it writes to, an
 * arena block for instance, and sets limit and grow; data and capacity may
 * start as NULL and 0. */
struct sink {
    uint8_t *data;
    size_t size;     /* bytes written */
    size_t capacity; /* bytes that data has room for */
    size_t limit;    /* capacity never has to go above this */
    /* Makes capacity at least the given value, which is at most limit, and
     * keeps the first size bytes; data may move. Returns 0, or a negative errno
     * with its message set, and then leaves the sink as it was. */
    int (*grow)(struct sink *sink, size_t capacity);
};

/* -EMSGSIZE when more bytes cannot go in, whatever is grown. */
int sink_check(const struct sink *sink, size_t more);

/* Makes room for exactly this many more bytes: for what comes in one piece. */
int sink_reserve(struct sink *sink, size_t more);

/* Appends; grows by doubling, for what comes in many small pieces. */
int sink_append(struct sink *sink, const void *bytes, size_t size);

/* ---- Writers ------------------------------------------------------------- */

struct codec;
struct json_t;

struct writer_level {
    uint64_t remaining; /* values to come; a map has two for each pair */
    bool is_map;
};

/* mc_writer of the public header. All zero is a writer that was not begun. */
struct mc_writer {
    const struct codec *codec; /* NULL when not begun */
    struct sink *sink;
    size_t origin; /* size of the sink at the start */
    int error;     /* the first one, repeated with its message from then on */
    bool has_root;
    unsigned depth; /* open containers, the innermost last in levels */
    struct writer_level levels[DEPTH_LIMIT];
    struct {
        struct json_t *root;                    /* owns all values written */
        struct json_t *key;                     /* waits for its value */
        struct json_t *containers[DEPTH_LIMIT]; /* inside root, as levels */
        size_t least;                           /* bytes that root takes at least */
    } json;
    char message[ERROR_MESSAGE_SIZE];
};

/* Begins one value at the end of the sink, which must outlive the writer. The
 * writer is zeroed, finished or dropped. MessagePack and raw bytes go straight
 * into the sink. JSON is kept as a tree, and dumped into the sink at the end;
 * the tree takes up to about 80 times the bytes of the dump (see
 * document_open()), and is given up once the dump would have to go above the
 * limit. */
int writer_init(struct mc_writer *writer, enum mc_format format, struct sink *sink);

/* Ends the value. Returns the first error met since writer_init(), -EINVAL for
 * a value that is not complete; the sink then has the size that it began with.
 * Either way the writer must be begun again before it writes anything else. */
int writer_finish(struct mc_writer *writer);

/* Drops the value, and leaves in the sink what there is. Does nothing to a
 * writer that is zeroed, finished or dropped. */
void writer_fini(struct mc_writer *writer);

/* ---- Documents ----------------------------------------------------------- */

struct document;

/* Decodes the one value that fills data. Strings and bytes of MessagePack and
 * raw documents point into data, which must stay as long as the document and
 * not change, from the call on: where another process could change it and is
 * not trusted, pass a private copy. JSON is copied by its parser; data is free
 * after the call.
 *
 * Memory, besides data:
 *   MessagePack  one block of 16 bytes for each value in a container. Values
 *                take a byte at least, so at most 16 times size.
 *   JSON         the tree of jansson, and that same block. The worst is an
 *                array of empty objects, 3 bytes each: about 85 times size.
 *                One-digit numbers take up to 33 times, empty strings 38.
 *   raw          a block of constant size
 *
 * Errors: -EBADMSG for malformed bytes, with the offset in the message;
 * -EMSGSIZE for more than DEPTH_LIMIT levels, with the offset too, or 4 GiB and
 * more of data; -EINVAL for an unknown format; -ENOMEM. */
int document_open(enum mc_format format, const void *data, size_t size, struct document **document);
mc_value document_root(const struct document *document);
/* NULL is allowed. Values of the document end with it. */
void document_close(struct document *document);

#endif
