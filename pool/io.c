/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool/io.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fault.h"
#include "ipc/wake.h"
#include "pool/bell.h"
#include "pool/due.h"
#include "pool/limits.h"
#include "pool/loop.h"
#include "pool/tidy.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    TAKE_MOST = 32,  /* new tasks before others are called back */
    EVENT_MOST = 64, /* and the other way round */
    DRIVE_MOST = 8,  /* handlers that wait for groups, within one another */
};
#define BELL UINT64_MAX /* the token of the bell's descriptor */

struct io_task {
    mc_task task; /* its first member: what handlers know */
    struct due_entry due;
    struct io_task *next; /* of those that are spare, or have something to hear */
    struct view *view;
    struct slot *slot;
    name_t name;
    uint32_t lane;
    uint32_t place;  /* in the table and in the book, for good */
    uint32_t serial; /* of its waits: an older one's event is late */
    int fd, watched; /* -1: none; and what the loop made of it */
    bool asked;      /* to be called back, since its last call */
    bool waits;      /* it has returned MC_PENDING, and not ended */
    bool in_call;    /* it runs, or waits for a group of its own */
    bool queued;     /* it is among those that have something to hear, ... */
    unsigned events; /* ... namely this */
    mc_resume_fn *resume;
    void *context;
    uint64_t timer_ns, soft_ns, limit_ns; /* by clock_ns(); UINT64_MAX: never */
    uint64_t submitted;                   /* ticks; 0: not known */
};

struct io {
    struct worker *worker;
    struct pending_book *book;
    struct loop loop;
    struct bell bell;
    struct io_task *table[PENDING_MOST];
    uint32_t made; /* entries in it */
    struct io_task *spare, *first, *last;
    struct io_task *next; /* the object for the next task; NULL: there is none to be had */
    struct due due;
    struct due_entry *heap[PENDING_MOST + 1];
    uint64_t lanes_held[MASK_WORDS]; /* with tasks that wait */
    uint32_t cancels[MAX_LANES];     /* of their headers, when they were looked at last */
    uint32_t waiting;
    unsigned depth; /* of io_drive() */
};

static const struct task_home io_home;

/* ---- objects ---- */

static struct io_task *make_object(struct io *io)
{
    struct io_task *made = io->made < PENDING_MOST ? calloc(1, sizeof(*made)) : NULL;
    if (made == NULL)
        return NULL;
    made->task.config = io->worker->config;
    made->task.home = &io_home;
    made->task.owner = io->worker;
    made->place = io->made;
    made->fd = -1;
    io->table[io->made++] = made;
    return made;
}

static void reset(struct io_task *self)
{
    self->soft_ns = self->limit_ns = self->timer_ns = UINT64_MAX;
    self->events = 0;
    self->asked = false;
}

/* Has an object ready for the next task, if there can be one. */
static void prepare_next(struct io *io)
{
    if (io->next == NULL && io->spare != NULL) {
        io->next = io->spare;
        io->spare = io->next->next;
    }
    if (io->next == NULL)
        io->next = make_object(io);
    if (io->next == NULL)
        return;
    reset(io->next);
    io->worker->task = &io->next->task;
}

static struct io_task *object_of(mc_task *task)
{
    return (struct io_task *)(void *)task; /* its first member */
}

static struct io *io_of(const mc_task *task)
{
    const struct worker *worker = task->owner;
    return worker->io;
}

/* ---- what a task awaits ---- */

static uint64_t token_of(const struct io_task *self)
{
    return (uint64_t)self->serial << 32 | self->place;
}

static void unwatch(struct io *io, struct io_task *self, bool fired)
{
    if (self->fd >= 0)
        loop_unwatch(&io->loop, self->fd, self->watched, token_of(self), fired);
    self->fd = -1;
    self->serial++;
}

/* Has it called back at the next turn. */
static void tell(struct io *io, struct io_task *self, unsigned events)
{
    self->events |= events;
    if (self->queued)
        return;
    self->queued = true;
    self->next = NULL;
    if (io->first == NULL)
        io->first = self;
    else
        io->last->next = self;
    io->last = self;
}

