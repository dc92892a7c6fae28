/* SPDX-License-Identifier: BSD-3-Clause
 *
 * From a ticket to the end of its task.
 */
#include "pool/work.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fault.h"
#include "base/probe.h"
#include "base/sys.h"
#include "ipc/notify.h"
#include "ipc/slot.h"
#include "ipc/tally.h"
#include "pool/estimate.h"
#include "pool/io.h"
#include "pool/limits.h"
#include "pool/modules.h"
#include "pool/pool.h"
#include "pool/tidy.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    WAKE_NS = 60000,    /* what waking a process on another core may take */
    LOOK_MOST_US = 100, /* a client may wish for less */
};

int run_no_room(const struct worker *worker, int result, size_t size)
{
    return error_set(result,
                     "no room for a result of %zu bytes in this worker's arena of %llu: "
                     "release results, or raise arena_size",
                     size, (unsigned long long)worker->current->lane.geometry->arena_size);
}

static int worker_resize(mc_task *task, size_t size, size_t keep, void **data)
{
    struct worker *worker = task->owner;
    struct blocks *blocks = &worker->current->blocks;
    uint32_t unit;
    void *room;
    int result;
    if (task->unit != 0 && keep > 0) {
        result = blocks_regrow(blocks, size, keep, &unit, &room);
    } else {
        if (task->unit != 0) {
            blocks_undo(blocks);
            task->unit = task->size = 0;
            *data = task->small;
        }
        result = blocks_alloc(blocks, size, &unit, &room);
        if (result == 0 && keep > 0)
            memcpy(room, task->small, keep);
    }
    if (result < 0)
        return run_no_room(worker, result, size);
    tidy_note(&worker->views, worker->current_lane);
    task->unit = unit;
    *data = room;
    return 0;
}

static void worker_drop(mc_task *task)
{
    struct worker *worker = task->owner;
    blocks_undo(&worker->current->blocks);
    task->unit = 0;
}

mc_pool *run_pool(struct worker *worker)
{
    if (worker->pool == NULL)
        worker->pool = pool_of_worker(worker->config, worker->control, worker->pool_bells,
                                      worker->socket, &worker->states);
    if (worker->pool != NULL)
        worker->pool->io = worker->io;
    return worker->pool;
}

static mc_pool *worker_pool(mc_task *task)
{
    return run_pool(task->owner);
}

const struct task_home worker_home = {worker_resize, worker_drop, worker_pool, NULL};

/* Copies the request out of the slot, and believes none of it; NULL, or what is
 * wrong with it. The handler is the slot's: names have a part of the generation only, and
 * so the ticket may be that of an earlier task there, which its caller has run itself. */
static const char *read_request(struct worker *worker, const struct view *view,
                                const struct slot *slot, name_t name, mc_task *task)
{
    uint32_t handler = LOAD_ONCE(slot->handler);
    task->start = slot->start;
    task->end = slot->end;
    task->args_format = (enum mc_format)LOAD_ONCE(slot->args_format);
    if (handler >= worker->config->handler_capacity ||
        name_handler(name) >= worker->config->handler_capacity ||
        handler_seats(&worker->config->handlers[handler]) != worker->seats)
        return "a request names a handler that is not there";
    if (task->args_format > MC_MSGPACK)
        return "a request has an unknown format";
    task->handler = &worker->config->handlers[handler];
    if (!lane_arguments(&view->lane, slot, &task->args, &task->args_size))
        return "a request has arguments outside of the client's memory";
    return NULL;
}

static void write_result(struct slot *slot, const mc_task *task, uint64_t run_ns)
{
    FAULT_POINT("worker_result");
    slot->status = task->status;
    slot->result_format = (uint8_t)task->format;
    slot->result_size = task->size;
    slot->result_unit = task->unit;
    if (task->unit == 0 && task->size > 0)
        memcpy(slot->result, task->small, sizeof(slot->result));
    slot->run_ns = run_ns;
}

/* Clocks of two cores may differ by a little. */
static uint64_t ticks_between(uint64_t begin, uint64_t end)
{
    return end > begin ? end - begin : 0;
}

void run_learn(struct worker *worker, const mc_task *task, uint64_t submitted, uint64_t now)
{
    PROBE4(done, task->handler->name, task->status, clock_ticks_ns(now - task->began_ticks),
           worker->seat);
    ptrdiff_t number = task->handler - worker->config->handlers;
    struct tally *tally = &worker->tallies[number];
    uint64_t ran = ticks_between(task->began_ticks, now);
    estimate_most(&worker->estimate_ns[number], clock_ticks_ns(ran));
    tally_count(&tally->ended);
    if (task->status != 0)
        tally_count(&tally->failed);
    if (task->attempt == 0 && submitted != 0)
        tally_add(&tally->waited[tally_span(ticks_between(submitted, task->began_ticks))],
                  tally_weight(submitted));
    tally_count(&tally->ran[tally_span(ran)]);
}

