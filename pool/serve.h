/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A pool for programs that attach to it: what `multicore serve` runs.
 */
#ifndef POOL_SERVE_H
#define POOL_SERVE_H

#include "pool/config.h"

#include <sys/types.h>

/* A module to load, as configured. */
struct module_spec {
    const char *path;
    const struct setting *settings;
    uint32_t setting_count;
    bool lazy; /* its phases wait for the first task of one of its handlers */
};

/* Whose clients have which share of the workers' time. */
struct serve_weight {
    bool group; /* id is a group's, else a user's */
    uint32_t id;
    uint32_t weight; /* 1 to MOST_WEIGHT; those of others is DEFAULT_WEIGHT */
};

enum serve_event {
    SERVE_READY,     /* the first worker is up, and clients may attach */
    SERVE_RELOADING, /* new modules and options are being set up */
    SERVE_RELOADED,  /* they are in use; text: a warning, or "" */
    SERVE_KEPT,      /* they could not be; text: why. The old ones stay in use */
    SERVE_STOPPING,  /* tasks run to their end */
    SERVE_ENDED,     /* the process is about to exit; text: why, or "" for an orderly end */
    SERVE_ALIVE,     /* now and then, every alive_ms */
};

struct serve_options {
    struct mc_pool_options pool; /* without handlers and hooks */
    const struct module_spec *modules;
    uint32_t module_count;

    int listener;        /* listening, SOCK_SEQPACKET */
    const uid_t *users;  /* that may attach, besides root and our own; none and no groups: all */
    uint32_t user_count; /* whom the socket's mode lets in */
    const gid_t *groups;
    uint32_t group_count;
    const struct serve_weight *weights; /* the first that fits a client counts */
    uint32_t weight_count;
    uint32_t max_clients_per_user; /* 0: no limit but max_clients */

    uint32_t serial_load;     /* not 0: modules load one by one */
    uint32_t load_timeout_ms; /* for the modules, and for worker_init. 0: 60,000 */

    uint32_t alive_ms; /* 0: never */
    void (*tell)(void *context, enum serve_event event, const char *text);
    /* Before SERVE_READY and SERVE_RELOADED: how the modules started. May be NULL. */
    void (*started)(void *context, const struct startup *startup);
    /* Reads the configuration again; NULL keeps the old one, with its reason in
     * mc_error_message(). What it returns stays for the process's life. */
    const struct serve_options *(*reload)(void *context);
    void *context;
};

/* How many descriptors the pool's supervisor may need. */
uint64_t serve_descriptors(const struct config *config);

/* Runs the pool in this process, until SIGTERM or SIGINT; SIGHUP reloads. The process
 * exits with status 0 after an orderly end, 1 if no worker could be started; before, it
 * tells SERVE_ENDED. Returns a negative errno with a message when it cannot begin. */
int serve_run(const struct serve_options *options);

#endif
