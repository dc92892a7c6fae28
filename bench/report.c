/* SPDX-License-Identifier: BSD-3-Clause */
#include "report.h"

#include "measure.h"

#include "multicore.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

enum { NUMBER_SIZE = 32 };

static const char *const verdicts[] = {[MET] = "met", [MISSED] = "MISSED", [UNKNOWN] = "unknown"};

/* ---- the machine ---- */

static void cpu_model(char *model, size_t size)
{
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "re");
    snprintf(model, size, "unknown");
    if (file == NULL)
        return;
    while (fgets(line, sizeof(line), file) != NULL) {
        const char *colon = strchr(line, ':');
        if (colon == NULL || strncmp(line, "model name", 10) != 0)
            continue;
        snprintf(model, size, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
        break;
    }
    fclose(file);
}

static void date_now(char *text, size_t size)
{
    time_t now = time(NULL);
    struct tm parts;
    gmtime_r(&now, &parts);
    (void)strftime(text, size, "%Y-%m-%dT%H:%M:%SZ", &parts);
}

static json_t *machine_to_json(void)
{
    char model[128], date[32];
    double load[1] = {0};
    struct utsname kernel;
    cpu_model(model, sizeof(model));
    date_now(date, sizeof(date));
    (void)uname(&kernel);
    (void)getloadavg(load, 1);
    return json_pack("{s:s, s:s, s:i, s:[i, i], s:s, s:s, s:f, s:s, s:s}", "cpu", model,
                     "architecture", kernel.machine, "cores", (int)sysconf(_SC_NPROCESSORS_ONLN),
                     "cpus_used", place_cpu(FIRST_CPU), place_cpu(SECOND_CPU), "kernel",
                     kernel.release, "date", date, "load_average", load[0], "compiler", __VERSION__,
                     "multicore", mc_version());
}

/* ---- the table ---- */

void report_list(void)
{
    for (unsigned id = NO_FIGURE + 1; id < figure_count; id++)
        printf("%-33s %-8s %s\n", figures[id].name, figures[id].unit, figures[id].about);
}

static const char *number(double value, char *text)
{
    int digits = value >= 1000 ? 0 : value >= 100 ? 1 : value >= 1 ? 2 : 4;
    snprintf(text, NUMBER_SIZE, "%.*f", digits, value);
    return text;
}

static void print_against(const struct figure *figure, const struct summary *summary)
{
    struct summary other;
    if (figure->against != NO_FIGURE && figure_summary(&figures[figure->against], &other) &&
        other.p50 > 0)
        printf("  %.2f x %s", summary->p50 / other.p50, figures[figure->against].name);
    if (figure->problem[0] != '\0')
        printf("  then %s", figure->problem);
}

static void print_figure(const struct figure *figure)
{
    struct summary summary;
    char p50[NUMBER_SIZE], p99[NUMBER_SIZE], low[NUMBER_SIZE], high[NUMBER_SIZE];
    char spread[2 * NUMBER_SIZE + 4];
    printf("%-33s %-7s", figure->name, figure->unit);
    if (!figure_summary(figure, &summary)) {
        printf("  %s\n", figure->problem[0] != '\0' ? figure->problem : "not measured");
        return;
    }
    snprintf(spread, sizeof(spread), "%s..%s", number(summary.spread_low, low),
             number(summary.spread_high, high));
    printf(" %10s %10s %19s %7zu", number(summary.p50, p50), number(summary.p99, p99), spread,
           summary.reps);
    print_against(figure, &summary);
    putchar('\n');
}

static void print_goal(const struct goal *goal)
{
    char text[128], value[NUMBER_SIZE] = "-", bound[NUMBER_SIZE] = "-";
    double reached, limit;
    enum verdict verdict = goal_judge(goal, &reached, &limit);
    goal_describe(goal, text, sizeof(text));
    if (verdict != UNKNOWN) {
        (void)number(reached, value);
        (void)number(limit, bound);
    }
    printf("%-64s %11s %11s  %s\n", text, value, bound, verdicts[verdict]);
}

static void print_machine(void)
{
    char model[128];
    struct utsname kernel;
    cpu_model(model, sizeof(model));
    (void)uname(&kernel);
    printf("%s, %ld cores, Linux %s; CPUs %d and %d are used\n", model,
           sysconf(_SC_NPROCESSORS_ONLN), kernel.release, place_cpu(FIRST_CPU),
           place_cpu(SECOND_CPU));
}

static void print_goals(void)
{
    bool any = false;
    for (size_t i = 0; i < goal_count; i++) {
        if (!figures[goals[i].figure].wanted)
            continue;
        if (!any)
            printf("\n%-64s %11s %11s\n", "goal", "value", "limit");
        any = true;
        print_goal(&goals[i]);
    }
}

void report_print(void)
{
    print_machine();
    printf("\n%-33s %-7s %10s %10s %19s %7s  %s\n", "figure", "unit", "p50", "p99", "spread",
           "reps", "against");
    for (unsigned id = NO_FIGURE + 1; id < figure_count; id++)
        if (figures[id].wanted || figures[id].series.rounds > 0)
            print_figure(&figures[id]);
    print_goals();
}

/* ---- JSON ---- */

/* A list, since a figure may have more goals than one. */
static json_t *goals_to_json(unsigned id)
{
    json_t *list = json_array();
    for (size_t i = 0; i < goal_count; i++) {
        char text[128];
        double reached, limit;
        enum verdict verdict = goal_judge(&goals[i], &reached, &limit);
        if (goals[i].figure != id || verdict == UNKNOWN)
            continue;
        goal_describe(&goals[i], text, sizeof(text));
        json_array_append_new(list, json_pack("{s:s, s:f, s:b}", "goal", text, "limit", limit,
                                              "met", verdict == MET));
    }
    return list;
}

static json_t *figure_to_json(unsigned id)
{
    struct summary summary;
    const struct figure *figure = &figures[id];
    if (!figure_summary(figure, &summary))
        return NULL;
    json_t *result =
        json_pack("{s:s, s:s, s:f, s:f, s:I, s:[f, f]}", "name", figure->name, "unit", figure->unit,
                  "p50", summary.p50, "p99", summary.p99, "reps", (json_int_t)summary.reps,
                  "spread", summary.spread_low, summary.spread_high);
    json_t *judged = goals_to_json(id);
    if (json_array_size(judged) > 0)
        json_object_set(result, "goals", judged);
    json_decref(judged);
    return result;
}

bool report_write(const char *path)
{
    json_t *results = json_array();
    for (unsigned id = NO_FIGURE + 1; id < figure_count; id++) {
        json_t *result = figure_to_json(id);
        if (result != NULL)
            json_array_append_new(results, result);
    }
    json_t *report = json_pack("{s:o, s:o}", "machine", machine_to_json(), "results", results);
    bool fine = report != NULL &&
                json_dump_file(report, path, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) == 0;
    json_decref(report);
    if (!fine)
        fprintf(stderr, "%s: %s cannot be written\n", program_invocation_short_name, path);
    return fine;
}
