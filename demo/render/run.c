/* SPDX-License-Identifier: BSD-3-Clause */
#include "run.h"
#include "document.h"
#include "handler.h"
#include "page.h"
#include "progress.h"
#include "seconds.h"
#include "sheet.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* What both ways of rendering collect their pages with. */
struct collector {
    const struct job *job;
    struct report *report;
    struct progress progress;
    struct sheet sheet;
    uint64_t start_ns;
    bool opening; /* the pool */
};

int run_sheet_path(const char *out, char *path, size_t size)
{
    int length = snprintf(path, size, "%s/contact-sheet.png", out);
    return length < 0 || (size_t)length >= size ? -ENAMETOOLONG : 0;
}

void report_fini(struct report *report)
{
    free(report->digests);
    *report = (struct report){0};
}

static int collector_init(struct collector *collector, const struct job *job, struct report *report,
                          struct failure *failure)
{
    *report = (struct report){0};
    *collector = (struct collector){.job = job, .report = report, .start_ns = monotonic_ns()};
    report->digests = calloc(job->pages, sizeof(*report->digests));
    if (!report->digests)
        return failure_set(failure, -ENOMEM, "no memory for %u pages", job->pages);
    int status = sheet_init(&collector->sheet, job->path, job->pages, failure);
    if (status < 0) {
        report_fini(report);
        return status;
    }
    progress_init(&collector->progress, job->label, job->pages);
    return 0;
}

static void collect_failed(struct collector *collector, unsigned number, const char *error)
{
    char path[PATH_MAX];
    /* A file that is there is complete, and of this run. */
    if (page_path(collector->job->out, number, path, sizeof(path)) == 0)
        unlink(path);
    progress_erase(&collector->progress);
    complain("page %u: %s", number, error);
    sheet_put(&collector->sheet, number, NULL);
    collector->report->failed++;
    progress_step(&collector->progress);
}

static void collect(struct collector *collector, unsigned number, const void *data, size_t size)
{
    const struct page_reply *reply = page_reply_read(data, size);
    if (!reply || reply->number != number) {
        collect_failed(collector, number, "its result is not one of a page");
        return;
    }
    collector->report->digests[number - 1] =
        (struct page_digest){reply->hash, reply->width, reply->height};
    sheet_put(&collector->sheet, number, reply);
    progress_step(&collector->progress);
}

/* Ends the collector. A status below 0 is passed through, and takes the report
 * with it; otherwise the sheet is written and the clock stopped. */
static int collector_fini(struct collector *collector, int status, struct failure *failure)
{
    char path[PATH_MAX];
    progress_erase(&collector->progress);
    if (status == 0)
        status = run_sheet_path(collector->job->out, path, sizeof(path));
    if (status == -ENAMETOOLONG)
        failure_set(failure, status, "the contact sheet's name is longer than %d bytes", PATH_MAX);
    if (status == 0)
        status = sheet_write(&collector->sheet, path, failure);
    sheet_fini(&collector->sheet);
    collector->report->seconds = seconds_since(collector->start_ns);
    if (status < 0)
        report_fini(collector->report);
    return status;
}

static struct page_request request_for(const struct job *job)
{
    return (struct page_request){
        .out = job->out,
        .dpi = job->dpi,
        .thumbs = sheet_pages(job->pages),
        .crash_page = job->crash_page,
    };
}

static void serial_page(struct collector *collector, PopplerDocument *document, unsigned number)
{
    struct page_request request = request_for(collector->job);
    struct page page;
    struct failure failure = {0};
    if (page_render(document, &request, number, &page, &failure) < 0) {
        collect_failed(collector, number, failure.text);
        return;
    }
    size_t size = page_reply_size(&page);
    void *reply = malloc(size);
    if (!reply)
        collect_failed(collector, number, "no memory for its thumbnail");
    else if (page_reply_write(&page, reply, &failure) < 0)
        collect_failed(collector, number, failure.text);
    else
        collect(collector, number, reply, size);
    free(reply);
    page_fini(&page);
}

