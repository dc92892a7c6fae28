/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The decision, from the load, whether tasks go to workers. Pure functions over
 * a sample: no system calls, no state.
 *
 * The rule that users are promised comes first and decides alone wherever it
 * can: busy is when the 1-minute load average, without what the pool causes
 * itself, is above limit x usable cores. Having been busy, it stays so until
 * the load is below 90 % of that, or a job at the limit would flap.
 *
 * The 1-minute average sees a sudden load late: one task per core takes 114 s
 * to show as 0.85. So there is a second rule, made to err towards parallel. It
 * needs two witnesses:
 *   - the run queues hold more than 2 x limit tasks per core, without the
 *     pool's busy seats and the reader itself, and
 *   - pressure (PSI "some", average of 10 s) is at least 50 %: tasks really
 *     have been waiting for a CPU, and for several seconds.
 * It holds until there are no more than limit tasks per core, a loose bound
 * because that reading is of one instant, or pressure is below 45 %.
 *
 * Under a CPU quota the host's load and run queues are not ours. What is left
 * is the pressure of the cgroup that has the quota: busy from 50 %, which is
 * about twice the work that the quota can serve, until it is below 45 %. Since
 * the pool is in that cgroup too, this begins only while the pool cannot be the
 * cause: no seat is busy, and on average of the last minute no more than a
 * quarter of the cores was. Without that pressure nothing is decided, and tasks
 * run in parallel.
 */
#ifndef LOADAVG_ADMISSION_H
#define LOADAVG_ADMISSION_H

#include "loadavg/sample.h"

#include "multicore.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zero: no limit. */
struct admission_policy {
    bool enabled;
    uint32_t limit_milli;  /* load per usable core */
    uint32_t max_delay_ms; /* for which a client's tasks may wait for a worker; 0: no limit */
};

/* What decided. The values are part of the packed form. */
enum admission_cause {
    ADMISSION_NO_LIMIT = 0,   /* the policy is not enabled */
    ADMISSION_LOAD = 1,       /* the load average; measured: per core */
    ADMISSION_QUEUE = 2,      /* the second rule; measured: tasks per core */
    ADMISSION_PRESSURE = 3,   /* pressure under a quota; measured: 500 is 50 % */
    ADMISSION_QUOTA = 4,      /* nothing: a quota, and its pressure is unknown */
    ADMISSION_UNREADABLE = 5, /* nothing: load_sample_read() failed */
    ADMISSION_DELAY = 6,      /* not the load: tasks of this client wait; measured: in ms */
};

/* All zero: parallel, and stale to everyone. */
struct admission {
    bool busy;
    bool held; /* busy only because it was so before */
    enum admission_cause cause;
    uint32_t measured_milli;
    uint32_t taken_ms; /* low half of the sample's time */
};

/* Reads max_load_average: "0.85" or "85%". A bare number above 10 is read as
 * a percentage; *warning is then a sentence for the log, otherwise NULL. NULL
 * text is no limit. From 0.01 to 100 times the cores, otherwise -EINVAL. */
int admission_parse(const char *text, struct admission_policy *policy, const char **warning);

/* previous is the decision that this one replaces. */
struct admission admission_decide(const struct admission_policy *policy,
                                  const struct load_sample *sample, struct admission previous);

/* A decision in one word, so that it is published by one store and read by one
 * load. Values above what fits are cut to the largest that does. */
uint64_t admission_pack(struct admission admission);
struct admission admission_unpack(uint64_t packed);

/* True when a decision is too old to go by: more than 1 s. taken_ms may be cut
 * to 32 bits. */
bool admission_stale(uint64_t taken_ms, uint64_t now_ms);

/* One sentence: what was measured, the limit, and the mode that the group has
 * for it. Returns buffer. */
const char *admission_reason(struct admission admission, const struct admission_policy *policy,
                             enum mc_mode mode, char *buffer, size_t size);

#endif
