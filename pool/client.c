/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The producing side of a lane. All bookkeeping is in this process's memory; of
 * the lane it believes only the words of slots that it submitted itself.
 *
 * Pairs: C1 releases the reason for which the lane was given up, C2 acquires it.
 */
#include "pool/pool.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fault.h"
#include "base/probe.h"
#include "base/sys.h"
#include "ipc/channel.h"
#include "ipc/segment.h"
#include "ipc/slot.h"
#include "pool/tidy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    SPIN_MOST_NS = 50000, /* longer pauses are not worth a worker's looking */
    SPIN_SLACK_NS = 5000,
    CHECK_EVERY_MS = 100,
};

/* ---- set-up ---- */

int client_init(struct client *client, const struct config *config, int socket, int notify,
                int lane_fd, uint32_t index)
{
    uint32_t slots = config->geometry.slot_count;
    memset(client, 0, sizeof(*client));
    TAILQ_INIT(&client->done);
    client->socket = socket;
    client->notify = notify;
    client->events = client->self = -1;
    client->index = index;
    atomic_init(&client->cpu_told, -1);
    int result = lane_map(&client->lane, &config->geometry, lane_fd);
    if (result < 0) {
        client_fini(client);
        return error_system(result, "the lane of %llu bytes cannot be mapped",
                            (unsigned long long)config->geometry.total_size);
    }
    result = extents_init(&client->arguments, (uint32_t)(config->geometry.arena_size / UNIT));
    client->books = calloc(slots, sizeof(*client->books));
    client->free_slots = malloc(slots * sizeof(*client->free_slots));
    client->abandoned = malloc(slots * sizeof(*client->abandoned));
    client->estimate_ns = calloc(config->handler_capacity, sizeof(*client->estimate_ns));
    client->prompt = calloc(config->handler_capacity, sizeof(*client->prompt));
    if (result < 0 || client->books == NULL || client->free_slots == NULL ||
        client->abandoned == NULL || client->estimate_ns == NULL || client->prompt == NULL) {
        client_fini(client);
        return error_set(-ENOMEM, "no memory for the books of %u slots", slots);
    }
    for (uint32_t i = 0; i < slots; i++)
        client->free_slots[i] = slots - 1 - i;
    client->free_count = slots;
    pthread_mutex_init(&client->lock, NULL);
    return 0;
}

void client_fini(struct client *client)
{
    group_free(client->spare);
    client->spare = NULL;
    lane_unmap(&client->lane);
    extents_fini(&client->arguments);
    free(client->books);
    free(client->free_slots);
    free(client->abandoned);
    free((void *)client->estimate_ns);
    free((void *)client->prompt);
    client->books = NULL;
    client->free_slots = client->abandoned = NULL;
    client->estimate_ns = NULL;
    client->prompt = NULL;
    sys_close(&client->events);
    sys_close(&client->self);
    sys_close(&client->notify);
    sys_close(&client->socket);
}

/* ---- submitting ---- */

static void give_back(void *context, uint32_t start, uint32_t units)
{
    const struct lane *lane = context;
    segment_give_back(lane->memory + lane_arena_offset(lane->geometry, 0) + (uint64_t)start * UNIT,
                      (uint64_t)units * UNIT);
}

/* Gives memory back when more than TIDY_BOUND of it is free, and more than the
 * largest task of late needs: the next of its kind is to find it warm. `freed` is
 * what was freed just now. */
COLD static void tidy_arguments(struct client *client, uint32_t freed)
{
    uint64_t now = clock_coarse_ms();
    if (freed >= client->large_units || now - client->large_ms > TIDY_IDLE_MS) {
        client->large_units = freed;
        client->large_ms = now;
    }
    uint32_t large = client->large_units + TIDY_SLACK;
    if (extents_spare(&client->arguments) > (large > TIDY_BOUND ? large : TIDY_BOUND))
        (void)extents_trim(&client->arguments, large > TIDY_BOUND / 2 ? large : TIDY_BOUND / 2,
                           give_back, &client->lane);
}

