/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool/work.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/sys.h"
#include "ipc/channel.h"
#include "ipc/slot.h"
#include "ipc/wake.h"
#include "pool/refork.h"
#include "pool/tidy.h"

#include <stdio.h>
#include <unistd.h>

enum {
    SLOW_NS = 20000,  /* of slower handlers a worker takes one task at a time */
    QUICK_NS = 5000,  /* quicker ones are over before anybody else is awake */
    WORTH_NS = 30000, /* work left that is worth waking another worker for */
    GLANCES = 32,     /* looks at one ring before a look at everything */
    RUN_NS = 50000,   /* of faster ones, no more than this much work */
    MEMORY_MS = 100,  /* from one look at our memory to the next */
    URGENT_MOST = 16, /* runs of a client's urgent tasks in a row while it has others */
    FAIR_STEP = 100000 * CHARGE_OF_DEFAULT, /* clients may be so far apart, in their turns */
};

/* ---- taking work ---- */

/* The usual run time of the task behind a ticket; 0: unknown. */
static uint32_t estimate_of(const struct worker *worker, name_t name)
{
    uint32_t handler = name_handler(name);
    return handler < worker->config->handler_count ? worker->estimate_ns[handler] : 0;
}

/* How many of the tickets at the head to take: of quick tasks so many that the
 * other workers find work too, of slow ones one. */
static uint32_t run_length(const struct worker *worker, uint64_t queued, uint32_t estimate)
{
    if (estimate == 0 || estimate > SLOW_NS || worker->io != NULL)
        return 1;
    uint64_t share = queued / worker->config->workers / 2;
    uint64_t affordable = RUN_NS / estimate;
    uint64_t length = share < affordable ? share : affordable;
    return length < 1 ? 1 : length < RUN_MAX ? (uint32_t)length : RUN_MAX;
}

static void mark(struct worker *worker, enum seat_state state)
{
    atomic_store_explicit(&worker->bells->seats[worker->seat].state, state, memory_order_relaxed);
}

void work_note(struct worker *worker, uint32_t lane, uint32_t generation, const name_t *names,
               uint32_t count)
{
    struct seat_row *row = worker->row;
    FAULT_POINT("worker_noting");
    row->run_lane = lane;
    row->run_lane_generation = generation;
    for (uint32_t i = 0; i < count; i++)
        row->run_names[i] = names[i];
    atomic_store_explicit(&row->run_count, count, memory_order_release);
}

static void give_up_run(struct worker *worker)
{
    atomic_store_explicit(&worker->row->run_count, 0, memory_order_release);
    mark(worker, SEAT_LOOKING);
}

/* After a run of this lane was taken: is somebody to be woken for what is left? A run that is
 * over in microseconds does not count as leaving LOOKING: this worker sees what
 * comes meanwhile sooner than anyone who would have to wake up for it. */
static void wake_for_rest(struct worker *worker, struct view *view, bool quick, uint64_t left_ns)
{
    if (!wake_anyone_sleeping(worker->bells))
        return;
    view->held++; /* its client may go just now, but the run needs what is mapped */
    if (quick ? left_ns > WORTH_NS : work_any(worker))
        wake_another(worker->bells, worker->control, worker->seat);
    view->held--;
}

/* Takes and runs some tasks of one ring; false if there was nothing. */
static bool serve_ring(struct worker *worker, uint32_t index, struct view *view, int which)
{
    struct ring *ring = lane_ring(&view->lane, worker->seats, which);
    name_t names[RUN_MAX];
    uint64_t head;
    uint32_t seen = ring_peek(ring, 2, names, &head);
    if (seen == 0)
        return false;
    sys_prefetch_write(&view->lane.slots[name_slot(names[0])]);
    uint32_t estimate = estimate_of(worker, names[0]);
    bool quick = estimate != 0 && estimate <= QUICK_NS;
    uint64_t queued = seen == 1 ? 1 : ring_queued(ring);
    uint32_t count = seen == 1 ? 1 : run_length(worker, queued, estimate);
    if (count > seen)
        count = ring_peek(ring, count, names, &head);
    if (count == 0)
        return true; /* somebody was quicker: look again */
    work_note(worker, index, view->generation, names, count);
    if (!quick)
        mark(worker, SEAT_BUSY); /* W2: before the CAS that follows */
    FAULT_POINT("worker_noted");
    if (!ring_take(ring, head, count)) {
        give_up_run(worker);
        return true;
    }
    FAULT_POINT("worker_taken");
    wake_for_rest(worker, view, quick, (queued - count) * estimate);
    worker->current_ring = which;
    for (uint32_t i = 1; i < count && i < RUN_AHEAD; i++)
        sys_prefetch_write(&view->lane.slots[name_slot(names[i])]);
    run_noted(worker, view, names, count);
    if (!quick)
        mark(worker, SEAT_LOOKING);
    return true;
}

