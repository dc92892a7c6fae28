/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The contact sheet: the first pages of a document in a grid, each drawn when
 * its result arrives. The thumbnails come ready made.
 */
#ifndef RENDER_SHEET_H
#define RENDER_SHEET_H

#include "failure.h"
#include "page.h"

enum { SHEET_PAGES_MAX = 120 };

struct sheet {
    cairo_surface_t *surface;
    cairo_t *cairo;
    unsigned shown;
    unsigned columns;
};

/* The pages of so many that the sheet will show. */
unsigned sheet_pages(unsigned pages);

/* An empty sheet for the document at path, of so many pages. Returns 0, or -ENOMEM and a
 * sentence. To be ended with sheet_fini(). */
int sheet_init(struct sheet *sheet, const char *path, unsigned pages, struct failure *failure);
void sheet_fini(struct sheet *sheet);

/* Puts a page in its place; without a reply, a mark that it failed. Pages that
 * the sheet does not show are passed over. */
void sheet_put(struct sheet *sheet, unsigned number, const struct page_reply *reply);

/* Writes the sheet. Returns 0, or a negative errno and a sentence. */
int sheet_write(struct sheet *sheet, const char *path, struct failure *failure);

#endif
