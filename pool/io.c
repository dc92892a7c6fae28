/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool/io.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fault.h"
#include "ipc/wake.h"
#include "pool/pending.h"
#include "pool/pool.h"
#include "pool/tidy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    TAKE_MOST = 32,        /* new tasks before others are called back */
    EVENT_MOST = 64,       /* and the other way round */
    OTHERS_DEPTH = 8,      /* handlers that wait for groups, one within another, while others' */
    DEPTH_MOST = 64,       /* tasks are taken; and while any are */
    UNHEARD_NS = 50000000, /* the longest sleep that is not announced */
    QUIET_MS = 1000,       /* for so long who is to leave takes nothing, ... */
    TAKING_MS = 10000,     /* ... and for so long again, where a task waits for longer */
};
#define BELL UINT64_MAX /* the token of the bell's descriptor */

/* ---- a turn of the loop ---- */

static void hear_event(struct io *io, const struct loop_event *event)
{
    if (event->token == BELL) {
        bell_clear(&io->bell);
        loop_unwatch(&io->loop, io->bell.fd, io->bell.fd, BELL, true);
        if (loop_watch(&io->loop, io->bell.fd, MC_EVENT_READ, BELL) < 0)
            _exit(1); /* nobody could wake us; a successor may have more luck */
        return;
    }
    struct io_task *self = io->table[(uint32_t)event->token];
    if (pending_token(self) != event->token || self->fd < 0)
        return;
    pending_unwatch(io, self, true);
    pending_tell(io, self, event->events);
}

static bool in_set(const uint64_t *lanes, uint32_t lane)
{
    return (lanes[lane / 64] >> (lane % 64) & 1) != 0;
}

/* Ends the tasks of lanes that are gone, and those that were cancelled in lanes that say so.
 * All in one pass: any client can have it made at each turn. */
static void end_some(struct io *io, const uint64_t *gone, const uint64_t *cancelling)
{
    for (uint32_t i = 0; i < io->made; i++) {
        struct io_task *self = io->table[i];
        if (self->waits && (in_set(gone, self->lane) ||
                            (in_set(cancelling, self->lane) && mc_task_cancelled(&self->task))))
            pending_tell(io, self, MC_EVENT_END);
    }
}

static void look_for_cancels(struct io *io)
{
    uint64_t gone[MASK_WORDS] = {0}, cancelling[MASK_WORDS] = {0};
    bool any = false;
    for (uint32_t word = 0; word < MASK_WORDS; word++)
        for (uint64_t bits = io->lanes_held[word]; bits != 0; bits &= bits - 1) {
            uint32_t lane = word * 64 + (uint32_t)__builtin_ctzll(bits);
            uint64_t bit = bits & -bits;
            const struct view *view = &io->worker->views.table[lane];
            uint32_t cancels =
                atomic_load_explicit(&view->lane.header->cancels, memory_order_acquire);
            if (!views_current(&io->worker->views, lane))
                gone[word] |= bit;
            else if (cancels != io->cancels[lane])
                cancelling[word] |= bit;
            any |= (gone[word] | cancelling[word]) != 0;
            io->cancels[lane] = cancels;
        }
    if (any)
        end_some(io, gone, cancelling);
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
            pending_tell(io, self, MC_EVENT_END);
        } else if (now >= self->soft_ns) {
            self->soft_ns = UINT64_MAX;
            pending_warn(io, self);
            pending_schedule(io, self);
        } else if (now >= self->timer_ns) {
            pending_tell(io, self, MC_EVENT_TIMER);
        } else {
            pending_schedule(io, self); /* it awaits a later one by now */
        }
    }
}

/* Before calls that may be long: no other seat is to count on this one. False if none does. */
static bool step_back(struct io *io)
{
    struct worker *worker = io->worker;
    if (worker->config->io_workers < 2 || work_is_busy(worker))
        return false;
    work_pass_on(worker);
    return true;
}

/* Those that were told something by now; what they tell each other is for the next turn.
 * One that waits for a group may depend on those after it, which the turns within it
 * call back: so they all stay in the list until it is theirs. */
static void call_back_all(struct io *io)
{
    uint64_t turn = io->turns++;
    bool stepped_back = io->first != NULL && step_back(io);
    while (io->first != NULL && io->first->told_in <= turn) {
        struct io_task *self = io->first;
        io->first = self->next;
        self->queued = false;
        if (self->in_call)
            pending_tell(io, self, 0); /* when it is back */
        else if (self->waits && self->events != 0)
            pending_call_back(io, self, self->events);
        else
            pending_put_back(io, self);
    }
    if (stepped_back)
        work_be_back(io->worker);
}

static void hear(struct io *io, const struct loop_event *events, int count)
{
    for (int i = 0; i < count; i++)
        hear_event(io, &events[i]);
    look_for_cancels(io);
    hear_due(io);
    call_back_all(io);
}

static void turn(struct io *io, uint64_t timeout_ns)
{
    struct loop_event events[EVENT_MOST];
    int count = loop_wait(&io->loop, io->first != NULL ? 0 : timeout_ns, events, EVENT_MOST);
    hear(io, events, count);
}

