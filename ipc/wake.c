/* SPDX-License-Identifier: BSD-3-Clause */
#include "ipc/wake.h"

#include "base/check.h"
#include "base/fault.h"
#include "base/probe.h"
#include "base/sys.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>

/* Only the seat's own worker should sleep on its state, but any client can: so all
 * who do are woken. */
enum { EVERY_SLEEPER = INT_MAX };

/* A wait with an end comes back from a signal, whatever its flags. */
#define SLEEP_NS (UINT64_C(3600) * 1000000000)

static uint64_t bit(uint32_t index)
{
    return UINT64_C(1) << (index % 64);
}

void wake_mark_lane(struct bells *bells, uint32_t lane)
{
    atomic_fetch_or_explicit(&bells->lanes_active[lane / 64], bit(lane), memory_order_seq_cst);
}

void wake_clear_lane(struct bells *bells, uint32_t lane)
{
    atomic_fetch_and_explicit(&bells->lanes_active[lane / 64], ~bit(lane), memory_order_seq_cst);
    atomic_thread_fence(memory_order_seq_cst); /* W4 */
}

bool wake_seat(struct bells *bells, uint32_t seat)
{
    _Atomic uint32_t *state = &bells->seats[seat].state;
    uint32_t expected = SEAT_SLEEPING;
    /* Whoever makes this step is the one that wakes; the seat counts as LOOKING
     * from here on, so that nobody wakes a second one for the same work. */
    if (!atomic_compare_exchange_strong_explicit(state, &expected, SEAT_LOOKING,
                                                 memory_order_seq_cst, memory_order_relaxed))
        return false;
    /* The bit in seats_sleeping is left to its owner: were it cleared here, a
     * delay before that could hide a later sleep of the same seat. */
    FAULT_POINT("wake_before_futex");
    PROBE2(wake, 0u, (uint64_t)seat);
    sys_futex_wake(state, EVERY_SLEEPER);
    return true;
}

static bool anyone_looking(struct bells *bells, const struct control *control,
                           enum wake_trust trust, uint32_t but)
{
    if (trust == WAKE_ANYWAY)
        return false;
    for (uint32_t seat = 0; seat < control->seat_count; seat++) {
        uint32_t state = atomic_load_explicit(&bells->seats[seat].state, memory_order_relaxed);
        if (seat == but || state != SEAT_LOOKING)
            continue;
        if (trust == WAKE_TRUSTING ||
            atomic_load_explicit(&control->rows[seat].run_count, memory_order_relaxed) == 0)
            return true;
    }
    return false;
}

static uint32_t seat_cpu(const struct control *control, uint32_t seat)
{
    return atomic_load_explicit(&control->rows[seat].cpu_plus_one, memory_order_relaxed);
}

/* Wakes one sleeper; the one pinned to cpu only if wanted, or if it is the only
 * one. Apart, so that who finds that nobody is to be woken pays for nothing here. */
__attribute__((noinline)) static bool wake_one(struct bells *bells, const struct control *control,
                                               int cpu, bool wanted)
{
    uint32_t fallback = UINT32_MAX;
    if (cpu == WAKE_OWN_CPU)
        cpu = sched_getcpu();
    for (uint32_t word = 0; word < MASK_WORDS; word++) {
        uint64_t sleeping =
            atomic_load_explicit(&bells->seats_sleeping[word], memory_order_relaxed);
        for (; sleeping != 0; sleeping &= sleeping - 1) {
            uint32_t seat = word * 64 + (uint32_t)__builtin_ctzll(sleeping);
            if (seat >= control->seat_count)
                break;
            bool there = cpu >= 0 && seat_cpu(control, seat) == (uint32_t)cpu + 1;
            if (there == wanted || cpu < 0) {
                if (wake_seat(bells, seat))
                    return true;
            } else {
                fallback = seat;
            }
        }
    }
    return fallback != UINT32_MAX && wake_seat(bells, fallback);
}

bool wake_for_submit(struct bells *bells, const struct control *control, uint32_t lane,
                     enum wake_trust trust, int near_cpu, int avoid_cpu)
{
    atomic_thread_fence(memory_order_seq_cst); /* W1 */
    if (UNLIKELY(!lane_bit_set(bells, lane))) {
        wake_mark_lane(bells, lane);
        atomic_thread_fence(memory_order_seq_cst); /* not every machine's RMW is one */
    }
    return wake_anyone_sleeping(bells) && !anyone_looking(bells, control, trust, MAX_SEATS) &&
           wake_one(bells, control, near_cpu >= 0 ? near_cpu : avoid_cpu, near_cpu >= 0);
}

void wake_another(struct bells *bells, const struct control *control, uint32_t seat)
{
    if (!anyone_looking(bells, control, WAKE_TRUSTING, seat))
        wake_one(bells, control, -1, false);
}

void wake_kick(struct bells *bells, uint32_t seat)
{
    if (!wake_seat(bells, seat))
        sys_futex_wake(&bells->seats[seat].state, EVERY_SLEEPER);
}

void wake_seat_died(struct bells *bells, uint32_t seat)
{
    atomic_store_explicit(&bells->seats[seat].state, SEAT_BUSY, memory_order_relaxed);
    atomic_fetch_and_explicit(&bells->seats_sleeping[seat / 64], ~bit(seat), memory_order_seq_cst);
}

void wake_sleep_announce(struct bells *bells, uint32_t seat)
{
    atomic_fetch_or_explicit(&bells->seats_sleeping[seat / 64], bit(seat), memory_order_relaxed);
    atomic_store_explicit(&bells->seats[seat].state, SEAT_SLEEPING, memory_order_seq_cst);
    atomic_thread_fence(memory_order_seq_cst); /* W3 */
}

void wake_sleep_cancel(struct bells *bells, uint32_t seat)
{
    atomic_store_explicit(&bells->seats[seat].state, SEAT_LOOKING, memory_order_relaxed);
    atomic_fetch_and_explicit(&bells->seats_sleeping[seat / 64], ~bit(seat), memory_order_relaxed);
}

void wake_sleep(struct bells *bells, uint32_t seat, bool signals)
{
    FAULT_POINT("worker_asleep");
    /* Once: who was woken looks for work, even if the state has been SLEEPING again
     * since, which others can write. */
    if (!wake_was_woken(bells, seat))
        (void)sys_futex_wait(&bells->seats[seat].state, SEAT_SLEEPING,
                             signals ? SLEEP_NS : UINT64_MAX);
    wake_sleep_cancel(bells, seat);
}

bool wake_sleep_within(struct bells *bells, uint32_t seat, uint64_t timeout_ns)
{
    FAULT_POINT("worker_asleep");
    if (!wake_was_woken(bells, seat) &&
        sys_futex_wait(&bells->seats[seat].state, SEAT_SLEEPING, timeout_ns) == -ETIMEDOUT)
        return false;
    wake_sleep_cancel(bells, seat);
    return true;
}
