/* SPDX-License-Identifier: BSD-3-Clause */
#include "figures.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct figure figures[FIGURE_COUNT] = {
    [FLOOR_SPIN] = {"floor_spin", "ns", .about = "one cache line to and fro, two cores"},
    [FLOOR_FUTEX_SAME_CORE] = {"floor_futex_same_core", "ns",
                               .about = "futex to and fro, two processes on one core"},
    [FLOOR_FUTEX_CROSS_CORE] = {"floor_futex_cross_core", "ns",
                                .about = "futex to and fro, two cores"},
    [FLOOR_FUTEX_IDLE] = {"floor_futex_idle", "ns",
                          .about = "futex to and fro on one core, after 1 ms idle"},
    [ROUNDTRIP_HOT] = {"roundtrip_hot", "ns", .against = FLOOR_SPIN,
                       .about = "null task, one after the other, not helped"},
    [ROUNDTRIP_COLD] = {"roundtrip_cold", "ns", .against = FLOOR_FUTEX_IDLE,
                        .about = "null task after 1 ms idle, not helped"},
    [ROUNDTRIP_HELPED] = {"roundtrip_helped", "ns", .against = FLOOR_FUTEX_IDLE,
                          .about = "null task after 1 ms idle, the caller may run it"},
    [THROUGHPUT_SINGLE] = {"throughput_single", "tasks/s", HIGHER_IS_BETTER,
                           .about = "null tasks submitted one by one, 2 workers"},
    [THROUGHPUT_BATCH] = {"throughput_batch", "tasks/s", HIGHER_IS_BETTER,
                          .about = "null tasks of one map with chunks of 1, 2 workers"},
    [PAYLOAD_1K] = {"payload_1k", "ns", .against = MEMCPY_1K,
                    .about = "echo: 1 KiB of arguments, the same as result"},
    [MEMCPY_1K] = {"memcpy_1k", "ns", .about = "the two copies of payload_1k alone"},
    [PAYLOAD_64K] = {"payload_64k", "ns", .against = MEMCPY_64K, .about = "echo of 64 KiB"},
    [MEMCPY_64K] = {"memcpy_64k", "ns", .about = "the two copies of payload_64k alone"},
    [PAYLOAD_1M] = {"payload_1m", "ns", .against = MEMCPY_1M, .about = "echo of 1 MiB"},
    [MEMCPY_1M] = {"memcpy_1m", "ns", .about = "the two copies of payload_1m alone"},
    [PAYLOAD_16M] = {"payload_16m", "ns", .against = MEMCPY_16M, .about = "echo of 16 MiB"},
    [MEMCPY_16M] = {"memcpy_16m", "ns", .about = "the two copies of payload_16m alone"},
    [RENDER_SPEEDUP] = {"render_speedup", "x", HIGHER_IS_BETTER, .against = OPENMP_SPEEDUP,
                        .about = "uneven Mandelbrot rows, mc_group_map with its default split"},
    [OPENMP_SPEEDUP] = {"openmp_speedup", "x", HIGHER_IS_BETTER,
                        .about = "the same rows, OpenMP schedule(dynamic)"},
    [STARTUP_FIRST_RESULT] = {"startup_first_result", "ms", .against = FLOOR_STARTUP,
                              .about = "mc_pool_open to the first mapped result, new process"},
    [FLOOR_STARTUP] = {"floor_startup", "ms",
                       .about = "as many forks, one shared mapping, one round trip"},
    [IDLE_CPU_PERCENT] = {"idle_cpu_percent", "%",
                          .about = "CPU time of an idle pool's processes, of one core"},
    [PSS_PER_WORKER_KIB] = {"pss_per_worker_kib", "KiB",
                            .about = "a worker's memory, shared pages by share, after some tasks"},
    [PYTHON_POOL_APPLY] = {"python_pool_apply", "ns", .against = ROUNDTRIP_HOT,
                           .about = "multiprocessing.Pool(2).apply of a null function"},
    [PYTHON_PPE] = {"python_ppe", "ns", .against = ROUNDTRIP_HOT,
                    .about = "ProcessPoolExecutor(2).submit().result() of a null function"},
    [PYTHON_POOL_STARTUP_FIRST_RESULT] = {"python_pool_startup_first_result", "ms",
                                          .against = STARTUP_FIRST_RESULT,
                                          .about = "Pool(2) to the first mapped result"},
    [ZEROMQ_IPC] = {"zeromq_ipc", "ns", .against = ROUNDTRIP_HOT,
                    .about = "REQ/REP over ipc://, two processes on two cores"},
    [LIBUV_QUEUE_WORK] = {"libuv_queue_work", "ns", .against = ROUNDTRIP_HOT,
                          .about = "uv_queue_work to its callback, a thread on the other core"},
};

const struct goal goals[] = {
    {ROUNDTRIP_HOT, AT_MOST, 2, FLOOR_SPIN, 200},
    {ROUNDTRIP_HOT, TIMES_FASTER, 300, PYTHON_POOL_APPLY, 0},
    {ROUNDTRIP_COLD, AT_MOST, 1.5, FLOOR_FUTEX_IDLE, 0},
    {THROUGHPUT_SINGLE, AT_LEAST, 0, NO_FIGURE, 3e6},
    {THROUGHPUT_BATCH, AT_LEAST, 0, NO_FIGURE, 10e6},
    {PAYLOAD_16M, AT_MOST, 1.5, MEMCPY_16M, 0},
    {RENDER_SPEEDUP, AT_LEAST, 0.97, OPENMP_SPEEDUP, 0},
    {STARTUP_FIRST_RESULT, AT_MOST, 0, NO_FIGURE, 2},
    {PSS_PER_WORKER_KIB, AT_MOST, 0, NO_FIGURE, 500},
    {IDLE_CPU_PERCENT, BELOW, 0, NO_FIGURE, 0.1},
};

