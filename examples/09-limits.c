/* SPDX-License-Identifier: BSD-3-Clause
 *
 * 09-limits: a task that hangs is ended, one that is asked to hurry does, and one
 * that may be repeated survives the death of two workers.
 */
#include "check.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

/* MC_ISOLATED, since nobody could end it in the caller. */
static int hang(mc_task *task)
{
    for (;;)
        pause();
    return 0;
}

/* Gives what it has when its soft limit is over. */
static int count(mc_task *task)
{
    unsigned steps = 0;
    while (!mc_task_overdue(task)) {
        usleep(1000);
        steps++;
    }
    return mc_task_reply(task, &steps, sizeof(steps));
}

/* Doing it again does no harm, so a crash is no end. */
static int stumble(mc_task *task)
{
    if (mc_task_attempt(task) < 3)
        raise(SIGKILL);
    return 0;
}

int main(void)
{
    const struct mc_handler handlers[] = {
        {.name = "hang", .run = hang, .flags = MC_ISOLATED, .time_limit_ms = 100},
        {.name = "count", .run = count, .soft_time_limit_ms = 20},
        {.name = "stumble", .run = stumble, .flags = MC_ISOLATED | MC_IDEMPOTENT},
    };
    const struct mc_pool_options options = {
        .size = sizeof(options), .handlers = handlers, .handler_count = 3};
    struct mc_result result = {.size = sizeof(result)};
    mc_pool *pool;
    mc_group *group;
    check(mc_pool_open(&options, &pool));
    check(mc_group_open(pool, NULL, &group));
    for (int i = 0; i < 3; i++)
        check(mc_group_run(group, handlers[i].name, NULL, 0));
    check(mc_group_wait(group, -1));
    check(mc_group_result(group, 0, &result));
    printf("hang: %s\n", result.status == -ETIMEDOUT ? "timed out" : result.error);
    check(mc_group_result(group, 1, &result));
    printf("count: %s\n", *(const unsigned *)result.data > 0 ? "counted" : "did not");
    check(mc_group_result(group, 2, &result));
    printf("stumble: %s\n", result.status == 0 ? "done at the third attempt" : result.error);
    mc_group_close(group);
    mc_pool_close(pool);
    return 0;
}
