/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RENDER_SECONDS_H
#define RENDER_SECONDS_H

#include <stdint.h>
#include <time.h>

static inline uint64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline double seconds_since(uint64_t start_ns)
{
    return (double)(monotonic_ns() - start_ns) / 1e9;
}

#endif