/* ---- the worker ---- */

/* Each task that waits may hold some, and the loop may need one more for it. */
static void raise_limit_of_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

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
    pending_prepare(io);
    raise_limit_of_descriptors();
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

/* Tasks that this worker's own tasks have submitted. */
static void take_inner(struct io *io)
{
    struct worker *worker = io->worker;
    int taken = 0;
    while (taken < TAKE_MOST && io->next != NULL && worker->pool != NULL &&
           work_of_lane(worker, worker->pool->client.index))
        taken++;
}

/* Nothing is to be taken. */
static void rest(struct io *io, bool leaving)
{
    struct worker *worker = io->worker;
    struct loop_event events[EVENT_MOST];
    if (io->first != NULL || !work_fall_asleep(worker, leaving)) {
        turn(io, 0);
        return;
    }
    bell_arm(&io->bell);
    FAULT_POINT("io_asleep");
    look_for_cancels(io); /* of who did not see us sleep */
    bool untidy = tidy_needed(&worker->views);
    uint64_t timeout_ns = until_due(io), idle_ns = TIDY_IDLE_MS * UINT64_C(1000000);
    if (untidy)
        tidy_before_sleep(worker);
    if (untidy && timeout_ns > idle_ns)
        timeout_ns = idle_ns;
    int count = loop_wait(&io->loop, io->first != NULL ? 0 : timeout_ns, events, EVENT_MOST);
    bool idle = count == 0 && io->first == NULL && timeout_ns == idle_ns;
    if (untidy && idle && !wake_was_woken(worker->bells, worker->seat))
        tidy_when_idle(worker);
    wake_sleep_cancel(worker->bells, worker->seat);
    hear(io, events, count);
}

/* What waits goes on, and others take what comes, if there are some. Nobody wakes who does
 * not say that he sleeps. */
static void only_wait(struct io *io)
{
    uint64_t timeout_ns = until_due(io);
    turn(io, timeout_ns < UNHEARD_NS ? timeout_ns : UNHEARD_NS);
}

/* True while a worker that is to leave takes nothing, and its tasks have time to end. If one
 * does not, all others would wait for it: so that is not for long, and then not again for a
 * while. */
static bool holds_back(struct io *io, bool leaving)
{
    uint64_t now_ms = leaving ? clock_coarse_ms() : 0;
    if (io->leave_ms == 0 || !leaving)
        io->leave_ms = now_ms;
    return leaving && (now_ms - io->leave_ms) % (QUIET_MS + TAKING_MS) < QUIET_MS;
}

void io_work(struct worker *worker)
{
    struct io *io = worker->io;
    while (!work_is_over(worker)) {
        bool leaving = work_may_leave(worker);
        if (leaving && io->waiting == 0)
            break;
        if (holds_back(io, leaving) || io->next == NULL) {
            take_inner(io); /* what its tasks wait for */
            work_pass_on(worker);
            only_wait(io);
            continue;
        }
        if (!take(io)) {
            rest(io, leaving);
            continue;
        }
        turn(io, 0);
        if (worker->retirement.possible)
            work_consider_retirement(worker);
    }
    work_pass_on(worker);
}

/* ---- within a handler that waits for a group ---- */

/* Takes one of the tasks that the handler waits for, whatever is ahead of it in the ring. */
static void take_own(struct io *io, name_t name)
{
    struct worker *worker = io->worker;
    uint32_t lane = worker->pool->client.index;
    struct view *view = views_get(&worker->views, lane);
    if (io->next == NULL || view == NULL)
        return;
    work_note(worker, lane, view->generation, &name, 1);
    atomic_thread_fence(memory_order_seq_cst); /* as taking from a ring would be: D2 */
    run_noted(worker, view, &name, 1);
}

bool io_awaits_itself(const struct io *io, name_t name)
{
    uint32_t lane = io->worker->pool->client.index;
    for (const struct io_task *task = io->driving; task != NULL; task = task->below)
        if (task->name == name && task->lane == lane)
            return true;
    return false;
}

int io_drive(struct io *io, const name_t *own, bool any)
{
    if (io->depth == DEPTH_MOST)
        return error_set(-EDEADLK,
                         "handlers wait for groups within one another %d deep in this worker: let "
                         "them await mc_pool_fd(), or raise io_workers",
                         DEPTH_MOST);
    int code = error_code(); /* of this call: what others say is theirs */
    char said[ERROR_MESSAGE_SIZE];
    if (code != 0)
        snprintf(said, sizeof(said), "%s", error_message());
    struct io_task *self = pending_suspend(io);
    if (own != NULL)
        take_own(io, *own);
    else if (any || io->depth <= OTHERS_DEPTH)
        (void)take(io);
    turn(io, 0);
    (void)step_back(io); /* what was taken has had us look again */
    pending_go_on(io, self);
    if (code != 0)
        (void)error_set(code, "%s", said);
    else
        error_clear();
    return 0;
}
