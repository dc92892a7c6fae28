/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What is measured: the figures in the order of the report, what each is held
 * against, and the goals. Everything else fills in samples.
 */
#ifndef BENCH_FIGURES_H
#define BENCH_FIGURES_H

#include <stdbool.h>
#include <stddef.h>

enum figure_id {
    NO_FIGURE = 0,
    FLOOR_SPIN,
    FLOOR_FUTEX_SAME_CORE,
    FLOOR_FUTEX_CROSS_CORE,
    FLOOR_FUTEX_IDLE,
    ROUNDTRIP_HOT,
    ROUNDTRIP_COLD,
    ROUNDTRIP_HELPED,
    THROUGHPUT_SINGLE,
    THROUGHPUT_BATCH,
    PAYLOAD_1K,
    MEMCPY_1K,
    PAYLOAD_64K,
    MEMCPY_64K,
    PAYLOAD_1M,
    MEMCPY_1M,
    PAYLOAD_16M,
    MEMCPY_16M,
    RENDER_SPEEDUP,
    OPENMP_SPEEDUP,
    STARTUP_FIRST_RESULT,
    FLOOR_STARTUP,
    IDLE_CPU_PERCENT,
    PSS_PER_WORKER_KIB,
    PYTHON_POOL_APPLY,
    PYTHON_PPE,
    PYTHON_POOL_STARTUP_FIRST_RESULT,
    ZEROMQ_IPC,
    LIBUV_QUEUE_WORK,
    FIGURE_COUNT
};

enum direction { LOWER_IS_BETTER = 0, HIGHER_IS_BETTER };

/* Samples in the order in which they were taken, and the median of each round. */
struct series {
    double *values;
    size_t count;
    size_t capacity;
    size_t round_begin;
    double *medians;
    size_t rounds;
};

enum { PROBLEM_SIZE = 160 };

struct figure {
    const char *name;
    const char *unit;
    enum direction direction;
    enum figure_id against; /* its floor, or the peer it is held against */
    const char *about;
    bool wanted;
    bool failed;
    char problem[PROBLEM_SIZE]; /* why there are no more samples; empty: none known */
    struct series series;
};

extern struct figure figures[FIGURE_COUNT];

/* NO_FIGURE when there is none of that name. */
enum figure_id figure_find(const char *name, size_t length);

/* All of them, or those named in a list with commas, together with what they
 * are held against. False: a name is not known, and *unknown points to it. */
bool figures_select(const char *list, const char **unknown);

void figure_add(enum figure_id id, double value);
void figure_end_round(struct figure *figure);
void figures_free(void);

/* Over all samples of all rounds. */
struct summary {
    double p50;
    double p99; /* 99 % of the samples are at least as good */
    double spread_low;
    double spread_high;
    size_t reps;
};

/* False when there are no samples. */
bool figure_summary(const struct figure *figure, struct summary *summary);

/* ---- goals ---- */

enum relation { AT_MOST, BELOW, AT_LEAST, TIMES_FASTER };

/* The median of a figure and a limit: factor x the median of another figure
 * plus an amount, or just the amount. */
struct goal {
    enum figure_id figure;
    enum relation relation;
    double factor;
    enum figure_id other;
    double plus;
};

extern const struct goal goals[];
extern const size_t goal_count;

enum verdict { MET, MISSED, UNKNOWN };

/* UNKNOWN when one of the two was not measured; *limit is set otherwise. */
enum verdict goal_judge(const struct goal *goal, double *limit);
/* Such as "roundtrip_hot <= 2 x floor_spin + 200 ns". */
void goal_describe(const struct goal *goal, char *text, size_t size);

#endif