/* There is room for the tickets of all seats, should they die once more, as long as not many
 * are left that come again: so until then nobody takes others. */
static bool repairs_pile_up(const struct worker *worker)
{
    const struct control *control = worker->control;
    uint64_t head =
        atomic_load_explicit(&control->shared.repair_head[worker->seats], memory_order_relaxed);
    return atomic_load_explicit(&control->repair_tail[worker->seats], memory_order_relaxed) - head >
           REPAIR_CAPACITY / 4;
}

/* Tickets that come again, since a dead worker had them or their module was not loaded, go
 * before others; but one client can have many, so not twice in a row, unless they pile up. */
static bool serve_repairs(struct worker *worker)
{
    struct control *control = worker->control;
    uint64_t head =
        atomic_load_explicit(&control->shared.repair_head[worker->seats], memory_order_relaxed);
    if (LIKELY(head ==
               atomic_load_explicit(&control->repair_tail[worker->seats], memory_order_acquire)))
        return false;
    const struct repair *entry = &control->repairs[worker->seats][head % REPAIR_CAPACITY];
    if (atomic_load_explicit(&entry->position, memory_order_acquire) != head + 1)
        return true; /* taken by another meanwhile */
    uint32_t index = entry->lane, generation = entry->lane_generation;
    name_t name = entry->name;
    struct view *view = index < MAX_LANES ? views_get(&worker->views, index) : NULL;
    if (view != NULL && view->generation != generation)
        view = NULL; /* the client is gone, and its task with it */
    work_note(worker, index, generation, &name, view != NULL ? 1 : 0);
    mark(worker, SEAT_BUSY);
    if (!atomic_compare_exchange_strong_explicit(&control->shared.repair_head[worker->seats], &head,
                                                 head + 1, memory_order_seq_cst,
                                                 memory_order_relaxed)) {
        give_up_run(worker);
        return true;
    }
    FAULT_POINT("worker_took_repair");
    if (view != NULL) {
        wake_for_rest(worker, view, false, 0);
        run_noted(worker, view, &name, 1);
    }
    mark(worker, SEAT_LOOKING);
    return true;
}

static void hear_alarm(struct worker *worker)
{
    struct control *control = worker->control;
    worker->alarm_heard = atomic_load_explicit(&control->alarm, memory_order_acquire); /* A2 */
    for (uint32_t word = 0; word < MASK_WORDS; word++)
        worker->due[word] |=
            atomic_load_explicit(&control->lanes_due[worker->seats][word], memory_order_relaxed);
}

static void forget_due(struct worker *worker, uint32_t index)
{
    worker->due[index / 64] &= ~(UINT64_C(1) << (index % 64));
}

/* Calls visit for the lanes whose bit is set, beginning with `first`, until it
 * returns true. Of a lane that is held for a client who has gone, his successor is due
 * until he can be looked at. */
static bool visit_lanes(struct worker *worker, uint32_t first,
                        bool (*visit)(struct worker *worker, uint32_t index, struct view *view))
{
    for (uint32_t step = 0; step <= MASK_WORDS; step++) {
        uint32_t word = (first / 64 + step) % MASK_WORDS;
        uint64_t bits =
            atomic_load_explicit(&worker->bells->lanes_active[word], memory_order_acquire) |
            worker->due[word];
        if (step == 0)
            bits &= ~UINT64_C(0) << (first % 64);
        else if (step == MASK_WORDS)
            bits &= (UINT64_C(1) << (first % 64)) - 1;
        for (; bits != 0; bits &= bits - 1) {
            uint32_t index = word * 64 + (uint32_t)__builtin_ctzll(bits);
            struct view *view = views_get(&worker->views, index);
            if (view == NULL && worker->views.table[index].held == 0)
                forget_due(worker, index);
            else if (view != NULL && visit(worker, index, view))
                return true;
        }
    }
    return false;
}

/* Clients take turns, and each has its share of our time: who has used more than
 * `fair` is passed over. When all who have work have, `fair` rises to the least of
 * them, and a bit: then all go on who are near it. Who had no work for a while has not
 * saved any time up. */
