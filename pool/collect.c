/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Collecting: what the lane says of tasks that ended is copied into their group's own
 * memory, and their slots are free again. So are the ends settled that no worker told:
 * of tasks that ran here, and of tasks that were lost.
 */
#include "pool/pool.h"

#include "base/check.h"
#include "base/fault.h"
#include "ipc/blocks.h"
#include "ipc/slot.h"
#include "pool/estimate.h"
#include "pool/tidy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { AHEAD = 8 }; /* slots whose cache lines are fetched before their turn */

/* ---- what a task left ---- */

static void learn(struct client *client, uint32_t handler, uint64_t run_ns)
{
    uint32_t usual = atomic_load_explicit(&client->estimate_ns[handler], memory_order_relaxed);
    estimate_mean(&usual, run_ns);
    atomic_store_explicit(&client->estimate_ns[handler], usual, memory_order_relaxed);
}

void client_note_done(mc_group *group)
{
    if (!group->in_done)
        TAILQ_INSERT_TAIL(&group->pool->client.done, group, done_link);
    group->in_done = true;
}

static void finish(mc_group *group, size_t index, struct record *record)
{
    if (record->offered)
        group->tickets_out--;
    size_t ended = atomic_load_explicit(&group->ended, memory_order_relaxed);
    atomic_store_explicit(&group->ended, ended + 1, memory_order_relaxed);
    atomic_store_explicit(&record->state, RECORD_ENDED, memory_order_release);
    size_t count = atomic_load_explicit(&group->completed_count, memory_order_relaxed);
    group->completed[count] = (uint32_t)index;
    atomic_store_explicit(&group->completed_count, count + 1, memory_order_release);
    if (group->on_done != NULL && ended + 1 == group->count)
        client_note_done(group);
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
        if (record->status == -ETIME) {
            record->pid = 0;
            break;
        }
        record->death = slot->death;
        record->run_ns = slot->run_ns;
        break;
    default:
        record->status = -ECANCELED;
        if (slot_seat(word) == 0) /* not even begun */
            record->pid = 0;
        else
            record->run_ns = slot->run_ns;
        record->death = slot->death; /* if it was begun */
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

/* ---- collecting ---- */

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
    client_free_slot(client, record->slot);
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
COLD static void settle_damaged(mc_group *group, size_t index, struct record *record, uint64_t word)
{
    if (taken_away(word)) { /* there is no pool for us */
        client_settle_lost(group, index);
        return;
    }
    client_fault(&group->pool->client, "the word of a slot is damaged");
    group->pool->client.books[record->slot].group = NULL;
    record->outcome = SLOT_FAILED;
    record->status = -EFAULT;
    finish(group, index, record);
}

/* True if the record's task has ended; then it was reaped. */
static inline bool collect_one(mc_group *group, size_t index, struct record *record)
{
    struct client *client = &group->pool->client;
    if (record_state(record) != RECORD_OPEN)
        return true;
    uint64_t word = slot_load(&client->lane.slots[record->slot].word); /* S4 */
    if (UNLIKELY(word_damaged(client, record, word)))
        settle_damaged(group, index, record, word);
    else if (slot_ended(word))
        reap(group, index, record, word);
    else
        return false;
    return true;
}

void client_collect(mc_group *group, bool all)
{
    struct client *client = &group->pool->client;
    size_t first = atomic_load_explicit(&group->first_open, memory_order_relaxed);
    for (size_t index = first; index < group->count; index++) {
        struct record *record = group_record(group, index);
        if (index + AHEAD < group->count)
            __builtin_prefetch(&client->lane.slots[group_record(group, index + AHEAD)->slot]);
        bool ended = collect_one(group, index, record);
        if (!ended && !all)
            break;
        if (ended && index == first)
            first++;
    }
    atomic_store_explicit(&group->first_open, first, memory_order_relaxed);
    if (group->parallel_limit != 0)
        client_offer_more(group);
}

/* The slot may be of no group any more, or of another task than we were told of. */
static void collect_slot(struct client *client, uint32_t slot)
{
    const struct slot_book *book = &client->books[slot];
    mc_group *group = book->group;
    if (group == NULL || !collect_one(group, book->record, group_record(group, book->record)))
        return;
    size_t first = group->first_open;
    while (first < group->count && record_state(group_record(group, first)) != RECORD_OPEN)
        first++;
    group->first_open = first;
    if (group->parallel_limit != 0)
        client_offer_more(group);
}

void client_collect_told(struct client *client)
{
    struct lane_header *header = client->lane.header;
    uint32_t slots = client->lane.geometry->slot_count;
    for (uint32_t first = 0; first < slots; first += 64) {
        _Atomic uint64_t *told = &header->told[first / 64];
        if (atomic_load_explicit(told, memory_order_relaxed) == 0)
            continue;
        uint64_t bits = atomic_exchange_explicit(told, 0, memory_order_seq_cst);
        for (; bits != 0; bits &= bits - 1) {
            uint32_t slot = first + (uint32_t)__builtin_ctzll(bits);
            if (slot < slots) /* who can write there may write anything */
                collect_slot(client, slot);
        }
    }
}

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
        client_free_slot(client, index);
    }
    client->abandoned_count = kept;
}

void client_collect_everything(struct client *client)
{
    for (mc_group *group = client->groups; group != NULL; group = group->next)
        client_collect(group, true);
    client_collect_abandoned(client);
}

void client_abandon(struct client *client, struct record *record)
{
    client->books[record->slot].group = NULL;
    client->abandoned[client->abandoned_count++] = record->slot;
}

/* ---- ends that no worker told ---- */

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
    client_free_slot(&group->pool->client, record->slot);
    finish(group, index, record);
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
    client->books[record->slot].group = NULL;
    /* A slot that runs is not used again: its worker may be not quite dead yet. */
    if (slot_ended(slot_load(&client->lane.slots[record->slot].word)))
        client_free_slot(client, record->slot);
    finish(group, index, record);
}

/* ---- releasing ---- */

/* The block's memory is its worker's again, which may be asleep. */
static void release_block(const mc_pool *pool, void *data, uint32_t size)
{
    const struct lane *lane = &pool->client.lane;
    block_release((struct block *)data - 1);
    if (size < TIDY_LARGE)
        return;
    uint64_t offset = (uint64_t)((uint8_t *)data - lane->memory) - lane->geometry->arenas_offset;
    uint32_t seat = (uint32_t)(offset / lane->geometry->arena_size) - 1;
    tidy_released(lane->header, &pool->bells[control_class(pool->control, seat)], seat);
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