void client_free_slot(struct client *client, uint32_t index)
{
    struct slot_book *book = &client->books[index];
    uint32_t freed = 0;
    if (book->extent != 0)
        freed = extents_free(&client->arguments, book->extent);
    book->extent = 0;
    book->group = NULL;
    if (UNLIKELY(extents_spare(&client->arguments) > TIDY_BOUND))
        tidy_arguments(client, freed);
    book->generation++;
    /* Second in line: its cache line is still the worker's, while that of the
     * next one was fetched during the wait; see client_submit(). */
    uint32_t *top = &client->free_slots[client->free_count++];
    *top = index;
    if (client->free_count > 1) {
        *top = top[-1];
        top[-1] = index;
    }
}

/* Makes room in a full ring: its oldest ticket is dropped if it is dead, or else
 * goes to the end of the queue. False if the ring is damaged. */
static bool turn_ring(struct client *client, struct ring *ring)
{
    name_t old;
    if (!ring_take_back(ring, &old))
        return ring_sound(ring);
    if (name_slot(old) >= client->lane.geometry->slot_count)
        return false;
    uint64_t word = slot_load(&client->lane.slots[name_slot(old)].word);
    return slot_state(word) != SLOT_SUBMITTED || !name_current(old, word) || ring_push(ring, old);
}

/* At least half of a full ring is dead: once round is enough. */
COLD static void push_into_full(struct client *client, struct ring *ring, name_t name)
{
    uint64_t turns = (uint64_t)ring->mask + 1;
    while (!atomic_load_explicit(&client->faulted, memory_order_relaxed) &&
           !ring_push(ring, name)) {
        if (turns-- == 0 || !turn_ring(client, ring))
            client_fault(client, "a ring is damaged");
    }
}

/* Offers the record's slot to the workers. */
static void push_ticket(struct client *client, mc_group *group, struct record *record)
{
    enum seat_class seats = handler_seats(&group->pool->config->handlers[record->handler]);
    struct ring *ring = lane_ring(&client->lane, seats, group->urgent ? LANE_URGENT : LANE_NORMAL);
    name_t name = name_make(record->handler, record->generation, record->slot);
    if (UNLIKELY(!ring_push(ring, name)))
        push_into_full(client, ring, name);
    atomic_store_explicit(&record->offered, true, memory_order_relaxed);
    atomic_store_explicit(&group->offered_to, group_offered_to(group) | 1u << seats,
                          memory_order_relaxed);
    group->tickets_out++;
}

bool client_may_run_more(const mc_group *group)
{
    return group->max_parallel == 0 || group->tickets_out < group->max_parallel;
}

/* Load narrows a group, but not its tasks that wait most of the time. */
static bool may_offer(const mc_group *group, const struct record *record)
{
    return group->parallel_limit == 0 || group->tickets_out < group->parallel_limit ||
           (group->narrowed && client_may_run_more(group) &&
            handler_seats(&group->pool->config->handlers[record->handler]) == SEAT_IO);
}

bool client_runs_here_only(const mc_group *group, const struct record *record)
{
    return group->busy && group->on_done == NULL &&
           !(group->pool->config->handlers[record->handler].flags & MC_ISOLATED);
}

void client_publish(mc_group *group)
{
    struct lane *lane = &group->pool->client.lane;
    for (int seats = 0; seats < SEAT_CLASSES; seats++)
        if ((group_offered_to(group) >> seats & 1) != 0)
            ring_publish(lane_ring(lane, seats, group->urgent ? LANE_URGENT : LANE_NORMAL));
}

bool client_wake(mc_pool *pool, unsigned offered_to, enum wake_trust trust, int near_cpu,
                 int avoid_cpu)
{
    bool woken = true;
    if (LIKELY((offered_to >> SEAT_CPU & 1) != 0))
        woken = wake_for_submit(&pool->bells[SEAT_CPU], pool->control, pool->client.index, trust,
                                near_cpu, avoid_cpu);
    if (UNLIKELY((offered_to >> SEAT_IO & 1) != 0))
        woken = wake_for_submit(&pool->bells[SEAT_IO], pool->control, pool->client.index, trust,
                                near_cpu, avoid_cpu) &&
                woken;
    return woken;
}

void client_offer_more(mc_group *group)
{
    struct client *client = &group->pool->client;
    while (group->next_offer < group->count) {
        struct record *record = group_record(group, group->next_offer);
        if (!may_offer(group, record))
            break;
        group->next_offer++;
        if (record_state(record) == RECORD_OPEN && !record->offered &&
            !client_runs_here_only(group, record)) {
            push_ticket(client, group, record);
            client_defer_wake(group);
        }
    }
    client_publish(group);
}