static bool has_turn(struct worker *worker, struct view *view)
{
    if (view->used > worker->fair) {
        if (view->used < worker->fair_next && lane_has_work(&view->lane, worker->seats))
            worker->fair_next = view->used;
        return false;
    }
    if (view->used + FAIR_STEP < worker->fair)
        view->used = worker->fair - FAIR_STEP;
    return true;
}

static bool serve_lane(struct worker *worker, uint32_t index, struct view *view, int which)
{
    if (!serve_ring(worker, index, view, which))
        return false;
    view->urgent_runs = which == LANE_URGENT ? view->urgent_runs + 1 : 0;
    worker->next_lane = (index + 1) % MAX_LANES;
    return true;
}

/* Urgent tasks go before others, of the same client and of those who have their turn,
 * too; but now and then a client's others come, or they might never. */
static bool visit_urgent(struct worker *worker, uint32_t index, struct view *view)
{
    return has_turn(worker, view) && view->urgent_runs < URGENT_MOST &&
           serve_lane(worker, index, view, LANE_URGENT);
}

static bool visit_any(struct worker *worker, uint32_t index, struct view *view)
{
    if (!has_turn(worker, view))
        return false;
    if (serve_lane(worker, index, view, LANE_NORMAL))
        return true;
    view->urgent_runs = 0;
    return serve_lane(worker, index, view, LANE_URGENT);
}

static bool serve_lanes(struct worker *worker)
{
    worker->fair_next = UINT64_MAX;
    return visit_lanes(worker, worker->next_lane, visit_urgent) ||
           visit_lanes(worker, worker->next_lane, visit_any);
}

/* Only differences count. */
static void lower_accounts(struct worker *worker)
{
    uint64_t base = worker->fair - FAIR_STEP;
    for (uint32_t i = 0; i < MAX_LANES; i++) {
        struct view *view = &worker->views.table[i];
        if (view->generation != 0)
            view->used = view->used > base ? view->used - base : 0;
    }
    worker->fair -= base;
}

bool work_once(struct worker *worker)
{
    if (UNLIKELY(work_alarmed(worker)))
        hear_alarm(worker);
    bool repaired = worker->repaired && !repairs_pile_up(worker);
    worker->repaired = !repaired && serve_repairs(worker);
    if (worker->repaired || serve_lanes(worker))
        return true;
    if (worker->fair_next != UINT64_MAX) {
        worker->fair = worker->fair_next + FAIR_STEP;
        if (UNLIKELY(worker->fair > UINT64_MAX / 2))
            lower_accounts(worker);
        if (serve_lanes(worker))
            return true;
    }
    return repaired && serve_repairs(worker);
}

bool work_of_lane(struct worker *worker, uint32_t index)
{
    struct view *view = views_get(&worker->views, index);
    return view != NULL && (serve_ring(worker, index, view, LANE_URGENT) ||
                            serve_ring(worker, index, view, LANE_NORMAL));
}

static bool visit_has_work(struct worker *worker, uint32_t index, struct view *view)
{
    return lane_has_work(&view->lane, worker->seats);
}

bool work_any(struct worker *worker)
{
    struct control *control = worker->control;
    if (UNLIKELY(work_alarmed(worker)))
        hear_alarm(worker);
    return atomic_load_explicit(&control->shared.repair_head[worker->seats],
                                memory_order_relaxed) !=
               atomic_load_explicit(&control->repair_tail[worker->seats], memory_order_acquire) ||
           visit_lanes(worker, 0, visit_has_work);
}

/* ---- resting ---- */

static bool visit_clear_if_empty(struct worker *worker, uint32_t index, struct view *view)
{
    if (lane_has_work(&view->lane, worker->seats))
        return true;
    forget_due(worker, index);
    if (!views_clear(&worker->views, index, view->generation)) /* W4 */
        return true;
    if (!lane_has_work(&view->lane, worker->seats))
        return false;
    wake_mark_lane(worker->bells, index);
    return true;
}

bool work_is_over(const struct worker *worker)
{
    return atomic_load_explicit(&worker->control->closing, memory_order_acquire) == 2;
}

bool work_may_leave(const struct worker *worker)
{
    return atomic_load_explicit(&worker->row->leave, memory_order_relaxed) != 0;
}

bool work_fall_asleep(struct worker *worker, bool leaving)
{
    if (visit_lanes(worker, 0, visit_clear_if_empty))
        return false;
    wake_sleep_announce(worker->bells, worker->seat); /* W3 */
    if (!work_any(worker) && !work_is_over(worker) && work_may_leave(worker) == leaving)
        return true;
    wake_sleep_cancel(worker->bells, worker->seat);
    return false;
}

