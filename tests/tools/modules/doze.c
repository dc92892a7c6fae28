/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Tasks of a known duration, in ms; they run in workers only.
 */
#include "multicore.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

static void sleep_for(mc_task *task)
{
    size_t size;
    uint32_t ms = 0;
    const void *args = mc_task_args(task, &size);
    if (size == sizeof(ms))
        memcpy(&ms, args, sizeof(ms));
    struct timespec rest = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&rest, &rest) < 0 && errno == EINTR) {
    }
}

static int doze(mc_task *task)
{
    sleep_for(task);
    return 0;
}

static int doze_and_fail(mc_task *task)
{
    sleep_for(task);
    return mc_task_fail(task, -EIO, "slept badly");
}

static const struct mc_handler handlers[] = {
    {.name = "doze", .run = doze, .flags = MC_ISOLATED},
    {.name = "bad \"doze\"", .run = doze_and_fail, .flags = MC_ISOLATED},
};

MC_MODULE = {MC_MODULE_HEAD("doze"), .handlers = handlers, .handler_count = 2};
