/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool/limits.h"

#include "base/clock.h"
#include "base/fault.h"
#include "ipc/channel.h"

#include <errno.h>
#include <execinfo.h>
#include <signal.h>
#include <unistd.h>

enum { TRACE_SKIP = 3 }; /* leave_trace(), the handler, and where it returns to */

/* For the signal handler: who we are, ... */
static struct worker *self;
/* ... and the same, or NULL while no watched task runs. */
static struct worker *volatile watched;

/* ---- when the supervisor asks ---- */

__attribute__((noinline)) static void leave_trace(struct trace *trace)
{
    void *frames[TRACE_MOST + TRACE_SKIP];
    int count = backtrace(frames, TRACE_MOST + TRACE_SKIP) - TRACE_SKIP;
    for (int i = 0; i < count; i++)
        atomic_store_explicit(&trace->addresses[i], (uint64_t)(uintptr_t)frames[i + TRACE_SKIP],
                              memory_order_relaxed);
    atomic_store_explicit(&trace->count, count > 0 ? (uint32_t)count : 0, memory_order_release);
}

static void answer_where(struct seat_row *row)
{
    uint32_t wanted = atomic_load_explicit(&row->trace_wanted, memory_order_acquire); /* T1 */
    if (wanted == atomic_load_explicit(&row->trace_answered, memory_order_relaxed))
        return;
    atomic_thread_fence(memory_order_release); /* T2 */
    leave_trace(&row->place);
    atomic_store_explicit(&row->trace_answered, wanted, memory_order_release); /* T3 */
}

/* The signal may be late, and meet another task than the one it was sent for: so
 * only the clock of the present one counts. */
static void look_at_limits(struct worker *worker)
{
    mc_task *task = worker->task;
    uint64_t ran_ms = clock_ticks_ns(clock_ticks() - worker->called_ticks) / 1000000;
    uint32_t slow_ms = worker->config->slow_task_ms;
    if (slow_ms != 0 && ran_ms >= slow_ms &&
        atomic_load_explicit(&worker->row->slow.count, memory_order_relaxed) == 0)
        leave_trace(&worker->row->slow);
    _Atomic uint32_t *soft_limit_ms = &worker->row->soft_limit_ms;
    if (atomic_load_explicit(soft_limit_ms, memory_order_relaxed) != 0 && mc_task_overdue(task)) {
        atomic_store_explicit(soft_limit_ms, 0, memory_order_relaxed); /* told: ask no more */
        task->told = true;
        task->handler->on_soft_limit(task);
    }
}

static void asked(int signal)
{
    int saved = errno;
    answer_where(self->row);
    if (watched != NULL)
        look_at_limits(watched);
    errno = saved;
}

void limits_load(const struct config *config)
{
    void *frame;
    /* It loads a library when it is first called: not from a signal handler, and once
     * for all workers. */
    if (config->slow_task_ms != 0 || config->serve != NULL)
        (void)backtrace(&frame, 1);
}

void limits_prepare(struct worker *worker)
{
    struct sigaction action = {.sa_handler = asked, .sa_flags = SA_RESTART};
    self = worker;
    (void)sigaction(SIGURG, &action, NULL);
    answer_where(worker->row); /* who asked before was not heard */
}

/* ---- around a task ---- */

/* Nothing else has the limit watched: without that the task had better not begin. */
static void wake_supervisor(struct worker *worker)
{
    struct parcel parcel = {.message = {.type = MESSAGE_WATCH}};
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&worker->control->watching, memory_order_relaxed) == 0 &&
        channel_send(worker->socket, &parcel, 0) < 0 &&
        channel_send(worker->socket, &parcel, 0) < 0) /* want of memory may be over */
        _exit(1);
}

bool limits_begin(struct worker *worker, const struct slot *slot, name_t name)
{
    mc_task *task = worker->task;
    uint32_t soft_ms = task->handler->soft_limit_ms, hard_ms = task->handler->time_limit_ms;
    if (slot->limited != 0) {
        uint64_t start_by_ns = slot->start_by_ns;
        bool served = worker->config->serve != NULL;
        if (start_by_ns != 0 && task->attempt == 0 && clock_ns() > start_by_ns)
            return false;
        soft_ms = handler_limit_ms(LOAD_ONCE(slot->soft_limit_ms), soft_ms, served);
        hard_ms = handler_limit_ms(LOAD_ONCE(slot->time_limit_ms), hard_ms, served);
    }
    task->soft_limit_ms = soft_ms;
    task->time_limit_ms = hard_ms;
    limits_note(worker, name, task->handler->on_soft_limit != NULL ? soft_ms : 0, hard_ms);
    return true;
}

void limits_note(struct worker *worker, name_t name, uint32_t soft_ms, uint32_t hard_ms)
{
    struct seat_row *row = worker->row;
    /* The last task of the same run has left its start there. */
    atomic_store_explicit(&row->started_ticks, 0, memory_order_relaxed);
    atomic_thread_fence(memory_order_release); /* L2 */
    atomic_store_explicit(&row->watched, name, memory_order_relaxed);
    atomic_store_explicit(&row->attempt, worker->task->attempt, memory_order_relaxed);
    atomic_store_explicit(&row->soft_limit_ms, soft_ms, memory_order_relaxed);
    atomic_store_explicit(&row->time_limit_ms, hard_ms, memory_order_relaxed);
    atomic_store_explicit(&row->slow.count, 0, memory_order_relaxed);
    FAULT_POINT("limits_noted");
    atomic_store_explicit(&row->started_ticks, worker->called_ticks, memory_order_release); /* L1 */
    watched = worker;
    if (hard_ms != 0 || soft_ms != 0 || worker->config->slow_task_ms != 0)
        wake_supervisor(worker);
}

void limits_end(struct worker *worker)
{
    struct seat_row *row = worker->row;
    watched = NULL;
    atomic_store_explicit(&row->started_ticks, 0, memory_order_relaxed);
    atomic_thread_fence(memory_order_release); /* L2 */
    atomic_store_explicit(&row->watched, 0, memory_order_relaxed);
    atomic_store_explicit(&row->soft_limit_ms, 0, memory_order_relaxed);
    atomic_store_explicit(&row->time_limit_ms, 0, memory_order_relaxed);
}
