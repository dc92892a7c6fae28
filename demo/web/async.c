/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One thread that never waits for the database, but computes itself: while it does,
 * nobody else is served.
 */
#include "mode.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

/* A job that asks the database. */
struct asking {
    struct query query;
    struct watch watch;
    struct job *job;
    struct mode *mode;
};

static int async_open(struct mode *mode, struct failure *failure)
{
    snprintf(mode->reason, sizeof(mode->reason), "one event loop");
    return mode_open_database(mode->options, mode->options->connections, &mode->database, failure);
}

static void async_close(struct mode *mode)
{
    database_close(mode->database);
}

static int await_query(struct asking *asking, struct failure *failure)
{
    const struct query *query = &asking->query;
    uint32_t events =
        (query->events & QUERY_READ ? EPOLLIN : 0u) | (query->events & QUERY_WRITE ? EPOLLOUT : 0u);
    if (query->fd < 0)
        return QUERY_PENDING; /* see wake() */
    int status = loop_await(asking->mode->loop, query->fd, events, &asking->watch);
    if (status < 0)
        return failure_set(failure, status, "cannot wait for the database");
    return QUERY_PENDING;
}

static void settle(struct asking *asking, int status, struct failure *failure)
{
    if (status == QUERY_PENDING)
        status = await_query(asking, failure);
    if (status == QUERY_PENDING)
        return;
    loop_forget(asking->mode->loop, &asking->watch);
    job_tell(asking->job, &asking->query, status, failure);
    free(asking);
}

static void on_ready(struct watch *watch, uint32_t events)
{
    struct asking *asking = watch->context;
    struct failure failure = {0};
    (void)events;
    settle(asking, query_advance(&asking->query, &failure), &failure);
}

static void wake(struct query *query)
{
    struct asking *asking = query->context;
    loop_later(asking->mode->loop, &asking->watch);
}

static void ask(struct mode *mode, struct job *job)
{
    struct failure failure = {0};
    struct asking *asking = calloc(1, sizeof(*asking));
    if (!asking) {
        job_fail(job, -ENOMEM, "no memory for a query");
        return;
    }
    *asking = (struct asking){.job = job, .mode = mode};
    asking->query.wake = wake;
    asking->query.context = asking;
    asking->watch.ready = on_ready;
    asking->watch.context = asking;
    job->running = asking;
    int status = job->work->ask(job->args, job->size, &asking->query, &failure);
    if (status == 0)
        status = query_begin(&asking->query, mode->database, &failure);
    settle(asking, status, &failure);
}

static void async_cancel(struct mode *mode, struct job *job)
{
    struct asking *asking = job->running;
    job->running = NULL;
    loop_forget(mode->loop, &asking->watch);
    query_fini(&asking->query);
    free(asking);
}

static void async_start(struct mode *mode, struct job *job)
{
    if (job->work->compute)
        job_compute(job);
    else
        ask(mode, job);
}

const struct mode_calls mode_async = {
    .open = async_open, .close = async_close, .start = async_start, .cancel = async_cancel};