void client_defer_wake(mc_group *group)
{
    atomic_store_explicit(&group->wake_deferred, true, memory_order_relaxed);
    atomic_store_explicit(&group->pool->client.any_deferred, true, memory_order_release);
}

void client_announce_deferred(mc_pool *pool)
{
    struct client *client = &pool->client;
    unsigned offered_to = 0;
    if (!atomic_load_explicit(&client->any_deferred, memory_order_relaxed) ||
        !atomic_exchange_explicit(&client->any_deferred, false, memory_order_acquire))
        return;
    pthread_mutex_lock(&client->lock);
    for (mc_group *group = client->groups; group != NULL; group = group->next)
        if (atomic_exchange(&group->wake_deferred, false))
            offered_to |= group_offered_to(group);
    pthread_mutex_unlock(&client->lock);
    if (offered_to != 0)
        (void)client_wake(pool, offered_to, WAKE_STRICT, -1, WAKE_OWN_CPU);
}

/* Makes room for records as many as there are, and some; false without memory. */
COLD static bool grow(mc_group *group)
{
    unsigned chunk = 63u - (unsigned)__builtin_clzll(group->capacity / FIRST_CHUNK + 1);
    if (chunk >= CHUNKS)
        return false;
    size_t more = (size_t)FIRST_CHUNK << chunk, capacity = group->capacity + more;
    if (group->chunks[chunk] == NULL)
        group->chunks[chunk] = malloc(more * sizeof(struct record));
    uint32_t *completed = realloc(group->completed, capacity * sizeof(*completed));
    if (completed != NULL)
        group->completed = completed;
    if (group->chunks[chunk] == NULL || completed == NULL)
        return false;
    group->capacity = capacity;
    return true;
}

/* Places the arguments; -EAGAIN when the arena has no room for them. */
static int place_arguments(struct client *client, struct slot *slot, struct slot_book *book,
                           const struct request *request)
{
    if (request->size <= SLOT_ARGS_SIZE) {
        slot->args_unit = 0;
        if (request->size > 0)
            memcpy(slot->args, request->args, request->size);
        return 0;
    }
    uint32_t start;
    uint32_t units = (uint32_t)((request->size + UNIT - 1) / UNIT);
    book->extent = extents_alloc(&client->arguments, units, &start);
    if (book->extent == 0)
        return -EAGAIN;
    slot->args_unit = (uint32_t)(lane_arena_offset(client->lane.geometry, 0) / UNIT) + start;
    memcpy(client->lane.memory + (uint64_t)slot->args_unit * UNIT, request->args, request->size);
    return 0;
}

static void write_limits(const mc_group *group, struct slot *slot)
{
    slot->limited = group->limited;
    if (!group->limited)
        return;
    slot->soft_limit_ms = group->soft_limit_ms;
    slot->time_limit_ms = group->time_limit_ms;
    slot->start_by_ns =
        group->start_within_ms == 0 ? 0 : clock_ns() + group->start_within_ms * UINT64_C(1000000);
}

static uint16_t wished_spin_us(const struct client *client)
{
    uint32_t think = atomic_load_explicit(&client->think_ns, memory_order_relaxed);
    return think > SPIN_MOST_NS ? 0 : (uint16_t)((2 * think + SPIN_SLACK_NS) / 1000);
}