/* ---- handlers that cannot run here ---- */

/* The handler's module is asleep: the supervisor keeps the ticket until one of us has it
 * awake. False if it does not, and has said why; or if this worker is to set the module up
 * itself, which it has tried then. */
static bool defer(struct worker *worker, const struct view *view, name_t name,
                  const struct mc_module_self *module)
{
    struct parcel parcel = {.message = {.type = MESSAGE_DEFER,
                                        .index = worker->current_lane,
                                        .generation = view->generation,
                                        .value = (int32_t)module->row}};
    memcpy(parcel.message.text, &name, sizeof(name));
    FAULT_POINT("worker_defer");
    if (channel_send(worker->socket, &parcel, 0) < 0 ||
        channel_receive(worker->socket, &parcel, 0) <= 0)
        _exit(1); /* no supervisor, no pool */
    FAULT_POINT("worker_deferred");
    struct message *answer = &worker->refusal;
    *answer = parcel.message;
    if (answer->status > 0) {
        answer->status = modules_wake_here(worker->config, name_handler(name), &worker->states);
        if (answer->status < 0)
            snprintf(answer->text, sizeof(answer->text), "%s", error_message());
        return false;
    }
    return answer->status == 0;
}

/* True for a ticket that this worker is not to go on with. */
COLD static bool put_off(struct worker *worker, const struct view *view, name_t name)
{
    const struct mc_module_self *module = modules_sleeper(worker->config, name_handler(name));
    uint64_t word = slot_load(&view->lane.slots[name_slot(name)].word);
    worker->refusal.status = 0;
    return module != NULL && name_current(name, word) && slot_state(word) == SLOT_SUBMITTED &&
           defer(worker, view, name, module);
}

COLD static int refuse(const struct worker *worker, mc_task *task)
{
    const struct message *refusal = &worker->refusal;
    if (refusal->status < 0)
        return mc_task_fail(task, refusal->status, "%s", refusal->text);
    return modules_absent(task); /* only a later set-up has it */
}

static bool has_function(const struct worker *worker, name_t name)
{
    uint32_t handler = name_handler(name);
    return LIKELY(handler < worker->config->handler_capacity &&
                  worker->config->handlers[handler].run != NULL);
}

/* ---- a task ---- */

/* Runs a task that this call claimed; *now is the time in ticks, before and after.
 * SLOT_RUNNING: it waits. */
static enum slot_state execute(struct worker *worker, struct view *view, struct slot *slot,
                               name_t name, uint64_t *now)
{
    mc_task *task = worker->task;
    const char *wrong = read_request(worker, view, slot, name, task);
    if (UNLIKELY(wrong != NULL)) {
        task->status = -EFAULT;
        views_fault(&worker->views, worker->current_lane, view->generation, wrong);
        return SLOT_FAILED;
    }
    if (UNLIKELY(task->handler->run == NULL)) {
        task->status = refuse(worker, task);
        return SLOT_FAILED;
    }
    bool watched = task->handler->watched || slot->limited != 0;
    uint64_t submitted = slot->submitted_ticks;
    if (!watched) {
        atomic_store_explicit(&worker->row->started_ticks, *now, memory_order_release); /* L1 */
    } else if (!limits_begin(worker, slot, name)) {
        task->status = -ETIME;
        return SLOT_TIMED_OUT;
    }
    PROBE4(claim, task->handler->name, view->lane.number, name, worker->seat);
    bool ended = task_run(task);
    *now = clock_ticks();
    if (watched)
        limits_end(worker);
    if (UNLIKELY(!ended))
        return SLOT_RUNNING;
    run_learn(worker, task, submitted, *now);
    return task->status == 0 ? SLOT_DONE : SLOT_FAILED;
}

