/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How long something takes, from how long it took. Of a handler 0 means that nothing is
 * known.
 */
#ifndef POOL_ESTIMATE_H
#define POOL_ESTIMATE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    ESTIMATE_MEAN_SHIFT = 3, /* the newest run weighs 1/8 */
    ESTIMATE_FADE_SHIFT = 7, /* the longest fades by 1/128 with each run */
    DUE_STEPS = 4,           /* to a pause of the CPU */
    DUE_MOST = 16 * DUE_STEPS,
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

/* When to look for the end of a short task: *steps after its submission. A look that comes
 * too early delays the task that it looks for, one that comes too late only itself; so the
 * next comes a pause later after a look that was too early, and a quarter of that sooner
 * after any other. */
static inline void estimate_due(uint32_t *steps, bool ended)
{
    if (ended)
        *steps -= *steps > 0;
    else if (*steps <= DUE_MOST - DUE_STEPS)
        *steps += DUE_STEPS;
}

#endif
