/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What admission goes by: the load of the machine, and for how long tasks wait. Both
 * are sampled while somebody submits, or looks.
 *
 * Nobody has to be believed for the second. At each sample the end of a client's ring
 * is marked; while workers have not come as far as that, what was there then is still
 * waiting. A client that lies about its own ring is late in its own eyes only.
 */
#include "pool/supervisor.h"

enum {
    SAMPLE_MS = 250,
    SAMPLE_LEAST_MS = 10,
    SAMPLES_PER_DELAY = 4, /* so that being late is noticed soon after it begins */
    SAMPLE_FOR_MS = 2000,
};

/* ---- the load ---- */

static uint32_t seats_busy(const struct supervisor *supervisor)
{
    uint32_t busy = 0;
    for (uint32_t i = 0; i < supervisor->config->seats; i++)
        busy += atomic_load_explicit(&supervisor->control->rows[i].run_count,
                                     memory_order_relaxed) != 0;
    return busy;
}

static void sample_load(struct supervisor *supervisor, uint64_t now_ms)
{
    uint32_t busy = seats_busy(supervisor);
    struct load_sample sample = {.own_busy_now = busy,
                                 .own_busy_milli =
                                     load_average_update(&supervisor->own_load, now_ms, busy)};
    struct admission previous = admission_unpack(
        atomic_load_explicit(&supervisor->control->admission, memory_order_relaxed));
    struct admission next =
        config_admit(supervisor->config, &supervisor->config->policy, &sample, previous);
    atomic_store_explicit(&supervisor->control->admission, admission_pack(next),
                          memory_order_release);
}

/* ---- the queues ---- */

/* For how long what was in the ring at the mark has been there, at least; 0 if it was
 * taken, and then the next mark is set. */
static uint64_t delay_of(const struct ring *ring, struct queue_mark *mark, uint64_t now_ms)
{
    uint64_t head = atomic_load_explicit(&ring->shared->head, memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&ring->shared->tail, memory_order_relaxed);
    if ((int64_t)(head - mark->position) >= 0) {
        *mark = (struct queue_mark){.position = tail, .since_ms = now_ms};
        return 0;
    }
    return now_ms - mark->since_ms;
}

static bool sample_lane(const struct supervisor *supervisor, struct tenant *tenant,
                        struct lane_entry *entry, uint64_t now_ms)
{
    uint64_t queued = 0, delay_ms = 0;
    uint32_t most_ms = supervisor->config->policy.max_delay_ms;
    for (int which = 0; which < LANE_RINGS; which++) {
        const struct ring *ring = &tenant->lane.rings[which];
        uint64_t own_ms = delay_of(ring, &tenant->marks[which], now_ms);
        queued += ring_queued(ring);
        delay_ms = own_ms > delay_ms ? own_ms : delay_ms;
    }
    bool late = atomic_load_explicit(&entry->late, memory_order_relaxed) != 0;
    /* Once late, until all that waited then was taken. */
    late = most_ms != 0 && (delay_ms > most_ms || (late && delay_ms != 0));
    atomic_store_explicit(&entry->queued, (uint32_t)queued, memory_order_relaxed);
    atomic_store_explicit(&entry->delay_ms, (uint32_t)delay_ms, memory_order_relaxed);
    atomic_store_explicit(&entry->late, late, memory_order_relaxed);
    return late;
}

void queues_forget(struct supervisor *supervisor, uint32_t lane)
{
    struct lane_entry *entry = &supervisor->control->lanes[lane];
    atomic_store_explicit(&entry->queued, 0, memory_order_relaxed);
    atomic_store_explicit(&entry->delay_ms, 0, memory_order_relaxed);
    atomic_store_explicit(&entry->late, 0, memory_order_relaxed);
}

/* True if some client is late. */
static bool sample_queues(struct supervisor *supervisor, uint64_t now_ms)
{
    bool late = false;
    for (uint32_t i = 0; i < supervisor->config->max_clients; i++) {
        struct tenant *tenant = &supervisor->tenants[i];
        if (tenant->used && !tenant->dropping)
            late |= sample_lane(supervisor, tenant, &supervisor->control->lanes[i], now_ms);
    }
    return late;
}

/* ---- in time ---- */

static uint64_t period_ms(const struct supervisor *supervisor)
{
    uint32_t delay_ms = supervisor->config->policy.max_delay_ms;
    uint64_t period = delay_ms != 0 ? delay_ms / SAMPLES_PER_DELAY : SAMPLE_MS;
    return period > SAMPLE_MS ? SAMPLE_MS : period < SAMPLE_LEAST_MS ? SAMPLE_LEAST_MS : period;
}

/* Goes on while somebody is late: nobody else says when that is over. */
static void sample(struct supervisor *supervisor, uint64_t now_ms)
{
    sample_load(supervisor, now_ms);
    if (sample_queues(supervisor, now_ms) && supervisor->sample_until_ms < now_ms + SAMPLE_MS)
        supervisor->sample_until_ms = now_ms + SAMPLE_MS;
}

void queues_show(struct supervisor *supervisor)
{
    uint64_t now = supervisor_now_ms();
    supervisor->sample_until_ms = now + SAMPLE_FOR_MS;
    if (supervisor->sample_due_ms == 0) {
        sample(supervisor, now);
        supervisor->sample_due_ms = now + period_ms(supervisor);
    }
}

void queues_sample(struct supervisor *supervisor)
{
    const struct admission_policy *policy = &supervisor->config->policy;
    if (policy->enabled || policy->max_delay_ms != 0)
        queues_show(supervisor);
}

void queues_due(struct supervisor *supervisor, uint64_t now_ms)
{
    if (supervisor->sample_due_ms == 0 || now_ms < supervisor->sample_due_ms)
        return;
    sample(supervisor, now_ms);
    supervisor->sample_due_ms =
        now_ms < supervisor->sample_until_ms ? now_ms + period_ms(supervisor) : 0;
}

uint64_t queues_next_due(const struct supervisor *supervisor)
{
    return supervisor->sample_due_ms != 0 ? supervisor->sample_due_ms : UINT64_MAX;
}
