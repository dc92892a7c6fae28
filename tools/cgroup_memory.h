/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How much memory the control groups of this process allow, v1 and v2, where these are
 * mounted below /sys/fs/cgroup.
 */
#ifndef TOOLS_CGROUP_MEMORY_H
#define TOOLS_CGROUP_MEMORY_H

#include <stdint.h>

/* The smallest limit of its own group and those above, in bytes; UINT64_MAX: none.
 * Reads below root; "" is the real one. */
uint64_t cgroup_memory_limit(const char *root);

#endif
