/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool/topology.h"

#include "base/error.h"

#include "multicore.h"

#include <hwloc.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>

enum { WORD_BITS = 8 * sizeof(unsigned long) };

/* cpu_set_t, but for as many CPUs as there can be. */
struct mask {
    unsigned long words[TOPOLOGY_CPU_MAX / WORD_BITS];
};

static int mask_read(struct mask *mask)
{
    memset(mask, 0, sizeof(*mask));
    if (sched_getaffinity(0, sizeof(mask->words), (cpu_set_t *)mask->words) < 0)
        return error_system(-errno, "cannot read the affinity mask");
    return 0;
}

static bool mask_has(const struct mask *mask, unsigned cpu)
{
    return mask->words[cpu / WORD_BITS] >> cpu % WORD_BITS & 1;
}

static void mask_add(struct mask *mask, unsigned cpu)
{
    mask->words[cpu / WORD_BITS] |= 1ul << cpu % WORD_BITS;
}

static unsigned mask_count(const struct mask *mask)
{
    unsigned count = 0;
    for (size_t i = 0; i < TOPOLOGY_CPU_MAX / WORD_BITS; i++)
        count += (unsigned)__builtin_popcountl(mask->words[i]);
    return count;
}

static unsigned cap(unsigned cpu_count, uint32_t quota_milli)
{
    uint32_t cores = quota_milli / 1000 + (quota_milli % 1000 != 0);
    if (cores > cpu_count)
        cores = cpu_count;
    return cores > 0 ? cores : 1;
}

int topology_read_at(const char *root, struct topology *topology)
{
    struct mask mask;
    struct cgroup_limit limit;
    int result = mask_read(&mask);
    if (result < 0)
        return result;
    cgroup_limit_read(root, &limit);

    unsigned count = 0;
    for (unsigned cpu = 0; cpu < TOPOLOGY_CPU_MAX; cpu++)
        if (mask_has(&mask, cpu))
            topology->cpus[count++] = (uint16_t)cpu;
    if (count == 0)
        return error_set(-ENODEV, "the affinity mask has no CPU");
    topology->cpu_count = count;
    topology->usable = cap(count, limit.quota_milli);
    topology->quota_limits = limit.quota_milli < (uint64_t)count * 1000;
    topology->pressure[0] = '\0';
    if (topology->quota_limits)
        memcpy(topology->pressure, limit.pressure_path, sizeof(topology->pressure));
    return 0;
}

int topology_read(struct topology *topology)
{
    return topology_read_at("", topology);
}

void topology_unpin(const struct topology *topology)
{
    struct mask mask = {{0}};
    for (unsigned i = 0; i < topology->cpu_count; i++)
        mask_add(&mask, topology->cpus[i]);
    (void)sched_setaffinity(0, sizeof(mask.words), (cpu_set_t *)mask.words);
}

MC_API unsigned mc_usable_cores(void)
{
    struct mask mask;
    struct cgroup_limit limit;
    if (mask_read(&mask) < 0)
        return 1;
    cgroup_limit_read("", &limit);
    return cap(mask_count(&mask), limit.quota_milli);
}

/* Moves the CPUs before first to the end. */
static void rotate(struct topology *topology, unsigned first)
{
    uint16_t turned[TOPOLOGY_CPU_MAX];
    unsigned count = topology->cpu_count;
    unsigned start = 0;
    while (start < count && topology->cpus[start] != first)
        start++;
    if (start == count)
        return;
    for (unsigned i = 0; i < count; i++)
        turned[i] = topology->cpus[(start + i) % count];
    memcpy(topology->cpus, turned, count * sizeof(turned[0]));
}

void topology_order(struct topology *topology, const uint16_t *core_of, unsigned first)
{
    uint16_t seen[TOPOLOGY_CPU_MAX] = {0};
    uint16_t round[TOPOLOGY_CPU_MAX];
    uint16_t before[TOPOLOGY_CPU_MAX];
    unsigned count = topology->cpu_count;
    unsigned filled = 0;

    rotate(topology, first);
    for (unsigned i = 0; i < count; i++)
        round[i] = seen[core_of[topology->cpus[i]]]++;
    memcpy(before, topology->cpus, sizeof(before));
    for (unsigned now = 0; filled < count; now++)
        for (unsigned i = 0; i < count; i++)
            if (round[i] == now)
                topology->cpus[filled++] = before[i];
}

/* Only what Linux says of CPUs and cores. The other components look at
 * devices, or bind the calling thread to each CPU in turn. */
static int load_cores(hwloc_topology_t hwloc)
{
    static const char *const unwanted[] = {"x86",  "pci",  "opencl",    "cuda",
                                           "nvml", "rsmi", "levelzero", "gl"};
    for (size_t i = 0; i < sizeof(unwanted) / sizeof(unwanted[0]); i++)
        hwloc_topology_set_components(hwloc, HWLOC_TOPOLOGY_COMPONENTS_FLAG_BLACKLIST, unwanted[i]);
    hwloc_topology_set_all_types_filter(hwloc, HWLOC_TYPE_FILTER_KEEP_NONE);
    hwloc_topology_set_type_filter(hwloc, HWLOC_OBJ_CORE, HWLOC_TYPE_FILTER_KEEP_ALL);
    unsigned long flags =
        HWLOC_TOPOLOGY_FLAG_RESTRICT_TO_CPUBINDING | HWLOC_TOPOLOGY_FLAG_IS_THISSYSTEM;
    if (hwloc_topology_set_flags(hwloc, flags) < 0)
        return -1;
    return hwloc_topology_load(hwloc);
}

/* A CPU of which hwloc says nothing counts as a core of its own. */
static bool find_cores(hwloc_topology_t hwloc, uint16_t *core_of)
{
    hwloc_obj_t core = NULL;
    bool found = false;
    for (unsigned cpu = 0; cpu < TOPOLOGY_CPU_MAX; cpu++)
        core_of[cpu] = (uint16_t)cpu;
    while ((core = hwloc_get_next_obj_by_type(hwloc, HWLOC_OBJ_CORE, core)) != NULL) {
        int first = hwloc_bitmap_first(core->cpuset);
        for (int cpu = first; cpu >= 0 && cpu < TOPOLOGY_CPU_MAX;
             cpu = hwloc_bitmap_next(core->cpuset, cpu))
            core_of[cpu] = (uint16_t)first;
        found = found || first >= 0;
    }
    return found;
}

int topology_spread(struct topology *topology, unsigned workers)
{
    hwloc_topology_t hwloc;
    uint16_t core_of[TOPOLOGY_CPU_MAX];
    if (workers >= topology->cpu_count)
        return 0;
    if (hwloc_topology_init(&hwloc) < 0)
        return error_set(-ENOTSUP, "hwloc cannot be used to tell cores apart");
    bool found = load_cores(hwloc) == 0 && find_cores(hwloc, core_of);
    hwloc_topology_destroy(hwloc);
    if (!found)
        return error_set(-ENOTSUP, "hwloc finds no cores on this machine");
    int here = sched_getcpu();
    topology_order(topology, core_of, here < 0 ? TOPOLOGY_CPU_MAX : (unsigned)here);
    return 0;
}
