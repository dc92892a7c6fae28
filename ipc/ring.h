/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A ring of tickets: one producer (the client, under its own lock), many
 * consumers. Tickets are hints; losing or doubling one is harmless, because the
 * slot decides.
 *
 * A consumer first writes down what it is about to take, then takes it with one
 * CAS of the head; a supervisor that finds it dead finds the tickets too.
 *
 * Pairs
 *   R1 the producer releases an entry, R2 a consumer acquires it
 *   R3 the CAS of head, sequentially consistent: orders the consumer's row (and
 *      its BUSY mark, see wake.h) before the taking
 *   R4 the producer acquires head before it reuses the entries behind it
 */
#ifndef IPC_RING_H
#define IPC_RING_H

#include "ipc/layout.h"

#include <stdbool.h>

struct ring {
    struct ring_shared *shared;
    uint32_t mask;
    uint32_t shift; /* log2 of the capacity */
    /* producer only, private copies */
    uint64_t tail;
    uint64_t head_seen;
};

void ring_init(struct ring *ring, void *memory, uint32_t capacity);

static inline uint64_t ring_bytes(uint32_t capacity)
{
    return sizeof(struct ring_shared) + (uint64_t)capacity * sizeof(ticket_t);
}

/* Each entry is overwritten once a lap, so that the lap's low bits tell a fresh
 * ticket from the one that was there before. The first lap is 1: memory that was
 * never written is not fresh. */
static inline uint64_t ring_lap(const struct ring *ring, uint64_t position)
{
    return ((position >> ring->shift) + 1) & 0xffff;
}
static inline bool ring_fresh(const struct ring *ring, ticket_t ticket, uint64_t position)
{
    return ticket >> 48 == ring_lap(ring, position);
}

/* Producer. False when the ring is full. */
bool ring_push(struct ring *ring, name_t name);
/* Producer: tells how far it got. Consumers find tickets without that; it only
 * says how many wait, and so it need not be told with each. */
static inline void ring_publish(struct ring *ring)
{
    atomic_store_explicit(&ring->shared->tail, ring->tail, memory_order_relaxed);
}
/* Producer, when full: takes the oldest ticket back. False when it is empty. */
bool ring_take_back(struct ring *ring, name_t *name);

/* Producer: false when consumers cannot have left the ring like this. */
bool ring_sound(const struct ring *ring);

/* True if a consumer would find something now. */
static inline bool ring_has_work(const struct ring *ring)
{
    uint64_t head = atomic_load_explicit(&ring->shared->head, memory_order_relaxed);
    ticket_t ticket = atomic_load_explicit(&ring->shared->entries[head & ring->mask],
                                           memory_order_acquire); /* R2 */
    return ring_fresh(ring, ticket, head);
}

/* Consumer. Reads up to max names at the head into names, returns how many;
 * 0 when there is nothing. *head is what ring_take() then needs. */
uint32_t ring_peek(const struct ring *ring, uint32_t max, name_t *names, uint64_t *head);
/* Takes count tickets at *head; false when another consumer was there first. */
bool ring_take(struct ring *ring, uint64_t head, uint32_t count);

/* Tickets that wait, about. */
uint64_t ring_queued(const struct ring *ring);

#endif
