/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The CPUs that workers may use, and in which order seats take them.
 *
 * Usable are the CPUs of the affinity mask. The kernel keeps that mask within
 * the cpuset of the cgroup, v1 and v2, also when the cpuset shrinks later. A
 * CPU quota caps their number: half a core of quota is still one worker.
 */
#ifndef POOL_TOPOLOGY_H
#define POOL_TOPOLOGY_H

#include "loadavg/cgroup.h"

#include <stdbool.h>
#include <stdint.h>

/* The most that Linux can be configured for. */
enum { TOPOLOGY_CPU_MAX = 8192 };

/* 17 KiB; keeps nothing that would have to be freed. */
struct topology {
    unsigned cpu_count;              /* CPUs of the mask, at least 1 */
    unsigned usable;                 /* the same, capped by the quota; at least 1 */
    bool quota_limits;               /* a quota allows less than cpu_count cores */
    char pressure[CGROUP_PATH_SIZE]; /* with such a quota: its cpu.pressure, or "" */
    uint16_t cpus[TOPOLOGY_CPU_MAX]; /* cpu_count of them; seat i: [i % cpu_count] */
};

/* Reads mask and quota; cpus are in the order of their numbers. The _at form
 * looks for /proc and the cgroup mounts below root. A quota that cannot be
 * read is none. Errors: what sched_getaffinity(2) fails with. */
int topology_read(struct topology *topology);
int topology_read_at(const char *root, struct topology *topology);

/* Orders cpus so that each physical core comes once before any comes twice,
 * beginning with the core that the caller runs on: pools on one machine then do
 * not all begin with its first core. When there are no fewer workers than CPUs,
 * the order is of no use, and hwloc (0.5 to 1 ms) is left alone. Errors:
 * -ENOTSUP when hwloc cannot tell cores apart; the order is then that of the
 * CPUs' numbers, and the pool works as well. */
int topology_spread(struct topology *topology, unsigned workers);

/* Lets the calling process, and what it starts, run on all cpus again. */
void topology_unpin(const struct topology *topology);

/* The ordering, pure. core_of[cpu] is the core of each CPU in cpus, below
 * TOPOLOGY_CPU_MAX; first is the CPU to begin with, if it is among them. */
void topology_order(struct topology *topology, const uint16_t *core_of, unsigned first);

#endif
