/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Memory that tasks fill as they go: in each worker for itself, and after refork-after.
 */
#include "multicore.h"
#include "probes.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    WORKERS = 4,
    TABLE_SIZE = 32 << 20,
    PAGE = 4096,
    AFTER = 2000,
    BATCH = 100,
    PATIENCE_MS = 20000,
};

static atomic_bool all_warm; /* the log has said so */

/* Fills the table at the first task of a process, and of those that it is a fork of; reads
 * it at every one. */
static int look_up(mc_task *task)
{
    static unsigned char *table;
    uint64_t sum = 0;
    if (table == NULL) {
        table = malloc(TABLE_SIZE);
        if (table == NULL)
            return mc_task_fail(task, -12, "no memory for the table");
        memset(table, 1, TABLE_SIZE);
    }
    for (size_t i = 0; i < TABLE_SIZE; i += PAGE)
        sum += table[i];
    return mc_task_reply(task, &sum, sizeof(sum));
}

static const struct mc_handler handlers[] = {{.name = "look-up", .run = look_up}};

static void on_log(void *context, int level, const char *line)
{
    (void)context;
    (void)level;
    if (strstr(line, "all workers are forks of") != NULL)
        atomic_store(&all_warm, true);
}

/* The workers that have run a task. */
struct seen {
    pid_t pids[WORKERS];
    unsigned count;
};

static bool is_new(struct seen *seen, pid_t pid)
{
    for (unsigned i = 0; i < seen->count; i++)
        if (seen->pids[i] == pid)
            return false;
    if (seen->count == WORKERS)
        return false;
    seen->pids[seen->count++] = pid;
    return true;
}

static bool pss_mib(pid_t pid, double *sum)
{
    char path[64], line[256];
    double kib = -1;
    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
    FILE *file = fopen(path, "re");
    while (file != NULL && kib < 0 && fgets(line, sizeof(line), file) != NULL)
        (void)sscanf(line, "Pss: %lf", &kib);
    if (file != NULL)
        fclose(file);
    *sum += kib / 1024;
    return kib >= 0;
}

/* What all processes of the pool hold, their share of what they share, by worker. */
static bool add_memory(pid_t supervisor, unsigned figure)
{
    char path[64];
    int pid;
    double sum = 0;
    bool fine = pss_mib(supervisor, &sum);
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)supervisor, (int)supervisor);
    FILE *children = fopen(path, "re");
    while (fine && children != NULL && fscanf(children, "%d", &pid) == 1)
        fine = pss_mib(pid, &sum);
    if (children == NULL)
        return false;
    fclose(children);
    figure_add(figure, sum / WORKERS);
    return fine;
}

static pid_t parent_of(pid_t pid)
{
    char path[64];
    int parent = 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%*d (%*[^)]) %*c %d", &parent) != 1)
        parent = 0;
    fclose(file);
    return parent;
}

/* Runs some tasks; the first of each worker that was not seen before goes into the figure. */
static bool run_batch(mc_pool *pool, struct seen *seen, unsigned figure)
{
    const struct mc_group_options options = {.size = sizeof(options), .help = MC_HELP_NEVER};
    struct mc_result result = {.size = sizeof(result)};
    mc_group *group;
    if (mc_group_open(pool, &options, &group) < 0)
        return false;
    bool fine = true;
    for (unsigned i = 0; fine && i < BATCH; i++)
        fine = mc_group_run(group, "look-up", NULL, 0) == 0;
    fine = fine && mc_group_wait(group, PATIENCE_MS) == 0;
    for (unsigned i = 0; fine && i < BATCH; i++) {
        fine = mc_group_result(group, i, &result) == 0 && result.status == 0;
        if (fine && is_new(seen, result.worker_pid))
            figure_add(figure, (double)result.run_ns / 1e6);
    }
    mc_group_close(group);
    return fine;
}

/* Until so many workers have run tasks. */
static bool run_until(mc_pool *pool, struct seen *seen, unsigned count, unsigned figure)
{
    uint64_t limit = now_ns() + (uint64_t)PATIENCE_MS * 1000000;
    while (seen->count < count && now_ns() < limit)
        if (!run_batch(pool, seen, figure))
            return false;
    return seen->count >= count;
}

static enum outcome compare(mc_pool *pool)
{
    struct seen own = {.count = 0}, warm = {.count = 0}, none = {.count = WORKERS};
    pid_t worker = 0;
    (void)mc_pool_worker_pids(pool, &worker, 1);
    pid_t supervisor = parent_of(worker);
    atomic_store(&all_warm, false);
    if (!run_until(pool, &own, WORKERS, FIRST_TASK))
        return failed("not all workers ran a task: %s", mc_error_message());
    if (atomic_load(&all_warm) || !add_memory(supervisor, PSS_EACH))
        return failed("the memory of the pool's processes cannot be read");
    uint64_t limit = now_ns() + (uint64_t)PATIENCE_MS * 1000000;
    while (!atomic_load(&all_warm))
        if (now_ns() > limit || !run_batch(pool, &none, FIRST_TASK))
            return failed("no worker became a zygote: %s", mc_error_message());
    if (!run_until(pool, &warm, WORKERS, FIRST_TASK_REFORKED))
        return failed("not all workers ran a task: %s", mc_error_message());
    return add_memory(supervisor, PSS_REFORKED) ? MEASURED : failed("no memory is to be read");
}

enum outcome warm_workers(const struct probe *probe, unsigned samples)
{
    struct mc_pool_options options = {.size = sizeof(options),
                                      .handlers = handlers,
                                      .handler_count = 1,
                                      .workers = WORKERS,
                                      .refork_after = AFTER,
                                      .log = on_log};
    enum outcome outcome = MEASURED;
    (void)probe;
    for (unsigned i = 0; outcome == MEASURED && i < samples; i++) {
        mc_pool *pool;
        if (mc_pool_open(&options, &pool) < 0)
            return failed("no pool: %s", mc_error_message());
        outcome = compare(pool);
        mc_pool_close(pool);
    }
    return outcome;
}
