/* SPDX-License-Identifier: BSD-3-Clause
 *
 * When freed memory goes back to the system. Memory that was freed lately is used
 * again first, since a first touch costs microseconds for each page; but what
 * nobody has used for a while is missed elsewhere.
 *
 *   A client gives its arguments' memory back as it frees them, whenever more than
 *   TIDY_BOUND of it is free, down to half of that: it may not come again for
 *   hours, and the library runs no timer in a guest's process. But what the largest
 *   task of about the last second took stays: a flow of such tasks would touch
 *   fresh pages in each, which takes three times as long as the task's two copies.
 *
 *   A worker does it with its results' memory when it falls asleep, about once a
 *   second, with what was not used at all since the last time, if that is more than
 *   TIDY_BOUND; and with all but TIDY_KEEP once it has slept for TIDY_IDLE_MS. Then
 *   it sleeps for good. If clients still hold large results, they wake it when they
 *   release one (B3), and it sleeps for TIDY_IDLE_MS once more.
 *
 * A worker whose arenas never held more than a little does none of this. Nor does it for a
 * client of another user, who can have it wait for the lane's lock (lanes.c): what results took
 * there goes back when that client leaves.
 */
#ifndef POOL_TIDY_H
#define POOL_TIDY_H

#include "pool/views.h"

enum {
    TIDY_SLACK = 2 * GRANULE_UNITS, /* the granules at both ends of a space count whole */
    TIDY_BOUND = (64 << 20) / UNIT + TIDY_SLACK, /* so that several tasks of 16 MiB stay warm */
    TIDY_KEEP = (1 << 20) / UNIT, /* so that small results do not either, after a pause */
    TIDY_LARGE = 64 << 10,        /* bytes; of smaller releases a sleeper is not told */
    TIDY_IDLE_MS = 1000,
};

struct worker;

/* After an allocation in the lane, or its takeover. */
static inline void tidy_note(struct views *views, uint32_t lane)
{
    const struct view *view = &views->table[lane];
    if (__builtin_expect(extents_warm(&view->blocks.extents) > 2 * TIDY_KEEP, 0) &&
        !view->strangers)
        views->untidy[lane / 64] |= UINT64_C(1) << (lane % 64);
}

static inline bool tidy_needed(const struct views *views)
{
    for (int i = 0; i < MASK_WORDS; i++)
        if (views->untidy[i] != 0)
            return true;
    return false;
}

/* In place of wake_sleep(). */
void tidy_sleep(struct worker *worker);
/* Its two parts, for a worker that sleeps elsewhere: before, and after TIDY_IDLE_MS in
 * which nothing came. */
void tidy_before_sleep(struct worker *worker);
void tidy_when_idle(struct worker *worker);

/* Client, after it has released a large block of this seat: the other side of B3. */
void tidy_released(struct lane_header *header, struct bells *bells, uint32_t seat);

#endif
