/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How it is measured: the clock, the two CPUs, and the rounds.
 *
 * A probe measures one or a few figures that belong together. Every round runs
 * all probes, so that whatever the machine does meanwhile falls on all of them
 * alike; the medians of the rounds show how much that was.
 */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include "figures.h"

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* ---- time ---- */

static inline uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The time between two calls of now_ns() without what they cost themselves. */
double elapsed_ns(uint64_t began, uint64_t ended);
void pause_ns(uint64_t duration);

/* Between two looks at a word. */
static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield" ::: "memory");
#endif
}

/* ---- place ---- */

/* The benchmark uses two CPUs, the first two that it may run on. */
enum place { BOTH_CPUS, FIRST_CPU, SECOND_CPU };

/* Call once, before place_on(). False: there are no two CPUs. */
bool place_find(void);
int place_cpu(enum place place);
void place_on(enum place place);

/* ---- rounds ---- */

enum outcome { MEASURED, ABSENT, FAILED };

struct probe {
    enum outcome (*run)(const struct probe *probe, unsigned samples);
    unsigned figure;
    unsigned beside[3]; /* further ones that the same call measures */
    enum place place;
    unsigned samples; /* of a full round */
    size_t size;      /* of a payload */
};

/* What a probe returns when it has no samples: the reason is kept with its
 * figures, and it is not run again. */
enum outcome absent(const char *format, ...) __attribute__((format(printf, 1, 2)));
enum outcome failed(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Keeps it with one figure only, so that the others of a probe go on. */
void blame(unsigned id, enum outcome outcome);

struct effort {
    unsigned rounds;
    unsigned divisor; /* of the samples of each round */
};

/* Runs those probes of which a figure is wanted. */
void measure(const struct probe *probes, size_t count, struct effort effort);

#endif
