/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Pairs: Q1 releases an entry, Q2 acquires it, Q3 re-checks that it was not
 * overwritten meanwhile.
 */
#include "pool/quarantine.h"

#include "base/error.h"
#include "pool/pool.h"

#include <string.h>

static_assert(sizeof(((struct mc_quarantined *)0)->args) == QUARANTINE_ARGS, "the same bound");
static_assert(sizeof(((struct mc_quarantined *)0)->handler) == HANDLER_NAME_SIZE, "likewise");

bool quarantine_read(const struct quarantine *quarantine, uint64_t number,
                     struct mc_quarantined *out, uint32_t *handler)
{
    const struct quarantine_entry *entry = &quarantine->entries[number % QUARANTINE_MOST];
    if (number >= atomic_load_explicit(&quarantine->tail, memory_order_relaxed))
        return false; /* also the greatest number, whose successor marks an empty entry */
    if (atomic_load_explicit(&entry->sequence, memory_order_acquire) != number + 1) /* Q2 */
        return false;
    uint64_t size = LOAD_ONCE(entry->args_size);
    uint64_t kept = size < QUARANTINE_ARGS ? size : QUARANTINE_ARGS;
    *handler = entry->handler;
    *out = (struct mc_quarantined){.size = out->size,
                                   .number = number,
                                   .time_ms = entry->time_ms,
                                   .start = entry->start,
                                   .end = entry->end,
                                   .client_pid = entry->client_pid,
                                   .worker_pid = entry->worker_pid,
                                   .wait_status = entry->wait_status,
                                   .attempts = entry->attempts,
                                   .run_ns = entry->run_ns,
                                   .format = (enum mc_format)entry->format,
                                   .args_size = size,
                                   .args_kept = kept};
    memcpy(out->args, entry->args, kept);
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit(&entry->sequence, memory_order_relaxed) == number + 1; /* Q3 */
}

static int read_newest(const mc_pool *pool, size_t index, struct mc_quarantined *known)
{
    uint32_t handler;
    if (pool->quarantine == NULL)
        return error_set(-ENOTSUP, "the quarantine is not for this process to see");
    uint64_t tail = atomic_load_explicit(&pool->quarantine->tail, memory_order_acquire);
    if (index >= tail || index >= QUARANTINE_MOST ||
        !quarantine_read(pool->quarantine, tail - 1 - index, known, &handler))
        return 0;
    if (handler < pool->config->handler_count)
        memcpy(known->handler, pool->config->handlers[handler].name, sizeof(known->handler));
    return 1;
}

int mc_pool_quarantine(mc_pool *pool, size_t index, struct mc_quarantined *entry)
{
    if (entry->size < sizeof(size_t))
        return error_set(-EINVAL, "entry.size is %zu: set it to sizeof(struct mc_quarantined)",
                         entry->size);
    struct mc_quarantined known = {.size = entry->size};
    mc_pool *there = pool->front != NULL ? front_enter(pool->front) : pool;
    int result = read_newest(there, index, &known);
    if (pool->front != NULL)
        front_leave(pool->front);
    if (result == 1)
        memcpy(entry, &known, entry->size < sizeof(known) ? entry->size : sizeof(known));
    return result;
}