int run_serial(const struct job *job, struct report *report, struct failure *failure)
{
    struct collector collector;
    PopplerDocument *document;
    unsigned pages;
    int status = collector_init(&collector, job, report, failure);
    if (status < 0)
        return status;
    status = document_open(job->path, &document, &pages, failure);
    if (status == 0) {
        for (unsigned number = 1; number <= job->pages; number++)
            serial_page(&collector, document, number);
        snprintf(report->reason, sizeof(report->reason), "a plain loop, without a pool");
        report->mode = MC_INLINE;
        document_close(document);
    }
    return collector_fini(&collector, status, failure);
}

/* What the pool says while it opens; later, each failed page speaks for itself. */
static void log_line(void *context, int level, const char *line)
{
    const struct collector *collector = context;
    if (collector->opening && level <= MC_LOG_WARNING)
        complain("%s", line);
}

/* Room for all pages at once, so that submitting them does not have to wait. */
static uint32_t queue_depth(unsigned pages)
{
    uint32_t depth = 16;
    while (depth < pages && depth < 65536)
        depth *= 2;
    return depth;
}

static int open_pool(struct collector *collector, mc_pool **pool)
{
    const struct job *job = collector->job;
    const struct mc_handler handler = {
        .name = RENDER_HANDLER,
        .run = render_run,
        /* A renderer may crash on what it reads: keep it out of this process. */
        .flags = job->trust ? 0 : MC_ISOLATED,
    };
    struct mc_pool_options options = {
        .size = sizeof(options),
        .handlers = &handler,
        .handler_count = 1,
        .worker_init = render_init,
        .worker_exit = render_exit,
        .hook_context = (void *)(uintptr_t)job->path,
        .workers = job->workers,
        .max_load_average = job->max_load_average,
        .queue_depth = queue_depth(job->pages),
        .log = log_line,
        .log_context = collector,
        .proc_path = job->proc_path,
    };
    collector->opening = true;
    int status = mc_pool_open(&options, pool);
    collector->opening = false;
    return status;
}

static int render_group(struct collector *collector, mc_group *group)
{
    struct report *report = collector->report;
    struct page_request request = request_for(collector->job);
    struct mc_result result = {.size = sizeof(result)};
    int status = render_submit(group, &request, collector->job->pages);
    if (status < 0)
        return status;
    report->mode = mc_group_mode(group);
    snprintf(report->reason, sizeof(report->reason), "%s", mc_group_reason(group));
    while ((status = mc_group_next(group, &result, -1)) == 1) {
        unsigned number = (unsigned)result.start + 1;
        if (result.status == 0)
            collect(collector, number, result.data, result.data_size);
        else
            collect_failed(collector, number, result.error);
        mc_group_release(group, result.index);
    }
    return status;
}

static void explain_pool(const struct job *job, const mc_pool *pool, int status,
                         struct failure *failure)
{
    /* Of the options that a pool can find wrong, only this comes unchecked. */
    failure->usage = !pool && status == -EINVAL && job->max_load_average;
    if (failure->usage)
        failure_set(failure, status, "--max-load-average %s: %s", job->max_load_average,
                    mc_error_message());
    else
        failure_set(failure, status, "%s", mc_error_message());
}

int run_pool(const struct job *job, struct report *report, struct failure *failure)
{
    struct collector collector;
    mc_pool *pool = NULL;
    mc_group *group = NULL;
    int status = collector_init(&collector, job, report, failure);
    if (status < 0)
        return status;
    status = open_pool(&collector, &pool);
    if (status < 0)
        goto out;
    report->workers = mc_pool_workers(pool);
    status = mc_group_open(pool, NULL, &group);
    if (status < 0)
        goto out;
    status = render_group(&collector, group);
out:
    if (status < 0)
        explain_pool(job, pool, status, failure);
    status = collector_fini(&collector, status, failure);
    mc_group_close(group);
    mc_pool_close(pool);
    return status;
}
