/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/clock.h"

#include "base/fault.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

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
    BETTER = 8, /* a span this many times as long is worth another measurement */
};

struct reading {
    uint64_t ticks, ns;
};

/* Both clocks at one moment. Whoever is interrupted between the two reads them at
 * different ones, so the closest of some tries counts. */
static struct reading read_both(void)
{
    struct reading best = {0};
    uint64_t closest = UINT64_MAX;
    for (int i = 0; i < TRIES; i++) {
        uint64_t before = clock_ticks();
        FAULT_POINT("clock_reading");
        uint64_t ns = clock_ns();
        uint64_t width = clock_ticks() - before;
        if (width < closest) {
            closest = width;
            best = (struct reading){before + width / 2, ns};
        }
    }
    return best;
}

void clock_calibrate_begin(void)
{
    if (clock_machine.ns != 0)
        return;
    clock_machine.counter = has_counter();
    struct reading begin = read_both();
    clock_machine.ticks = begin.ticks;
    clock_machine.ns = begin.ns;
}

static void measure(void)
{
    struct reading end = read_both();
    uint64_t ticks = end.ticks - clock_machine.ticks, ns = end.ns - clock_machine.ns;
    if (!clock_machine.counter || ticks == 0 || ns == 0 || ns >> 62 != 0)
        return;
    clock_machine.scale = (uint64_t)(((unsigned __int128)ns << 32) / ticks);
    clock_machine.span = ticks;
}

void clock_calibrate_end(void)
{
    if (clock_machine.scale == 0)
        measure();
}

void clock_calibrate_again(void)
{
    if (clock_machine.counter && clock_ticks() - clock_machine.ticks >= BETTER * clock_machine.span)
        measure();
}
