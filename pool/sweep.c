/* SPDX-License-Identifier: BSD-3-Clause
 *
 * After the confirmed death of a worker: its row says which tickets it had
 * taken. Each of those slots is in one of four conditions, and every one of them
 * is settled here, before the seat is used again:
 *
 *   RUNNING in this seat   CRASHED; or TIMED_OUT or CANCELLED, if that is why the
 *                          worker was killed; or SUBMITTED again, if it may be, and
 *                          CANCELLED if nobody wants that any more
 *   SUBMITTED              it lost its ticket: a new one goes to the repair ring
 *   ended                  the worker may have died before it told the client
 *   another task's         likewise: the client saw the end by itself
 *
 * The tasks that wait in an I/O seat stand in its book, and are settled likewise.
 */
#include "pool/supervisor.h"

#include "base/clock.h"
#include "base/fault.h"
#include "ipc/blocks.h"
#include "ipc/notify.h"
#include "ipc/slot.h"
#include "ipc/tally.h"
#include "ipc/wake.h"

#include <errno.h>
#include <string.h>
#include <time.h>

void sweep_repair(struct supervisor *supervisor, const struct tenant *tenant, enum seat_class seats,
                  name_t name)
{
    struct control *control = supervisor->control;
    uint64_t at = atomic_load_explicit(&control->repair_tail[seats], memory_order_relaxed);
    struct repair *entry = &control->repairs[seats][at % REPAIR_CAPACITY];
    FAULT_POINT("sweep_repair");
    entry->lane = (uint32_t)(tenant - supervisor->tenants);
    entry->lane_generation = tenant->generation;
    entry->name = name;
    atomic_store_explicit(&entry->position, at + 1, memory_order_release);
    atomic_store_explicit(&control->repair_tail[seats], at + 1, memory_order_seq_cst);
}

bool sweep_may_repair(const struct supervisor *supervisor, enum seat_class seats, uint64_t spare)
{
    const struct control *control = supervisor->control;
    uint64_t head = atomic_load_explicit(&control->shared.repair_head[seats], memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&control->repair_tail[seats], memory_order_relaxed);
    return tail - head < REPAIR_CAPACITY - spare;
}

static void repair(struct supervisor *supervisor, const struct tenant *tenant, uint32_t seat,
                   name_t name)
{
    sweep_repair(supervisor, tenant, control_class(supervisor->control, seat), name);
}

/* The block that the worker was filling has no owner any more. */
static void release_block(const struct tenant *tenant, const struct seat_row *row, uint32_t seat)
{
    uint32_t unit = atomic_load_explicit(&row->block_unit, memory_order_relaxed);
    if (unit != 0 && lane_inside(tenant->lane.geometry, seat + 1, unit, UNIT, 0))
        block_release((struct block *)(void *)(tenant->lane.memory + (uint64_t)unit * UNIT));
}

