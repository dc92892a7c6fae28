/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The options of a pool, checked and with their defaults filled in. Made by the
 * opening process before it forks, so that every process of the pool has it at
 * the same address; never changed afterwards.
 */
#ifndef POOL_CONFIG_H
#define POOL_CONFIG_H

#include "ipc/layout.h"
#include "loadavg/admission.h"
#include "multicore.h"
#include "pool/topology.h"

struct handler {
    char name[HANDLER_NAME_SIZE];
    mc_handler_fn *run;
    uint32_t flags;
    uint32_t max_attempts;
    uint32_t soft_limit_ms, time_limit_ms; /* 0: none */
    mc_soft_limit_fn *on_soft_limit;
    bool watched; /* it has limits, or may be repeated */
};

struct config {
    struct handler *handlers;
    uint32_t handler_count;
    int (*worker_init)(void *hook_context, void **state);
    void (*worker_exit)(void *state);
    void *hook_context;
    uint32_t workers;
    enum mc_pinning pinning;
    struct admission_policy policy;
    const char *policy_warning; /* static text, or NULL */
    uint64_t max_payload;
    uint32_t max_clients;
    uint32_t close_timeout_ms;
    uint64_t max_tasks_per_worker; /* these four: 0 for never */
    uint32_t max_worker_age_s;
    uint64_t max_worker_memory;
    uint32_t slow_task_ms;
    mc_log_fn *log;
    void *log_context;
    uint32_t flags;
    char *proc_path; /* NULL: /proc */
    struct lane_geometry geometry;
    struct topology topology;
};

/* -EINVAL with a message that names the option, or -ENOMEM. */
int config_create(const struct mc_pool_options *options, struct config **config);
void config_free(struct config *config);

/* Samples the load and decides, from what the caller filled in about the pool's
 * own tasks; previous is the decision before. */
struct admission config_admit(const struct config *config, struct load_sample *sample,
                              struct admission previous);

/* The handler's number, or -ENOENT with a message that lists the names. */
int config_handler(const struct config *config, const char *name);

#endif
