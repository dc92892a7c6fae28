/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One request at a time: while it is computed, or the database thinks about it, nobody
 * else is served.
 */
#include "mode.h"
#include "seconds.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>

static int sync_open(struct mode *mode, struct failure *failure)
{
    snprintf(mode->reason, sizeof(mode->reason), "one request after the other");
    return mode_open_database(mode->options, 1, &mode->database, failure);
}

static void sync_close(struct mode *mode)
{
    database_close(mode->database);
}

/* Until the query has something to do, or its time is up. */
static int wait_for(const struct query *query, uint64_t deadline_ns, struct failure *failure)
{
    struct pollfd watched = {.fd = query->fd};
    if (query->events & QUERY_READ)
        watched.events |= POLLIN;
    if (query->events & QUERY_WRITE)
        watched.events |= POLLOUT;
    for (;;) {
        uint64_t now_ns = monotonic_ns();
        int left_ms = now_ns < deadline_ns ? (int)((deadline_ns - now_ns) / 1000000 + 1) : 0;
        int ready = poll(&watched, 1, left_ms);
        if (ready > 0)
            return 0;
        if (ready == 0)
            return failure_set(failure, -ETIMEDOUT, "no answer of the database in time");
        if (errno != EINTR)
            return failure_set(failure, -errno, "cannot wait for the database");
    }
}

static void sync_start(struct mode *mode, struct job *job)
{
    uint64_t deadline_ns = monotonic_ns() + mode->options->time_limit_ms * UINT64_C(1000000);
    struct query query = {0};
    struct failure failure = {0};
    if (job->work->compute) {
        job_compute(job);
        return;
    }
    int status = job->work->ask(job->args, job->size, &query, &failure);
    if (status == 0)
        status = query_begin(&query, mode->database, &failure);
    while (status == QUERY_PENDING) {
        status = wait_for(&query, deadline_ns, &failure);
        if (status == 0)
            status = query_advance(&query, &failure);
    }
    job_tell(job, &query, status, &failure);
}

const struct mode_calls mode_sync = {.open = sync_open, .close = sync_close, .start = sync_start};
