/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The order in which a worker writes is what makes its death harmless:
 *
 *   1. the tickets it is about to take, into its row   (run_slots, run_count)
 *   2. the head of the ring, by CAS                    (ring_take)
 *   3. slot by slot: RUNNING                           (slot_claim)
 *   4. the result, then DONE or FAILED                 (slot_end)
 *   5. whoever waits is woken                          (notify_ended)
 *   6. the row is cleared
 *
 * Whatever instruction it dies at, the row names every slot that is affected.
 */
#include "pool/worker.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fault.h"
#include "base/sys.h"
#include "ipc/blocks.h"
#include "ipc/channel.h"
#include "ipc/lane.h"
#include "ipc/notify.h"
#include "ipc/slot.h"
#include "ipc/wake.h"
#include "pool/estimate.h"
#include "pool/pool.h"
#include "pool/process.h"
#include "pool/task.h"
#include "pool/views.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

enum {
    SLOW_NS = 20000,    /* of slower handlers a worker takes one task at a time */
    QUICK_NS = 5000,    /* quicker ones are over before anybody else is awake */
    WORTH_NS = 30000,   /* work left that is worth waking another worker for */
    AHEAD = 8,          /* slots whose cache lines are fetched before their turn */
    GLANCES = 32,       /* looks at one ring before a look at everything */
    WAKE_NS = 60000,    /* what waking a process on another core may take */
    LOOK_MOST_US = 100, /* a client may wish for less */
    RUN_NS = 50000,     /* of faster ones, no more than this much work */
};

struct worker {
    const struct config *config;
    struct control *control;
    struct bells *bells;
    struct seat_row *row;
    uint32_t seat;
    int socket;
    pid_t pid;
    int cpu; /* -1: not pinned */
    void *state;
    uint32_t next_lane; /* where the next round begins */
    struct views views;
    uint32_t *estimate_ns; /* per handler: what it may take */
    mc_pool *pool;         /* for nested groups, made on first use */
    mc_task task;
    struct view *current; /* of the running task, or the last one */
    struct ring *current_ring;
    uint32_t current_lane;
    uint64_t looked_since; /* ticks: when the last task ended */
    uint64_t look_ns;      /* how long to look for more, as its client wished */
};

/* ---- one task ---- */

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
            task->unit = 0;
            *data = task->small;
        }
        result = blocks_alloc(blocks, size, &unit, &room);
        if (result == 0 && keep > 0)
            memcpy(room, task->small, keep);
    }
    if (result < 0)
        return error_set(result,
                         "no room for a result of %zu bytes in this worker's arena of %llu: "
                         "release results, or raise arena_size",
                         size, (unsigned long long)worker->current->lane.geometry->arena_size);
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

static mc_pool *worker_pool(mc_task *task)
{
    struct worker *worker = task->owner;
    if (worker->pool == NULL)
        worker->pool = pool_of_worker(worker->config, worker->control, worker->bells,
                                      worker->socket, &worker->state);
    return worker->pool;
}

static const struct task_home worker_home = {worker_resize, worker_drop, worker_pool};

/* Copies the request out of the slot, and believes none of it. */
static bool read_request(struct worker *worker, const struct view *view, const struct slot *slot,
                         mc_task *task)
{
    uint32_t handler = slot->handler;
    uint32_t size = slot->args_size;
    uint32_t unit = slot->args_unit;
    task->start = slot->start;
    task->end = slot->end;
    task->args_format = (enum mc_format)slot->args_format;
    task->args_size = size;
    task->args = unit == 0 ? slot->args : view->lane.memory + (uint64_t)unit * UNIT;
    if (handler >= worker->config->handler_count || task->args_format > MC_MSGPACK)
        return false;
    task->handler = &worker->config->handlers[handler];
    return unit == 0 ? size <= SLOT_ARGS_SIZE : lane_inside(view->lane.geometry, 0, unit, 0, size);
}

