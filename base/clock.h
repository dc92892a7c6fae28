/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Monotonic time, in three prices.
 *
 *   clock_ns()         30 ns. Comparable between processes.
 *   clock_coarse_ms()  less than 10 ns, in steps of the scheduler tick.
 *   clock_quick_ns()   10 ns where the CPU counts time by itself. Good for
 *                      differences within one process: the rate is measured
 *                      over the start of the pool, to about 1 in 10,000, and
 *                      better later.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

static inline uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline uint64_t clock_coarse_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

/* The first call notes the time, a later one, which may come in a forked child,
 * measures the rate from there. Until then clock_quick_ns() is clock_ns(), so
 * call the second before any difference is taken. What was measured stays: with a second
 * pool, other threads may be waiting in the first. */
void clock_calibrate_begin(void);
void clock_calibrate_end(void);
/* Measures it once more where so much time has passed that it will be better. What
 * clock_quick_ns() returns may jump: not while a difference is being taken, and in
 * processes of one thread only. */
void clock_calibrate_again(void);

/* The clocks at one moment. */
struct clock_reading {
    uint64_t ticks, ns;
    uint64_t suspended_ns; /* for how long the machine was: clock_ns() stands still meanwhile */
};

/* Measures the rate from the base to this moment. When the machine was suspended in
 * between, or its counter began anew, this moment becomes the base, and the rate stays. */
void clock_calibrate_at(const struct clock_reading *now);

/* A property of the machine, not of a pool: set by the first one that is opened,
 * and inherited by its processes. */
struct clock_machine {
    bool counter;              /* the CPU has a counter of constant rate */
    struct clock_reading base; /* at clock_calibrate_begin(), or after a suspension */
    uint64_t scale;            /* ns per tick, times 2^32; 0: not measured yet */
    uint64_t span;             /* ticks that it was measured over */
};
extern struct clock_machine clock_machine;

/* Ticks of the machine's own counter: the same in all processes. */
static inline uint64_t clock_ticks(void)
{
#if defined(__x86_64__)
    if (clock_machine.counter)
        return __rdtsc();
#endif
    return clock_ns();
}

/* What a difference of ticks is in ns; 0 if two cores do not agree. */
static inline uint64_t clock_ticks_ns(uint64_t ticks)
{
    if (!clock_machine.counter)
        return ticks;
    if (ticks >> 63 != 0)
        return 0;
    return (uint64_t)((unsigned __int128)ticks * clock_machine.scale >> 32);
}

static inline uint64_t clock_quick_ns(void)
{
    if (clock_machine.scale == 0)
        return clock_ns();
    return clock_ticks_ns(clock_ticks() - clock_machine.base.ticks);
}

#endif
