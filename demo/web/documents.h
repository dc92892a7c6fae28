/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Uploaded PDF documents: files in a directory of their own, which goes with the server.
 * There are a few; each new one takes the place of the oldest.
 */
#ifndef WEB_DOCUMENTS_H
#define WEB_DOCUMENTS_H

#include "failure.h"

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

enum { DOCUMENTS_MAX = 16, DOCUMENT_NAME = 16 };

struct uploaded {
    TAILQ_ENTRY(uploaded) entry;
    char name[DOCUMENT_NAME + 1]; /* at random, and never used again */
    char path[PATH_MAX];
    unsigned pages;
    /* Since it was uploaded; a page that is drawn again does not count. */
    unsigned drawn;
    uint64_t drawn_ns; /* spent on it, by all workers together */
    uint64_t first_ns; /* when the first page was begun, and the last one done */
    uint64_t last_ns;
    unsigned char was_drawn[]; /* a bit for each page */
};

struct documents {
    char directory[64];
    TAILQ_HEAD(uploaded_list, uploaded) list; /* the oldest first */
    unsigned count;
};

int documents_init(struct documents *documents, struct failure *failure);
void documents_fini(struct documents *documents);

/* Makes a name, and the path of a file that is not there yet. */
int documents_name(const struct documents *documents, char name[DOCUMENT_NAME + 1], char *path,
                   size_t size, struct failure *failure);

/* Takes the file of that name. Returns NULL without memory. */
struct uploaded *documents_add(struct documents *documents, const char *name, unsigned pages);

/* By the beginning of text; NULL when it is not there, or no longer. */
struct uploaded *documents_find(struct documents *documents, const char *text);

/* That page, from 1, was drawn in so much time. */
void documents_drawn(struct uploaded *uploaded, unsigned number, uint64_t run_ns);

#endif
