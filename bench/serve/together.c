/* SPDX-License-Identifier: BSD-3-Clause */
#include "together.h"

enum { WARM_UP_NS = 50000000, WINDOW_NS = 250000000 };

static uint64_t answered(const struct crowd *crowd)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < crowd->count; i++)
        sum += atomic_load_explicit(&crowd->clients[i].answered, memory_order_relaxed);
    return sum;
}

enum outcome together_measure(struct crowd *crowd, unsigned figure, unsigned samples)
{
    enum outcome outcome = crowd_begin(crowd);
    if (outcome == MEASURED)
        pause_ns(WARM_UP_NS);
    for (unsigned i = 0; i < samples && outcome == MEASURED; i++) {
        uint64_t before = answered(crowd), began = now_ns();
        pause_ns(WINDOW_NS);
        uint64_t after = answered(crowd), ended = now_ns();
        figure_add(figure, (double)(after - before) * 1e9 / (double)(ended - began));
    }
    enum outcome end = crowd_end(crowd);
    return outcome == FAILED ? FAILED : end;
}
