/* SPDX-License-Identifier: BSD-3-Clause
 *
 * 04-errors: what a caller sees when a handler fails, when it crashes, and when
 * there is none of that name. Each failure costs one task, and nothing else.
 */
#include "check.h"

#include <errno.h>
#include <string.h>

static int fine(mc_task *task)
{
    return mc_task_reply(task, "fine", 4);
}

/* Fails with a status and a sentence of its own. */
static int refuse(mc_task *task)
{
    return mc_task_fail(task, -EACCES, "the door is locked");
}

/* Fails with a status only, which may be any number but 0. */
static int give_up(mc_task *task)
{
    return 7;
}

/* MC_ISOLATED: it never runs in the caller, so it costs a worker at most. */
static int crash(mc_task *task)
{
    abort();
}

static void print(const struct mc_result *result)
{
    if (result->status == 0)
        printf("%zu: \"%.*s\"\n", result->index, (int)result->data_size,
               (const char *)result->data);
    else if (result->status == -EOWNERDEAD) /* result->error also has its pid and the time */
        printf("%zu: its worker died%s\n", result->index,
               strstr(result->error, "signal 6") != NULL ? " of signal 6" : "");
    else
        printf("%zu: status %d: %s\n", result->index, result->status, result->error);
}

int main(void)
{
    const struct mc_handler handlers[] = {
        {.name = "fine", .run = fine},
        {.name = "refuse", .run = refuse},
        {.name = "give up", .run = give_up},
        {.name = "crash", .run = crash, .flags = MC_ISOLATED},
    };
    const struct mc_pool_options options = {
        .size = sizeof(options), .handlers = handlers, .handler_count = 4};
    static const char *const wanted[] = {"fine", "refuse", "give up", "crash", "fien", "fine"};
    struct mc_result result = {.size = sizeof(result)};
    mc_pool *pool;
    mc_group *group;
    check(mc_pool_open(&options, &pool));
    check(mc_group_open(pool, NULL, &group));
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
        if (mc_group_run(group, wanted[i], NULL, 0) == -ENOENT) /* no task was made */
            printf("not submitted: %s\n", mc_error_message());
    check(mc_group_wait(group, -1)); /* 0: all have ended, whatever their status */
    for (size_t i = 0; i < mc_group_size(group); i++) {
        check(mc_group_result(group, i, &result));
        print(&result);
    }
    mc_group_close(group);
    mc_pool_close(pool);
    return 0;
}