static void sleep_until_woken(struct worker *worker)
{
    clock_calibrate_again();
    if (!work_fall_asleep(worker, false))
        return;
    if (tidy_needed(&worker->views))
        tidy_sleep(worker);
    else
        wake_sleep(worker->bells, worker->seat, work_bells_shared(worker));
}

/* Looking is worth it only while the client can run elsewhere. */
static bool may_look(const struct worker *worker)
{
    if (worker->config->topology.usable < 2 || worker->current == NULL ||
        worker->current->generation == 0)
        return false;
    int client_cpu =
        atomic_load_explicit(&worker->current->lane.header->client_cpu, memory_order_relaxed);
    return worker->cpu < 0 || client_cpu != worker->cpu;
}

/* Looks for a moment at the lane that the last task came from, and nothing else: a
 * client in a hurry is answered within a cache miss or two. True if there was a task. */
static bool glance(struct worker *worker)
{
    struct view *view = worker->current;
    int which = worker->current_ring;
    for (uint32_t looks = 0; looks < GLANCES; looks++) {
        if (ring_has_work(lane_ring(&view->lane, worker->seats, which)))
            return serve_ring(worker, worker->current_lane, view, which);
        sys_pause();
    }
    return false;
}

/* There is nothing to do; true if that changed meanwhile, and something was done. */
static bool rest(struct worker *worker)
{
    if (may_look(worker) && clock_ticks_ns(clock_ticks() - worker->looked_since) < worker->look_ns)
        return glance(worker);
    sleep_until_woken(worker);
    return false;
}

/* ---- making room for a successor ---- */

/* Resident memory that is nobody else's: lanes do not count. */
static uint64_t private_memory(void)
{
    unsigned long long total, resident = 0, shared = 0;
    FILE *statm = fopen("/proc/self/statm", "re");
    if (statm == NULL)
        return 0;
    if (fscanf(statm, "%llu %llu %llu", &total, &resident, &shared) != 3)
        resident = shared = 0;
    fclose(statm);
    return (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE);
}

bool work_too_large(const struct worker *worker)
{
    uint64_t most = worker->config->max_worker_memory;
    return most != 0 && private_memory() > most;
}

static bool has_grown(struct worker *worker)
{
    uint64_t now = clock_coarse_ms();
    if (worker->config->max_worker_memory == 0 || now < worker->retirement.memory_due_ms)
        return false;
    worker->retirement.memory_due_ms = now + MEMORY_MS;
    return work_too_large(worker);
}

/* Once one of the limits is reached the supervisor is asked for a successor; until
 * that is ready, work goes on. */
void work_consider_retirement(struct worker *worker)
{
    struct retirement *retirement = &worker->retirement;
    uint64_t tasks = atomic_load_explicit(&worker->row->tasks_done, memory_order_relaxed);
    if (retirement->asked)
        return;
    const char *reason = NULL;
    if (retirement->tasks != 0 && tasks >= retirement->tasks)
        reason = "its number of tasks";
    else if (retirement->age_ns != 0 && clock_ns() - retirement->began_ns >= retirement->age_ns)
        reason = "its age";
    else if (has_grown(worker))
        reason = "its memory";
    if (reason == NULL)
        return;
    struct parcel parcel = {.message = {.type = MESSAGE_RETIRE, .status = retirement->cramped}};
    snprintf(parcel.message.text, sizeof(parcel.message.text), "%s", reason);
    retirement->asked = channel_send(worker->socket, &parcel, 0) == 0;
}

void work_pass_on(struct worker *worker)
{
    mark(worker, SEAT_BUSY);
    atomic_thread_fence(memory_order_seq_cst);
    if (work_any(worker))
        wake_another(worker->bells, worker->control, worker->seat);
}

void work_be_back(struct worker *worker)
{
    mark(worker, SEAT_LOOKING);
}

bool work_is_busy(const struct worker *worker)
{
    return atomic_load_explicit(&worker->bells->seats[worker->seat].state, memory_order_relaxed) ==
           SEAT_BUSY;
}

static void offer_refork(struct worker *worker)
{
    work_pass_on(worker);
    refork_offer(worker);
    work_be_back(worker);
}

void work(struct worker *worker)
{
    mark(worker, SEAT_LOOKING);
    while (!work_may_leave(worker)) {
        bool worked = work_once(worker);
        if (!worked && work_is_over(worker))
            return;
        if (!worked)
            worked = rest(worker);
        if (UNLIKELY(worked && worker->retirement.possible))
            work_consider_retirement(worker);
        if (UNLIKELY(worked && refork_due(worker)))
            offer_refork(worker);
    }
    work_pass_on(worker);
}