/* Remembers the task, with the beginning of its arguments. */
static void quarantine(struct supervisor *supervisor, const struct tenant *tenant,
                       const struct slot *slot, name_t name, uint32_t attempts)
{
    struct quarantine *quarantine = supervisor->quarantine;
    uint64_t at = atomic_load_explicit(&quarantine->tail, memory_order_relaxed);
    struct quarantine_entry *entry = &quarantine->entries[at % QUARANTINE_MOST];
    const struct lane *lane = &tenant->lane;
    uint32_t size = LOAD_ONCE(slot->args_size), unit = LOAD_ONCE(slot->args_unit);
    uint32_t kept = size < QUARANTINE_ARGS ? size : QUARANTINE_ARGS;
    bool inside =
        unit == 0 ? size <= SLOT_ARGS_SIZE : lane_inside(lane->geometry, 0, unit, 0, size);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    atomic_store_explicit(&entry->sequence, 0, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    entry->time_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    entry->start = slot->start;
    entry->end = slot->end;
    entry->run_ns = slot->run_ns;
    entry->client_pid = tenant->pid;
    entry->worker_pid = (int32_t)slot->worker_pid;
    entry->wait_status = slot->death;
    entry->attempts = attempts;
    entry->handler = name_handler(name);
    entry->format = LOAD_ONCE(slot->args_format);
    entry->args_size = inside ? size : 0;
    if (inside)
        memcpy(entry->args, unit == 0 ? slot->args : lane->memory + (uint64_t)unit * UNIT, kept);
    atomic_store_explicit(&entry->sequence, at + 1, memory_order_release); /* Q1 */
    atomic_store_explicit(&quarantine->tail, at + 1, memory_order_release);
}

/* How the task that the worker was running ends. What decides was written by the worker
 * or is our own. The lane is asked for one thing, the attempt of a task that its worker
 * claimed and did not note any more: that counts as one too, so that there is an end. */
static enum slot_event verdict(const struct supervisor *supervisor, uint32_t seat, name_t name,
                               uint64_t word, uint32_t *attempt)
{
    const struct seat_row *row = &supervisor->control->rows[seat];
    const struct doom *doom = &supervisor->seats[seat].doom;
    uint32_t handler = name_handler(name);
    bool noted = atomic_load_explicit(&row->watched, memory_order_relaxed) == name;
    *attempt =
        noted ? atomic_load_explicit(&row->attempt, memory_order_relaxed) : slot_attempt(word);
    if (doom->why != DOOM_NONE && doom->name == name && doom->lane == row->run_lane &&
        doom->lane_generation == row->run_lane_generation)
        return doom->why == DOOM_TIME ? EVENT_TIME_OUT : EVENT_KILL;
    if (handler < supervisor->config->handler_count &&
        *attempt + 1 < supervisor->config->handlers[handler].max_attempts)
        return EVENT_RETRY;
    return EVENT_CRASH;
}

static void crash(struct supervisor *supervisor, struct tenant *tenant, uint32_t seat, name_t name,
                  uint32_t attempts)
{
    struct slot *slot = &tenant->lane.slots[name_slot(name)];
    uint64_t word;
    quarantine(supervisor, tenant, slot, name, attempts);
    tally_count(&supervisor->control->totals.tasks_crashed);
    (void)slot_end(&slot->word, seat + 1, SLOT_CRASHED, &word);
}

static void end_running(struct supervisor *supervisor, struct tenant *tenant, uint32_t seat,
                        name_t name, uint64_t word, int death)
{
    const struct seat_row *row = &supervisor->control->rows[seat];
    struct slot *slot = &tenant->lane.slots[name_slot(name)];
    uint64_t started = atomic_load_explicit(&row->started_ticks, memory_order_relaxed);
    uint32_t attempt;
    enum slot_event event = verdict(supervisor, seat, name, word, &attempt);
    FAULT_POINT("sweep_result");
    slot->death = death;
    slot->worker_pid = (uint32_t)supervisor->seats[seat].posts[HOLDER].pid;
    slot->run_ns = started == 0 ? 0 : clock_ticks_ns(clock_ticks() - started);
    release_block(tenant, row, seat);
    FAULT_POINT("sweep_crash");
    switch (event) {
    case EVENT_RETRY:
        if (slot_retry(&slot->word, seat + 1, attempt + 1, &word)) {
            tally_count(&supervisor->control->totals.tasks_repeated);
            repair(supervisor, tenant, seat, name);
        } else { /* nobody wants it any more, and it may be no killer */
            (void)slot_end(&slot->word, seat + 1, SLOT_CANCELLED, &word);
        }
        return;
    case EVENT_TIME_OUT:
        slot->status = -ETIMEDOUT;
        tally_count(&supervisor->control->totals.tasks_timed_out);
        (void)slot_end(&slot->word, seat + 1, SLOT_TIMED_OUT, &word);
        return;
    case EVENT_KILL:
        tally_count(&supervisor->control->totals.tasks_killed);
        (void)slot_end(&slot->word, seat + 1, SLOT_CANCELLED, &word);
        return;
    default:
        crash(supervisor, tenant, seat, name, attempt + 1);
    }
}

/* Woken twice does no harm; not woken at all would. The worker may have died between
 * marking the lane as notified and writing the byte, which the client may have seen, too:
 * then the slot is another task's (NULL), and the byte is owed nevertheless. */
static void tell(const struct tenant *tenant, struct slot *slot)
{
    atomic_store_explicit(&tenant->lane.header->notified, 0, memory_order_seq_cst);
    notify_ended(&tenant->lane, slot, SLOT_WAITED | SLOT_WAITED_ANY | SLOT_NOTIFY, tenant->notify);
}

/* The slot behind a name that is still its own, or NULL. */
static struct slot *slot_of(const struct tenant *tenant, name_t name, uint64_t *word)
{
    if (name_slot(name) >= tenant->lane.geometry->slot_count)
        return NULL;
    struct slot *slot = &tenant->lane.slots[name_slot(name)];
    *word = slot_load(&slot->word);
    return name_current(name, *word) ? slot : NULL;
}

static bool runs_in(uint64_t word, uint32_t seat)
{
    return slot_state(word) == SLOT_RUNNING && slot_seat(word) == seat + 1;
}

static void settle(struct supervisor *supervisor, struct tenant *tenant, uint32_t seat, name_t name,
                   int death)
{
    uint64_t word;
    struct slot *slot = slot_of(tenant, name, &word);
    if (slot != NULL && slot_state(word) == SLOT_SUBMITTED) {
        repair(supervisor, tenant, seat, name);
        return;
    }
    if (slot != NULL && runs_in(word, seat))
        end_running(supervisor, tenant, seat, name, word, death);
    tell(tenant, slot);
}

/* ---- tasks that waited ---- */

/* Tasks of lost tickets always find room for new ones; others only as long as enough is
 * left for those. */
static bool may_repeat(const struct supervisor *supervisor, name_t name)
{
    uint32_t handler = name_handler(name);
    return handler < supervisor->config->handler_count &&
           supervisor->config->handlers[handler].max_attempts > 1 &&
           sweep_may_repair(supervisor, SEAT_IO, UINT64_C(2) * MAX_IO_SEATS * RUN_MAX);
}

/* It was not running, and so is not suspected of having killed its worker: that counts as
 * no attempt, and is no reason for quarantine. */
static void settle_waiting(struct supervisor *supervisor, struct tenant *tenant, uint32_t seat,
                           name_t name, int death)
{
    uint64_t word;
    struct slot *slot = slot_of(tenant, name, &word);
    if (slot == NULL || !runs_in(word, seat))
        return;
    slot->death = death;
    slot->worker_pid = (uint32_t)supervisor->seats[seat].posts[HOLDER].pid;
    slot->run_ns = 0;
    FAULT_POINT("sweep_waiting");
    if (!may_repeat(supervisor, name)) {
        tally_count(&supervisor->control->totals.tasks_crashed);
        (void)slot_end(&slot->word, seat + 1, SLOT_CRASHED, &word);
    } else if (slot_retry(&slot->word, seat + 1, slot_attempt(word), &word)) {
        tally_count(&supervisor->control->totals.tasks_repeated);
        repair(supervisor, tenant, seat, name);
    } else {
        (void)slot_end(&slot->word, seat + 1, SLOT_CANCELLED, &word);
    }
    tell(tenant, slot);
}

/* The worker writes an entry before the row lets go
 * of the task, and clears it after its end: one may be in both. */
static void settle_book(struct supervisor *supervisor, uint32_t seat, int death)
{
    struct pending_book *book = control_book(supervisor->control, seat);
    uint32_t used = atomic_load_explicit(&book->used, memory_order_acquire);
    for (uint32_t i = 0; i < used && i < PENDING_MOST; i++) {
        struct pending_entry *entry = &book->entries[i];
        uint32_t generation = atomic_load_explicit(&entry->generation, memory_order_acquire);
        struct tenant *tenant =
            generation != 0 ? lanes_find(supervisor, entry->lane, generation) : NULL;
        if (tenant != NULL)
            settle_waiting(supervisor, tenant, seat, entry->name, death);
        if (generation != 0)
            atomic_store_explicit(&entry->generation, 0, memory_order_relaxed);
    }
    FAULT_POINT("sweep_book");
    for (uint32_t i = 0; i < MAX_LANES; i++)
        atomic_store_explicit(&book->of_lane[i], 0, memory_order_relaxed);
    atomic_store_explicit(&book->waiting, 0, memory_order_relaxed);
    atomic_store_explicit(&book->used, 0, memory_order_relaxed);
}

void sweep_seat(struct supervisor *supervisor, uint32_t seat, int death)
{
    struct seat_row *row = &supervisor->control->rows[seat];
    uint32_t count = atomic_load_explicit(&row->run_count, memory_order_acquire);
    struct tenant *tenant = lanes_find(supervisor, row->run_lane, row->run_lane_generation);
    if (tenant != NULL)
        for (uint32_t i = 0; i < count && i < RUN_MAX; i++)
            settle(supervisor, tenant, seat, row->run_names[i], death);
    if (control_class(supervisor->control, seat) == SEAT_IO)
        settle_book(supervisor, seat, death);
    FAULT_POINT("sweep_clear");
    atomic_store_explicit(&row->run_count, 0, memory_order_relaxed);
    atomic_store_explicit(&row->block_unit, 0, memory_order_relaxed);
    atomic_store_explicit(&row->started_ticks, 0, memory_order_relaxed);
    atomic_store_explicit(&row->watched, 0, memory_order_relaxed);
    atomic_store_explicit(&row->soft_limit_ms, 0, memory_order_relaxed);
    atomic_store_explicit(&row->time_limit_ms, 0, memory_order_relaxed);
    atomic_store_explicit(&row->leave, 0, memory_order_relaxed);
    atomic_store_explicit(&row->doomed, 0, memory_order_relaxed);
    atomic_store_explicit(&row->pid, 0, memory_order_release);
    wake_seat_died(keeper_bells(supervisor, seat), seat);
    lanes_ring(supervisor);
}
