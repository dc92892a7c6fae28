/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The CPU quota of the cgroups that this process is in, v1 and v2, and the file
 * that tells how hard that quota presses.
 *
 * A process is limited by its own cgroup and by every one above it. Which they
 * are is in /proc/self/cgroup, where they can be read in /proc/self/mountinfo.
 * In a container, what is above its own top is out of sight. A file that is
 * missing or malformed limits nothing.
 *
 * The cpuset is not read: the kernel keeps the affinity mask within it, for v1
 * and v2 alike.
 */
#ifndef LOADAVG_CGROUP_H
#define LOADAVG_CGROUP_H

#include <stdbool.h>
#include <stdint.h>

enum { CGROUP_PATH_SIZE = 512 };

struct cgroup_limit {
    /* The smallest quota, in thousandths of a core, rounded up; UINT32_MAX:
     * none. */
    uint32_t quota_milli;
    /* cpu.pressure of the cgroup that has this quota. Where that has no such
     * file, as in v1, that of the process's own v2 cgroup, unless it is the
     * root, whose pressure is the host's. "": none, also without a quota. */
    char pressure_path[CGROUP_PATH_SIZE];
};

/* Reads below root; "" is the real one. */
void cgroup_limit_read(const char *root, struct cgroup_limit *limit);

/* Below: the parsers, for tests. */

/* A mount of a cgroup hierarchy. The strings lie in the line. */
struct cgroup_mount {
    bool unified;      /* v2; otherwise v1 with the cpu controller */
    const char *top;   /* the cgroup that is seen at ... */
    const char *point; /* ... this directory */
};

/* One line of mountinfo, which it changes; false: not a mount that we need. */
bool cgroup_parse_mount(char *line, struct cgroup_mount *mount);

/* One line of /proc/self/cgroup, which it changes. Sets *unified as above, and
 * *path to the process's cgroup; false: not a hierarchy that we need. */
bool cgroup_parse_membership(char *line, bool *unified, const char **path);

/* cpu.max, "50000 100000" or "max 100000"; UINT32_MAX: no limit. */
uint32_t cgroup_parse_max(const char *text);

/* cpu.cfs_quota_us and cpu.cfs_period_us; the former is -1 without a limit. */
uint32_t cgroup_parse_cfs(const char *quota, const char *period);

#endif
