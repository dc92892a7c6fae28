/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Who is woken. A seat is BUSY with a task, LOOKING for one (or as good as: with
 * tasks that are known to take a few microseconds), or SLEEPING on its state
 * word. Waking costs more than anything else here, so it happens only when
 * somebody would otherwise sleep through work:
 *
 *   A submit wakes one sleeper, unless some seat is LOOKING and will see it.
 *   A seat that leaves LOOKING with work still in sight wakes one sleeper.
 *   A seat looks at everything once more after it said that it sleeps.
 *
 * Both sides write, then read what the other writes, so each pair of stores and
 * loads has a sequentially consistent fence between:
 *
 *   W1 submit:        push ticket; fence; read lanes_active, seat states
 *   W2 leave looking: state = BUSY; head CAS (R3); read lanes
 *   W3 fall asleep:   state = SLEEPING; fence; read lanes_active, lanes
 *   W4 clear active:  clear the bit; fence; read the lane, and its generation
 *
 * Of each of the pairs W1-W2, W1-W3, W1-W4 at least one side sees the other.
 *
 * A waker that dies half-way leaves a sleeper that counts as LOOKING. Therefore
 * the supervisor kicks all seats whenever a process of the pool or a client died,
 * and when a client complains that its task is not begun.
 */
#ifndef IPC_WAKE_H
#define IPC_WAKE_H

#include "ipc/layout.h"

#include <stdbool.h>

/* Whether a seat that says LOOKING is believed. */
enum wake_trust {
    WAKE_TRUSTING, /* yes: the caller is going to wait, and then sees to it */
    WAKE_STRICT,   /* only if it runs nothing: a task that is usually quick may not be */
    WAKE_ANYWAY,   /* no: the caller has waited longer than looking takes */
};

enum { WAKE_OWN_CPU = -2 }; /* for avoid_cpu below: where the caller is, if it comes to that */

/* Client, after pushing tickets to lane: makes sure that somebody sees them.
 * near_cpu: wake the seat pinned there if it sleeps (the caller is about to
 * leave that core); -1: rather wake one elsewhere than on avoid_cpu. True if a sleeper was
 * woken: it looks at all lanes, and wakes others for what it leaves. */
bool wake_for_submit(struct bells *bells, const struct control *control, uint32_t lane,
                     enum wake_trust trust, int near_cpu, int avoid_cpu);

/* Worker with `seat`, when it sees more work than it has taken. */
void wake_another(struct bells *bells, const struct control *control, uint32_t seat);

/* Wakes one seat if it sleeps; false if it does not. */
bool wake_seat(struct bells *bells, uint32_t seat);
/* Supervisor: wakes whoever sleeps there, whatever its state says: a waker may have
 * died, or been stopped, between changing the state and the system call. */
void wake_kick(struct bells *bells, uint32_t seat);
/* Supervisor, after the death of the seat's worker. */
void wake_seat_died(struct bells *bells, uint32_t seat);

static inline bool wake_anyone_sleeping(struct bells *bells)
{
    for (int i = 0; i < MASK_WORDS; i++)
        if (atomic_load_explicit(&bells->seats_sleeping[i], memory_order_relaxed) != 0)
            return true;
    return false;
}

/* Worker: the steps of falling asleep. Between the two calls it must look at
 * everything once more, and call wake_sleep_cancel() instead if it saw work. */
void wake_sleep_announce(struct bells *bells, uint32_t seat);
void wake_sleep_cancel(struct bells *bells, uint32_t seat);
/* signals: it comes back from a signal as well, whatever flags its handler has. That takes a
 * timer, and is for bells that not only friends can write, or move sleepers of. */
void wake_sleep(struct bells *bells, uint32_t seat, bool signals);
/* The same for at most timeout_ns; false when that is over. Then the seat still
 * counts as sleeping, and one of wake_sleep() and wake_sleep_cancel() must follow. */
bool wake_sleep_within(struct bells *bells, uint32_t seat, uint64_t timeout_ns);
/* Somebody has woken the seat since it announced that it sleeps. */
static inline bool wake_was_woken(const struct bells *bells, uint32_t seat)
{
    return atomic_load_explicit(&bells->seats[seat].state, memory_order_acquire) != SEAT_SLEEPING;
}

/* The activity bits of lanes. */
static inline bool lane_bit_set(struct bells *bells, uint32_t lane)
{
    return atomic_load_explicit(&bells->lanes_active[lane / 64], memory_order_relaxed) >>
               (lane % 64) &
           1;
}
void wake_mark_lane(struct bells *bells, uint32_t lane);
void wake_clear_lane(struct bells *bells, uint32_t lane);

#endif
