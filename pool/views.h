/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The lanes that a worker has mapped. A lane's descriptors are fetched from the
 * supervisor when the worker first sees it, and dropped when the lane's
 * generation, which is compared at each visit, says that it is another one.
 */
#ifndef POOL_VIEWS_H
#define POOL_VIEWS_H

#include "ipc/blocks.h"
#include "ipc/lane.h"
#include "pool/config.h"

/* Of a client with DEFAULT_WEIGHT, for each nanosecond; so that those of others are
 * whole numbers too. */
enum { CHARGE_OF_DEFAULT = 100 };

struct view {
    struct lane lane;
    uint32_t generation; /* 0: not mapped */
    uint32_t faulted;    /* the generation that was reported as damaged */
    struct blocks blocks;
    bool strangers; /* its client is not trusted with our time: see tidy.h */
    int notify;
    uint64_t used; /* of this worker's time, by the client's weight; see work.c */
    uint32_t charge;
    uint32_t urgent_runs; /* in a row */
    uint32_t held;        /* by tasks that wait, or begin, and need it as it is */
};

struct views {
    const struct config *config;
    struct control *control;
    struct bells *bells;
    uint32_t seat;
    int socket;                  /* to the supervisor */
    uint64_t untidy[MASK_WORDS]; /* lanes in which this worker has much memory; tidy.h */
    struct view table[MAX_LANES];
};

void views_init(struct views *views, const struct config *config, struct control *control,
                struct bells *bells, uint32_t seat, int socket);

/* In a fork of the worker, before it maps anything: the lanes are not mapped there, and
 * what is private to the worker is given back. */
void views_forget(struct views *views);

/* Clears the activity bit of a lane that was empty, or gone, in this generation (W4).
 * False if the lane is another client's by now, who may have seen the bit set just
 * before, and so relies on it: then it is set again, and that lane is to be looked at. */
bool views_clear(struct views *views, uint32_t index, uint32_t generation);

/* Drops what is mapped for the lane, and maps what is there now; NULL if there is
 * no such lane any more. Blocks until the supervisor answers. */
struct view *views_renew(struct views *views, uint32_t index, uint32_t generation);

static inline uint32_t views_generation(const struct views *views, uint32_t index)
{
    return atomic_load_explicit(&views->control->lanes[index].generation, memory_order_acquire);
}

/* What is mapped for the lane is still it. */
static inline bool views_current(const struct views *views, uint32_t index)
{
    uint32_t generation = views_generation(views, index);
    return views->table[index].generation == generation && generation != 0;
}
/* Tells the supervisor, once for each generation, that the lane cannot be trusted;
 * it will take it from us. */
void views_fault(struct views *views, uint32_t index, uint32_t generation, const char *why);

/* The view of a live lane. */
static inline struct view *views_get(struct views *views, uint32_t index)
{
    struct view *view = &views->table[index];
    uint32_t generation = views_generation(views, index);
    if (__builtin_expect(view->generation == generation && generation != 0, 1))
        return view;
    return views_renew(views, index, generation);
}

#endif
