/* SPDX-License-Identifier: BSD-3-Clause
 *
 * 10-waiting: a handler that waits most of the time: a thousand tasks, each with two pauses of a
 * quarter of a second, as if it asked a database twice. One worker holds them all.
 */
#include "check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { TASKS = 1000, PAUSE_MS = 250 };

/* What a task remembers from one call to the next. */
struct dialogue {
    int answers;
};

static int answered(mc_task *task, unsigned events, void *context)
{
    struct dialogue *dialogue = context;
    int status = 0;
    if ((events & MC_EVENT_END) != 0) /* cancelled, or over its time limit */
        status = mc_task_fail(task, -ECANCELED, "given up after %d answers", dialogue->answers);
    else if (++dialogue->answers < 2)
        status = mc_task_await_timer(task, PAUSE_MS, answered, dialogue);
    else
        status = mc_task_reply(task, &dialogue->answers, sizeof(dialogue->answers));
    if (status == 0 && dialogue->answers < 2)
        return MC_PENDING;
    free(dialogue);
    return status;
}

static int ask(mc_task *task)
{
    struct dialogue *dialogue = calloc(1, sizeof(*dialogue));
    if (dialogue == NULL)
        return -ENOMEM;
    int status = mc_task_await_timer(task, PAUSE_MS, answered, dialogue);
    if (status == 0)
        return MC_PENDING;
    free(dialogue);
    return status;
}

int main(void)
{
    const struct mc_handler handlers[] = {{.name = "ask", .run = ask, .flags = MC_IO}};
    struct mc_pool_options options = {
        .size = sizeof(options), .handlers = handlers, .handler_count = 1};
    mc_pool *pool;
    mc_group *group;
    int answers = 0;

    check(mc_pool_open(&options, &pool));
    check(mc_group_open(pool, NULL, &group));
    time_t began = time(NULL);
    for (int i = 0; i < TASKS; i++)
        check(mc_group_run(group, "ask", NULL, 0));

    struct mc_result result = {.size = sizeof(result)};
    while (mc_group_next(group, &result, -1) == 1)
        if (result.status == 0)
            answers += *(const int *)result.data;
    printf("%d answers, %s\n", answers,
           time(NULL) - began < 60 ? "in less than a minute instead of eight" : "late");

    mc_group_close(group);
    mc_pool_close(pool);
    return 0;
}
