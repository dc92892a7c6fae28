/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Renders a whole document into a directory, in one of two ways: in a plain
 * loop, or on a pool. Both call page_render(), fill the same contact sheet and
 * end with the same report.
 */
#ifndef RENDER_RUN_H
#define RENDER_RUN_H

#include "failure.h"

#include <multicore.h>
#include <stdbool.h>
#include <stdint.h>

struct job {
    const char *path;  /* the document */
    const char *out;   /* an existing directory */
    const char *label; /* before the progress bar, "" for none */
    unsigned dpi;
    unsigned pages;
    unsigned crash_page;          /* 0: none */
    unsigned workers;             /* 0: one per usable core */
    bool trust;                   /* pages may be rendered in this process */
    const char *max_load_average; /* NULL: always parallel */
    const char *proc_path;        /* NULL: the real load */
};

/* A page as it came out; all zero when it failed. */
struct page_digest {
    uint64_t hash;
    uint32_t width;
    uint32_t height;
};

struct report {
    double seconds;
    unsigned failed;
    unsigned workers; /* 0: this process */
    enum mc_mode mode;
    char reason[256];
    struct page_digest *digests; /* one per page */
};

/* Render the document. Failed pages are printed, one line each, and counted;
 * they are no failure of the run. Return 0, or a negative errno and a sentence.
 * On success report is to be ended with report_fini(). The clock runs from
 * opening the document, or the pool, to the written contact sheet. */
int run_serial(const struct job *job, struct report *report, struct failure *failure);
int run_pool(const struct job *job, struct report *report, struct failure *failure);

void report_fini(struct report *report);

/* The name of the contact sheet's file. */
int run_sheet_path(const char *out, char *path, size_t size);

#endif
