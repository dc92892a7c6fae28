/* SPDX-License-Identifier: BSD-3-Clause */
#include "compare.h"
#include "directory.h"
#include "document.h"
#include "page.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What a pool reads in place of /proc/loadavg: so much load on each core. */
enum { BUSY_LOAD = 25 };

static const char default_max_load[] = "0.85";

struct comparison {
    const struct job *job;
    struct report serial;
    struct report parallel;
    struct report busy;
};

/* A directory below the system's for temporary files, with the sample in it.
 * NULL and a sentence when it cannot be made. */
static char *make_sample(struct failure *failure)
{
    GError *cause = NULL;
    char *directory = g_dir_make_tmp("render-XXXXXX", &cause);
    if (directory) {
        unsigned load = BUSY_LOAD * mc_usable_cores();
        char *path = g_build_filename(directory, "loadavg", NULL);
        char *text = g_strdup_printf("%u.00 %u.00 %u.00 9/200 1234\n", load, load, load);
        g_file_set_contents(path, text, -1, &cause);
        g_free(text);
        g_free(path);
    }
    if (!cause)
        return directory;
    failure_set(failure, -EIO, "a sample of the load: %s", cause->message);
    g_error_free(cause);
    if (directory)
        rmdir(directory);
    g_free(directory);
    return NULL;
}

static void remove_sample(char *directory)
{
    char *path = g_build_filename(directory, "loadavg", NULL);
    unlink(path);
    rmdir(directory);
    g_free(path);
    g_free(directory);
}

/* Reads what all runs will read, so that the first does not pay for the disk:
 * the document, the renderer's libraries, the fonts. */
static int warm_up(const struct job *job, const char *out, struct failure *failure)
{
    PopplerDocument *document;
    struct page page;
    unsigned pages;
    struct page_request request = {.out = out, .dpi = job->dpi};
    char *bytes = NULL;
    if (g_file_get_contents(job->path, &bytes, NULL, NULL))
        g_free(bytes);
    int status = document_open(job->path, &document, &pages, failure);
    if (status < 0)
        return status;
    /* A page that cannot be rendered is reported by the runs. */
    if (page_render(document, &request, 1, &page, failure) == 0)
        page_fini(&page);
    document_close(document);
    return 0;
}

static int run_into(const struct job *job, const char *name, struct report *report,
                    int (*run)(const struct job *, struct report *, struct failure *),
                    struct failure *failure)
{
    char out[PATH_MAX];
    struct job own = *job;
    int status = directory_make(job->out, name, out, sizeof(out), failure);
    if (status < 0)
        return status;
    own.out = out;
    own.label = name;
    return run(&own, report, failure);
}

static int run_all(struct comparison *comparison, struct failure *failure)
{
    char out[PATH_MAX];
    struct job parallel = *comparison->job;
    struct job busy = *comparison->job;
    int status = directory_make(comparison->job->out, "serial", out, sizeof(out), failure);
    if (status == 0)
        status = warm_up(comparison->job, out, failure);
    if (status == 0)
        status = run_into(comparison->job, "serial", &comparison->serial, run_serial, failure);
    parallel.max_load_average = NULL;
    if (status == 0)
        status = run_into(&parallel, "parallel", &comparison->parallel, run_pool, failure);
    if (status < 0)
        return status;
    char *sample = make_sample(failure);
    if (!sample)
        return -EIO;
    busy.proc_path = sample;
    if (!busy.max_load_average)
        busy.max_load_average = default_max_load;
    status = run_into(&busy, "busy", &comparison->busy, run_pool, failure);
    remove_sample(sample);
    return status;
}

static unsigned count_differences(const struct comparison *comparison, const struct report *report)
{
    unsigned different = 0;
    for (unsigned i = 0; i < comparison->job->pages; i++) {
        const struct page_digest *one = &comparison->serial.digests[i];
        const struct page_digest *other = &report->digests[i];
        different +=
            one->hash != other->hash || one->width != other->width || one->height != other->height;
    }
    return different;
}

static const char *mode_name(enum mc_mode mode)
{
    switch (mode) {
    case MC_NARROW:
        return "narrow";
    case MC_INLINE:
        return "inline";
    default:
        return "parallel";
    }
}

/* Workers that the mode let work, not those that the pool has. */
static void print_row(const struct comparison *comparison, const char *name,
                      const struct report *report, const char *identical)
{
    char workers[16] = "-";
    if (report->mode == MC_NARROW)
        snprintf(workers, sizeof(workers), "1");
    else if (report->mode == MC_PARALLEL)
        snprintf(workers, sizeof(workers), "%u", report->workers);
    printf("%-20s %7s %9.2f %9.1f %9.2f  %s\n", name, workers, report->seconds,
           (comparison->job->pages - report->failed) / report->seconds,
           comparison->serial.seconds / report->seconds, identical);
}

static int print_table(const struct comparison *comparison)
{
    char name[32];
    unsigned parallel = count_differences(comparison, &comparison->parallel);
    unsigned busy = count_differences(comparison, &comparison->busy);
    snprintf(name, sizeof(name), "under load: %s", mode_name(comparison->busy.mode));
    printf("%-20s %7s %9s %9s %9s  %s\n", "mode", "workers", "seconds", "pages/s", "speedup",
           "identical");
    print_row(comparison, "serial", &comparison->serial, "-");
    print_row(comparison, mode_name(comparison->parallel.mode), &comparison->parallel,
              parallel ? "no" : "yes");
    print_row(comparison, name, &comparison->busy, busy ? "no" : "yes");
    printf("\n%-20s %s\n", mode_name(comparison->parallel.mode), comparison->parallel.reason);
    printf("%-20s %s\n", name, comparison->busy.reason);
    if (parallel)
        complain("pages that differ between the serial and the parallel run: %u", parallel);
    if (busy)
        complain("pages that differ between the serial run and the one under load: %u", busy);
    return parallel || busy;
}

int compare(const struct job *job, struct failure *failure)
{
    struct comparison comparison = {.job = job};
    int status = run_all(&comparison, failure);
    if (status == 0) {
        status = print_table(&comparison);
        if (comparison.serial.failed || comparison.parallel.failed || comparison.busy.failed)
            status = 1;
    }
    report_fini(&comparison.serial);
    report_fini(&comparison.parallel);
    report_fini(&comparison.busy);
    return status;
}
