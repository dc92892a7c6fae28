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
#include "ipc/blocks.h"
#include "ipc/channel.h"
#include "ipc/segment.h"
#include "ipc/slot.h"
#include "pool/estimate.h"
#include "pool/tidy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    SPIN_MOST_NS = 50000, /* longer pauses are not worth a worker's looking */
    SPIN_SLACK_NS = 5000,
    CHECK_EVERY_MS = 100,
    AHEAD = 8, /* slots whose cache lines are fetched before their turn */
};

/* ---- set-up ---- */

int client_init(struct client *client, const struct config *config, int socket, int notify,
                int lane_fd, uint32_t index)
{
    uint32_t slots = config->geometry.slot_count;
    memset(client, 0, sizeof(*client));
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
static void tidy_arguments(struct client *client, uint32_t freed)
{
    if (LIKELY(extents_spare(&client->arguments) <= TIDY_BOUND))
        return;
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

static void free_slot(struct client *client, uint32_t index)
{
    struct slot_book *book = &client->books[index];
    uint32_t freed = 0;
    if (book->extent != 0)
        freed = extents_free(&client->arguments, book->extent);
    book->extent = 0;
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

/* Slots of abandoned tasks come back when those end. */
void client_collect_abandoned(struct client *client)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < client->abandoned_count; i++) {
        uint32_t index = client->abandoned[i];
        struct slot *slot = &client->lane.slots[index];
        uint64_t word = slot_load(&slot->word);
        if (!slot_ended(word)) {
            client->abandoned[kept++] = index;
            continue;
        }
        uint32_t unit = LOAD_ONCE(slot->result_unit), seat = slot_seat(word);
        bool wrote = slot_state(word) == SLOT_DONE || slot_state(word) == SLOT_FAILED;
        if (wrote && unit != 0 && seat != 0 &&
            lane_inside(client->lane.geometry, seat, unit, UNIT, 0))
            block_release((struct block *)(void *)(client->lane.memory + (uint64_t)unit * UNIT));
        free_slot(client, index);
    }
    client->abandoned_count = kept;
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

/* Offers the record's slot to the workers. */
static void push_ticket(struct client *client, mc_group *group, struct record *record)
{
    struct ring *ring = &client->lane.rings[group->urgent ? LANE_URGENT : LANE_NORMAL];
    name_t name = name_make(record->handler, record->generation, record->slot);
    /* At least half of a full ring is dead: once round is enough. */
    uint64_t turns = (uint64_t)ring->mask + 1;
    while (!atomic_load_explicit(&client->faulted, memory_order_relaxed) &&
           !ring_push(ring, name)) {
        if (turns-- == 0 || !turn_ring(client, ring))
            client_fault(client, "a ring is damaged");
    }
    record->offered = true;
    group->tickets_out++;
}

static bool may_offer(const mc_group *group)
{
    return group->parallel_limit == 0 || group->tickets_out < group->parallel_limit;
}

bool client_runs_here_only(const mc_group *group, const struct record *record)
{
    return group->busy && group->on_done == NULL &&
           !(group->pool->config->handlers[record->handler].flags & MC_ISOLATED);
}

/* Gives tickets to records that had to wait for others of their group. */
static void offer_more(mc_group *group)
{
    struct client *client = &group->pool->client;
    while (group->next_offer < group->count && may_offer(group)) {
        struct record *record = group_record(group, group->next_offer++);
        if (record_state(record) == RECORD_OPEN && !record->offered &&
            !client_runs_here_only(group, record)) {
            push_ticket(client, group, record);
            group->wake_deferred = true;
        }
    }
    client_publish(group);
}

static struct record *new_record(mc_group *group)
{
    size_t index = group->count;
    unsigned chunk = 63u - (unsigned)__builtin_clzll(index / FIRST_CHUNK + 1);
    if (chunk >= CHUNKS)
        return NULL;
    if (group->chunks[chunk] == NULL)
        group->chunks[chunk] = malloc(((size_t)FIRST_CHUNK << chunk) * sizeof(struct record));
    if (group->chunks[chunk] == NULL)
        return NULL;
    if (index >= group->completed_capacity) {
        size_t capacity =
            group->completed_capacity == 0 ? FIRST_CHUNK : group->completed_capacity * 2;
        uint32_t *completed = realloc(group->completed, capacity * sizeof(*completed));
        if (completed == NULL)
            return NULL;
        group->completed = completed;
        group->completed_capacity = capacity;
    }
    return group_record(group, index);
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
    struct record *record = new_record(group);
    if (record == NULL)
        return error_set(-ENOMEM, "no memory for task %zu of the group", group->count);
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
    write_limits(group, slot);
    *record = (struct record){.slot = index,
                              .generation = book->generation,
                              .handler = (uint16_t)request->handler,
                              .start = request->start,
                              .end = request->end};
    group->count++;
    group->thread = pthread_self();
    group->reported = false;
    FAULT_POINT("client_before_submit");
    PROBE6(submit, client->lane.number, index, slot->handler, slot->args_size, slot->start,
           slot->end);
    slot_submit(&slot->word, group->on_done != NULL ? SLOT_NOTIFY : 0, book->generation);
    FAULT_POINT("client_submitted");
    if (group->busy && !group->narrowed && !client_runs_here_only(group, record)) {
        group->narrowed = true;
        group->parallel_limit = 1;
    }
    if (group->next_offer + 1 == group->count && may_offer(group)) {
        group->next_offer = group->count;
        if (!client_runs_here_only(group, record))
            push_ticket(client, group, record);
    }
    FAULT_POINT("client_pushed");
    if (client->free_count > 0)
        sys_prefetch_write(&client->lane.slots[client->free_slots[client->free_count - 1]]);
    return 0;
}

/* ---- reaping ---- */

static void learn(struct client *client, uint32_t handler, uint64_t run_ns)
{
    uint32_t usual = atomic_load_explicit(&client->estimate_ns[handler], memory_order_relaxed);
    estimate_mean(&usual, run_ns);
    atomic_store_explicit(&client->estimate_ns[handler], usual, memory_order_relaxed);
}

static void finish(mc_group *group, size_t index, struct record *record)
{
    if (record->offered)
        group->tickets_out--;
    group->ended++;
    atomic_store_explicit(&record->state, RECORD_ENDED, memory_order_release);
    size_t count = atomic_load_explicit(&group->completed_count, memory_order_relaxed);
    group->completed[count] = (uint32_t)index;
    atomic_store_explicit(&group->completed_count, count + 1, memory_order_release);
}

static void set_status(struct record *record, const struct slot *slot, uint64_t word)
{
    record->outcome = (uint8_t)slot_state(word);
    record->pid = slot->worker_pid;
    switch (slot_state(word)) {
    case SLOT_DONE:
    case SLOT_FAILED:
        record->status = slot->status;
        record->run_ns = slot->run_ns;
        record->format = slot->result_format;
        break;
    case SLOT_CRASHED:
        record->status = -EOWNERDEAD;
        record->death = slot->death;
        record->run_ns = slot->run_ns;
        break;
    case SLOT_TIMED_OUT: /* while it ran, or before */
        record->status = slot->status == -ETIME ? -ETIME : -ETIMEDOUT;
        if (record->status == -ETIME)
            record->pid = 0;
        else
            record->run_ns = slot->run_ns;
        break;
    default:
        record->status = -ECANCELED;
        if (slot_seat(word) == 0) /* not even begun */
            record->pid = 0;
        else
            record->run_ns = slot->run_ns;
        break;
    }
}

/* A copy of a small result that stays where it is until the group is closed. */
static bool keep_small(mc_group *group, struct record *record, const void *data, uint32_t size)
{
    uint32_t room = (size + 7) / 8 * 8;
    struct smalls *smalls = group->smalls;
    if (smalls == NULL || smalls->used + room > sizeof(smalls->bytes)) {
        smalls = malloc(sizeof(*smalls));
        if (smalls == NULL)
            return false;
        smalls->older = group->smalls;
        smalls->used = 0;
        group->smalls = smalls;
    }
    record->data = memcpy(smalls->bytes + smalls->used, data, size);
    record->place = DATA_SMALL;
    record->size = size;
    smalls->used += room;
    return true;
}

/* Takes the result over: small ones are copied, larger ones stay in the worker's
 * arena until they are released. */
static void take_data(mc_group *group, struct record *record, const struct slot *slot,
                      uint32_t seat)
{
    const struct lane *lane = &group->pool->client.lane;
    uint32_t unit = LOAD_ONCE(slot->result_unit), size = LOAD_ONCE(slot->result_size);
    if (size == 0 && unit == 0)
        return;
    if (unit == 0 && size <= SLOT_RESULT_SIZE) {
        if (keep_small(group, record, slot->result, size))
            return;
        record->status = -ENOMEM;
    } else if (unit != 0 && seat != 0 && lane_inside(lane->geometry, seat, unit, UNIT, size)) {
        record->data = lane->memory + (uint64_t)unit * UNIT + UNIT;
        record->place = DATA_BLOCK;
        record->size = size;
        return;
    } else {
        record->status = -EFAULT;
    }
    record->outcome = SLOT_FAILED;
}

static void reap(mc_group *group, size_t index, struct record *record, uint64_t word)
{
    struct client *client = &group->pool->client;
    const struct slot *slot = &client->lane.slots[record->slot];
    set_status(record, slot, word);
    if (slot_state(word) == SLOT_DONE || slot_state(word) == SLOT_FAILED)
        take_data(group, record, slot, slot_seat(word));
    if (slot_state(word) == SLOT_DONE)
        learn(client, record->handler, record->run_ns);
    FAULT_POINT("client_before_free");
    free_slot(client, record->slot);
    finish(group, index, record);
}

/* The supervisor empties the lane of a client whose connection broke. To one that lives
 * nevertheless its slots then look as if they had never been used; but for flags that it
 * sets itself before it sleeps. */
static bool taken_away(uint64_t word)
{
    return slot_state(word) == SLOT_FREE && slot_generation(word) == 0;
}

/* An open record's slot is its own: neither free nor another task's, and not run
 * by a seat that is not there. */
static bool word_damaged(const struct client *client, const struct record *record, uint64_t word)
{
    return slot_generation(word) != record->generation || slot_state(word) == SLOT_FREE ||
           slot_state(word) >= SLOT_STATES || slot_seat(word) > client->lane.geometry->seat_count;
}

/* Nobody knows whether somebody still works in the slot: it is not used again. */
static void settle_damaged(mc_group *group, size_t index, struct record *record)
{
    client_fault(&group->pool->client, "the word of a slot is damaged");
    record->outcome = SLOT_FAILED;
    record->status = -EFAULT;
    finish(group, index, record);
}

void client_collect(mc_group *group, bool all)
{
    struct client *client = &group->pool->client;
    size_t first = atomic_load_explicit(&group->first_open, memory_order_relaxed);
    for (size_t index = first; index < group->count; index++) {
        struct record *record = group_record(group, index);
        if (index + AHEAD < group->count)
            __builtin_prefetch(&client->lane.slots[group_record(group, index + AHEAD)->slot]);
        if (record_state(record) == RECORD_OPEN) {
            uint64_t word = slot_load(&client->lane.slots[record->slot].word); /* S4 */
            if (UNLIKELY(taken_away(word)))
                client_settle_lost(group, index); /* there is no pool for us */
            else if (UNLIKELY(word_damaged(client, record, word)))
                settle_damaged(group, index, record);
            else if (slot_ended(word))
                reap(group, index, record, word);
            else if (!all)
                break;
        }
        if (record_state(record) != RECORD_OPEN && index == first)
            first++;
    }
    atomic_store_explicit(&group->first_open, first, memory_order_relaxed);
    if (group->parallel_limit != 0)
        offer_more(group);
}

void client_collect_everything(struct client *client)
{
    for (mc_group *group = client->groups; group != NULL; group = group->next)
        client_collect(group, true);
    client_collect_abandoned(client);
}

void client_abandon(struct client *client, struct record *record)
{
    client->abandoned[client->abandoned_count++] = record->slot;
}

/* The result of a task that this process ran, or would have. */
static void take_inline(mc_group *group, struct record *record, const mc_task *task,
                        enum slot_state outcome, bool ran, uint64_t run_ns)
{
    record->outcome = (uint8_t)outcome;
    record->status = task->status;
    record->format = (uint8_t)task->format;
    record->run_ns = ran ? run_ns : 0;
    record->pid = ran ? (uint32_t)group->pool->pid : 0;
    if (task->data != task->small) {
        record->data = task->data;
        record->place = DATA_HEAP;
        record->size = task->size;
    } else if (task->size > 0 && !keep_small(group, record, task->small, task->size)) {
        record->outcome = SLOT_FAILED;
        record->status = -ENOMEM;
    }
    if (ran)
        learn(&group->pool->client, record->handler, run_ns);
}

void client_settle_inline(mc_group *group, size_t index, const mc_task *task,
                          enum slot_state outcome, bool ran, uint64_t run_ns)
{
    struct record *record = group_record(group, index);
    take_inline(group, record, task, outcome, ran, run_ns);
    free_slot(&group->pool->client, record->slot);
    finish(group, index, record);
}

bool client_expect_unplaced(mc_group *group)
{
    return new_record(group) != NULL;
}

void client_settle_unplaced(mc_group *group, const struct request *request, const mc_task *task,
                            bool ran, uint64_t run_ns)
{
    size_t index = group->count;
    struct record *record = group_record(group, index);
    *record = (struct record){
        .handler = (uint16_t)request->handler, .start = request->start, .end = request->end};
    take_inline(group, record, task, task->status == 0 ? SLOT_DONE : SLOT_FAILED, ran, run_ns);
    if (group->next_offer == index)
        group->next_offer++;
    group->count++;
    group->thread = pthread_self();
    group->reported = false;
    finish(group, index, record);
}

void client_settle_lost(mc_group *group, size_t index)
{
    struct client *client = &group->pool->client;
    struct record *record = group_record(group, index);
    record->outcome = SLOT_CRASHED;
    record->status = -EOWNERDEAD;
    record->death = -1;
    /* A slot that runs is not used again: its worker may be not quite dead yet. */
    if (slot_ended(slot_load(&client->lane.slots[record->slot].word)))
        free_slot(client, record->slot);
    finish(group, index, record);
}

void client_settle_all(mc_group *group)
{
    struct client *client = &group->pool->client;
    for (size_t index = group->first_open; index < group->count; index++) {
        uint64_t word;
        struct record *record = group_record(group, index);
        if (record_state(record) != RECORD_OPEN)
            continue;
        (void)slot_cancel(&client->lane.slots[record->slot].word, &word);
        client_settle_lost(group, index);
    }
    atomic_store_explicit(&group->first_open, group->count, memory_order_relaxed);
}

/* The block's memory is its worker's again, which may be asleep. */
static void release_block(const mc_pool *pool, void *data, uint32_t size)
{
    const struct lane *lane = &pool->client.lane;
    block_release((struct block *)data - 1);
    if (size < TIDY_LARGE)
        return;
    uint64_t offset = (uint64_t)((uint8_t *)data - lane->memory) - lane->geometry->arenas_offset;
    tidy_released(lane->header, pool->bells, (uint32_t)(offset / lane->geometry->arena_size) - 1);
}

void client_release(mc_group *group, size_t index)
{
    struct record *record = group_record(group, index);
    if (record->place == DATA_BLOCK)
        release_block(group->pool, record->data, record->size);
    else if (record->place >= DATA_HEAP)
        free(record->data);
    if (index < group->document_count && group->documents[index] != NULL) {
        document_close(group->documents[index]);
        group->documents[index] = NULL;
    }
    record->data = NULL;
    record->size = 0;
    record->place = DATA_NONE;
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

void client_publish(mc_group *group)
{
    ring_publish(&group->pool->client.lane.rings[group->urgent ? LANE_URGENT : LANE_NORMAL]);
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
               : "the pool's supervisor is gone";
}

/* After the welcome the supervisor says one thing only. */
static void read_verdict(struct client *client)
{
    struct parcel parcel;
    if (channel_receive(client->socket, &parcel, MSG_DONTWAIT) != 1)
        return; /* another thread was quicker */
    if (parcel.message.type == MESSAGE_FAULTED)
        (void)note_fault(client, parcel.message.text);
    parcel_drop(&parcel);
}

bool client_check_gone(struct client *client)
{
    char byte;
    ssize_t peeked = FAULT_CALL("client_check_gone", ENOBUFS,
                                recv(client->socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT));
    if (peeked < 0 && errno == ECONNRESET) /* said once, when it left messages of ours unread */
        peeked = recv(client->socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (peeked == 0)
        atomic_store_explicit(&client->gone, true, memory_order_relaxed);
    else if (peeked > 0)
        read_verdict(client);
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
