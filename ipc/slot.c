/* SPDX-License-Identifier: BSD-3-Clause */
#include "ipc/slot.h"

/* Stored one too high, so that 0, what is not named, means "no such step". */
#define TO(state) ((int8_t)((state) + 1))

static const int8_t table[SLOT_STATES][EVENTS] = {
    [SLOT_FREE] = {[EVENT_SUBMIT] = TO(SLOT_SUBMITTED)},
    [SLOT_SUBMITTED] = {[EVENT_CLAIM] = TO(SLOT_RUNNING), [EVENT_CANCEL] = TO(SLOT_CANCELLED)},
    [SLOT_RUNNING] = {[EVENT_FINISH] = TO(SLOT_DONE),
                      [EVENT_FAIL] = TO(SLOT_FAILED),
                      [EVENT_TIME_OUT] = TO(SLOT_TIMED_OUT),
                      [EVENT_CRASH] = TO(SLOT_CRASHED),
                      [EVENT_RETRY] = TO(SLOT_SUBMITTED),
                      [EVENT_KILL] = TO(SLOT_CANCELLED)},
    [SLOT_DONE] = {[EVENT_SUBMIT] = TO(SLOT_SUBMITTED)},
    [SLOT_FAILED] = {[EVENT_SUBMIT] = TO(SLOT_SUBMITTED)},
    [SLOT_TIMED_OUT] = {[EVENT_SUBMIT] = TO(SLOT_SUBMITTED)},
    [SLOT_CRASHED] = {[EVENT_SUBMIT] = TO(SLOT_SUBMITTED)},
    [SLOT_CANCELLED] = {[EVENT_SUBMIT] = TO(SLOT_SUBMITTED)},
};

int slot_next(enum slot_state state, enum slot_event event)
{
    if ((unsigned)state >= SLOT_STATES || (unsigned)event >= EVENTS)
        return -1;
    return table[state][event] - 1;
}

bool slot_claim(_Atomic uint64_t *slot, name_t name, uint32_t seat, enum slot_claims claims,
                uint64_t *word)
{
    uint64_t old = atomic_load_explicit(slot, memory_order_relaxed);
    while (slot_state(old) == SLOT_SUBMITTED && name_current(name, old) &&
           (claims == CLAIM_ANY || slot_attempt(old) == 0)) {
        uint64_t claimed =
            slot_word(SLOT_RUNNING, slot_flags(old), seat, slot_attempt(old), slot_generation(old));
        /* S1 pairs with S2; and releases the row that was written before, for whoever
         * sees the slot RUNNING and then asks who works on the lane (S5). */
        if (atomic_compare_exchange_weak_explicit(slot, &old, claimed, memory_order_acq_rel,
                                                  memory_order_relaxed)) {
            *word = claimed;
            return true;
        }
    }
    *word = old;
    return false;
}

bool slot_end(_Atomic uint64_t *slot, uint32_t seat, enum slot_state state, uint64_t *word)
{
    uint64_t old = atomic_load_explicit(slot, memory_order_relaxed);
    while (slot_state(old) == SLOT_RUNNING && slot_seat(old) == seat) {
        /* Waiting flags are consumed by this step: the caller acts on them. */
        uint64_t ended = slot_word(state, slot_flags(old) & SLOT_CANCEL, seat, slot_attempt(old),
                                   slot_generation(old));
        /* S3 pairs with S4. */
        if (atomic_compare_exchange_weak_explicit(slot, &old, ended, memory_order_acq_rel,
                                                  memory_order_relaxed)) {
            *word = old;
            return true;
        }
    }
    *word = old;
    return false;
}

bool slot_retry(_Atomic uint64_t *slot, uint32_t seat, uint32_t attempt, uint64_t *word)
{
    uint64_t old = atomic_load_explicit(slot, memory_order_relaxed);
    while (slot_state(old) == SLOT_RUNNING && slot_seat(old) == seat &&
           !(slot_flags(old) & SLOT_CANCEL)) {
        uint64_t again =
            slot_word(SLOT_SUBMITTED, slot_flags(old), 0, attempt, slot_generation(old));
        if (atomic_compare_exchange_weak_explicit(slot, &old, again, memory_order_acq_rel,
                                                  memory_order_relaxed)) {
            *word = again;
            return true;
        }
    }
    *word = old;
    return false;
}

bool slot_mark(_Atomic uint64_t *slot, name_t name, uint32_t seat, uint32_t flag)
{
    uint64_t old = atomic_load_explicit(slot, memory_order_relaxed);
    while (slot_state(old) == SLOT_RUNNING && slot_seat(old) == seat && name_current(name, old))
        if (atomic_compare_exchange_weak_explicit(slot, &old, old | (uint64_t)flag << 4,
                                                  memory_order_acq_rel, memory_order_relaxed))
            return true;
    return false;
}

bool slot_cancel(_Atomic uint64_t *slot, uint64_t *word)
{
    uint64_t old = atomic_load_explicit(slot, memory_order_acquire); /* S5 */
    while (slot_state(old) == SLOT_SUBMITTED) {
        uint64_t cancelled = slot_word(SLOT_CANCELLED, slot_flags(old) & SLOT_CANCEL, 0,
                                       slot_attempt(old), slot_generation(old));
        if (atomic_compare_exchange_weak_explicit(slot, &old, cancelled, memory_order_acq_rel,
                                                  memory_order_acquire)) {
            *word = old;
            return true;
        }
    }
    *word = old;
    return false;
}

bool slot_flag(_Atomic uint64_t *slot, uint32_t flags, uint64_t *word)
{
    uint64_t old = atomic_load_explicit(slot, memory_order_acquire);
    while (!slot_ended(old)) {
        uint64_t flagged = old | (uint64_t)flags << 4;
        if (atomic_compare_exchange_weak_explicit(slot, &old, flagged, memory_order_acq_rel,
                                                  memory_order_acquire)) {
            *word = flagged;
            return true;
        }
    }
    *word = old;
    return false;
}
