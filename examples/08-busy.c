/* SPDX-License-Identifier: BSD-3-Clause
 *
 * 08-busy: the same calls on a calm and on a busy machine. Above
 * max_load_average tasks run in the caller, so that a request is not slower for
 * having tried; those that may crash go to one worker at a time instead.
 * The load is made up: proc_path names a directory to read it from.
 */
#include "check.h"

#include <string.h>
#include <unistd.h>

static int where(mc_task *task)
{
    const char *place = mc_task_inline(task) ? "in the caller" : "in a worker";
    return mc_task_reply(task, place, strlen(place) + 1);
}

static void run(mc_pool *pool, const char *handler)
{
    const struct mc_group_options waits = {.size = sizeof(waits), .help = MC_HELP_NEVER};
    struct mc_result result = {.size = sizeof(result)};
    mc_group *group;
    check(mc_group_open(pool, &waits, &group)); /* decides from the load */
    check(mc_group_run(group, handler, NULL, 0));
    check(mc_group_wait(group, -1)); /* runs the task, if it is to run here */
    check(mc_group_result(group, 0, &result));
    printf("%s ran %s: %s\n", handler,
           result.status == 0 ? (const char *)result.data : result.error, mc_group_reason(group));
    mc_group_close(group);
}

/* A machine with that 1-minute load average for each usable core. */
static void show(const char *directory, double load, struct mc_pool_options *options)
{
    char path[64];
    mc_pool *pool;
    snprintf(path, sizeof(path), "%s/loadavg", directory);
    FILE *file = fopen(path, "w");
    if (file == NULL)
        exit(EXIT_FAILURE);
    fprintf(file, "%.2f 0.00 0.00 1/100 1000\n", load * mc_usable_cores());
    fclose(file);
    options->proc_path = directory;
    check(mc_pool_open(options, &pool));
    run(pool, "plain");
    run(pool, "isolated");
    mc_pool_close(pool);
    unlink(path);
}

int main(void)
{
    const struct mc_handler handlers[] = {
        {.name = "plain", .run = where},
        {.name = "isolated", .run = where, .flags = MC_ISOLATED},
    };
    struct mc_pool_options options = {.size = sizeof(options),
                                      .handlers = handlers,
                                      .handler_count = 2,
                                      .max_load_average = "85%"};
    char directory[] = "/tmp/multicore-busy-XXXXXX";
    if (mkdtemp(directory) == NULL)
        return EXIT_FAILURE;
    show(directory, 0.5, &options);
    show(directory, 3, &options);
    rmdir(directory);
    return 0;
}
