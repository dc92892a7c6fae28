/* SPDX-License-Identifier: BSD-3-Clause
 *
 * render - the pages of a PDF document as PNG files, in parallel.
 *
 *   main.c      what is done, in which order
 *   options.c   the command line
 *   handler.c   what runs in the workers
 *   run.c       a document in a plain loop, and on the pool
 *   page.c      one page: pixels, file, hash, thumbnail
 *   sheet.c     the contact sheet
 *   compare.c   the ways of running, side by side
 *   users.c     a second workload, without a document
 */
#include "compare.h"
#include "directory.h"
#include "document.h"
#include "options.h"
#include "run.h"
#include "users.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

/* Opens the document to count its pages, and closes it again: what cannot work
 * is said before any process is started, and each process opens its own. */
static int count_pages(const char *path, unsigned *pages, struct failure *failure)
{
    PopplerDocument *document;
    int status = document_open(path, &document, pages, failure);
    if (status == 0)
        document_close(document);
    return status;
}

static void print_summary(const struct job *job, const struct report *report)
{
    char sheet[PATH_MAX];
    char place[64] = "in this process";
    unsigned rendered = job->pages - report->failed;
    if (report->mode == MC_PARALLEL)
        snprintf(place, sizeof(place), "on %u worker%s", report->workers,
                 report->workers == 1 ? "" : "s");
    else if (report->mode == MC_NARROW)
        snprintf(place, sizeof(place), "on 1 of %u workers", report->workers);
    if (report->failed)
        printf("%u of ", rendered);
    run_sheet_path(job->out, sheet, sizeof(sheet));
    printf("%u page%s in %.1f s, %.1f pages/s %s; %s\n", job->pages, job->pages == 1 ? "" : "s",
           report->seconds, rendered / report->seconds, place, sheet);
}

static int render(const struct job *job, bool serial, struct failure *failure)
{
    struct report report;
    int status = serial ? run_serial(job, &report, failure) : run_pool(job, &report, failure);
    if (status < 0)
        return status;
    if (!serial && report.mode != MC_PARALLEL)
        complain("%s", report.reason);
    print_summary(job, &report);
    status = report.failed > 0;
    report_fini(&report);
    return status;
}

static int render_document(const struct options *options, struct failure *failure)
{
    char out[PATH_MAX];
    struct job job = {
        .path = options->path,
        .out = out,
        .label = "",
        .dpi = options->dpi,
        .crash_page = options->crash_page,
        .workers = options->workers,
        .trust = options->trust,
        .max_load_average = options->max_load_average,
    };
    int status = count_pages(job.path, &job.pages, failure);
    if (status < 0)
        return status;
    if (job.crash_page > job.pages) {
        failure->usage = true;
        return failure_set(failure, -ERANGE, "--crash-page %u: the last page is %u", job.crash_page,
                           job.pages);
    }
    status = directory_make(options->out, NULL, out, sizeof(out), failure);
    if (status < 0)
        return status;
    return options->compare ? compare(&job, failure) : render(&job, options->serial, failure);
}

int main(int argc, char **argv)
{
    struct options options;
    struct failure failure = {0};
    int status;
    if (options_read(argc, argv, &options, &status))
        status = options.scene_users ? users_scene(options.workers, &failure)
                                     : render_document(&options, &failure);
    if (status < 0) {
        complain("%s", failure.text);
        status = failure.usage ? EXIT_USAGE : EXIT_FAILURE;
    }
    if (fflush(stdout) != 0) {
        complain("cannot write to standard output");
        status = EXIT_FAILURE;
    }
    return status;
}
