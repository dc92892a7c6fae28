/* SPDX-License-Identifier: BSD-3-Clause */
#include "measure.h"

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- time ---- */

static double clock_cost(void)
{
    static double cost = -1;
    if (cost >= 0)
        return cost;
    uint64_t least = UINT64_MAX;
    for (int attempt = 0; attempt < 20; attempt++) {
        enum { READS = 1000 };
        uint64_t began = now_ns();
        for (int i = 1; i < READS; i++)
            (void)now_ns();
        uint64_t took = (now_ns() - began) / READS;
        if (took < least)
            least = took;
    }
    cost = (double)least;
    return cost;
}

double elapsed_ns(uint64_t began, uint64_t ended)
{
    double elapsed = (double)(ended - began) - clock_cost();
    return elapsed > 0 ? elapsed : 0;
}

void pause_ns(uint64_t duration)
{
    struct timespec pause = {.tv_sec = (time_t)(duration / 1000000000u),
                             .tv_nsec = (long)(duration % 1000000000u)};
    while (nanosleep(&pause, &pause) != 0) {
    }
}

/* ---- place ---- */

static int cpus[2];

bool place_find(void)
{
    cpu_set_t usable;
    int found = 0;
    if (sched_getaffinity(0, sizeof(usable), &usable) < 0)
        return false;
    for (int cpu = 0; cpu < CPU_SETSIZE && found < 2; cpu++)
        if (CPU_ISSET(cpu, &usable))
            cpus[found++] = cpu;
    return found == 2;
}

int place_cpu(enum place place)
{
    return cpus[place == SECOND_CPU];
}

void place_on(enum place place)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (place != SECOND_CPU)
        CPU_SET(cpus[0], &set);
    if (place != FIRST_CPU)
        CPU_SET(cpus[1], &set);
    (void)sched_setaffinity(0, sizeof(set), &set);
}

/* ---- rounds ---- */

static char reason[PROBLEM_SIZE];

enum outcome absent(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof(reason), format, arguments);
    va_end(arguments);
    return ABSENT;
}

enum outcome failed(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = snprintf(reason, sizeof(reason), "FAILED: ");
    vsnprintf(reason + length, sizeof(reason) - (size_t)length, format, arguments);
    va_end(arguments);
    return FAILED;
}

void blame(unsigned id, enum outcome outcome)
{
    struct figure *figure = &figures[id];
    if (outcome == MEASURED || figure->problem[0] != '\0')
        return;
    figure->failed = outcome == FAILED;
    memcpy(figure->problem, reason, sizeof(reason));
}

/* Each figure of the probe in turn; NULL after the last. */
static struct figure *figure_of(const struct probe *probe, unsigned place)
{
    enum { BESIDE = sizeof(probe->beside) / sizeof(probe->beside[0]) };
    if (place == 0)
        return &figures[probe->figure];
    if (place > BESIDE || probe->beside[place - 1] == NO_FIGURE)
        return NULL;
    return &figures[probe->beside[place - 1]];
}

static bool wanted(const struct probe *probe)
{
    struct figure *figure;
    for (unsigned i = 0; (figure = figure_of(probe, i)) != NULL; i++)
        if (figure->wanted && figure->problem[0] == '\0')
            return true;
    return false;
}

static void run_probe(const struct probe *probe, unsigned divisor)
{
    unsigned samples = probe->samples / divisor;
    struct figure *figure;
    place_on(probe->place);
    enum outcome outcome = probe->run(probe, samples > 0 ? samples : 1);
    place_on(BOTH_CPUS);
    for (unsigned i = 0; (figure = figure_of(probe, i)) != NULL; i++) {
        figure_end_round(figure);
        blame((unsigned)(figure - figures), outcome);
    }
}

void measure(const struct probe *probes, size_t count, struct effort effort)
{
    bool watched = isatty(STDERR_FILENO);
    (void)clock_cost();
    for (unsigned round = 0; round < effort.rounds; round++) {
        for (size_t i = 0; i < count; i++) {
            if (!wanted(&probes[i]))
                continue;
            if (watched)
                fprintf(stderr, "\rround %u of %u: %s\033[K", round + 1, effort.rounds,
                        figures[probes[i].figure].name);
            run_probe(&probes[i], effort.divisor);
        }
    }
    if (watched)
        fputs("\r\033[K", stderr);
}
