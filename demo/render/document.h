/* SPDX-License-Identifier: BSD-3-Clause
 *
 * An open PDF document. Every process opens its own: the renderer's caches are
 * not shared, and a process that dies takes only its own with it.
 */
#ifndef RENDER_DOCUMENT_H
#define RENDER_DOCUMENT_H

#include "failure.h"

#include <poppler.h>

/* Opens the document and counts its pages, of which there is at least one.
 * Returns 0, or a negative errno and a sentence that names the file. On success
 * *document is to be closed with document_close(). */
int document_open(const char *path, PopplerDocument **document, unsigned *pages,
                  struct failure *failure);

/* NULL is allowed. */
void document_close(PopplerDocument *document);

#endif
