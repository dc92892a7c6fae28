/* SPDX-License-Identifier: BSD-3-Clause */
#include "ipc/ring.h"

#define NAME_BITS ((UINT64_C(1) << 48) - 1)

void ring_init(struct ring *ring, void *memory, uint32_t capacity)
{
    ring->shared = memory;
    ring->mask = capacity - 1;
    ring->shift = (uint32_t)__builtin_ctz(capacity);
    ring->tail = atomic_load_explicit(&ring->shared->tail, memory_order_relaxed);
    ring->head_seen = atomic_load_explicit(&ring->shared->head, memory_order_relaxed);
}

enum { PUBLISH_EVERY = 16 };

bool ring_push(struct ring *ring, name_t name)
{
    struct ring_shared *shared = ring->shared;
    /* The head is the consumers' line: look at it only when the one last seen
     * leaves no room. */
    if (ring->tail - ring->head_seen > ring->mask) {
        ring->head_seen = atomic_load_explicit(&shared->head, memory_order_acquire); /* R4 */
        if (ring->tail - ring->head_seen > ring->mask)
            return false;
    }
    atomic_store_explicit(&shared->entries[ring->tail & ring->mask],
                          ring_lap(ring, ring->tail) << 48 | name, memory_order_release); /* R1 */
    ring->tail++;
    if ((ring->tail & (PUBLISH_EVERY - 1)) == 0)
        ring_publish(ring);
    return true;
}

bool ring_take_back(struct ring *ring, name_t *name)
{
    uint64_t head;
    while (ring_peek(ring, 1, name, &head) == 1)
        if (ring_take(ring, head, 1))
            return true;
    return false;
}

bool ring_sound(const struct ring *ring)
{
    /* Only the producer knows the tail for certain; nobody but it overwrites what
     * lies before that, so that a head which moves meanwhile does no harm. */
    uint64_t head = atomic_load_explicit(&ring->shared->head, memory_order_acquire);
    if (ring->tail - head > (uint64_t)ring->mask + 1)
        return false;
    ticket_t ticket =
        atomic_load_explicit(&ring->shared->entries[head & ring->mask], memory_order_relaxed);
    return ring_fresh(ring, ticket, head) == (head != ring->tail);
}

uint32_t ring_peek(const struct ring *ring, uint32_t max, name_t *names, uint64_t *head)
{
    uint64_t at = atomic_load_explicit(&ring->shared->head, memory_order_relaxed);
    uint32_t count = 0;
    while (count < max) {
        ticket_t ticket = atomic_load_explicit(&ring->shared->entries[(at + count) & ring->mask],
                                               memory_order_acquire); /* R2 */
        if (!ring_fresh(ring, ticket, at + count))
            break;
        names[count++] = ticket & NAME_BITS;
    }
    *head = at;
    return count;
}

bool ring_take(struct ring *ring, uint64_t head, uint32_t count)
{
    return atomic_compare_exchange_strong_explicit(&ring->shared->head, &head, head + count,
                                                   memory_order_seq_cst, /* R3 */
                                                   memory_order_relaxed);
}

uint64_t ring_queued(const struct ring *ring)
{
    uint64_t head = atomic_load_explicit(&ring->shared->head, memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&ring->shared->tail, memory_order_relaxed);
    return tail > head ? tail - head : 0;
}
