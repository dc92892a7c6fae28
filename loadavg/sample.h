/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One reading of how busy the machine is. Taken by the supervisor while anyone
 * submits, and by a client that finds the published decision stale.
 */
#ifndef LOADAVG_SAMPLE_H
#define LOADAVG_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

struct load_sample {
    /* Set by load_sample_read(). */
    uint64_t taken_ms;             /* CLOCK_MONOTONIC, coarse */
    uint32_t load1_milli;          /* the host's 1-minute load average */
    uint32_t psi_some_avg10_centi; /* hundredths of a percent; UINT32_MAX: unknown */
    uint32_t runnable;             /* tasks on all run queues, the reader among them */

    /* Set by the caller. */
    uint32_t usable_cores;
    uint32_t own_busy_now;   /* this pool's busy seats */
    uint32_t own_busy_milli; /* the same, from load_average_update() */
    bool quota;              /* a CPU quota limits us: the host's load is not ours */
};

/* Reads loadavg and pressure/cpu below proc_path (NULL: /proc). The pressure
 * is read from pressure_path instead where that is not NULL or empty. With
 * sample->quota only that file counts, as the host's pressure is not ours.
 * Pressure that cannot be read is unknown. Allocates nothing, keeps no
 * descriptor, does not block.
 * Errors: -ENOENT and the like when loadavg cannot be read, -EBADMSG when it
 * is malformed, -ENAMETOOLONG. */
int load_sample_read(const char *proc_path, const char *pressure_path, struct load_sample *sample);

#endif
