/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/clock.h"

#include "base/fault.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <stdlib.h>

struct clock_machine clock_machine;

static bool has_counter(void)
{
#if defined(__x86_64__)
    unsigned a, b, c, d;
    return __get_cpuid(0x80000007, &a, &b, &c, &d) && (d >> 8 & 1) != 0; /* invariant TSC */
#else
    return false;
#endif
}

enum {
    TRIES = 8,
    BETTER = 8,              /* a span this many times as long is worth another measurement */
    SUSPENSION_NS = 5000000, /* less is an interruption between two readings */
    SHORT_NS = 2000000,      /* enough to measure over */
};

static uint64_t suspended_ns(void)
{
    struct timespec now;
    uint64_t awake_ns = clock_ns();
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec - awake_ns;
}

/* Whoever is interrupted between the clocks reads them at different moments, so the
 * closest of some tries counts. */
static struct clock_reading read_both(void)
{
    struct clock_reading best = {0};
    uint64_t closest = UINT64_MAX;
    for (int i = 0; i < TRIES; i++) {
        uint64_t before = clock_ticks();
        FAULT_POINT("clock_reading");
        uint64_t ns = clock_ns();
        uint64_t width = clock_ticks() - before;
        if (width < closest) {
            closest = width;
            best.ticks = before + width / 2;
            best.ns = ns;
        }
    }
    best.suspended_ns = suspended_ns();
    return best;
}

void clock_calibrate_begin(void)
{
    if (clock_machine.base.ns != 0)
        return;
    clock_machine.counter = has_counter();
    clock_machine.base = read_both();
}

void clock_calibrate_at(const struct clock_reading *now)
{
    const struct clock_reading *base = &clock_machine.base;
    uint64_t ticks = now->ticks - base->ticks, ns = now->ns - base->ns;
    if (now->ticks < base->ticks ||
        llabs((long long)(now->suspended_ns - base->suspended_ns)) > SUSPENSION_NS) {
        clock_machine.base = *now;
        return;
    }
    if (!clock_machine.counter || ticks == 0 || ns == 0 || ns >> 62 != 0)
        return;
    clock_machine.scale = (uint64_t)(((unsigned __int128)ns << 32) / ticks);
    clock_machine.span = ticks;
}

static void measure(void)
{
    struct clock_reading now = read_both();
    clock_calibrate_at(&now);
}

void clock_calibrate_end(void)
{
    const struct timespec rest = {.tv_nsec = SHORT_NS};
    if (!clock_machine.counter || clock_machine.scale != 0)
        return;
    measure();
    if (clock_machine.scale == 0) { /* the machine was suspended */
        nanosleep(&rest, NULL);
        measure();
    }
}

void clock_calibrate_again(void)
{
    if (clock_machine.counter &&
        clock_ticks() - clock_machine.base.ticks >= BETTER * clock_machine.span)
        measure();
}
