/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One page of a document as pixels: a PNG file, a hash and a thumbnail. Knows
 * nothing of the pool; the handler and the plain loop both call it.
 */
#ifndef RENDER_PAGE_H
#define RENDER_PAGE_H

#include "failure.h"

#include <cairo.h>
#include <poppler.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PAGE_SIDE_MAX = 16384, /* pixels; 1 GiB for a square page */
    THUMB_WIDTH = 128,     /* the box that a thumbnail fits into */
    THUMB_HEIGHT = 168,
};

struct page_request {
    const char *out; /* directory for the PNG files */
    unsigned dpi;
    unsigned thumbs;     /* pages up to this number come with a thumbnail */
    unsigned crash_page; /* dies of SIGSEGV on this page; 0: never */
};

/* What a rendered page is summed up to. The pixels of the thumbnail follow it,
 * thumb_stride bytes a row, as cairo lays out CAIRO_FORMAT_RGB24. */
struct page_reply {
    uint64_t hash; /* of the pixels of the whole page */
    uint32_t number;
    uint32_t width;
    uint32_t height;
    uint32_t thumb_width; /* 0: no thumbnail */
    uint32_t thumb_height;
    uint32_t thumb_stride;
};

struct page {
    struct page_reply reply;
    cairo_surface_t *surface;
};

/* Writes the name of page number's file. Returns 0 or -ENAMETOOLONG. */
int page_path(const char *out, unsigned number, char *path, size_t size);

/* Draws page number (from 1), at the request's resolution; the rest of the request
 * does not matter. Returns 0, or a negative errno and a sentence. On success page is
 * to be ended with page_fini(). */
int page_draw(PopplerDocument *document, const struct page_request *request, unsigned number,
              struct page *page, struct failure *failure);

/* The same, and writes its PNG file. */
int page_render(PopplerDocument *document, const struct page_request *request, unsigned number,
                struct page *page, struct failure *failure);
void page_fini(struct page *page);

/* The reply and its thumbnail need page_reply_size() bytes, aligned to 8;
 * page_reply_write() scales the page right into them. */
size_t page_reply_size(const struct page *page);
int page_reply_write(const struct page *page, void *data, struct failure *failure);

/* The reply in data, or NULL when size bytes cannot hold what it announces. */
const struct page_reply *page_reply_read(const void *data, size_t size);

#endif
