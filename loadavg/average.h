/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The load that the pool causes itself, averaged as the kernel averages its
 * 1-minute load: exponentially, with a time constant of 60 s. The two can then
 * be subtracted from each other. Pure.
 */
#ifndef LOADAVG_AVERAGE_H
#define LOADAVG_AVERAGE_H

#include <stdint.h>

/* All zero: no seat was ever busy. */
struct load_average {
    double seats;        /* the average */
    uint64_t updated_ms; /* when it was valid */
    uint32_t busy;       /* seats busy since then */
};

/* busy seats are busy from now on; until now it was the number given last. So
 * an update is due whenever the number changes, in particular when it becomes
 * 0; updates at fixed times come close. Time that runs backwards counts as
 * none. Returns the average in thousandths of a seat. */
uint32_t load_average_update(struct load_average *average, uint64_t now_ms, uint32_t busy);

#endif
