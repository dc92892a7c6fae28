/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BENCH_STARTUP_WORK_H
#define BENCH_STARTUP_WORK_H

#include <time.h>

static inline double work_now_ms(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* So much CPU time of this thread, in whatever time that takes. */
static inline void work_compute(double ms)
{
    double end = work_now_ms(CLOCK_THREAD_CPUTIME_ID) + ms;
    while (work_now_ms(CLOCK_THREAD_CPUTIME_ID) < end)
        for (volatile int i = 0; i < 10000; i++) {
        }
}

#endif