static void await(struct io_task *self, mc_resume_fn *resume, void *context)
{
    self->asked = true;
    self->resume = resume;
    self->context = context;
}

static int await_fd(mc_task *task, int fd, unsigned events, mc_resume_fn *resume, void *context)
{
    struct io_task *self = object_of(task);
    struct io *io = io_of(task);
    unwatch(io, self, false);
    int watched = loop_watch(&io->loop, fd, events, token_of(self));
    if (watched < 0 && watched != -EPERM)
        return error_system(watched, "a descriptor cannot be awaited");
    if (watched == -EPERM) {
        tell(io, self, events);
    } else {
        self->fd = fd;
        self->watched = watched;
    }
    await(self, resume, context);
    return 0;
}

static int await_timer(mc_task *task, unsigned timeout_ms, mc_resume_fn *resume, void *context)
{
    struct io_task *self = object_of(task);
    self->timer_ns = clock_ns() + (uint64_t)timeout_ms * 1000000;
    await(self, resume, context);
    return 0;
}

static int await_wake(mc_task *task, mc_resume_fn *resume, void *context)
{
    await(object_of(task), resume, context);
    return 0;
}

static void wake(mc_task *task)
{
    if (object_of(task)->waits)
        tell(io_of(task), object_of(task), MC_EVENT_WAKE);
}

static bool awaits(const mc_task *task)
{
    return ((const struct io_task *)(const void *)task)->asked;
}

static const struct task_waits io_waits = {await_fd, await_timer, await_wake, wake, awaits};

static mc_pool *pool_of(mc_task *task)
{
    return run_pool(task->owner);
}

static const struct task_home io_home = {task_heap_resize, task_heap_drop, pool_of, &io_waits};

/* ---- beginning and ending to wait ---- */

static void schedule(struct io *io, struct io_task *self)
{
    uint64_t at = self->timer_ns;
    at = self->soft_ns < at ? self->soft_ns : at;
    at = self->limit_ns < at ? self->limit_ns : at;
    if (at == UINT64_MAX)
        due_clear(&io->due, &self->due);
    else
        due_set(&io->due, &self->due, at);
}

/* Limits count from the start of the task. */
static void set_limits(struct io_task *self)
{
    const mc_task *task = &self->task;
    uint64_t began_ns = clock_ns() - clock_ticks_ns(clock_ticks() - task->began_ticks);
    if (task->soft_limit_ms != 0 && task->handler->on_soft_limit != NULL)
        self->soft_ns = began_ns + (uint64_t)task->soft_limit_ms * 1000000;
    if (task->time_limit_ms != 0)
        self->limit_ns = began_ns + (uint64_t)task->time_limit_ms * 1000000;
}

/* Into the book: from here on its worker's death is known to concern it. */
static void hold(struct io *io, struct io_task *self)
{
    struct pending_book *book = io->book;
    struct pending_entry *entry = &book->entries[self->place];
    _Atomic uint32_t *of_lane = &book->of_lane[self->lane];
    uint32_t held = self->view->held++;
    if (held == 0) {
        io->lanes_held[self->lane / 64] |= UINT64_C(1) << (self->lane % 64);
        io->cancels[self->lane] =
            atomic_load_explicit(&self->view->lane.header->cancels, memory_order_acquire);
    }
    FAULT_POINT("io_hold");
    entry->lane = self->lane;
    entry->name = self->name;
    atomic_store_explicit(&entry->generation, self->view->generation, memory_order_release);
    if (atomic_load_explicit(&book->used, memory_order_relaxed) <= self->place)
        atomic_store_explicit(&book->used, self->place + 1, memory_order_release);
    atomic_store_explicit(of_lane, held + 1, memory_order_release);
    atomic_store_explicit(&book->waiting, ++io->waiting, memory_order_relaxed);
}

static void let_go(struct io *io, struct io_task *self)
{
    struct pending_book *book = io->book;
    uint32_t held = --self->view->held;
    if (held == 0)
        io->lanes_held[self->lane / 64] &= ~(UINT64_C(1) << (self->lane % 64));
    atomic_store_explicit(&book->entries[self->place].generation, 0, memory_order_release);
    atomic_store_explicit(&book->of_lane[self->lane], held, memory_order_release);
    atomic_store_explicit(&book->waiting, --io->waiting, memory_order_relaxed);
}

