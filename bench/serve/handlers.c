/* SPDX-License-Identifier: BSD-3-Clause */
#include "handlers.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int null_handler(mc_task *task)
{
    (void)task;
    return 0;
}

static long long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static int work_handler(mc_task *task)
{
    size_t size;
    unsigned duration_us;
    const void *args = mc_task_args(task, &size);
    if (size != sizeof(duration_us))
        return mc_task_fail(task, -EINVAL, "%zu bytes of arguments: give an unsigned int", size);
    memcpy(&duration_us, args, size);
    for (long long end = now() + duration_us * 1000LL; now() < end;) {
    }
    pid_t parent = getppid();
    return mc_task_reply(task, &parent, sizeof(parent));
}

const struct mc_handler bench_handlers[] = {
    {.name = "null", .run = null_handler},
    {.name = "work", .run = work_handler, .flags = MC_IDEMPOTENT},
};
const size_t bench_handler_count = sizeof(bench_handlers) / sizeof(bench_handlers[0]);
