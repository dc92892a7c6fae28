/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/clock.h"

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

void clock_calibrate_begin(void)
{
    if (clock_machine.ns != 0)
        return;
    clock_machine.counter = has_counter();
    clock_machine.ns = clock_ns();
    clock_machine.ticks = clock_ticks();
}

void clock_calibrate_end(void)
{
    uint64_t ticks = clock_ticks() - clock_machine.ticks;
    uint64_t ns = clock_ns() - clock_machine.ns;
    if (!clock_machine.counter || ticks == 0 || ns == 0 || ns >> 62 != 0)
        return;
    clock_machine.scale = (uint64_t)(((unsigned __int128)ns << 32) / ticks);
}