static void write_result(struct slot *slot, const mc_task *task, uint64_t run_ns)
{
    slot->status = task->status;
    slot->result_format = (uint8_t)task->format;
    slot->result_size = task->size;
    slot->result_unit = task->unit;
    if (task->unit == 0 && task->size > 0)
        memcpy(slot->result, task->small, sizeof(slot->result));
    slot->run_ns = run_ns;
}

static void learn(struct worker *worker, const struct handler *handler, uint64_t run_ns)
{
    estimate_most(&worker->estimate_ns[handler - worker->config->handlers], run_ns);
}

/* Runs the slot's task if it is still to be had. *now is the time in ticks, before
 * and after. */
static void run_slot(struct worker *worker, struct view *view, name_t name, uint64_t *now)
{
    struct slot *slot = &view->lane.slots[name_slot(name)];
    mc_task *task = &worker->task;
    uint64_t word;
    FAULT_POINT("worker_before_claim");
    if (!slot_claim(&slot->word, name, worker->seat + 1, &word))
        return;
    atomic_store_explicit(&worker->row->started_ticks, *now, memory_order_relaxed);
    FAULT_POINT("worker_claimed");
    task_init(task);
    task->word = &slot->word;
    task->state = worker->state;
    slot->worker_pid = (uint32_t)worker->pid;
    enum slot_state state = SLOT_FAILED;
    uint64_t began = *now;
    if (LIKELY(read_request(worker, view, slot, task))) {
        task_run(task);
        *now = clock_ticks();
        learn(worker, task->handler, clock_ticks_ns(*now - began));
        if (LIKELY(task->status == 0))
            state = SLOT_DONE;
    } else {
        task->status = -EFAULT;
        atomic_store_explicit(&view->lane.header->fault, 1, memory_order_relaxed);
    }
    write_result(slot, task, clock_ticks_ns(*now - began));
    uint32_t spin_us = slot->spin_us;
    FAULT_POINT("worker_before_end");
    bool ended = slot_end(&slot->word, worker->seat + 1, state, &word);
    FAULT_POINT("worker_after_end");
    if (ended)
        notify_ended(view->lane.header, &slot->word, slot_flags(word), view->notify);
    FAULT_POINT("worker_after_notify");
    if (task->unit != 0)
        atomic_store_explicit(&worker->row->block_unit, 0, memory_order_release);
    worker->looked_since = *now;
    worker->look_ns = 1000 * (uint64_t)(spin_us < LOOK_MOST_US ? spin_us : LOOK_MOST_US);
    if (spin_us != 0 && ended && (slot_flags(word) & SLOT_WAITED))
        worker->look_ns += WAKE_NS; /* before it comes again it has to wake up */
}

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
    if (estimate == 0 || estimate > SLOW_NS)
        return 1;
    uint64_t share = queued / worker->config->workers / 2;
    uint64_t affordable = RUN_NS / estimate;
    uint64_t length = share < affordable ? share : affordable;
    return length < 1 ? 1 : length < RUN_MAX ? (uint32_t)length : RUN_MAX;
}

static bool any_work(struct worker *worker);

static void mark(struct worker *worker, enum seat_state state)
{
    atomic_store_explicit(&worker->bells->seats[worker->seat].state, state, memory_order_relaxed);
}

/* Writes down what is about to be taken. */
static void note_run(struct worker *worker, uint32_t lane, uint32_t generation, const name_t *names,
                     uint32_t count)
{
    struct seat_row *row = worker->row;
    row->run_lane = lane;
    row->run_lane_generation = generation;
    for (uint32_t i = 0; i < count; i++)
        row->run_names[i] = names[i];
    atomic_store_explicit(&row->run_count, count, memory_order_release);
}