int client_submit(mc_group *group, const struct request *request)
{
    struct client *client = &group->pool->client;
    if (client->free_count == 0)
        return -EAGAIN;
    if (UNLIKELY(group->count == group->capacity) && !grow(group))
        return error_set(-ENOMEM, "no memory for task %zu of the group", group->count);
    struct record *record = group_record(group, group->count);
    uint32_t index = client->free_slots[client->free_count - 1];
    struct slot *slot = &client->lane.slots[index];
    struct slot_book *book = &client->books[index];
    FAULT_POINT("client_arguments");
    int result = place_arguments(client, slot, book, request);
    if (result < 0)
        return result;
    client->free_count--;
    FAULT_POINT("client_request");
    slot->handler = (uint16_t)request->handler;
    slot->args_format = (uint8_t)request->format;
    slot->args_size = (uint32_t)request->size;
    slot->start = request->start;
    slot->end = request->end;
    slot->spin_us = wished_spin_us(client);
    slot->submitted_ticks = request->submitted_ticks;
    write_limits(group, slot);
    *record = (struct record){.slot = index,
                              .generation = book->generation,
                              .handler = (uint16_t)request->handler,
                              .start = request->start,
                              .end = request->end};
    if (group->on_done != NULL) {
        book->group = group;
        book->record = group->count;
    }
    group->count++;
    group->thread = pthread_self();
    group->reported = false;
    FAULT_POINT("client_before_submit");
    PROBE6(submit, client->lane.number, index, slot->handler, slot->args_size, slot->start,
           slot->end);
    slot_submit(&slot->word, group->on_done != NULL ? SLOT_NOTIFY : 0, book->generation);
    FAULT_POINT("client_submitted");
    if (group->busy && !group->narrowed && !client_runs_here_only(group, record) &&
        handler_seats(&group->pool->config->handlers[record->handler]) == SEAT_CPU) {
        group->narrowed = true;
        group->parallel_limit = 1;
    }
    if (group->next_offer + 1 == group->count && may_offer(group, record)) {
        group->next_offer = group->count;
        if (!client_runs_here_only(group, record))
            push_ticket(client, group, record);
    }
    FAULT_POINT("client_pushed");
    if (client->free_count > 0)
        sys_prefetch_write(&client->lane.slots[client->free_slots[client->free_count - 1]]);
    return 0;
}

bool client_expect_unplaced(mc_group *group)
{
    return group->count < group->capacity || grow(group);
}

/* ---- the supervisor ---- */

void client_complain(struct client *client)
{
    bool sound = true;
    pthread_mutex_lock(&client->lock);
    for (int ring = 0; ring < LANE_RINGS; ring++)
        sound = sound && ring_sound(&client->lane.rings[ring]);
    pthread_mutex_unlock(&client->lock);
    if (sound)
        client_poke(client);
    else
        client_fault(client, "a ring is damaged");
}

/* The first reason stays, and is whole once `faulted` says so. */
static bool note_fault(struct client *client, const char *why)
{
    bool first = !atomic_exchange(&client->accused, true);
    if (first) {
        snprintf(client->fault, sizeof(client->fault),
                 "this process's lane was damaged, and was given up: %.180s", why);
        atomic_store_explicit(&client->faulted, true, memory_order_release); /* C1 */
    }
    atomic_store_explicit(&client->gone, true, memory_order_relaxed);
    return first;
}

void client_fault(struct client *client, const char *why)
{
    struct parcel parcel = {.message = {.type = MESSAGE_LANE_FAULT}};
    snprintf(parcel.message.text, sizeof(parcel.message.text), "%s", why);
    if (note_fault(client, why))
        (void)channel_send(client->socket, &parcel, MSG_DONTWAIT);
}

const char *client_why_gone(const struct client *client)
{
    /* C2 pairs with C1. */
    return atomic_load_explicit(&client->faulted, memory_order_acquire)
               ? client->fault
               : "the pool's supervisor is gone: close the pool and open another";
}

/* After the welcome the supervisor says one thing only. Of several threads that look, one
 * gets it. */
bool client_check_gone(struct client *client)
{
    struct parcel parcel;
    int received = channel_receive(client->socket, &parcel, MSG_DONTWAIT);
    if (received == 0)
        atomic_store_explicit(&client->gone, true, memory_order_relaxed);
    if (received == 1) {
        if (parcel.message.type == MESSAGE_FAULTED)
            (void)note_fault(client, parcel.message.text);
        parcel_drop(&parcel);
    }
    return atomic_load_explicit(&client->gone, memory_order_relaxed);
}

bool client_gone(struct client *client)
{
    uint64_t now = clock_coarse_ms();
    if (now - atomic_load_explicit(&client->checked_ms, memory_order_relaxed) < CHECK_EVERY_MS)
        return atomic_load_explicit(&client->gone, memory_order_relaxed);
    atomic_store_explicit(&client->checked_ms, now, memory_order_relaxed);
    return client_check_gone(client);
}

void client_poke(struct client *client)
{
    struct parcel parcel = {.message = {.type = MESSAGE_POKE}};
    (void)channel_send(client->socket, &parcel, MSG_DONTWAIT);
}

bool client_kill(struct client *client, const struct record *record)
{
    struct parcel parcel = {
        .message = {.type = MESSAGE_KILL, .index = record->slot, .generation = record->generation}};
    return channel_send(client->socket, &parcel, MSG_DONTWAIT) == 0;
}
