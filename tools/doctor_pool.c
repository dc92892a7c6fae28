/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/doctor.h"

#include "loadavg/text.h"
#include "pool/serve.h"
#include "tools/cgroup_memory.h"
#include "tools/units.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* ---- Cores ---- */

static void look_at_cores(struct findings *findings, const struct config *config)
{
    const struct topology *topology = &config->topology;
    long there = sysconf(_SC_NPROCESSORS_ONLN);
    if (topology->quota_limits)
        found(findings, LEVEL_NOTE, "cores",
              "%u usable of %ld: the CPU quota of the control group allows no more; raise "
              "CPUQuota= or cpu.max to use others",
              topology->usable, there);
    else if (topology->cpu_count < there)
        found(findings, LEVEL_NOTE, "cores",
              "%u usable of %ld: the affinity mask or the cpuset leaves no others; see "
              "CPUAffinity= and AllowedCPUs=",
              topology->usable, there);
    else
        found(findings, LEVEL_OK, "cores", "%u usable, which are all", topology->usable);
}

static void look_at_workers(struct findings *findings, const struct config *config)
{
    if (config->workers > config->topology.usable)
        found(findings, LEVEL_WARNING, "workers",
              "%u, more than the %u usable cores: they take turns; 'workers = auto' has one for "
              "each",
              config->workers, config->topology.usable);
    else
        found(findings, LEVEL_OK, "workers", "%u", config->workers);
}

static void look_at_nodes(struct findings *findings)
{
    char text[256];
    if (text_read("/sys/devices/system/node/online", text, sizeof(text)) <= 0) {
        found(findings, LEVEL_OK, "NUMA", "the kernel knows of no nodes");
        return;
    }
    text[strcspn(text, "\n")] = '\0';
    if (strpbrk(text, "-,") == NULL)
        found(findings, LEVEL_OK, "NUMA", "one node");
    else
        found(findings, LEVEL_NOTE, "NUMA",
              "nodes %s: payloads lie on the node of who wrote them first; a pool for each node, "
              "with AllowedCPUs= and NUMAMask= in its unit, avoids the way across",
              text);
}

/* ---- Memory ---- */

/* Without what nobody wants to know: 768G, 300M. */
static const char *about(uint64_t bytes, char text[UNITS_TEXT_SIZE])
{
    unsigned shift = bytes >> 33 != 0 ? 30 : 20; /* from 8 GiB on */
    return units_of_size(bytes >> shift << shift, text);
}

static void look_at_memory(struct findings *findings, const struct config *config)
{
    char most[UNITS_TEXT_SIZE], limit_text[UNITS_TEXT_SIZE], payload[UNITS_TEXT_SIZE];
    uint64_t machine = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t group = cgroup_memory_limit(""), limit = group < machine ? group : machine;
    const char *whose = group < machine ? "the control group's limit" : "the machine's memory";
    uint64_t worst = config->max_clients * config->geometry.total_size;
    about(limit, limit_text);
    about(worst, most);
    units_of_size(config->max_payload, payload);
    if (config->max_payload > limit / 2)
        found(findings, LEVEL_WARNING, "memory",
              "max-payload is %s, and %s %s: an argument and its result do not fit; lower "
              "max-payload, or raise MemoryMax=",
              payload, whose, limit_text);
    else if (worst > limit)
        found(findings, LEVEL_NOTE, "memory",
              "%u clients could fill %s, and %s is %s; lower max-clients, max-payload or "
              "arena-size where clients are not to be trusted with that",
              config->max_clients, most, whose, limit_text);
    else
        found(findings, LEVEL_OK, "memory", "%u clients can fill %s at most, and %s is %s",
              config->max_clients, most, whose, limit_text);
}

/* ---- Descriptors ---- */

static void look_at_descriptors(struct findings *findings, const struct config *config)
{
    struct rlimit limit = {0};
    uint64_t wanted = serve_descriptors(config);
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max < wanted)
        found(findings, LEVEL_WARNING, "descriptors",
              "RLIMIT_NOFILE is %" PRIu64 " at most, and %u clients with %u workers take %" PRIu64
              ": some will be turned away; set LimitNOFILE=%" PRIu64
              " in the unit, or lower max-clients",
              (uint64_t)limit.rlim_max, config->max_clients, config->workers, wanted, wanted);
    else
        found(findings, LEVEL_OK, "descriptors",
              "%u clients and %u workers take %" PRIu64 ", and RLIMIT_NOFILE allows them",
              config->max_clients, config->workers, wanted);
}

void doctor_look_at_pool(struct findings *findings, const struct config *config)
{
    look_at_cores(findings, config);
    look_at_workers(findings, config);
    look_at_nodes(findings);
    look_at_memory(findings, config);
    look_at_descriptors(findings, config);
}