static void run_noted(struct worker *worker, struct view *view, const name_t *names, uint32_t count)
{
    struct seat_row *row = worker->row;
    uint64_t began = clock_ticks(), now = began;
    worker->current = view;
    worker->current_lane = row->run_lane;
    for (uint32_t i = 0; i < count; i++) {
        if (i + AHEAD < count)
            sys_prefetch_write(&view->lane.slots[name_slot(names[i + AHEAD])]);
        if (LIKELY(name_slot(names[i]) < view->lane.geometry->slot_count))
            run_slot(worker, view, names[i], &now);
    }
    atomic_store_explicit(&row->started_ticks, 0, memory_order_relaxed);
    atomic_store_explicit(&row->tasks_done,
                          atomic_load_explicit(&row->tasks_done, memory_order_relaxed) + count,
                          memory_order_relaxed);
    atomic_store_explicit(&row->busy_ns,
                          atomic_load_explicit(&row->busy_ns, memory_order_relaxed) +
                              clock_ticks_ns(now - began),
                          memory_order_relaxed);
    atomic_store_explicit(&row->run_count, 0, memory_order_release);
}

static void give_up_run(struct worker *worker)
{
    atomic_store_explicit(&worker->row->run_count, 0, memory_order_release);
    mark(worker, SEAT_LOOKING);
}

/* After a run was taken: is somebody to be woken for what is left? A run that is
 * over in microseconds does not count as leaving LOOKING: this worker sees what
 * comes meanwhile sooner than anyone who would have to wake up for it. */
static void wake_for_rest(struct worker *worker, bool quick, uint64_t left_ns)
{
    if (!wake_anyone_sleeping(worker->bells))
        return;
    if (quick ? left_ns > WORTH_NS : any_work(worker))
        wake_another(worker->bells, worker->control, worker->seat);
}

/* Takes and runs some tasks of one ring; false if there was nothing. */
static bool serve_ring(struct worker *worker, uint32_t index, struct view *view, struct ring *ring)
{
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
    note_run(worker, index, view->generation, names, count);
    if (!quick)
        mark(worker, SEAT_BUSY); /* W2: before the CAS that follows */
    FAULT_POINT("worker_noted");
    if (!ring_take(ring, head, count)) {
        give_up_run(worker);
        return true;
    }
    FAULT_POINT("worker_taken");
    wake_for_rest(worker, quick, (queued - count) * estimate);
    worker->current_ring = ring;
    for (uint32_t i = 1; i < count && i < AHEAD; i++)
        sys_prefetch_write(&view->lane.slots[name_slot(names[i])]);
    run_noted(worker, view, names, count);
    if (!quick)
        mark(worker, SEAT_LOOKING);
    return true;
}

/* Tickets that dead workers had taken go first. */
static bool serve_repairs(struct worker *worker)
{
    struct control *control = worker->control;
    uint64_t head = atomic_load_explicit(&control->shared.repair_head, memory_order_relaxed);
    if (LIKELY(head == atomic_load_explicit(&control->repair_tail, memory_order_acquire)))
        return false;
    const struct repair *entry = &control->repairs[head % REPAIR_CAPACITY];
    if (atomic_load_explicit(&entry->position, memory_order_acquire) != head + 1)
        return true; /* taken by another meanwhile */
    uint32_t index = entry->lane, generation = entry->lane_generation;
    name_t name = entry->name;
    struct view *view = index < MAX_LANES ? views_get(&worker->views, index) : NULL;
    if (view != NULL && view->generation != generation)
        view = NULL; /* the client is gone, and its task with it */
    note_run(worker, index, generation, &name, view != NULL ? 1 : 0);
    mark(worker, SEAT_BUSY);
    if (!atomic_compare_exchange_strong_explicit(&control->shared.repair_head, &head, head + 1,
                                                 memory_order_seq_cst, memory_order_relaxed)) {
        give_up_run(worker);
        return true;
    }
    FAULT_POINT("worker_took_repair");
    wake_for_rest(worker, false, 0);
    if (view != NULL)
        run_noted(worker, view, &name, 1);
    mark(worker, SEAT_LOOKING);
    return true;
}

/* Calls visit for the lanes whose bit is set, beginning with `first`, until it
 * returns true. */
