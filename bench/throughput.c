/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Null tasks per second: from mc_group_open() to the return of mc_group_close()
 * of one group that is much larger than the queue is deep.
 */
#include "probes.h"

enum { TASKS = 200000 };

static bool run_one_by_one(mc_group *group)
{
    for (int i = 0; i < TASKS; i++)
        if (mc_group_run(group, "null", NULL, 0) < 0)
            return false;
    return mc_group_wait(group, -1) == 0;
}

static bool run_as_map(mc_group *group)
{
    struct mc_map_options split = {.size = sizeof(split), .max_chunk = 1};
    return mc_group_map(group, "null", TASKS, &split, NULL, 0) == 0 &&
           mc_group_wait(group, -1) == 0;
}

static bool all_done(mc_group *group)
{
    struct mc_result result = {.size = sizeof(result)};
    if (mc_group_size(group) != TASKS)
        return false;
    for (size_t i = 0; i < TASKS; i++)
        if (mc_group_result(group, i, &result) < 0 || result.status != 0)
            return false;
    return true;
}

/* The time of one group in ns, without that of looking at its results; below 0
 * when it failed. */
static double time_group(bool (*submit)(mc_group *group))
{
    mc_group *group;
    uint64_t began = now_ns();
    if (mc_group_open(subject(), NULL, &group) < 0)
        return -1;
    bool fine = submit(group);
    uint64_t waited = now_ns();
    fine = fine && all_done(group);
    uint64_t checked = now_ns();
    mc_group_close(group);
    return fine ? (double)(waited - began) + (double)(now_ns() - checked) : -1;
}

static enum outcome throughput(enum figure_id figure, unsigned samples,
                               bool (*submit)(mc_group *group))
{
    for (unsigned i = 0; i <= samples; i++) {
        double elapsed = time_group(submit);
        if (elapsed < 0)
            return failed("%d null tasks: %s", TASKS, mc_error_message());
        if (i > 0) /* the first warms up */
            figure_add(figure, TASKS / (elapsed / 1e9));
    }
    return MEASURED;
}

enum outcome throughput_single(const struct probe *probe, unsigned samples)
{
    return throughput(probe->figure, samples, run_one_by_one);
}

enum outcome throughput_batch(const struct probe *probe, unsigned samples)
{
    return throughput(probe->figure, samples, run_as_map);
}
