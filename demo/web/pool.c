/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A job is a group of one task. The event loop watches the pool's descriptor, and is
 * told when a group is done; it never computes, and never waits.
 */
#include "handlers.h"
#include "mode.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

static void log_line(void *context, int level, const char *line)
{
    (void)context;
    if (level <= MC_LOG_WARNING)
        complain("%s", line);
}

static int explain(int status, struct failure *failure)
{
    failure->usage = status == -EINVAL;
    return failure_set(failure, status, "%s", mc_error_message());
}

/* Of a pool that is gone all jobs have been reported; its descriptor stays readable. */
static void on_readable(struct watch *watch, uint32_t events)
{
    struct mode *mode = watch->context;
    (void)events;
    if (mc_pool_dispatch(mode->pool) >= 0)
        return;
    loop_unwatch(mode->loop, mc_pool_fd(mode->pool));
    mode->lost = true;
}

/* Who is taken as a request is to be taken as a task. */
static uint32_t queue_depth(const struct options *options)
{
    uint32_t depth = 4096; /* a power of two */
    while (depth < options->max_requests)
        depth *= 2;
    return depth;
}

static int pool_open(struct mode *mode, struct failure *failure)
{
    const struct options *options = mode->options;
    const struct mc_pool_options wanted = {
        .size = sizeof(wanted),
        .handlers = handlers,
        .handler_count = handler_count,
        .worker_init = handlers_init,
        .worker_exit = handlers_exit,
        .hook_context = (void *)(uintptr_t)options,
        .workers = options->workers,
        .io_workers = options->io_workers,
        .max_load_average = options->max_load_average,
        .queue_depth = queue_depth(options),
        .log = log_line,
    };
    int status = mc_pool_open(&wanted, &mode->pool);
    if (status < 0)
        return explain(status, failure);
    snprintf(mode->reason, sizeof(mode->reason), "nothing was asked yet");
    mode->watch = (struct watch){.ready = on_readable, .context = mode};
    int fd = mc_pool_fd(mode->pool);
    status = fd < 0 ? fd : loop_watch(mode->loop, fd, EPOLLIN, &mode->watch);
    return status < 0 ? failure_set(failure, status, "cannot watch the pool") : 0;
}

static void pool_close(struct mode *mode)
{
    if (mode->hurry)
        mc_pool_terminate(mode->pool);
    else
        mc_pool_close(mode->pool);
}

static void on_done(mc_group *group, void *context)
{
    struct job *job = context;
    struct mc_result result = {.size = sizeof(result)};
    job->running = NULL;
    if (mc_group_next(group, &result, 0) == 1) {
        const struct outcome outcome = {result.status, result.data,       result.data_size,
                                        result.error,  result.worker_pid, result.run_ns};
        job->done(job, &outcome);
    } else {
        job_fail(job, -EIO, mc_error_message());
    }
    mc_group_close(group);
}

static int submit(struct mode *mode, struct job *job, mc_group **group)
{
    const struct mc_group_options options = {
        .size = sizeof(options),
        .on_done = on_done,
        .context = job,
        .time_limit_ms = mode->options->time_limit_ms,
        .start_within_ms = mode->options->time_limit_ms,
    };
    int status = mc_group_open(mode->pool, &options, group);
    if (status == 0)
        status = mc_group_run(*group, job->work->name, job->args, job->size);
    return status;
}

static void pool_start(struct mode *mode, struct job *job)
{
    mc_group *group = NULL;
    int status = submit(mode, job, &group);
    if (status < 0) {
        job_fail(job, status, mc_error_message());
        mc_group_close(group);
        return;
    }
    job->running = group;
    mode->admitted = mc_group_mode(group);
    snprintf(mode->reason, sizeof(mode->reason), "%s", mc_group_reason(group));
}

static void pool_cancel(struct mode *mode, struct job *job)
{
    mc_group_close(job->running);
    job->running = NULL;
}

static void on_prepared(mc_group *group, void *context)
{
    (void)context;
    mc_group_close(group);
}

/* A task for each worker: who takes one is busy with it until others have taken theirs. */
static void pool_prepare(struct mode *mode, const struct work *work)
{
    const struct mc_group_options options = {.size = sizeof(options), .on_done = on_prepared};
    mc_group *group = NULL;
    int status = mc_group_open(mode->pool, &options, &group);
    for (unsigned i = 0; status == 0 && i < mc_pool_workers(mode->pool); i++)
        status = mc_group_run(group, work->name, NULL, 0);
    if (status < 0)
        mc_group_close(group);
}

static void pool_state(struct mode *mode, struct mode_state *state, pid_t *pids, unsigned count)
{
    state->workers = mc_pool_worker_pids(mode->pool, pids, count);
    state->mode = mode->admitted;
}

const struct mode_calls mode_pool = {.open = pool_open,
                                     .close = pool_close,
                                     .start = pool_start,
                                     .cancel = pool_cancel,
                                     .prepare = pool_prepare,
                                     .state = pool_state};
