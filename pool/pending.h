/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A task in an I/O worker: its object, what it awaits, how it is called back and ends.
 * io.c decides when.
 *
 * While a task waits, its place in the worker's book names it; while it is called, the
 * worker's row does. Objects are private, and live as long as the worker.
 */
#ifndef POOL_PENDING_H
#define POOL_PENDING_H

#include "pool/bell.h"
#include "pool/due.h"
#include "pool/io.h"
#include "pool/loop.h"

struct io_task {
    mc_task task; /* its first member: what handlers know */
    struct due_entry due;
    struct io_task *next;  /* of those that are spare, or have something to hear */
    struct io_task *below; /* whose call this one's is within, while it waits for a group */
    struct view *view;
    struct slot *slot;
    name_t name;
    uint32_t lane;
    uint32_t place;   /* in the table and in the book, for good */
    uint32_t serial;  /* of its waits: an older one's event is late */
    int fd, watched;  /* -1: none; and what the loop made of it */
    bool asked;       /* to be called back, since its last call */
    bool waits;       /* it has returned MC_PENDING, and not ended */
    bool in_call;     /* it is called back, or has waited for a group in its first call */
    bool queued;      /* it is among those that have something to hear, ... */
    unsigned events;  /* ... namely this, ... */
    uint64_t told_in; /* ... since this turn */
    mc_resume_fn *resume;
    void *context;
    uint64_t timer_ns, soft_ns, limit_ns; /* by clock_ns(); UINT64_MAX: never */
    uint64_t submitted;                   /* ticks; 0: not known */
    uint64_t called_ticks;                /* of a call that waits for a group: when it began, */
    uint32_t soft_ms;                     /* and the soft limit that it was not told of yet */
};

struct io {
    struct worker *worker;
    struct pending_book *book;
    struct loop loop;
    struct bell bell;
    struct io_task *table[PENDING_MOST];
    uint32_t made; /* entries in it */
    struct io_task *spare, *first, *last;
    struct io_task *next; /* the object for the next task; NULL: there is none to be had */
    uint64_t turns;
    struct due due;
    struct due_entry *heap[PENDING_MOST + 1];
    uint64_t lanes_held[MASK_WORDS]; /* with tasks that wait */
    uint32_t cancels[MAX_LANES];     /* of their headers, when they were looked at last */
    uint32_t waiting;
    uint64_t leave_ms;       /* since when it is to leave; 0: it is not */
    struct io_task *driving; /* the innermost that waits for a group, ... */
    unsigned depth;          /* ... and how many do, within one another */
};

/* Has an object ready for the next task, if there can be one. */
void pending_prepare(struct io *io);
/* Of what the loop is to say when the task's descriptor is ready. */
uint64_t pending_token(const struct io_task *self);
/* The loop watches for the task no more; fired: it has said so itself. */
void pending_unwatch(struct io *io, struct io_task *self, bool fired);
/* Has it called back at the next turn. */
void pending_tell(struct io *io, struct io_task *self, unsigned events);
/* When it is to be looked at next. */
void pending_schedule(struct io *io, struct io_task *self);
void pending_call_back(struct io *io, struct io_task *self, unsigned events);
/* Its soft limit is over. */
void pending_warn(struct io *io, struct io_task *self);
/* What was taken out of those that have something to hear, and has nothing. */
void pending_put_back(struct io *io, struct io_task *self);

/* The worker's present task is to wait for a group, so that others can be called ... */
struct io_task *pending_suspend(struct io *io);
/* ... until it goes on. */
void pending_go_on(struct io *io, struct io_task *self);

#endif
