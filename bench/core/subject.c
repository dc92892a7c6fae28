/* SPDX-License-Identifier: BSD-3-Clause */
#include "probes.h"

#include <string.h>

static mc_pool *shared;

static int null_handler(mc_task *task)
{
    (void)task;
    return 0;
}

static int echo_handler(mc_task *task)
{
    size_t size;
    void *room;
    const void *args = mc_task_args(task, &size);
    int result = mc_task_reply_alloc(task, size, &room);
    if (result < 0)
        return result;
    memcpy(room, args, size);
    return 0;
}

static int sum_handler(mc_task *task)
{
    uint64_t sum = 0;
    for (uint64_t i = mc_task_start(task); i < mc_task_end(task); i++)
        sum += i;
    return mc_task_reply(task, &sum, sizeof(sum));
}

void work_us(unsigned us)
{
    uint64_t began = now_ns();
    while (now_ns() - began < us * 1000u) {
    }
}

static int work_handler(mc_task *task)
{
    (void)task;
    work_us(WORK_US);
    return 0;
}

bool subject_open(mc_pool **pool)
{
    static const struct mc_handler handlers[] = {
        {.name = "null", .run = null_handler}, {.name = "echo", .run = echo_handler},
        {.name = "rows", .run = rows_handler}, {.name = "sum", .run = sum_handler},
        {.name = "work", .run = work_handler},
    };
    struct mc_pool_options options = {
        .size = sizeof(options),
        .handlers = handlers,
        .handler_count = sizeof(handlers) / sizeof(handlers[0]),
        .workers = 2,
    };
    if (mc_pool_open(&options, pool) < 0)
        return false;
    if (shared == NULL)
        shared = *pool;
    return true;
}

void subject_close(void)
{
    mc_pool_close(shared);
    shared = NULL;
}

mc_pool *subject(void)
{
    return shared;
}