static bool visit_lanes(struct worker *worker, uint32_t first,
                        bool (*visit)(struct worker *worker, uint32_t index, struct view *view))
{
    for (uint32_t step = 0; step <= MASK_WORDS; step++) {
        uint32_t word = (first / 64 + step) % MASK_WORDS;
        uint64_t bits =
            atomic_load_explicit(&worker->bells->lanes_active[word], memory_order_acquire);
        if (step == 0)
            bits &= ~UINT64_C(0) << (first % 64);
        else if (step == MASK_WORDS)
            bits &= (UINT64_C(1) << (first % 64)) - 1;
        for (; bits != 0; bits &= bits - 1) {
            uint32_t index = word * 64 + (uint32_t)__builtin_ctzll(bits);
            struct view *view = views_get(&worker->views, index);
            if (view != NULL && visit(worker, index, view))
                return true;
        }
    }
    return false;
}

static bool visit_urgent(struct worker *worker, uint32_t index, struct view *view)
{
    return serve_ring(worker, index, view, &view->lane.rings[LANE_URGENT]);
}

static bool visit_normal(struct worker *worker, uint32_t index, struct view *view)
{
    if (!serve_ring(worker, index, view, &view->lane.rings[LANE_NORMAL]))
        return false;
    worker->next_lane = (index + 1) % MAX_LANES;
    return true;
}

static bool visit_has_work(struct worker *worker, uint32_t index, struct view *view)
{
    return lane_has_work(&view->lane);
}

static bool serve(struct worker *worker)
{
    return serve_repairs(worker) || visit_lanes(worker, worker->next_lane, visit_urgent) ||
           visit_lanes(worker, worker->next_lane, visit_normal);
}

static bool any_work(struct worker *worker)
{
    struct control *control = worker->control;
    return atomic_load_explicit(&control->shared.repair_head, memory_order_relaxed) !=
               atomic_load_explicit(&control->repair_tail, memory_order_acquire) ||
           visit_lanes(worker, 0, visit_has_work);
}

/* ---- resting ---- */

static bool visit_clear_if_empty(struct worker *worker, uint32_t index, struct view *view)
{
    if (lane_has_work(&view->lane))
        return true;
    wake_clear_lane(worker->bells, index); /* W4 */
    if (!lane_has_work(&view->lane))
        return false;
    wake_mark_lane(worker->bells, index);
    return true;
}

static uint32_t closing(const struct worker *worker)
{
    return atomic_load_explicit(&worker->control->closing, memory_order_acquire);
}

static void sleep_until_woken(struct worker *worker)
{
    if (visit_lanes(worker, 0, visit_clear_if_empty))
        return;
    wake_sleep_announce(worker->bells, worker->seat); /* W3 */
    if (any_work(worker) || closing(worker) == 2)
        wake_sleep_cancel(worker->bells, worker->seat);
    else
        wake_sleep(worker->bells, worker->seat);
}

/* Looking is worth it only while the client can run elsewhere. */
static bool may_look(const struct worker *worker)
{
    if (worker->config->topology.usable < 2 || worker->current_ring == NULL ||
        worker->current->generation == 0)
        return false;
    int client_cpu =
        atomic_load_explicit(&worker->current->lane.header->client_cpu, memory_order_relaxed);
    return worker->cpu < 0 || client_cpu != worker->cpu;
}

/* Looks for a moment at the ring that the last task came from, and nothing else:
 * a client in a hurry is answered within a cache miss or two. */
static void glance(struct worker *worker)
{
    struct ring *ring = worker->current_ring;
    for (uint32_t looks = 0; looks < GLANCES; looks++) {
        if (ring_has_work(ring)) {
            (void)serve_ring(worker, worker->current_lane, worker->current, ring);
            return;
        }
        sys_pause();
    }
}

static void work(struct worker *worker)
{
    mark(worker, SEAT_LOOKING);
    for (;;) {
        if (serve(worker))
            continue;
        if (closing(worker) == 2)
            return;
        if (may_look(worker) &&
            clock_ticks_ns(clock_ticks() - worker->looked_since) < worker->look_ns)
            glance(worker);
        else
            sleep_until_woken(worker);
    }
}

/* ---- beginning and end ---- */

static void expect(struct worker *worker, uint32_t type, struct parcel *parcel)
{
    if (channel_receive(worker->socket, parcel, 0) <= 0 || parcel->message.type != type)
        _exit(1);
}

