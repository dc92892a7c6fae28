/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A module as it should be; -DNAME and -DREQUIRES make others of it.
 */
#include "multicore.h"

#ifndef NAME
#define NAME "good"
#endif
#ifndef HANDLER
#define HANDLER NAME "-echo"
#endif

static int echo(mc_task *task)
{
    size_t size;
    const void *args = mc_task_args(task, &size);
    return mc_task_reply(task, args, size);
}

static const struct mc_handler handlers[] = {{.name = HANDLER, .run = echo}};
#ifdef REQUIRES
static const char *const requires[] = {REQUIRES, NULL};
#endif

MC_MODULE = {
    MC_MODULE_HEAD(NAME),
    .handlers = handlers,
    .handler_count = 1,
#ifdef REQUIRES
    .requires = requires,
#endif
};
