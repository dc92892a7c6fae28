/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Times by the hundred million, in little room: each is counted in the span that it
 * falls into, and spans are a quarter of an octave wide. A percentile is then known
 * to within 19 %, for as many tasks as there may be; but not how far it is above 2^37 ticks.
 */
#ifndef IPC_TALLY_H
#define IPC_TALLY_H

#include "ipc/layout.h"

#include <stdbool.h>
#include <stddef.h>

enum { SPAN_FIRST_BIT = 6 }; /* below 2^6 ticks all is one span, above 2^37 too */

static inline uint32_t tally_span(uint64_t ticks)
{
    if (ticks >> SPAN_FIRST_BIT == 0)
        return 0;
    uint32_t octave = 63 - (uint32_t)__builtin_clzll(ticks);
    uint32_t quarter = (uint32_t)(ticks >> (octave - 2)) & 3;
    uint32_t span = (octave - SPAN_FIRST_BIT) * 4 + quarter + 1;
    return span < SPANS ? span : SPANS - 1;
}

/* The least time that falls into a span. */
static inline uint64_t tally_span_begin(uint32_t span)
{
    uint32_t octave = (span - 1) / 4 + SPAN_FIRST_BIT, quarter = (span - 1) % 4;
    return span == 0 ? 0 : (uint64_t)(4 + quarter) << (octave - 2);
}

/* The counters have one writer. */
static inline void tally_add(_Atomic uint64_t *counter, uint64_t count)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + count,
                          memory_order_relaxed);
}
static inline void tally_count(_Atomic uint64_t *counter)
{
    tally_add(counter, 1);
}

/* When a task was submitted, as its slot says it. To read the clock is a twentieth of what
 * the submission of a small task takes. So of those that come after many others of their
 * group one in TALLY_SAMPLE has a time, and its wait counts for as many; the others have 0.
 * Each time it is the next one, lest it is in step with how many tasks a worker takes at once. */
enum { TALLY_EACH = 64, TALLY_SAMPLE = 8 };

static inline bool tally_is_timed(size_t index)
{
    return index < TALLY_EACH || index % TALLY_SAMPLE == index / TALLY_SAMPLE % TALLY_SAMPLE;
}
static inline uint64_t tally_stamp(size_t index, uint64_t ticks)
{
    return index < TALLY_EACH ? ticks | 1 : ticks & ~UINT64_C(1);
}
/* For how many tasks it counts. */
static inline uint64_t tally_weight(uint64_t stamp)
{
    return stamp & 1 ? 1 : stamp != 0 ? TALLY_SAMPLE : 0;
}

/* The time, in ticks, that so many thousandths of what was counted are below; the end
 * of its span, so that it errs upwards. 0 if nothing was counted, and UINT64_MAX in the
 * last span, which has no end. */
uint64_t tally_quantile(const uint64_t counts[SPANS], uint32_t thousandths);

#endif
