/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The word of a slot: one 64-bit value that says everything about who may touch
 * the slot now. It changes only by compare-and-swap. Pure functions, no system
 * calls; the same source is unit-tested over the whole table.
 *
 *   bits  0- 3 state
 *        4-11 flags
 *       12-23 seat + 1 of the worker that runs it; 0: the client itself
 *       24-31 attempt
 *       32-63 generation, one more each time the slot is used again
 *
 *   FREE -> SUBMITTED -> RUNNING(seat) -> DONE | FAILED | TIMED_OUT
 *               |             \-> CRASHED | SUBMITTED(attempt + 1) | CANCELLED
 *               \-> CANCELLED                      (only the supervisor)
 *
 * FREE is memory that was never used. A slot that has ended is the client's: when
 * it has taken the result it may submit another task there, of the next generation.
 */
#ifndef IPC_SLOT_H
#define IPC_SLOT_H

#include "ipc/layout.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum slot_state {
    SLOT_FREE,
    SLOT_SUBMITTED,
    SLOT_RUNNING,
    SLOT_DONE,
    SLOT_FAILED,
    SLOT_TIMED_OUT,
    SLOT_CRASHED,
    SLOT_CANCELLED,
    SLOT_STATES,
};

enum slot_flags {
    SLOT_WAITED = 1 << 0,     /* the client sleeps on this word */
    SLOT_WAITED_ANY = 1 << 1, /* the client sleeps on the lane's `any` word */
    SLOT_NOTIFY = 1 << 2,     /* its end is to be told through the lane's socket */
    SLOT_CANCEL = 1 << 3,     /* nobody wants the result any more */
    SLOT_KILL = 1 << 4,       /* its worker is being killed, because of this task */
};

/* Who changes a slot, and why. */
enum slot_event {
    EVENT_SUBMIT,   /* client */
    EVENT_CLAIM,    /* worker or client */
    EVENT_FINISH,   /* whoever claimed it; the handler succeeded */
    EVENT_FAIL,     /* whoever claimed it; the handler did not */
    EVENT_TIME_OUT, /* supervisor, after the death of the seat */
    EVENT_CRASH,    /* supervisor, after the death of the seat */
    EVENT_RETRY,    /* supervisor, after the death of the seat */
    EVENT_CANCEL,   /* client, or supervisor for a dead client */
    EVENT_KILL,     /* supervisor, after the death of the seat: cancelled by force */
    EVENTS,
};

/* The state that event leads to, or -1 where it has no place. */
int slot_next(enum slot_state state, enum slot_event event);

static inline enum slot_state slot_state(uint64_t word)
{
    return (enum slot_state)(word & 0xf);
}
static inline uint32_t slot_flags(uint64_t word)
{
    return (uint32_t)(word >> 4) & 0xff;
}
static inline uint32_t slot_seat(uint64_t word)
{
    return (uint32_t)(word >> 12) & 0xfff;
}
static inline uint32_t slot_attempt(uint64_t word)
{
    return (uint32_t)(word >> 24) & 0xff;
}
static inline uint32_t slot_generation(uint64_t word)
{
    return (uint32_t)(word >> 32);
}
static inline uint64_t slot_word(enum slot_state state, uint32_t flags, uint32_t seat,
                                 uint32_t attempt, uint32_t generation)
{
    return (uint64_t)state | (uint64_t)flags << 4 | (uint64_t)seat << 12 | (uint64_t)attempt << 24 |
           (uint64_t)generation << 32;
}
static inline bool slot_ended(uint64_t word)
{
    return slot_state(word) >= SLOT_DONE;
}
/* A task's name, as tickets carry it: a hint, except for the slot, whose state
 * decides. */
static inline name_t name_make(uint32_t handler, uint32_t generation, uint32_t slot)
{
    return (name_t)(handler & 0xffff) << 32 | (name_t)(generation & 0xffff) << 16 | slot;
}
static inline uint32_t name_slot(name_t name)
{
    return name & 0xffff;
}
static inline uint32_t name_handler(name_t name)
{
    return (uint32_t)(name >> 32) & 0xffff;
}
/* True if the word is still of the generation that the name was made for. */
static inline bool name_current(name_t name, uint64_t word)
{
    return (slot_generation(word) & 0xffff) == ((name >> 16) & 0xffff);
}

/* Each returns true when this call made the step; *word is the value that was
 * there before it, or the one that was in the way. */

/* Which attempts a claimer takes: who has more to lose than a worker, the first only. */
enum slot_claims { CLAIM_FIRST, CLAIM_ANY };

/* SUBMITTED -> RUNNING, if the slot still is what the name said. S1: acquires
 * the request that the client released with S2. */
bool slot_claim(_Atomic uint64_t *slot, name_t name, uint32_t seat, enum slot_claims claims,
                uint64_t *word);
/* RUNNING(seat) -> state. S3: releases the result to the client's S4. */
bool slot_end(_Atomic uint64_t *slot, uint32_t seat, enum slot_state state, uint64_t *word);
/* Supervisor: RUNNING(seat) -> SUBMITTED, as the next attempt, unless it was cancelled;
 * the other flags stay. */
bool slot_retry(_Atomic uint64_t *slot, uint32_t seat, uint32_t attempt, uint64_t *word);
/* Supervisor: marks this very task with a flag, if it runs in this seat. With SLOT_KILL its
 * worker begins no other, so the kill that follows strikes no innocent. */
bool slot_mark(_Atomic uint64_t *slot, name_t name, uint32_t seat, uint32_t flag);
/* SUBMITTED -> CANCELLED. */
bool slot_cancel(_Atomic uint64_t *slot, uint64_t *word);
/* Sets flags unless the slot has ended. */
bool slot_flag(_Atomic uint64_t *slot, uint32_t flags, uint64_t *word);

/* FREE, or ended -> SUBMITTED. S2: the client owns the slot; a plain release publishes the
 * request. */
static inline void slot_submit(_Atomic uint64_t *slot, uint32_t flags, uint32_t generation)
{
    atomic_store_explicit(slot, slot_word(SLOT_SUBMITTED, flags, 0, 0, generation),
                          memory_order_release);
}
/* S4: acquires the result. */
static inline uint64_t slot_load(const _Atomic uint64_t *slot)
{
    return atomic_load_explicit(slot, memory_order_acquire);
}
/* The half that a waiter sleeps on. */
static inline _Atomic uint32_t *slot_futex(_Atomic uint64_t *slot)
{
    return (_Atomic uint32_t *)(void *)slot;
}

#endif
