/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Tasks that wait in an I/O worker for a known time, in ms.
 */
#include "multicore.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

static int end(mc_task *task, unsigned events, void *context)
{
    return (events & MC_EVENT_END) != 0 ? -ECANCELED : 0;
}

static int linger(mc_task *task)
{
    size_t size;
    uint32_t ms = 0;
    const void *args = mc_task_args(task, &size);
    if (size == sizeof(ms))
        memcpy(&ms, args, sizeof(ms));
    int result = mc_task_await_timer(task, ms, end, NULL);
    return result < 0 ? result : MC_PENDING;
}

static const struct mc_handler handlers[] = {{.name = "linger", .run = linger, .flags = MC_IO}};

MC_MODULE = {MC_MODULE_HEAD("linger"), .handlers = handlers, .handler_count = 1};
