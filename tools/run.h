/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What `multicore run` was asked for.
 */
#ifndef TOOLS_RUN_H
#define TOOLS_RUN_H

#include "multicore.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct errand {
    const char *handler;
    char *args; /* as given: for JSON and MessagePack it is JSON */
    size_t args_size;
    enum mc_format format;
    uint64_t items;  /* 0: one task without a range */
    int timeout_ms;  /* -1: no limit */
    uint64_t repeat; /* 0: once, and print what comes of it */
    uint64_t concurrency;
};

/* A signal asked us to end. What runs is cancelled then: the end of a process does not
 * stop what workers run for it. */
bool run_interrupted(void);

/* What is left of the time limit that began then: -1 without one. */
int run_left_ms(const struct errand *errand, uint64_t began_ns);
/* For how long to wait at once: no longer than that, and not for long, since a signal that
 * comes just before a wait does not end it. */
int run_wait_ms(const struct errand *errand, uint64_t began_ns);

/* Submits it to the group. Negative errno with a message. */
int run_submit(const struct errand *errand, mc_group *group);

/* Runs it many times, and prints how fast that was; see load.c. An exit status. */
int load_run(const struct errand *errand, mc_pool *pool);

#endif
