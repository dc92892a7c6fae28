/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Figures and their samples; what each is held against, and the goals. Each
 * program has a table of its own, table.c: what it measures, in the order of the
 * report. Everything else fills in samples.
 */
#ifndef BENCH_FIGURES_H
#define BENCH_FIGURES_H

#include <stdbool.h>
#include <stddef.h>

/* Figures are known by their place in the program's table. */
enum { NO_FIGURE = 0 };

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
    unsigned against; /* its floor, or the peer it is held against */
    const char *about;
    bool wanted;
    bool failed;
    char problem[PROBLEM_SIZE]; /* why there are no more samples; empty: none known */
    struct series series;
};

/* The program's; the first place is empty. */
extern struct figure figures[];
extern const unsigned figure_count;

/* NO_FIGURE when there is none of that name. */
unsigned figure_find(const char *name, size_t length);

/* All of them, or those named in a list with commas, together with what they
 * are held against. False: a name is not known, and *unknown points to it. */
bool figures_select(const char *list, const char **unknown);

void figure_add(unsigned id, double value);
void figure_end_round(struct figure *figure);
void figures_free(void);

/* Over all samples of all rounds. */
struct summary {
    double p50;
    double p99; /* 99 % of the samples are at least as good */
    double worst;
    double spread_low;
    double spread_high;
    size_t reps;
};

/* False when there are no samples. */
bool figure_summary(const struct figure *figure, struct summary *summary);

/* ---- goals ---- */

enum relation { AT_MOST, BELOW, AT_LEAST, TIMES_FASTER };

/* Which value of a summary a goal is about. */
enum statistic { MEDIAN, P99, WORST };

/* A statistic of a figure and a limit: factor x the same of another figure plus an
 * amount, or just the amount. */
struct goal {
    unsigned figure;
    enum statistic of;
    enum relation relation;
    double factor;
    unsigned other;
    double plus;
};

extern const struct goal goals[];
extern const size_t goal_count;

enum verdict { MET, MISSED, UNKNOWN };

/* UNKNOWN when one of the two was not measured; *value and *limit are set otherwise. */
enum verdict goal_judge(const struct goal *goal, double *value, double *limit);
/* Such as "roundtrip_hot <= 2 x floor_spin + 200 ns". */
void goal_describe(const struct goal *goal, char *text, size_t size);

#endif
