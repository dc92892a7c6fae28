/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How long a handler takes, from how long it took. 0 means that nothing is known.
 */
#ifndef POOL_ESTIMATE_H
#define POOL_ESTIMATE_H

#include <stdint.h>

enum {
    ESTIMATE_MEAN_SHIFT = 3, /* the newest run weighs 1/8 */
    ESTIMATE_FADE_SHIFT = 7, /* the longest fades by 1/128 with each run */
};

static inline uint32_t estimate_clip(uint64_t run_ns)
{
    return run_ns < UINT32_MAX ? (uint32_t)run_ns | 1 : UINT32_MAX;
}

/* What it usually takes. */
static inline void estimate_mean(uint32_t *estimate_ns, uint64_t run_ns)
{
    uint32_t now = estimate_clip(run_ns), old = *estimate_ns;
    *estimate_ns =
        old == 0 ? now : old - (old >> ESTIMATE_MEAN_SHIFT) + (now >> ESTIMATE_MEAN_SHIFT);
}

/* What it may take: a cache that misses once in a hundred times is not quick,
 * although its mean is. */
static inline void estimate_most(uint32_t *estimate_ns, uint64_t run_ns)
{
    uint32_t now = estimate_clip(run_ns);
    uint32_t faded = *estimate_ns - (*estimate_ns >> ESTIMATE_FADE_SHIFT);
    *estimate_ns = now > faded ? now : faded;
}

#endif
