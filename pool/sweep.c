/* SPDX-License-Identifier: BSD-3-Clause
 *
 * After the confirmed death of a worker: its row says which tickets it had
 * taken. Each of those slots is in one of four conditions, and every one of them
 * is settled here, before the seat is used again:
 *
 *   RUNNING in this seat   it dies with the worker: CRASHED
 *   SUBMITTED              it lost its ticket: a new one goes to the repair ring
 *   ended                  the worker may have died before it told the client
 *   anything else          somebody else's by now
 */
#include "pool/supervisor.h"

#include "base/clock.h"
#include "base/fault.h"
#include "ipc/blocks.h"
#include "ipc/notify.h"
#include "ipc/slot.h"
#include "ipc/wake.h"

static void repair(struct supervisor *supervisor, const struct tenant *tenant, uint32_t lane,
                   name_t name)
{
    struct control *control = supervisor->control;
    uint64_t at = atomic_load_explicit(&control->repair_tail, memory_order_relaxed);
    struct repair *entry = &control->repairs[at % REPAIR_CAPACITY];
    FAULT_POINT("sweep_repair");
    entry->lane = lane;
    entry->lane_generation = tenant->generation;
    entry->name = name;
    atomic_store_explicit(&entry->position, at + 1, memory_order_release);
    atomic_store_explicit(&control->repair_tail, at + 1, memory_order_seq_cst);
}

/* The block that the worker was filling has no owner any more. */
static void release_block(const struct tenant *tenant, const struct seat_row *row, uint32_t seat)
{
    uint32_t unit = atomic_load_explicit(&row->block_unit, memory_order_relaxed);
    if (unit != 0 && lane_inside(tenant->lane.geometry, seat + 1, unit, UNIT, 0))
        block_release((struct block *)(void *)(tenant->lane.memory + (uint64_t)unit * UNIT));
}

static void settle(struct supervisor *supervisor, struct tenant *tenant, uint32_t seat, name_t name,
                   int death)
{
    const struct seat_row *row = &supervisor->control->rows[seat];
    uint32_t index = name_slot(name);
    if (index >= tenant->lane.geometry->slot_count)
        return;
    struct slot *slot = &tenant->lane.slots[index];
    uint64_t word = slot_load(&slot->word);
    if (!name_current(name, word))
        return;
    if (slot_state(word) == SLOT_SUBMITTED) {
        repair(supervisor, tenant, row->run_lane, name);
        return;
    }
    if (slot_state(word) == SLOT_RUNNING && slot_seat(word) == seat + 1) {
        uint64_t started = atomic_load_explicit(&row->started_ticks, memory_order_relaxed);
        FAULT_POINT("sweep_result");
        slot->death = death;
        slot->worker_pid = (uint32_t)supervisor->seats[seat].pid;
        slot->run_ns = started == 0 ? 0 : clock_ticks_ns(clock_ticks() - started);
        release_block(tenant, row, seat);
        FAULT_POINT("sweep_crash");
        if (!slot_end(&slot->word, seat + 1, SLOT_CRASHED, &word))
            return;
    }
    /* Woken twice does no harm; not woken at all would. The worker may have died
     * between marking the lane as notified and writing the byte. */
    atomic_store_explicit(&tenant->lane.header->notified, 0, memory_order_seq_cst);
    notify_ended(tenant->lane.header, &slot->word, SLOT_WAITED | SLOT_WAITED_ANY | SLOT_NOTIFY,
                 tenant->notify);
}

void sweep_seat(struct supervisor *supervisor, uint32_t seat, int death)
{
    struct seat_row *row = &supervisor->control->rows[seat];
    uint32_t count = atomic_load_explicit(&row->run_count, memory_order_acquire);
    struct tenant *tenant = lanes_find(supervisor, row->run_lane, row->run_lane_generation);
    if (tenant != NULL)
        for (uint32_t i = 0; i < count && i < RUN_MAX; i++)
            settle(supervisor, tenant, seat, row->run_names[i], death);
    FAULT_POINT("sweep_clear");
    atomic_store_explicit(&row->run_count, 0, memory_order_relaxed);
    atomic_store_explicit(&row->block_unit, 0, memory_order_relaxed);
    atomic_store_explicit(&row->started_ticks, 0, memory_order_relaxed);
    atomic_store_explicit(&row->pid, 0, memory_order_release);
    wake_seat_died(supervisor->bells, seat);
    lanes_ring(supervisor);
}
