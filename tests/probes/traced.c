/* SPDX-License-Identifier: BSD-3-Clause
 *
 * traced TASKS: has two workers run so many tasks of a millisecond, of which every
 * tenth fails; none runs in the caller.
 */
#include <multicore.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int traced(mc_task *task)
{
    struct timespec millisecond = {.tv_nsec = 1000000};
    nanosleep(&millisecond, NULL);
    size_t size;
    const int *number = mc_task_args(task, &size);
    return *number % 10 == 0 ? -EDOM : 0;
}

static int run_tasks(mc_pool *pool, int count)
{
    mc_group *group;
    int status = mc_group_open(pool, NULL, &group);
    if (status < 0)
        return status;
    for (int number = 0; status == 0 && number < count; number++)
        status = mc_group_run(group, "traced", &number, sizeof(number));
    if (status == 0)
        status = mc_group_wait(group, -1);
    mc_group_close(group);
    return status;
}

int main(int argc, char **argv)
{
    const struct mc_handler handlers[] = {{.name = "traced", .run = traced, .flags = MC_ISOLATED}};
    const struct mc_pool_options options = {
        .size = sizeof(options), .handlers = handlers, .handler_count = 1, .workers = 2};
    mc_pool *pool;
    int status = mc_pool_open(&options, &pool);
    if (status == 0) {
        status = run_tasks(pool, argc > 1 ? atoi(argv[1]) : 1);
        mc_pool_close(pool);
    }
    if (status != 0)
        fprintf(stderr, "error %d: %s\n", status, mc_error_message());
    return status != 0;
}
