/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A module of a known cost: sleep = MS, or compute = MS.
 */
#include "multicore.h"
#include "work.h"

#include <stdlib.h>

static int null(mc_task *task)
{
    return mc_task_reply(task, NULL, 0);
}

static int load(mc_module_self *self)
{
    const char *sleep = mc_module_setting(self, "sleep");
    const char *compute = mc_module_setting(self, "compute");
    if (sleep != NULL) {
        long ms = atol(sleep);
        nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
    }
    if (compute != NULL)
        work_compute((double)atol(compute));
    return 0;
}

static const struct mc_handler handlers[] = {{.name = NAME, .run = null}};

MC_MODULE = {
    MC_MODULE_HEAD(NAME), .handlers = handlers, .handler_count = 1, .warmup = NAME, .load = load,
};