static void tell(struct worker *worker, uint32_t type, int status, const char *text)
{
    struct parcel parcel = {.message = {.type = type, .status = status}};
    snprintf(parcel.message.text, sizeof(parcel.message.text), "%s", text);
    if (channel_send(worker->socket, &parcel, 0) < 0)
        _exit(1);
}

static void pin(struct worker *worker, int cpu)
{
    worker->cpu = cpu;
    if (cpu < 0)
        return;
    cpu_set_t *set = CPU_ALLOC((size_t)cpu + 1);
    if (set == NULL)
        return;
    CPU_ZERO_S(CPU_ALLOC_SIZE((size_t)cpu + 1), set);
    CPU_SET_S((size_t)cpu, CPU_ALLOC_SIZE((size_t)cpu + 1), set);
    if (sched_setaffinity(0, CPU_ALLOC_SIZE((size_t)cpu + 1), set) == 0)
        atomic_store(&worker->row->cpu_plus_one, (uint32_t)cpu + 1);
    else
        worker->cpu = -1; /* the mask shrank meanwhile: better unpinned than none */
    CPU_FREE(set);
}

/* The same numbers in each worker would be a trap for handlers that draw some. */
static void reseed(void)
{
    unsigned seed = 0;
    (void)getrandom(&seed, sizeof(seed), GRND_NONBLOCK);
    srand(seed);
    srandom(seed);
    srand48((long)seed);
}

static void protect(struct worker *worker)
{
    struct control *control = worker->control;
    size_t before = offsetof(struct control, shared);
    (void)mprotect(control, before, PROT_READ);
    for (uint32_t i = 0; i < worker->config->workers; i++)
        if (i != worker->seat)
            (void)mprotect(&control->rows[i], sizeof(struct seat_row), PROT_READ);
}

static void initialise(struct worker *worker)
{
    const struct config *config = worker->config;
    int status = 0;
    error_clear();
    if (config->worker_init != NULL)
        status = config->worker_init(config->hook_context, &worker->state);
    if (status < 0) {
        char text[200];
        snprintf(text, sizeof(text), "worker_init returned %d (%s)", status, strerror(-status));
        tell(worker, MESSAGE_INIT_FAILED, status, error_code() == status ? error_message() : text);
        _exit(1);
    }
}

void worker_run(const struct config *config, struct control *control, struct bells *bells,
                uint32_t seat, int socket, pid_t supervisor)
{
    char name[16];
    snprintf(name, sizeof(name), "mc-worker/%u", seat % 1000);
    process_begin(name, &socket, true);
    process_follow(supervisor);
    __fpurge(stdout); /* what the host had not written yet is the host's to write */
    __fpurge(stderr);
    static struct worker worker; /* zeroed pages, which cost nothing until used */
    worker.config = config;
    worker.control = control;
    worker.bells = bells;
    worker.row = &control->rows[seat];
    worker.seat = seat;
    worker.socket = socket;
    views_init(&worker.views, config, control, bells, seat, socket);
    struct parcel parcel;
    tell(&worker, MESSAGE_HELLO, 0, "");
    FAULT_POINT("worker_hello");
    expect(&worker, MESSAGE_GO, &parcel);
    worker.estimate_ns = calloc(config->handler_count, sizeof(*worker.estimate_ns));
    if (worker.estimate_ns == NULL)
        _exit(1);
    worker.task.config = config;
    worker.task.home = &worker_home;
    worker.task.owner = &worker;
    worker.pid = getpid();
    pin(&worker, parcel.message.value);
    protect(&worker);
    reseed();
    initialise(&worker);
    process_follow(supervisor); /* again: a change of user in worker_init clears it */
    clock_calibrate_end();
    tell(&worker, MESSAGE_READY, 0, "");
    FAULT_POINT("worker_ready");
    work(&worker);
    if (config->worker_exit != NULL)
        config->worker_exit(worker.state);
    fflush(NULL);
    _exit(0);
}