static void identify(struct io *io, struct io_task *self, struct view *view, struct slot *slot,
                     name_t name)
{
    self->view = view;
    self->slot = slot;
    self->name = name;
    self->lane = io->worker->current_lane;
}

void io_keep(struct io *io, struct view *view, struct slot *slot, name_t name)
{
    struct io_task *self = object_of(io->worker->task);
    identify(io, self, view, slot, name);
    self->waits = true;
    self->submitted = self->task.attempt == 0 ? slot->submitted_ticks : 0;
    set_limits(self);
    hold(io, self);
    if (mc_task_cancelled(&self->task))
        tell(io, self, MC_EVENT_END);
    schedule(io, self);
    io->next = NULL;
    prepare_next(io);
}

/* Puts the result of the worker's present task where its client finds it; returns how
 * the task ends, which may be another way if there is no room. */
static enum slot_state place_result(struct io *io, enum slot_state state)
{
    mc_task *task = io->worker->task;
    struct blocks *blocks = &io->worker->current->blocks;
    void *made = task->data, *room;
    if (made == task->small)
        return state;
    int result = blocks_alloc(blocks, task->size, &task->unit, &room);
    if (result < 0) {
        task->unit = 0;
        task_end(task, result,
                 "no room for the result in this worker's arena: release results, "
                 "or raise arena_size");
        return SLOT_FAILED;
    }
    memcpy(room, made, task->size);
    tidy_note(&io->worker->views, io->worker->current_lane);
    free(made);
    task->data = room;
    return state;
}

/* One that is queued is not spare yet: it becomes so when it is taken out. */
static void put_back(struct io *io, struct io_task *self)
{
    if (self->queued || self->waits || self == io->next)
        return;
    self->next = io->spare;
    io->spare = self;
    if (io->next == NULL)
        prepare_next(io);
}

void io_end(struct io *io, struct view *view, struct slot *slot, enum slot_state state,
            uint64_t now)
{
    struct io_task *self = object_of(io->worker->task);
    unwatch(io, self, false); /* what it has asked for and does not wait for */
    run_end(io->worker, view, slot, place_result(io, state), now);
    if (self == io->next) {
        reset(self);
        return;
    }
    put_back(io, self); /* it has waited for a group of its own */
    if (io->next != NULL)
        io->worker->task = &io->next->task;
}

/* ---- calling back ---- */

static void enter(struct io *io, struct io_task *self)
{
    struct worker *worker = io->worker;
    const mc_task *task = &self->task;
    work_note(worker, self->lane, self->view->generation, &self->name, 1);
    worker->task = &self->task;
    worker->current = self->view;
    worker->current_lane = self->lane;
    worker->called_ticks = clock_ticks();
    self->in_call = true;
    if (task->handler->watched || task->time_limit_ms != 0 || task->soft_limit_ms != 0)
        limits_note(worker, self->name, 0, task->time_limit_ms);
    else
        atomic_store_explicit(&worker->row->started_ticks, worker->called_ticks,
                              memory_order_release); /* L1 */
}

static void leave(struct io *io, struct io_task *self)
{
    struct worker *worker = io->worker;
    limits_end(worker);
    run_account(worker, self->view, clock_ticks_ns(clock_ticks() - worker->called_ticks));
    self->in_call = false;
    atomic_store_explicit(&worker->row->run_count, 0, memory_order_release);
    if (io->next != NULL)
        worker->task = &io->next->task;
}

/* How a task ends that has just returned, or will not be called any more. */
static enum slot_state outcome(struct io_task *self, unsigned events, bool ended)
{
    mc_task *task = &self->task;
    if ((events & MC_EVENT_END) != 0 && clock_ns() >= self->limit_ns) {
        task_end(task, -ETIMEDOUT, "");
        self->slot->death = 0; /* its worker lives */
        return SLOT_TIMED_OUT;
    }
    if (!ended)
        task_end(task, -ECANCELED, "cancelled while it waited");
    return task->status == 0 ? SLOT_DONE : SLOT_FAILED;
}