const size_t goal_count = sizeof(goals) / sizeof(goals[0]);

/* ---- choosing ---- */

enum figure_id figure_find(const char *name, size_t length)
{
    for (enum figure_id id = NO_FIGURE + 1; id < FIGURE_COUNT; id++)
        if (strlen(figures[id].name) == length && memcmp(figures[id].name, name, length) == 0)
            return id;
    return NO_FIGURE;
}

/* A figure means little without its floor in the same run. */
static void want(enum figure_id id)
{
    figures[id].wanted = true;
    figures[figures[id].against].wanted = true;
    for (size_t i = 0; i < goal_count; i++)
        if (goals[i].figure == id)
            figures[goals[i].other].wanted = true;
}

bool figures_select(const char *list, const char **unknown)
{
    if (list == NULL) {
        for (enum figure_id id = NO_FIGURE + 1; id < FIGURE_COUNT; id++)
            figures[id].wanted = true;
        return true;
    }
    for (;;) {
        size_t length = strcspn(list, ",");
        enum figure_id id = figure_find(list, length);
        if (id == NO_FIGURE) {
            *unknown = list;
            return false;
        }
        want(id);
        if (list[length] == '\0')
            return true;
        list += length + 1;
    }
}

/* ---- samples ---- */

/* A benchmark without memory for its numbers has nothing to say. */
static void *grown(void *values, size_t count)
{
    double *larger = realloc(values, count * sizeof(*larger));
    if (larger == NULL) {
        fputs("bench: no memory for samples\n", stderr);
        exit(1);
    }
    return larger;
}

void figure_add(enum figure_id id, double value)
{
    struct series *series = &figures[id].series;
    if (series->count == series->capacity) {
        series->capacity = series->capacity == 0 ? 1024 : series->capacity * 2;
        series->values = grown(series->values, series->capacity);
    }
    series->values[series->count++] = value;
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;
    return (left > right) - (left < right);
}

static double *sorted(const double *values, size_t count)
{
    double *copy = grown(NULL, count);
    memcpy(copy, values, count * sizeof(*copy));
    qsort(copy, count, sizeof(*copy), compare);
    return copy;
}

/* The value that a share of the sorted values does not exceed. */
static double quantile(const double *values, size_t count, double share)
{
    size_t rank = (size_t)(share * (double)(count - 1) + 0.5);
    return values[rank];
}

void figure_end_round(struct figure *figure)
{
    struct series *series = &figure->series;
    size_t count = series->count - series->round_begin;
    if (count == 0)
        return;
    double *values = sorted(series->values + series->round_begin, count);
    series->medians = grown(series->medians, series->rounds + 1);
    series->medians[series->rounds++] = quantile(values, count, 0.5);
    series->round_begin = series->count;
    free(values);
}

bool figure_summary(const struct figure *figure, struct summary *summary)
{
    const struct series *series = &figure->series;
    if (series->count == 0 || series->rounds == 0)
        return false;
    double *values = sorted(series->values, series->count);
    double *medians = sorted(series->medians, series->rounds);
    *summary = (struct summary){
        .p50 = quantile(values, series->count, 0.5),
        .p99 = quantile(values, series->count, figure->direction == HIGHER_IS_BETTER ? 0.01 : 0.99),
        .spread_low = medians[0],
        .spread_high = medians[series->rounds - 1],
        .reps = series->count,
    };
    free(values);
    free(medians);
    return true;
}

void figures_free(void)
{
    for (enum figure_id id = NO_FIGURE + 1; id < FIGURE_COUNT; id++) {
        free(figures[id].series.values);
        free(figures[id].series.medians);
        figures[id].series = (struct series){0};
    }
}

/* ---- goals ---- */

enum verdict goal_judge(const struct goal *goal, double *limit)
{
    struct summary mine, other = {0};
    if (!figure_summary(&figures[goal->figure], &mine))
        return UNKNOWN;
    if (goal->other != NO_FIGURE && !figure_summary(&figures[goal->other], &other))
        return UNKNOWN;
    *limit = goal->relation == TIMES_FASTER ? other.p50 / goal->factor
                                            : goal->factor * other.p50 + goal->plus;
    switch (goal->relation) {
    case AT_LEAST:
        return mine.p50 >= *limit ? MET : MISSED;
    case BELOW:
        return mine.p50 < *limit ? MET : MISSED;
    default:
        return mine.p50 <= *limit ? MET : MISSED;
    }
}

void goal_describe(const struct goal *goal, char *text, size_t size)
{
    static const char *const signs[] = {[AT_MOST] = "<=", [BELOW] = "<", [AT_LEAST] = ">="};
    const struct figure *figure = &figures[goal->figure];
    const char *other = figures[goal->other].name;
    if (goal->relation == TIMES_FASTER)
        snprintf(text, size, "%s: %g x faster than %s", figure->name, goal->factor, other);
    else if (goal->other == NO_FIGURE)
        snprintf(text, size, "%s %s %.10g %s", figure->name, signs[goal->relation], goal->plus,
                 figure->unit);
    else if (goal->plus != 0)
        snprintf(text, size, "%s %s %g x %s + %g %s", figure->name, signs[goal->relation],
                 goal->factor, other, goal->plus, figure->unit);
    else
        snprintf(text, size, "%s %s %g x %s", figure->name, signs[goal->relation], goal->factor,
                 other);
}
