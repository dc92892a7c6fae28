/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A served pool at one moment, and since the moment before: what `multicore stats` and
 * `multicore top` show. All of it comes from the pool's shared memory and from /proc,
 * so that it can be had while every worker is stuck; nobody is stopped for it, and
 * numbers that belong together may be apart by what happened while they were read.
 *
 * How long a tick is is measured once, when a pool is opened, so that what only grows in
 * ticks only grows in seconds.
 */
#ifndef TOOLS_VIEW_H
#define TOOLS_VIEW_H

#include "loadavg/admission.h"
#include "tools/observer.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    VIEW_COMMAND_SIZE = 16, /* as the kernel has it, with its end */
    VIEW_SENTENCE_SIZE = 256,
};
#define VIEW_UNKNOWN UINT32_MAX

enum view_state {
    VIEW_NONE,     /* nobody sits there */
    VIEW_STARTING, /* not ready for tasks yet */
    VIEW_IDLE,     /* asleep until there is work */
    VIEW_LOOKING,  /* awake, and without work */
    VIEW_BUSY,
};

struct view_worker {
    uint32_t seat;
    pid_t pid;  /* 0: none */
    pid_t heir; /* of who is to follow; 0: none */
    int cpu;    /* where it is pinned; -1: nowhere */
    enum view_state state;
    int handler;      /* of the present task: an index into handlers; -1: none, or not known */
    int lane;         /* whose task it is: view_client.lane; -1: none */
    uint64_t age_ns;  /* of the present task */
    uint32_t began;   /* when it began, as its row has it: the low half; 0: none */
    int pending;      /* tasks that wait in this I/O seat; -1: it is for computing */
    uint64_t tasks;   /* of the seat, since the pool was opened */
    uint64_t busy_ns; /* likewise, with tasks that ended */
    double load;      /* the share of the interval that it was busy, from 0 to 1 */
    uint64_t rss, private_bytes; /* resident memory, and what of it nobody shares; 0: unknown */
};

struct view_client {
    uint32_t lane;
    pid_t pid;
    uid_t uid;
    char command[VIEW_COMMAND_SIZE]; /* "?": unknown */
    uint32_t weight;
    uint32_t queued;   /* tasks that wait */
    uint32_t delay_ms; /* and for how long the oldest has, at least */
    bool late;         /* above max-queue-delay: it is to offer no more */
};

struct view_handler {
    char name[HANDLER_NAME_SIZE];
    uint32_t flags; /* enum mc_handler_flags */
    /* Over all seats, since the pool was opened. Times are counted in spans of ticks. */
    uint64_t ended, failed; /* the second are of the first */
    uint64_t waited[SPANS], ran[SPANS];
    /* Of the tasks that ended in the interval; without one, of all. In ns; 0 if there
     * were none. What is above view_most_ns() stands for all that is. */
    uint64_t wait_p50, wait_p99, run_p50, run_p99;
    double per_second; /* 0 without an interval */
};

/* As struct totals, at rest. */
struct view_totals {
    uint64_t workers_started, workers_died, workers_retired;
    uint64_t tasks_crashed, tasks_timed_out, tasks_killed, tasks_repeated;
    uint64_t clients_attached, clients_refused, lanes_faulted;
    uint64_t reloads, reloads_failed;
};

struct view {
    uint64_t time_ns;     /* clock_ns() of this snapshot */
    uint64_t interval_ns; /* since the one before; 0: there is none */
    pid_t supervisor;
    bool gone;        /* the pool is no more: this is what was left of it */
    uint32_t closing; /* 0: open; 1: takes no new tasks; 2: its workers leave */
    bool hopeless;    /* no worker can be started at present */

    uint32_t seat_count; /* workers[] has one for each */
    uint32_t seats_up;   /* of them, those whose worker is ready */
    uint32_t busy;       /* of them, those with a task */
    uint32_t io_seats;   /* the last of all seats */
    struct view_worker *workers;
    uint32_t client_count, client_limit;
    struct view_client *clients; /* attached ones only */
    uint32_t handler_count;
    struct view_handler *handlers;

    uint64_t queued;   /* tasks that wait for a worker, of all clients */
    uint64_t pending;  /* tasks that have begun, and wait in I/O seats */
    uint64_t ended;    /* tasks of all handlers */
    double per_second; /* likewise, in the interval; 0 without one */
    struct view_totals totals;

    struct admission admission; /* the newest decision, of tasks that are offered now */
    struct admission_policy policy;
    char sentence[VIEW_SENTENCE_SIZE]; /* in words */
    double load[3];     /* averages of the machine: 1, 5 and 15 minutes; negative: unknown */
    uint32_t psi_centi; /* CPU pressure "some", 10 s: hundredths of a percent, VIEW_UNKNOWN */

    struct observer observer; /* view.c's own, as is what follows */
    struct view_memory *memory;
};

/* Looks at the pool behind the socket, whose path is the caller's until view_close().
 * Takes no snapshot yet. Errors as observer_open(); *view is untouched then. */
int view_open(struct view **view, const char *socket);
/* Takes a snapshot in place of the last one; what that one had is the beginning of the
 * interval. -ESHUTDOWN with a message when the pool is gone: the last snapshot stays
 * readable, and `gone` is set. Does not wait for workers. From one thread only. */
int view_take(struct view *view);
void view_close(struct view *view); /* NULL is fine */

/* "busy" and so on. */
const char *view_state_name(enum view_state state);
/* The name of a worker's present handler, or "-". */
const char *view_worker_handler(const struct view *view, const struct view_worker *worker);

/* Beyond so many ns, 40 s or more, times are not told apart. */
uint64_t view_most_ns(void);

/* ---- arithmetic, for its tests too ---- */

/* Fills in percentiles and the rate, from the tallies now and those of interval_ns ago;
 * NULL: there are none. */
void view_measure(struct view_handler *handler, const struct view_handler *before,
                  uint64_t interval_ns);
/* The share of the interval, from 0 to 1. */
double view_share(uint64_t busy_ns, uint64_t busy_before_ns, uint64_t interval_ns);

#endif
