/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A job is a group of one task. The event loop watches the pool's descriptor, and is
 * told when a group is done; it never computes, and never waits.
 */
#include "async.h"
#include "pages.h"
#include "posts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

/* ---- In the workers ---- */

static int compute(mc_task *task, const struct work *work)
{
    struct reply reply = {0};
    struct failure failure = {0};
    size_t size;
    const void *args = mc_task_args(task, &size);
    int status = work->compute(args, size, &reply, &failure);
    if (status < 0)
        return mc_task_fail(task, status, "%s", failure.text);
    status = mc_task_reply(task, reply.data, reply.size);
    free(reply.data);
    return status;
}

static int run_cpu(mc_task *task)
{
    return compute(task, &posts_cpu);
}

static int run_count(mc_task *task)
{
    return compute(task, &pages_count);
}

static int run_page(mc_task *task)
{
    return compute(task, &pages_draw);
}

/* ---- In the server ---- */

/* A renderer may crash on what it is given; the first never does. */
static const struct mc_handler handlers[] = {
    {.name = "cpu", .run = run_cpu},
    {.name = "count", .run = run_count, .flags = MC_ISOLATED},
    {.name = "page", .run = run_page, .flags = MC_ISOLATED},
};

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

static void on_readable(struct watch *watch, uint32_t events)
{
    struct mode *mode = watch->context;
    (void)events;
    if (mc_pool_dispatch(mode->pool) < 0)
        mode->lost = true;
}

static int pool_open(struct mode *mode, struct failure *failure)
{
    const struct options *options = mode->options;
    const struct mc_pool_options wanted = {
        .size = sizeof(wanted),
        .handlers = handlers,
        .handler_count = sizeof(handlers) / sizeof(handlers[0]),
        .workers = options->workers,
        .max_load_average = options->max_load_average,
        .log = log_line,
    };
    int status = mc_pool_open(&wanted, &mode->pool);
    if (status < 0)
        return explain(status, failure);
    snprintf(mode->reason, sizeof(mode->reason), "nothing was asked yet");
    mode->watch = (struct watch){.ready = on_readable, .context = mode};
    int fd = mc_pool_fd(mode->pool);
    status = fd < 0 ? fd : loop_watch(mode->loop, fd, EPOLLIN, &mode->watch);
    if (status < 0)
        return failure_set(failure, status, "cannot watch the pool");
    return mode_open_database(options, options->connections, &mode->database, failure);
}

static void pool_close(struct mode *mode)
{
    database_close(mode->database);
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
    if (!job->work->compute) {
        async_ask(mode, job);
        return;
    }
    int status = submit(mode, job, &group);
    if (status < 0) {
        mc_group_close(group);
        job_fail(job, status, mc_error_message());
        return;
    }
    job->running = group;
    mode->admitted = mc_group_mode(group);
    snprintf(mode->reason, sizeof(mode->reason), "%s", mc_group_reason(group));
}

static void pool_cancel(struct mode *mode, struct job *job)
{
    if (!job->work->compute) {
        async_cancel(mode, job);
        return;
    }
    mc_group_close(job->running);
    job->running = NULL;
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
                                     .state = pool_state};
