/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool/pending.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fault.h"
#include "pool/limits.h"
#include "pool/tidy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OF_DESCRIPTOR ((unsigned)(MC_EVENT_READ | MC_EVENT_WRITE | MC_EVENT_HANGUP))

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

void pending_prepare(struct io *io)
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

uint64_t pending_token(const struct io_task *self)
{
    return (uint64_t)self->serial << 32 | self->place;
}

void pending_unwatch(struct io *io, struct io_task *self, bool fired)
{
    if (self->fd >= 0)
        loop_unwatch(&io->loop, self->fd, self->watched, pending_token(self), fired);
    self->fd = -1;
    self->serial++;
}

void pending_tell(struct io *io, struct io_task *self, unsigned events)
{
    self->events |= events;
    if (self->queued)
        return;
    self->queued = true;
    self->told_in = io->turns;
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
    pending_unwatch(io, self, false);
    self->events &= ~OF_DESCRIPTOR;
    int watched = loop_watch(&io->loop, fd, events, pending_token(self));
    if (watched < 0 && watched != -EPERM)
        return error_system(watched, "descriptor %d cannot be awaited", fd);
    if (watched == -EPERM) {
        pending_tell(io, self, events);
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
    self->events &= ~(unsigned)MC_EVENT_TIMER;
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
        pending_tell(io_of(task), object_of(task), MC_EVENT_WAKE);
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

void pending_schedule(struct io *io, struct io_task *self)
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
    if (task->soft_limit_ms != 0 && task->handler->on_soft_limit != NULL && !task->told)
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

bool io_others_wait(const struct io *io, const struct view *view)
{
    return io->waiting != view->held;
}

/* Nothing but the task's own word tells of an operator's request to end. */
static void go_on_waiting(struct io *io, struct io_task *self)
{
    if (mc_task_cancelled(&self->task))
        pending_tell(io, self, MC_EVENT_END);
    pending_schedule(io, self);
}

/* The next task needs another. */
static void give_object(struct io *io, const struct io_task *self)
{
    if (self == io->next)
        io->next = NULL; /* else it has waited for a group, and there is one */
    pending_prepare(io);
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
    if (!self->in_call) /* else it has waited for a group, and is there */
        hold(io, self);
    self->in_call = false;
    if (view->held > view->lane.geometry->slot_count) /* one slot, run over and over */
        views_fault(&io->worker->views, self->lane, view->generation,
                    "more of its tasks wait than it has slots");
    go_on_waiting(io, self);
    give_object(io, self);
}

/* Moves what the task has replied into the lane. */
static int place(struct io *io, mc_task *task)
{
    void *made = task->data, *room;
    if (made == task->small)
        return 0;
    int result = blocks_alloc(&io->worker->current->blocks, task->size, &task->unit, &room);
    if (result < 0) {
        task->unit = 0;
        return run_no_room(io->worker, result, task->size);
    }
    memcpy(room, made, task->size);
    tidy_note(&io->worker->views, io->worker->current_lane);
    free(made);
    task->data = room;
    return 0;
}

/* Puts the result of the worker's present task where its client finds it; returns how
 * the task ends, which may be another way if there is no room. */
static enum slot_state place_result(struct io *io, enum slot_state state)
{
    mc_task *task = io->worker->task;
    int result = place(io, task);
    if (result == 0)
        return state;
    char text[ERROR_MESSAGE_SIZE];
    snprintf(text, sizeof(text), "%s", error_message());
    task_end(task, result, text);
    if (place(io, task) == 0)
        return SLOT_FAILED;
    void *message = task->data; /* not even room for that: its beginning */
    task->data = memcpy(task->small, message, sizeof(task->small));
    task->size = sizeof(task->small);
    free(message);
    return SLOT_FAILED;
}

/* One that is still queued becomes spare when it is taken out. */
void pending_put_back(struct io *io, struct io_task *self)
{
    if (self->queued || self->waits || self == io->next)
        return;
    self->next = io->spare;
    io->spare = self;
    if (io->next == NULL)
        pending_prepare(io);
}

void io_end(struct io *io, struct view *view, struct slot *slot, enum slot_state state,
            uint64_t now)
{
    struct io_task *self = object_of(io->worker->task);
    pending_unwatch(io, self, false); /* what it has asked for and does not wait for */
    run_end(io->worker, view, slot, place_result(io, state), now);
    if (self == io->next) {
        reset(self);
        return;
    }
    let_go(io, self); /* it has waited for a group of its own */
    self->in_call = false;
    pending_put_back(io, self);
    if (io->next != NULL)
        io->worker->task = &io->next->task;
}

/* ---- calling back ---- */

/* The row names the task; its limit counts from when the call began. */
static void enter(struct io *io, struct io_task *self, uint64_t called_ticks, uint32_t soft_ms)
{
    struct worker *worker = io->worker;
    const mc_task *task = &self->task;
    work_note(worker, self->lane, self->view->generation, &self->name, 1);
    worker->task = &self->task;
    worker->current = self->view;
    worker->current_lane = self->lane;
    worker->called_ticks = called_ticks;
    self->in_call = true;
    if (task->handler->watched || task->time_limit_ms != 0 || task->soft_limit_ms != 0)
        limits_note(worker, self->name, soft_ms, task->time_limit_ms);
    else
        atomic_store_explicit(&worker->row->started_ticks, called_ticks,
                              memory_order_release); /* L1 */
}

static void leave(struct io *io)
{
    struct worker *worker = io->worker;
    limits_end(worker);
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
    pending_unwatch(io, self, false); /* what it has asked for and did not wait for */
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

void pending_call_back(struct io *io, struct io_task *self, unsigned events)
{
    mc_resume_fn *resume = self->resume;
    pending_unwatch(io, self, false);
    self->timer_ns = UINT64_MAX;
    pending_schedule(io, self); /* the call may wait for a group for longer than that */
    self->asked = false;
    self->events = 0;
    io->worker->since_ticks = clock_ticks();
    enter(io, self, io->worker->since_ticks, 0);
    bool ended = task_resume(&self->task, events, resume, self->context);
    if (ended || (events & MC_EVENT_END) != 0)
        finish(io, self, events, ended);
    else
        go_on_waiting(io, self);
    leave(io);
    run_account(io->worker, self->view, clock_ticks());
    self->in_call = false;
    pending_put_back(io, self);
}

/* The row names it, like a call. It may be in one, which waits for a group. */
void pending_warn(struct io *io, struct io_task *self)
{
    bool in_call = self->in_call;
    self->task.told = true;
    enter(io, self, clock_ticks(), 0);
    self->task.handler->on_soft_limit(&self->task);
    leave(io);
    self->in_call = in_call;
}

/* ---- waiting for a group ---- */

/* In the book, it cannot be overlooked while the row names others; and nobody calls it back.
 * There it stays until it ends: who looks at the row, then at the book, would miss one that
 * goes on in between. */
struct io_task *pending_suspend(struct io *io)
{
    struct worker *worker = io->worker;
    struct io_task *self = object_of(worker->task);
    struct seat_row *row = worker->row;
    self->called_ticks = worker->called_ticks;
    self->soft_ms = atomic_load_explicit(&row->soft_limit_ms, memory_order_relaxed);
    if (!self->in_call) { /* the first time, in its first call */
        name_t name = row->run_names[0];
        identify(io, self, worker->current, &worker->current->lane.slots[name_slot(name)], name);
        self->in_call = true;
        hold(io, self);
    }
    run_account(worker, self->view, clock_ticks());
    leave(io); /* before the worker's present task is another: a signal looks at its limits */
    give_object(io, self);
    self->below = io->driving;
    io->driving = self;
    io->depth++;
    return self;
}

void pending_go_on(struct io *io, struct io_task *self)
{
    io->depth--;
    io->driving = self->below;
    io->worker->since_ticks = clock_ticks();
    enter(io, self, self->called_ticks, self->task.told ? 0 : self->soft_ms);
}
