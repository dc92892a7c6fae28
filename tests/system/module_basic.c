/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A module for the tests of served pools. VERSION tells its builds apart; the third has
 * handlers that wait.
 */
#include "multicore.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef VERSION
#define VERSION 1
#endif

static int loaded;

static int echo(mc_task *task)
{
    size_t size;
    const void *args = mc_task_args(task, &size);
    return mc_task_reply(task, args, size);
}

static int sum(mc_task *task)
{
    uint64_t total = 0;
    for (uint64_t i = mc_task_start(task); i < mc_task_end(task); i++)
        total += i;
    return mc_task_reply(task, &total, sizeof(total));
}

static int version(mc_task *task)
{
    int answer = VERSION * 100 + loaded;
    return mc_task_reply(task, &answer, sizeof(answer));
}

static int greeting(mc_task *task)
{
    const char *text = mc_task_state(task);
    return mc_task_reply(task, text, strlen(text));
}

static int crash(mc_task *task)
{
    raise(SIGKILL);
    return 0;
}

static int doze(mc_task *task)
{
    size_t size;
    const unsigned *ms = mc_task_args(task, &size);
    usleep(*ms * 1000);
    return 0;
}

#if VERSION == 2
static int novel(mc_task *task)
{
    return 0;
}
#endif

#if VERSION == 3
static int spend(mc_task *task, unsigned events, void *ms)
{
    size_t size;
    const void *args = mc_task_args(task, &size);
    if ((events & MC_EVENT_END) != 0)
        return -ECANCELED;
    usleep((unsigned)(uintptr_t)ms * 1000);
    return mc_task_reply(task, args, size);
}

/* Waits for so many milliseconds, and then keeps its worker for so many, but not for ever:
 * clients may write there. */
static int linger(mc_task *task)
{
    size_t size;
    const unsigned *ms = mc_task_args(task, &size);
    void *spend_ms = (void *)(uintptr_t)(ms[1] % 2000);
    int result = mc_task_await_timer(task, ms[0], spend, spend_ms);
    return result < 0 ? result : MC_PENDING;
}
#endif

static const struct mc_handler handlers[] = {
    {.name = "echo", .run = echo},
    {.name = "sum", .run = sum},
    {.name = "version", .run = version},
    {.name = "greeting", .run = greeting},
    {.name = "crash", .run = crash, .flags = MC_ISOLATED},
    {.name = "again", .run = crash, .flags = MC_ISOLATED | MC_IDEMPOTENT},
    {.name = "doze", .run = doze, .flags = MC_ISOLATED | MC_IDEMPOTENT},
#if VERSION == 2
    {.name = "novel", .run = novel},
#endif
#if VERSION == 3
    {.name = "linger", .run = linger, .flags = MC_IO},
    {.name = "linger-limited", .run = linger, .flags = MC_IO, .time_limit_ms = 200},
#endif
};

static int configure(mc_module_self *self)
{
    const char *refuse = mc_module_setting(self, "refuse");
    return refuse == NULL ? 0 : mc_fail(-EPERM, "told to refuse: %s", refuse);
}

static int load(mc_module_self *self)
{
    loaded = 7;
    return 0;
}

static int begin(mc_module_self *self, void **state)
{
    const char *text = mc_module_setting(self, "greeting");
    if (text != NULL && strcmp(text, "none") == 0)
        return mc_fail(-ENOENT, "nothing to say");
    if (mc_module_setting(self, "hang-up") != NULL) /* to the supervisor */
        kill(getppid(), SIGHUP);
    *state = strdup(text != NULL ? text : "hello");
    return *state != NULL ? 0 : -ENOMEM;
}

MC_MODULE = {
    MC_MODULE_HEAD("basic"),
    .handlers = handlers,
    .handler_count = sizeof(handlers) / sizeof(handlers[0]),
    .configure = configure,
    .load = load,
    .worker_init = begin,
    .worker_exit = free,
};