void run_end(struct worker *worker, struct view *view, struct slot *slot, enum slot_state state,
             uint64_t now)
{
    const mc_task *task = worker->task;
    uint64_t word;
    write_result(slot, task, clock_ticks_ns(now - task->began_ticks));
    uint32_t spin_us = slot->spin_us;
    FAULT_POINT("worker_before_end");
    bool ended = slot_end(&slot->word, worker->seat + 1, state, &word);
    FAULT_POINT("worker_after_end");
    if (ended)
        notify_ended(&view->lane, slot, slot_flags(word), view->notify);
    FAULT_POINT("worker_after_notify");
    if (task->unit != 0)
        atomic_store_explicit(&worker->row->block_unit, 0, memory_order_release);
    /* Too late to be killed for it, but not to be gone. Where tasks of others wait, they
     * do not go for a mark that the client can make itself. */
    if ((slot_flags(word) & SLOT_KILL) != 0 &&
        (worker->io == NULL || !io_others_wait(worker->io, view)))
        (void)raise(SIGKILL);
    worker->looked_since = now;
    worker->look_ns = 1000 * (uint64_t)(spin_us < LOOK_MOST_US ? spin_us : LOOK_MOST_US);
    if (spin_us != 0 && ended && (slot_flags(word) & SLOT_WAITED))
        worker->look_ns += WAKE_NS; /* before it comes again it has to wake up */
}

/* Runs the ticket's task if it is still to be had; false if not. */
static bool run_slot(struct worker *worker, struct view *view, name_t name, uint64_t *now)
{
    struct slot *slot = &view->lane.slots[name_slot(name)];
    mc_task *task = worker->task;
    uint64_t word;
    if (UNLIKELY(view->faulted == view->generation))
        return false; /* its client loses it as soon as the supervisor comes to that */
    if (!has_function(worker, name)) {
        if (put_off(worker, view, name))
            return false;
        *now = clock_ticks(); /* what it took to set a module up is not the task's time */
    }
    FAULT_POINT("worker_before_claim");
    if (!slot_claim(&slot->word, name, worker->seat + 1, CLAIM_ANY, &word))
        return false;
    FAULT_POINT("worker_claimed");
    task_init(task);
    task->word = &slot->word;
    task->states = &worker->states;
    task->attempt = slot_attempt(word);
    task->began_ticks = worker->called_ticks = *now;
    slot->worker_pid = (uint32_t)worker->pid;
    enum slot_state state = execute(worker, view, slot, name, now);
    if (UNLIKELY(worker->io != NULL)) {
        if (state == SLOT_RUNNING)
            io_keep(worker->io, view, slot, name);
        else
            io_end(worker->io, view, slot, state, *now);
        return state != SLOT_RUNNING;
    }
    run_end(worker, view, slot, state, *now);
    return true;
}

void run_account(struct worker *worker, struct view *view, uint64_t now)
{
    struct seat_row *row = worker->row;
    uint64_t took_ns = clock_ticks_ns(now - worker->since_ticks);
    view->used += took_ns * view->charge;
    atomic_store_explicit(&row->busy_ns,
                          atomic_load_explicit(&row->busy_ns, memory_order_relaxed) + took_ns,
                          memory_order_relaxed);
}

/* The worker is about to be killed for an earlier task: these are innocent, and not begun yet.
 * So are those of others that wait here: where there are any, the supervisor sees them, too, and
 * is about to take this back. D2: after the row names these; see D1. */
static void heed_doom(struct worker *worker)
{
    uint32_t doomed = atomic_load_explicit(&worker->row->doomed, memory_order_seq_cst);
    if (UNLIKELY(doomed != 0) &&
        (worker->io == NULL || !io_others_wait(worker->io, &worker->views.table[doomed - 1])))
        (void)raise(SIGKILL);
}

void run_noted(struct worker *worker, struct view *view, const name_t *names, uint32_t count)
{
    struct seat_row *row = worker->row;
    heed_doom(worker);
    uint64_t now = clock_ticks(), done = 0;
    worker->since_ticks = now;
    worker->current = view;
    worker->current_lane = row->run_lane;
    for (uint32_t i = 0; i < count; i++) {
        if (i + RUN_AHEAD < count)
            sys_prefetch_write(&view->lane.slots[name_slot(names[i + RUN_AHEAD])]);
        if (LIKELY(name_slot(names[i]) < view->lane.geometry->slot_count))
            done += run_slot(worker, view, names[i], &now);
        else
            views_fault(&worker->views, worker->current_lane, view->generation,
                        "a ticket names a slot that is not there");
    }
    atomic_store_explicit(&row->started_ticks, 0, memory_order_relaxed);
    atomic_store_explicit(&row->tasks_done,
                          atomic_load_explicit(&row->tasks_done, memory_order_relaxed) + done,
                          memory_order_relaxed);
    run_account(worker, view, now);
    atomic_store_explicit(&row->run_count, 0, memory_order_release);
}
