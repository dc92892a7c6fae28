/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a pool costs while it does nothing: memory and CPU time.
 */
#include "probes.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    WORKERS = 2,
    PROCESSES_MOST = 16,
    SETTLE_NS = 20000000,
    TIDY_NS = 1500000000, /* after a second workers give memory back, once */
    SOME_MAPS = 1000,
    MAP_TASKS = 64,
};

/* ---- reading /proc ---- */

/* The numbers of /proc/PID/stat from the parent's on; false when the process is
 * gone. The name before them may contain anything. */
static bool read_stat(pid_t pid, pid_t *parent, double *cpu_ns)
{
    char path[64], text[1024];
    unsigned long user, system;
    int parent_pid;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    size_t length = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[length] = '\0';
    const char *name_end = strrchr(text, ')');
    if (name_end == NULL ||
        sscanf(name_end + 1, " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &parent_pid,
               &user, &system) != 3)
        return false;
    *parent = parent_pid;
    *cpu_ns = (double)(user + system) * 1e9 / (double)sysconf(_SC_CLK_TCK);
    return true;
}

/* To the nanosecond where the kernel counts that, else in its ticks. */
static double cpu_time_ns(pid_t pid)
{
    char path[64];
    pid_t parent;
    double ticks_ns = 0, run_ns = 0;
    (void)read_stat(pid, &parent, &ticks_ns);
    snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return ticks_ns;
    bool fine = fscanf(file, "%lf", &run_ns) == 1;
    fclose(file);
    return fine && run_ns > 0 ? run_ns : ticks_ns;
}

static bool pss_kib(pid_t pid, double *kib)
{
    char path[64], line[256];
    bool found = false;
    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    while (!found && fgets(line, sizeof(line), file) != NULL)
        found = sscanf(line, "Pss: %lf", kib) == 1;
    fclose(file);
    return found;
}

static int is_process(const struct dirent *entry)
{
    return isdigit((unsigned char)entry->d_name[0]);
}

/* The supervisor, which is the workers' parent, and all its children. */
static unsigned pool_processes(mc_pool *pool, pid_t *pids, unsigned most)
{
    pid_t worker = 0, supervisor, parent;
    double ignored;
    struct dirent **entries;
    (void)mc_pool_worker_pids(pool, &worker, 1);
    if (worker == 0 || !read_stat(worker, &supervisor, &ignored))
        return 0;
    int found = scandir("/proc", &entries, is_process, alphasort);
    unsigned count = 0;
    pids[count++] = supervisor;
    for (int i = 0; i < found; i++) {
        pid_t pid = (pid_t)strtol(entries[i]->d_name, NULL, 10);
        if (count < most && read_stat(pid, &parent, &ignored) && parent == supervisor)
            pids[count++] = pid;
        free(entries[i]);
    }
    if (found >= 0)
        free(entries);
    return count;
}

/* ---- the figures ---- */

/* samples: how long to look, in ms. */
enum outcome footprint_idle(const struct probe *probe, unsigned samples)
{
    pid_t pids[PROCESSES_MOST];
    unsigned count = pool_processes(subject(), pids, PROCESSES_MOST);
    if (count < 1 + WORKERS)
        return failed("the processes of the pool cannot be found in /proc");
    pause_ns(TIDY_NS);
    double before = 0, after = 0;
    uint64_t began = now_ns();
    for (unsigned i = 0; i < count; i++)
        before += cpu_time_ns(pids[i]);
    pause_ns(samples * UINT64_C(1000000));
    for (unsigned i = 0; i < count; i++)
        after += cpu_time_ns(pids[i]);
    figure_add(probe->figure, 100 * (after - before) / (double)(now_ns() - began));
    return MEASURED;
}

/* In a small process of its own: pages that the shared pool's clients mapped
 * for large payloads would count as its workers'. */
enum outcome footprint_memory(const struct probe *probe, unsigned samples)
{
    enum outcome outcome = MEASURED;
    (void)probe;
    for (unsigned i = 0; outcome == MEASURED && i < samples; i++) {
        const char *const arguments[] = {child_self(), "--child-memory", NULL};
        outcome = child_run(BOTH_CPUS, arguments);
    }
    return outcome;
}

static bool run_some_tasks(mc_pool *pool)
{
    struct mc_group_options options = {.size = sizeof(options), .help = MC_HELP_NEVER};
    struct mc_map_options split = {.size = sizeof(split), .max_chunk = 1};
    bool fine = true;
    for (int i = 0; i < SOME_MAPS && fine; i++) {
        mc_group *group;
        if (mc_group_open(pool, &options, &group) < 0)
            return false;
        fine = mc_group_map(group, "sum", MAP_TASKS, &split, NULL, 0) == 0 &&
               mc_group_wait(group, -1) == 0;
        mc_group_close(group);
    }
    return fine;
}

/* The mean, since one worker may have run most of the tasks. */
int footprint_memory_child(void)
{
    pid_t pids[WORKERS] = {0};
    double kib, sum = 0;
    mc_pool *pool;
    if (!subject_open(&pool) || !run_some_tasks(pool))
        return 1;
    pause_ns(SETTLE_NS);
    (void)mc_pool_worker_pids(pool, pids, WORKERS);
    for (int i = 0; i < WORKERS; i++) {
        if (!pss_kib(pids[i], &kib))
            return 1;
        sum += kib;
    }
    printf("%s %.1f\n", figures[PSS_PER_WORKER_KIB].name, sum / WORKERS);
    subject_close();
    return 0;
}
