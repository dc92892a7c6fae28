/* SPDX-License-Identifier: BSD-3-Clause */
#include "loadavg/average.h"

/* exp(-1 ms / 60 s) */
static const double DECAY_PER_MS = 0.99998333347221933;

/* After 20 time constants nothing measurable is left. */
enum { FORGOTTEN_MS = 20 * 60 * 1000 };

/* The share of the old value that remains. By squaring: no need of libm. */
static double remaining(uint64_t elapsed_ms)
{
    if (elapsed_ms >= FORGOTTEN_MS)
        return 0.0;
    double result = 1.0;
    for (double factor = DECAY_PER_MS; elapsed_ms > 0; elapsed_ms >>= 1, factor *= factor)
        if (elapsed_ms & 1)
            result *= factor;
    return result;
}

uint32_t load_average_update(struct load_average *average, uint64_t now_ms, uint32_t busy)
{
    if (now_ms > average->updated_ms) {
        double held = average->busy;
        average->seats = held + (average->seats - held) * remaining(now_ms - average->updated_ms);
        average->updated_ms = now_ms;
    }
    average->busy = busy;
    double milli = average->seats * 1000.0 + 0.5;
    return milli < (double)UINT32_MAX ? (uint32_t)milli : UINT32_MAX;
}
