/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The options of a pool, checked and with their defaults filled in. Made by the
 * opening process before it forks, so that every process of the pool has it at
 * the same address. Afterwards it changes only where modules are loaded.
 */
#ifndef POOL_CONFIG_H
#define POOL_CONFIG_H

#include "base/error.h"
#include "ipc/layout.h"
#include "loadavg/admission.h"
#include "multicore.h"
#include "pool/startup.h"
#include "pool/topology.h"

#include <stdatomic.h>

enum { REFORK_AFTER_MOST = 1000000000 };

struct handler {
    char name[HANDLER_NAME_SIZE];
    mc_handler_fn *run;
    uint32_t flags;
    uint32_t max_attempts;
    uint32_t soft_limit_ms, time_limit_ms; /* 0: none */
    mc_soft_limit_fn *on_soft_limit;
    uint32_t module;
    bool watched; /* it has limits, or may be repeated */
};

/* The seats whose workers run its tasks. */
static inline enum seat_class handler_seats(const struct handler *handler)
{
    return (handler->flags & MC_IO) != 0 ? SEAT_IO : SEAT_CPU;
}

/* Which of the group's limit and the handler's counts; 0: none. Who serves a pool decides for how
 * long others may have its workers. */
static inline uint32_t handler_limit_ms(uint32_t own_ms, uint32_t handlers_ms, bool served)
{
    bool too_long = served && handlers_ms != 0 && own_ms > handlers_ms;
    return own_ms == 0 || too_long ? handlers_ms : own_ms;
}

struct setting {
    char *key, *value;
};

/* The program's own handlers and hooks are a module too: the first, without a file. */
struct mc_module_self {
    char name[HANDLER_NAME_SIZE]; /* "" until it is loaded */
    const char *path;
    const struct setting *settings;
    uint32_t setting_count;
    const struct mc_module *descriptor; /* NULL: the program's own */
    int (*worker_init)(void *hook_context, void **state);
    void (*worker_exit)(void *state);
    void *hook_context;
    /* For modules with a file: */
    const struct config *config;
    uint32_t row;   /* its place in the configuration, and in config->startup */
    bool lazy;      /* it is to be loaded for its first task */
    bool asleep;    /* so it is not loaded yet: its handlers have no function here */
    uint64_t needs; /* places in the order, of all that it requires, once that is known */
    void *exported; /* NULL: nothing */
    char misuse[ERROR_MESSAGE_SIZE]; /* what it may not do and did; "": nothing */
};

struct config {
    struct handler *handlers;
    _Atomic uint32_t handler_count; /* grows in attached clients and supervisors only */
    uint32_t handler_capacity;
    uint32_t handlers_edition;      /* of an attached client: the control's when it last read all */
    struct mc_module_self *modules; /* in the order in which they are set up */
    uint32_t module_count;
    const struct serve_options *serve; /* of `multicore serve`, else NULL, ... */
    struct startup *startup;           /* ... and so is this; */
    uint32_t load_timeout_ms;          /* and this is 0 */
    uint32_t workers;                  /* for ordinary tasks, ... */
    uint32_t io_workers;               /* ... for those of handlers that are MC_IO, ... */
    uint32_t seats;                    /* ... and both, in this order */
    enum mc_io_engine io_engine;
    enum mc_pinning pinning;
    struct admission_policy policy; /* as configured; see config_policy_now() */
    const char *policy_warning;     /* static text, or NULL */
    uint64_t max_payload;
    uint32_t max_clients;
    uint32_t close_timeout_ms;
    uint64_t max_tasks_per_worker; /* these four: 0 for never */
    uint32_t max_worker_age_s;
    uint64_t max_worker_memory;
    uint32_t refork_after; /* tasks, until a worker becomes the zygote of the others; 0: never */
    uint32_t slow_task_ms;
    mc_log_fn *log;
    void *log_context;
    uint32_t flags;
    char *proc_path; /* NULL: /proc */
    struct lane_geometry geometry;
    struct topology topology;
};

/* -EINVAL with a message that names the option, or -ENOMEM. With serve the handlers
 * come later, from its modules. */
int config_create(const struct mc_pool_options *options, const struct serve_options *serve,
                  struct config **config);
/* For a program that attaches: the handlers that are linked into it, and memory enough
 * to run them without a pool. */
int config_create_local(const struct mc_attach_options *options, struct config **config);
/* For one that did: what the pool says of itself, with the functions of `local` where
 * names agree. -EPROTO when the pool cannot be believed. */
int config_create_attached(const struct control *control, const struct config *local,
                           struct config **config);
/* Handlers that the pool got since; with `again`, which is for when no group is open, also
 * what has changed of those that are known. One thread at a time. */
void config_learn_handlers(struct config *config, const struct control *control,
                           const struct config *local, bool again);
/* What others are told of it. */
struct handler_entry config_handler_entry(const struct handler *handler);
/* Adds the handlers of a module, under the numbers that they had before if they are
 * known. -EINVAL with a message. */
int config_add_handlers(struct config *config, uint32_t module, const struct mc_handler *handlers,
                        size_t count);
void config_free(struct config *config);

/* The pool's limits, which a reload may change. */
struct admission_policy config_policy_now(const struct control *control);

/* Samples the load and decides by the policy, from what the caller filled in about the
 * pool's own tasks; previous is the decision before. */
struct admission config_admit(const struct config *config, const struct admission_policy *policy,
                              struct load_sample *sample, struct admission previous);

/* The handler's number, or -ENOENT with a message that lists the names. */
int config_handler(const struct config *config, const char *name);

#endif
