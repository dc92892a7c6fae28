/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One wait of a caller. wait.c decides what to do next, help.c runs tasks here.
 */
#ifndef POOL_WAIT_H
#define POOL_WAIT_H

#include "pool/pool.h"

struct waiting {
    mc_group *group;
    struct client *client;
    enum goal goal;
    size_t first_open, count; /* of the group, as of the last look under the lock */
    size_t open;              /* how many of its tasks had not ended */
    bool reached;             /* the goal, likewise */
    size_t room_index;        /* GOAL_ROOM: the task to wait for, amid those in flight */
    size_t ended_before;      /* GOAL_ROOM: how many had, ... */
    size_t ended_enough;      /* ... and how many are to have, whichever they are */
    bool shared;              /* GOAL_ROOM: others had tasks in flight, too; ... */
    uint32_t free_least;      /* ... so many slots were free at times */
    uint64_t began_ns;
    uint64_t alone_ns;    /* since when no task ran here: it began, or one of them ended */
    uint64_t deadline_ns; /* UINT64_MAX: none */
    int cpu;
    uint32_t naps;
};

static inline uint32_t usual_ns(const struct client *client, const struct record *record)
{
    return atomic_load_explicit(&client->estimate_ns[record->handler], memory_order_relaxed);
}

/* ---- wait.c ---- */

/* True if one of the group's tasks is in this state. */
bool wait_any_is(const struct waiting *waiting, enum slot_state state);
/* The pool has no worker, and gets none. */
bool wait_no_workers(const mc_group *group);

/* ---- help.c ---- */

/* Isolated handlers stay out of clients, and so do tasks that killed a worker; a
 * worker may run one of its own before all wait for each other. */
bool help_may_run(const mc_group *group, const struct record *record);
/* True if the caller had better run a task now than rest. */
bool help_pays(const struct waiting *waiting, uint64_t now);
/* Runs one of the group's tasks that nobody has claimed; false if there is none. */
bool help_group(struct waiting *waiting);
/* The same of whichever group gives room; any: not only of those that only this process
 * may run. */
bool help_any_group(mc_pool *pool, bool any);

#endif
