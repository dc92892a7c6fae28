/* SPDX-License-Identifier: BSD-3-Clause */
#include "mode.h"
#include "posts.h"
#include "seconds.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

int mode_open_database(const struct options *options, unsigned connections,
                       struct database **database, struct failure *failure)
{
    *database = NULL;
    if (!options->database)
        return 0;
    return database_open(options->database, posts_statements, connections, options->time_limit_ms,
                         database, failure);
}

int mode_open(struct mode *mode, const struct options *options, struct loop *loop,
              struct failure *failure)
{
    static const struct mode_calls *const calls[] = {
        [SYNC] = &mode_sync, [ASYNC] = &mode_async, [POOL] = &mode_pool};
    *mode = (struct mode){.calls = calls[options->mode], .options = options, .loop = loop};
    return mode->calls->open(mode, failure);
}

void mode_close(struct mode *mode)
{
    if (mode->calls)
        mode->calls->close(mode);
}

void mode_start(struct mode *mode, struct job *job)
{
    job->running = NULL;
    mode->calls->start(mode, job);
}

void mode_cancel(struct mode *mode, struct job *job)
{
    if (job->running)
        mode->calls->cancel(mode, job);
}

void mode_prepare(struct mode *mode, const struct work *work)
{
    if (mode->calls->prepare && !mode->prepared)
        mode->calls->prepare(mode, work);
    mode->prepared = true;
}

void mode_state(struct mode *mode, struct mode_state *state, pid_t *pids, unsigned count)
{
    *state = (struct mode_state){.reason = mode->reason};
    if (mode->calls->state)
        mode->calls->state(mode, state, pids, count);
}

/* ---- For the modes ---- */

void job_fail(struct job *job, int status, const char *error)
{
    const struct outcome outcome = {.status = status, .error = error};
    job->running = NULL;
    job->done(job, &outcome);
}

static void finish(struct job *job, int status, struct reply *reply, struct failure *failure,
                   uint64_t start_ns)
{
    const struct outcome outcome = {
        .status = status,
        .data = reply->data,
        .size = reply->size,
        .error = failure->text,
        .worker_pid = getpid(),
        .run_ns = monotonic_ns() - start_ns,
    };
    job->running = NULL;
    job->done(job, &outcome);
    free(reply->data);
}

void job_compute(struct job *job)
{
    struct reply reply = {0};
    struct failure failure = {0};
    uint64_t start_ns = monotonic_ns();
    int status = job->work->compute(job->args, job->size, &reply, &failure);
    finish(job, status, &reply, &failure, start_ns);
}

void job_tell(struct job *job, struct query *query, int status, struct failure *failure)
{
    struct reply reply = {0};
    uint64_t start_ns = monotonic_ns();
    if (status == 0)
        status = job->work->tell(query->result, &reply, failure);
    query_fini(query);
    finish(job, status, &reply, failure, start_ns);
}
