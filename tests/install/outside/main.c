/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a user of an installed library writes first: a range, mapped and summed.
 */
#include <inttypes.h>
#include <multicore.h>
#include <stdio.h>

enum { ITEMS = 100000 };

static int add(mc_task *task)
{
    uint64_t sum = 0;
    for (uint64_t i = mc_task_start(task); i < mc_task_end(task); i++)
        sum += i;
    return mc_task_reply(task, &sum, sizeof(sum));
}

static int add_in_parallel(mc_pool *pool, uint64_t *sum)
{
    mc_group *group;
    struct mc_result result = {.size = sizeof(result)};
    int status = mc_group_open(pool, NULL, &group);
    if (status < 0)
        return status;
    status = mc_group_map(group, "add", ITEMS, NULL, NULL, 0);
    if (status == 0) {
        while ((status = mc_group_next(group, &result, 10000)) == 1 && result.status == 0)
            *sum += *(const uint64_t *)result.data;
        if (status == 1)
            status = result.status;
    }
    mc_group_close(group);
    return status;
}

int main(void)
{
    const struct mc_handler handlers[] = {{.name = "add", .run = add}};
    const struct mc_pool_options options = {
        .size = sizeof(options), .handlers = handlers, .handler_count = 1};
    const uint64_t expected = (uint64_t)ITEMS * (ITEMS - 1) / 2;
    uint64_t sum = 0;
    mc_pool *pool;

    int status = mc_pool_open(&options, &pool);
    if (status == 0) {
        status = add_in_parallel(pool, &sum);
        mc_pool_close(pool);
    }
    if (status != 0) {
        fprintf(stderr, "error %d: %s\n", status, mc_error_message());
        return 1;
    }
    printf("multicore %s: the sum is %" PRIu64 ", expected %" PRIu64 "\n", mc_version(), sum,
           expected);
    return sum == expected ? 0 : 1;
}
