/* SPDX-License-Identifier: BSD-3-Clause */
#include "figures.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- choosing ---- */

unsigned figure_find(const char *name, size_t length)
{
    for (unsigned id = NO_FIGURE + 1; id < figure_count; id++)
        if (strlen(figures[id].name) == length && memcmp(figures[id].name, name, length) == 0)
            return id;
    return NO_FIGURE;
}

/* A figure means little without its floor in the same run. */
static void want(unsigned id)
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
        for (unsigned id = NO_FIGURE + 1; id < figure_count; id++)
            figures[id].wanted = true;
        return true;
    }
    for (;;) {
        size_t length = strcspn(list, ",");
        unsigned id = figure_find(list, length);
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

void figure_add(unsigned id, double value)
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
        .worst = values[figure->direction == HIGHER_IS_BETTER ? 0 : series->count - 1],
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
    for (unsigned id = NO_FIGURE + 1; id < figure_count; id++) {
        free(figures[id].series.values);
        free(figures[id].series.medians);
        figures[id].series = (struct series){0};
    }
}

/* ---- goals ---- */

static double pick(const struct summary *summary, enum statistic of)
{
    return of == MEDIAN ? summary->p50 : of == P99 ? summary->p99 : summary->worst;
}

enum verdict goal_judge(const struct goal *goal, double *value, double *limit)
{
    struct summary mine, other = {0};
    if (!figure_summary(&figures[goal->figure], &mine))
        return UNKNOWN;
    if (goal->other != NO_FIGURE && !figure_summary(&figures[goal->other], &other))
        return UNKNOWN;
    double against = pick(&other, goal->of);
    *value = pick(&mine, goal->of);
    *limit = goal->relation == TIMES_FASTER ? against / goal->factor
                                            : goal->factor * against + goal->plus;
    switch (goal->relation) {
    case AT_LEAST:
        return *value >= *limit ? MET : MISSED;
    case BELOW:
        return *value < *limit ? MET : MISSED;
    default:
        return *value <= *limit ? MET : MISSED;
    }
}

void goal_describe(const struct goal *goal, char *text, size_t size)
{
    static const char *const signs[] = {[AT_MOST] = "<=", [BELOW] = "<", [AT_LEAST] = ">="};
    static const char *const statistics[] = {[MEDIAN] = "", [P99] = "p99 of ", [WORST] = "worst "};
    const struct figure *figure = &figures[goal->figure];
    const char *other = figures[goal->other].name;
    int length = snprintf(text, size, "%s%s", statistics[goal->of], figure->name);
    if (length < 0 || (size_t)length >= size)
        return;
    text += length;
    size -= (size_t)length;
    if (goal->relation == TIMES_FASTER)
        snprintf(text, size, ": %g x faster than %s", goal->factor, other);
    else if (goal->other == NO_FIGURE)
        snprintf(text, size, " %s %.10g %s", signs[goal->relation], goal->plus, figure->unit);
    else if (goal->plus != 0)
        snprintf(text, size, " %s %g x %s + %g %s", signs[goal->relation], goal->factor, other,
                 goal->plus, figure->unit);
    else
        snprintf(text, size, " %s %g x %s", signs[goal->relation], goal->factor, other);
}