static void finish(struct io *io, struct io_task *self, unsigned events, bool ended)
{
    struct worker *worker = io->worker;
    struct seat_row *row = worker->row;
    enum slot_state state = outcome(self, events, ended);
    uint64_t now = clock_ticks();
    unwatch(io, self, false); /* what it has asked for and did not wait for */
    state = place_result(io, state);
    run_learn(worker, &self->task, self->submitted, now);
    run_end(worker, self->view, self->slot, state, now);
    atomic_store_explicit(&row->tasks_done,
                          atomic_load_explicit(&row->tasks_done, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    self->waits = false;
    due_clear(&io->due, &self->due);
    let_go(io, self);
}

static void call_back(struct io *io, struct io_task *self, unsigned events)
{
    mc_resume_fn *resume = self->resume;
    unwatch(io, self, false);
    self->timer_ns = UINT64_MAX;
    self->asked = false;
    self->events = 0;
    enter(io, self);
    bool ended = task_resume(&self->task, events, resume, self->context);
    if (ended || (events & MC_EVENT_END) != 0)
        finish(io, self, events, ended);
    else
        schedule(io, self);
    leave(io, self);
    put_back(io, self);
}

/* ---- a turn of the loop ---- */

static void hear_event(struct io *io, const struct loop_event *event)
{
    if (event->token == BELL) {
        bell_clear(&io->bell);
        if (loop_watch(&io->loop, io->bell.fd, MC_EVENT_READ, BELL) < 0)
            _exit(1); /* nobody could wake us; a successor may have more luck */
        return;
    }
    struct io_task *self = io->table[(uint32_t)event->token];
    if (token_of(self) != event->token || self->fd < 0)
        return;
    unwatch(io, self, true);
    tell(io, self, event->events);
}

/* Of tasks that wait in a lane, those to which this applies are ended. */
static void end_some(struct io *io, uint32_t lane, bool all)
{
    for (uint32_t i = 0; i < io->made; i++) {
        struct io_task *self = io->table[i];
        if (self->waits && self->lane == lane && (all || mc_task_cancelled(&self->task)))
            tell(io, self, MC_EVENT_END);
    }
}

static void look_for_cancels(struct io *io)
{
    for (uint32_t word = 0; word < MASK_WORDS; word++)
        for (uint64_t bits = io->lanes_held[word]; bits != 0; bits &= bits - 1) {
            uint32_t lane = word * 64 + (uint32_t)__builtin_ctzll(bits);
            const struct view *view = &io->worker->views.table[lane];
            uint32_t cancels =
                atomic_load_explicit(&view->lane.header->cancels, memory_order_acquire);
            if (!views_current(&io->worker->views, lane))
                end_some(io, lane, true);
            else if (cancels != io->cancels[lane])
                end_some(io, lane, false);
            io->cancels[lane] = cancels;
        }
}

static void hear_due(struct io *io)
{
    uint64_t now = due_next(&io->due) == UINT64_MAX ? 0 : clock_ns();
    while (due_next(&io->due) <= now) {
        struct due_entry *entry = io->due.heap[1];
        struct io_task *self =
            (struct io_task *)(void *)((char *)entry - offsetof(struct io_task, due));
        due_clear(&io->due, entry); /* until it is called back */
        if (now >= self->limit_ns) {
            tell(io, self, MC_EVENT_END);
        } else if (now >= self->soft_ns) {
            self->soft_ns = UINT64_MAX;
            self->task.handler->on_soft_limit(&self->task);
            schedule(io, self);
        } else {
            tell(io, self, MC_EVENT_TIMER);
        }
    }
}

/* Those that were told something by now; what they tell each other is for the next turn. */
static void call_back_all(struct io *io)
{
    struct io_task *first = io->first;
    io->first = io->last = NULL;
    while (first != NULL) {
        struct io_task *self = first;
        first = self->next;
        self->queued = false;
        if (self->in_call)
            tell(io, self, 0); /* when it is back */
        else if (self->waits && self->events != 0)
            call_back(io, self, self->events);
        else
            put_back(io, self);
    }
}

/* False if nothing happened. */
static bool turn(struct io *io, uint64_t timeout_ns)
{
    struct loop_event events[EVENT_MOST];
    int count = loop_wait(&io->loop, io->first != NULL ? 0 : timeout_ns, events, EVENT_MOST);
    for (int i = 0; i < count; i++)
        hear_event(io, &events[i]);
    look_for_cancels(io);
    hear_due(io);
    bool happened = io->first != NULL;
    call_back_all(io);
    return happened;
}

/* ---- the worker ---- */

int io_open(struct worker *worker)
{
    struct io *io = calloc(1, sizeof(*io)); /* for the process's life */
    if (io == NULL)
        return error_set(-ENOMEM, "no memory for an I/O worker");
    io->worker = worker;
    io->book = control_book(worker->control, worker->seat);
    io->due.heap = io->heap;
    int result = loop_open(&io->loop, worker->config->io_engine);
    if (result < 0)
        return result;
    result = bell_open(&io->bell, &worker->bells->seats[worker->seat].state, SEAT_SLEEPING);
    if (result == 0)
        result = loop_watch(&io->loop, io->bell.fd, MC_EVENT_READ, BELL);
    if (result < 0)
        return error_system(result, "an I/O worker cannot be woken");
    prepare_next(io);
    worker->io = io;
    return io->next != NULL ? 0 : error_set(-ENOMEM, "no memory for an I/O worker's tasks");
}

static uint64_t until_due(const struct io *io)
{
    uint64_t next = due_next(&io->due);
    if (next == UINT64_MAX)
        return UINT64_MAX;
    uint64_t now = clock_ns();
    return next > now ? next - now : 0;
}

static bool take(struct io *io)
{
    int taken = 0;
    while (taken < TAKE_MOST && io->next != NULL && work_once(io->worker))
        taken++;
    return taken != 0;
}

/* Nothing is to be taken. */
static void rest(struct io *io)
{
    struct worker *worker = io->worker;
    if (io->first != NULL || !work_fall_asleep(worker)) {
        (void)turn(io, 0);
        return;
    }
    bell_arm(&io->bell);
    FAULT_POINT("io_asleep");
    bool untidy = tidy_needed(&worker->views);
    uint64_t timeout_ns = until_due(io), idle_ns = TIDY_IDLE_MS * UINT64_C(1000000);
    if (untidy)
        tidy_before_sleep(worker);
    if (untidy && timeout_ns > idle_ns)
        timeout_ns = idle_ns;
    bool idle = !turn(io, timeout_ns) && timeout_ns == idle_ns;
    if (untidy && idle && !wake_was_woken(worker->bells, worker->seat))
        tidy_when_idle(worker);
    wake_sleep_cancel(worker->bells, worker->seat);
}

void io_work(struct worker *worker)
{
    struct io *io = worker->io;
    bool passed_on = false;
    while (!work_is_over(worker)) {
        bool leaving = work_may_leave(worker);
        if (leaving && io->waiting == 0)
            break;
        if (leaving || io->next == NULL) { /* others may take what comes, if there are some */
            if (!passed_on)
                work_pass_on(worker);
            passed_on = true;
            (void)turn(io, until_due(io));
            continue;
        }
        passed_on = false;
        if (!take(io)) {
            rest(io);
            continue;
        }
        (void)turn(io, 0);
        if (worker->retirement.possible)
            work_consider_retirement(worker);
    }
    work_pass_on(worker);
}

/* The present task is in the book meanwhile, and not in the row; and nobody calls it back. */
void io_drive(struct io *io)
{
    struct worker *worker = io->worker;
    struct io_task *self = object_of(worker->task);
    uint64_t called = worker->called_ticks;
    bool fresh = !self->waits;
    if (io->depth == DRIVE_MOST || io->next == NULL)
        return;
    io->depth++;
    if (fresh) {
        name_t name = worker->row->run_names[0];
        identify(io, self, worker->current, &worker->current->lane.slots[name_slot(name)], name);
        self->in_call = true;
        hold(io, self);
        io->next = NULL;
        prepare_next(io);
    }
    leave(io, self);
    self->in_call = true;
    (void)take(io);
    (void)turn(io, 0);
    enter(io, self);
    worker->called_ticks = called;
    if (fresh) {
        let_go(io, self);
        self->in_call = false;
    }
    io->depth--;
}
