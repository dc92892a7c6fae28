/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A module that is to be loaded late: -DNAME="late", -DREQUIRES="front". Its settings:
 *
 *   slow-ms, slow-init-ms   load, or worker_init, takes so long
 *   refuse, crash   in the phase of that name
 */
#include "multicore.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of the program: counts. */
__attribute__((weak)) void lazy_note(const char *module, const char *phase);

#ifdef REQUIRES
static const char *const requires[] = {REQUIRES, NULL};
#else
static const char *const requires[] = {NULL};
#endif

static int loaded; /* in this process, and in those that it is a fork of */

static int phase(const mc_module_self *self, const char *name)
{
    const char *refuse = mc_module_setting(self, "refuse");
    const char *crash = mc_module_setting(self, "crash");
    if (lazy_note != NULL)
        lazy_note(NAME, name);
    if (crash != NULL && strcmp(crash, name) == 0)
        raise(SIGSEGV);
    return refuse != NULL && strcmp(refuse, name) == 0 ? mc_fail(-EPERM, "told to refuse") : 0;
}

static int configure(mc_module_self *self)
{
    return phase(self, "configure");
}

static void take_time(const mc_module_self *self, const char *key)
{
    const char *slow_ms = mc_module_setting(self, key);
    if (slow_ms != NULL)
        usleep((unsigned)atoi(slow_ms) * 1000);
}

static int load(mc_module_self *self)
{
    take_time(self, "slow-ms");
    loaded++;
    return phase(self, "load");
}

static int ready(mc_module_self *self)
{
    return phase(self, "ready");
}

static int begin(mc_module_self *self, void **state)
{
    int result = phase(self, "worker_init");
    take_time(self, "slow-init-ms");
    *state = &loaded;
    return result;
}

/* Answers how often its module was loaded, as its own worker_init sees it. */
static int answer(mc_task *task)
{
    const int *state = mc_task_state(task);
    if (state == NULL)
        return mc_task_fail(task, -EINVAL, "no worker_init came before");
    return mc_task_reply(task, state, sizeof(*state));
}

static int answer_later(mc_task *task, unsigned events, void *context)
{
    (void)context;
    return (events & MC_EVENT_END) != 0 ? -ECANCELED : answer(task);
}

static int wait_and_answer(mc_task *task)
{
    int result = mc_task_await_timer(task, 1, answer_later, NULL);
    return result < 0 ? result : MC_PENDING;
}

/* Takes a moment. */
static int doze(mc_task *task)
{
    usleep(2000);
    return answer(task);
}

/* Until it is cancelled; not for ever, if its test is long over. */
static int hold(mc_task *task)
{
    for (int i = 0; i < 20000 && !mc_task_cancelled(task); i++)
        usleep(1000);
    return answer(task);
}

static int hold_waiting(mc_task *task)
{
    int result = mc_task_await_timer(task, 20000, answer_later, NULL);
    return result < 0 ? result : MC_PENDING;
}

/* Has a task of the handler that is named, and gives its answer. */
static int ask(mc_task *task)
{
    struct mc_result result = {.size = sizeof(result)};
    mc_group *group;
    size_t size;
    const char *handler = mc_task_args(task, &size);
    int status = mc_group_open(mc_task_pool(task), NULL, &group);
    if (status < 0)
        return mc_task_fail(task, status, "%s", mc_error_message());
    status = mc_group_run(group, handler, NULL, 0);
    if (status == 0)
        status = mc_group_wait(group, -1);
    if (status == 0)
        status = mc_group_result(group, 0, &result);
    if (status < 0)
        status = mc_task_fail(task, status, "%s", mc_error_message());
    else if (result.status != 0)
        status = mc_task_fail(task, result.status, "%s", result.error);
    else
        status = mc_task_reply(task, result.data, result.data_size);
    mc_group_close(group);
    return status;
}

static const struct mc_handler handlers[] = {
    {.name = NAME, .run = answer},
    {.name = NAME "/io", .run = wait_and_answer, .flags = MC_IO},
    {.name = NAME "/ask", .run = ask},
    {.name = NAME "/doze", .run = doze},
    {.name = NAME "/hold", .run = hold},
    {.name = NAME "/hold-waiting", .run = hold_waiting, .flags = MC_IO},
};

MC_MODULE = {
    MC_MODULE_HEAD(NAME),
    .handlers = handlers,
    .handler_count = sizeof(handlers) / sizeof(handlers[0]),
    .requires = requires,
    .configure = configure,
    .load = load,
    .ready = ready,
    .worker_init = begin,
};
