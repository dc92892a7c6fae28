/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Modules that are none, or do harm when they are loaded: -DCRASH, -DHANG, -DQUIT,
 * -DOLD, -DHEADLESS, -DVAST, -DNOTHING, -DTWICE, -DREFUSE.
 */
#include "multicore.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#if defined(CRASH) || defined(HANG) || defined(QUIT)
__attribute__((constructor)) static void begin(void)
{
#ifdef CRASH
    raise(SIGKILL);
#elif defined(HANG)
    pause();
#else
    _exit(7);
#endif
}
#endif

#ifdef TWICE
static int nothing(mc_task *task)
{
    return 0;
}
static const struct mc_handler handlers[] = {{.name = "same", .run = nothing},
                                             {.name = "same", .run = nothing}};
#endif

#ifdef REFUSE
static int configure(mc_module_self *self)
{
    return mc_fail(-ENOENT, "no setting 'font'; say which font to use");
}
#endif

#ifndef NOTHING
MC_MODULE = {
#ifdef OLD
    .size = sizeof(struct mc_module),
    .abi = MC_MODULE_ABI + 1,
    .name = "old",
#elif defined(HEADLESS)
    .abi = MC_MODULE_ABI,
    .name = "headless",
#elif defined(VAST)
    .size = (size_t)1 << 40,
    .abi = 77,
    .name = "vast",
#else
    MC_MODULE_HEAD("bad"),
#endif
#ifdef TWICE
    .handlers = handlers,
    .handler_count = 2,
#endif
#ifdef REFUSE
    .configure = configure,
#endif
};
#endif
