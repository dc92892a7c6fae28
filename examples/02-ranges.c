/* SPDX-License-Identifier: BSD-3-Clause
 *
 * 02-ranges: how work is cut. mc_ranges() is plain arithmetic and needs no pool.
 * mc_group_map() cuts for the workers of its pool: evenly, within limits of
 * yours, or (by default) guided, into more and ever smaller chunks.
 */
#include "check.h"

#include <inttypes.h>

/* Does nothing: the result says which range the task had. */
static int look(mc_task *task)
{
    return 0;
}

static void map(mc_group *group, uint64_t items, const struct mc_map_options *options)
{
    check(mc_group_map(group, "look", items, options, NULL, 0));
    check(mc_group_wait(group, -1));
}

/* Results by index come in the order of the ranges. */
static void print_each(mc_pool *pool, const char *title, uint64_t items,
                       const struct mc_map_options *options)
{
    mc_group *group;
    struct mc_result result = {.size = sizeof(result)};
    check(mc_group_open(pool, NULL, &group));
    map(group, items, options);
    printf("%s:", title);
    for (size_t i = 0; i < mc_group_size(group); i++) {
        check(mc_group_result(group, i, &result));
        printf(" %" PRIu64 "-%" PRIu64, result.start, result.end);
    }
    printf("\n");
    mc_group_close(group);
}

static void print_guided(mc_pool *pool, uint64_t items)
{
    mc_group *group;
    struct mc_result first = {.size = sizeof(first)}, last = {.size = sizeof(last)};
    check(mc_group_open(pool, NULL, &group));
    map(group, items, NULL);
    check(mc_group_result(group, 0, &first));
    check(mc_group_result(group, mc_group_size(group) - 1, &last));
    printf("guided: %" PRIu64 "-%" PRIu64 ", the last chunk is %s than the first\n", first.start,
           last.end, last.end - last.start < first.end - first.start ? "smaller" : "no smaller");
    mc_group_close(group);
}

int main(void)
{
    struct mc_range ranges[8];
    size_t count = mc_ranges(80, 4, 30, ranges, 8); /* 80 items, 4 parts, no part below 30 */
    printf("mc_ranges:");
    for (size_t i = 0; i < count && i < 8; i++)
        printf(" %" PRIu64 "-%" PRIu64, ranges[i].start, ranges[i].end);
    printf("\n");

    const struct mc_handler handlers[] = {{.name = "look", .run = look}};
    const struct mc_pool_options options = {
        .size = sizeof(options), .handlers = handlers, .handler_count = 1, .workers = 4};
    struct mc_map_options even = {.size = sizeof(even), .split = MC_SPLIT_STATIC};
    struct mc_map_options single = {.size = sizeof(single), .max_chunk = 1};
    mc_pool *pool;
    check(mc_pool_open(&options, &pool));
    print_each(pool, "static", 80, &even);
    even.max_chunk = 12;
    print_each(pool, "static, at most 12", 80, &even);
    print_each(pool, "one item each", 5, &single);
    print_guided(pool, 100000);
    mc_pool_close(pool);
    return 0;
}
