/* SPDX-License-Identifier: BSD-3-Clause
 *
 * 01-square: the whole loop once. A handler, a pool, a group; a range that is
 * split into chunks, and results that are added up as they come.
 */
#include <multicore.h>

#include <inttypes.h>
#include <stdio.h>

enum { ITEMS = 1000000 };

/* Runs in a worker, once for each chunk. */
static int square(mc_task *task)
{
    uint64_t sum = 0;
    for (uint64_t i = mc_task_start(task); i < mc_task_end(task); i++)
        sum += i * i;
    return mc_task_reply(task, &sum, sizeof(sum));
}

static int sum_of_squares(mc_pool *pool, uint64_t *total)
{
    mc_group *group;
    struct mc_result result = {.size = sizeof(result)};
    int status = mc_group_open(pool, NULL, &group);
    if (status < 0)
        return status;
    *total = 0;
    status = mc_group_map(group, "square", ITEMS, NULL, NULL, 0);
    if (status == 0)
        while ((status = mc_group_next(group, &result, -1)) == 1 && result.status == 0)
            *total += *(const uint64_t *)result.data;
    if (status == 1) { /* the loop stopped at a task that failed */
        fprintf(stderr, "items %" PRIu64 " to %" PRIu64 ": %s\n", result.start, result.end,
                result.error);
        status = result.status;
    }
    mc_group_close(group); /* the results are gone after this */
    return status;
}

int main(void)
{
    const struct mc_handler handlers[] = {{.name = "square", .run = square}};
    const struct mc_pool_options options = {
        .size = sizeof(options), .handlers = handlers, .handler_count = 1};
    mc_pool *pool;
    uint64_t total;

    int status = mc_pool_open(&options, &pool);
    if (status == 0) {
        status = sum_of_squares(pool, &total);
        mc_pool_close(pool);
    }
    if (status != 0) {
        fprintf(stderr, "error %d: %s\n", status, mc_error_message());
        return 1;
    }
    printf("the squares of 0 to %d add up to %" PRIu64 "\n", ITEMS - 1, total);
    return 0;
}
