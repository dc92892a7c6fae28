/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Null tasks per second: from mc_group_open() to the return of mc_group_close().
 * One by one, in one group that is much larger than the queue is deep; and in
 * maps that fill the queue once.
 */
#include "probes.h"

enum { TASKS = 204800, BATCH = 4096 };

static bool run_one_by_one(mc_group *group, size_t tasks)
{
    for (size_t i = 0; i < tasks; i++)
        if (mc_group_run(group, "null", NULL, 0) < 0)
            return false;
    return mc_group_wait(group, -1) == 0;
}

static bool run_as_map(mc_group *group, size_t tasks)
{
    struct mc_map_options split = {.size = sizeof(split), .max_chunk = 1};
    return mc_group_map(group, "null", tasks, &split, NULL, 0) == 0 &&
           mc_group_wait(group, -1) == 0;
}

static bool all_done(mc_group *group, size_t tasks)
{
    struct mc_result result = {.size = sizeof(result)};
    if (mc_group_size(group) != tasks)
        return false;
    for (size_t i = 0; i < tasks; i++)
        if (mc_group_result(group, i, &result) < 0 || result.status != 0)
            return false;
    return true;
}

/* The time of one group in ns, without that of looking at its results; below 0
 * when it failed. */
static double time_group(size_t tasks, bool (*submit)(mc_group *group, size_t tasks))
{
    mc_group *group;
    uint64_t began = now_ns();
    if (mc_group_open(subject(), NULL, &group) < 0)
        return -1;
    bool fine = submit(group, tasks);
    uint64_t waited = now_ns();
    fine = fine && all_done(group, tasks);
    uint64_t checked = now_ns();
    mc_group_close(group);
    return fine ? (double)(waited - began) + (double)(now_ns() - checked) : -1;
}

static enum outcome throughput(enum figure_id figure, unsigned samples, size_t group_tasks,
                               bool (*submit)(mc_group *group, size_t tasks))
{
    for (unsigned i = 0; i <= samples; i++) {
        double elapsed = 0;
        for (size_t done = 0; done < TASKS; done += group_tasks) {
            double one = time_group(group_tasks, submit);
            if (one < 0)
                return failed("%zu null tasks: %s", group_tasks, mc_error_message());
            elapsed += one;
        }
        if (i > 0) /* the first warms up */
            figure_add(figure, TASKS / (elapsed / 1e9));
    }
    return MEASURED;
}

enum outcome throughput_single(const struct probe *probe, unsigned samples)
{
    return throughput(probe->figure, samples, TASKS, run_one_by_one);
}

enum outcome throughput_batch(const struct probe *probe, unsigned samples)
{
    return throughput(probe->figure, samples, BATCH, run_as_map);
}
