/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A worker at work. The order in which it writes is what makes its death harmless:
 *
 *   1. the tickets it is about to take, into its row   (run_names, run_count)
 *   2. the head of the ring, by CAS                    (ring_take)
 *   3. slot by slot: RUNNING                           (slot_claim)
 *   4. the result, then DONE or FAILED                 (slot_end)
 *   5. whoever waits is woken                          (notify_ended)
 *   6. the row is cleared
 *
 * Whatever instruction it dies at, the row names every slot that is affected.
 *
 *   work.c    taking tickets, waking others, looking and sleeping
 *   run.c     claiming and running what was taken
 *   io.c      where tasks may wait: taking, calling back and sleeping
 *   pending.c a task there, from its first wait to its end
 *   refork.c  becoming the next zygote's model
 *   tidy.c    giving memory back while it sleeps
 *   worker.c  a worker's birth and end
 */
#ifndef POOL_WORK_H
#define POOL_WORK_H

#include "ipc/channel.h"
#include "ipc/slot.h"
#include "multicore.h"
#include "pool/hooks.h"
#include "pool/task.h"
#include "pool/views.h"

enum { RUN_AHEAD = 8 }; /* slots whose cache lines are fetched before their turn */

struct worker {
    struct config *config;
    struct control *control;
    struct bells *bells;      /* of its seat's class, ... */
    struct bells *pool_bells; /* ... and of all */
    struct seat_row *row;
    struct tally *tallies; /* by handler */
    uint32_t seat;
    enum seat_class seats;
    int socket;
    pid_t pid;
    pid_t supervisor;
    int cpu; /* -1: not pinned */
    struct states states;
    uint32_t next_lane; /* where the next round begins */
    bool repaired;      /* what it took last came from the repair ring */
    uint64_t fair;      /* a client that has used more has to wait, ... */
    uint64_t fair_next; /* ... the least that one with work has used; UINT64_MAX: nobody's */
    uint32_t alarm_heard;
    uint64_t due[MASK_WORDS]; /* lanes to look at because of it, whatever the bells say */
    struct views views;
    uint32_t *estimate_ns; /* per handler: what it may take */
    mc_pool *pool;         /* for nested groups, made on first use */
    mc_task *task;         /* that runs, or is to be next */
    uint64_t called_ticks; /* when that began: the task, or this call of it */
    uint64_t since_ticks;  /* since when time is not accounted for */
    struct io *io;         /* of an I/O worker, else NULL */
    struct view *current;  /* of the running task, or the last one; NULL: there was none */
    uint32_t current_lane;
    int current_ring;      /* of that lane, where tickets were taken last */
    uint64_t looked_since; /* ticks: when the last task ended */
    uint64_t look_ns;      /* how long to look for more, as its client wished */
    uint64_t tidied_ms;    /* when it last looked for memory that nobody uses */
    struct retirement {
        uint64_t tasks;         /* after so many, 0: never */
        uint64_t age_ns;        /* likewise */
        uint64_t began_ns;      /* clock_ns() */
        uint64_t memory_due_ms; /* when memory is looked at next */
        bool cramped;           /* it had too much of that before its first task */
        bool possible, asked;
    } retirement;
    uint64_t refork_at;     /* tasks of this seat after which the worker offers itself; 0: never */
    struct message refusal; /* why the supervisor does not keep a ticket; status 0: it does */
};

/* Takes and runs some tasks, of one lane; false if there is nothing. */
bool work_once(struct worker *worker);
/* The supervisor has looked itself, since this worker did. */
static inline bool work_alarmed(const struct worker *worker)
{
    return atomic_load_explicit(&worker->control->alarm, memory_order_acquire) !=
           worker->alarm_heard; /* A2 */
}
/* To be asked after the sleep was announced: who makes it true kicks all seats then. */
static inline bool work_bells_shared(const struct worker *worker)
{
    return atomic_load_explicit(&worker->control->bells_shared, memory_order_relaxed) != 0;
}
/* Until the pool closes. */
void work(struct worker *worker);

/* ---- what io.c has in common with it ---- */

/* Writes down what is about to be taken, or called back. */
void work_note(struct worker *worker, uint32_t lane, uint32_t generation, const name_t *names,
               uint32_t count);
bool work_any(struct worker *worker);
/* Says that it sleeps, and looks once more: false if there is something to do, and then
 * it does not. Else it has to call wake_sleep() or wake_sleep_cancel(). leaving: it
 * knows that it is to leave. */
bool work_fall_asleep(struct worker *worker, bool leaving);
/* Takes and runs some tasks of this lane, whose turn it may not be; false if there is nothing. */
bool work_of_lane(struct worker *worker, uint32_t index);
/* The pool wants no more workers, or not this one. */
bool work_is_over(const struct worker *worker);
bool work_may_leave(const struct worker *worker);
void work_consider_retirement(struct worker *worker);
/* Nobody is to count on this seat until it is back: somebody else sees to what is in sight. */
void work_pass_on(struct worker *worker);
void work_be_back(struct worker *worker);
bool work_is_busy(const struct worker *worker);
/* True if more private memory is resident than max_worker_memory. */
bool work_too_large(const struct worker *worker);

/* What a task is told about where it runs, in a worker. */
extern const struct task_home worker_home;
/* Says why result, when a result of so many bytes finds no room in the present lane. */
int run_no_room(const struct worker *worker, int result, size_t size);
/* Ends a task of this worker: the last steps of those above. */
void run_end(struct worker *worker, struct view *view, struct slot *slot, enum slot_state state,
             uint64_t now);
/* Remembers how a task that has ended fared, for ourselves and for those who look.
 * submitted: as its slot said, see tally.h. */
void run_learn(struct worker *worker, const mc_task *task, uint64_t submitted, uint64_t now);
/* From since_ticks until now, time was spent on tasks of this view's client. */
void run_account(struct worker *worker, struct view *view, uint64_t now);
/* The worker's own pool, for nested groups. */
mc_pool *run_pool(struct worker *worker);
/* Runs those of the noted tickets whose tasks are still to be had, then clears the row. */
void run_noted(struct worker *worker, struct view *view, const name_t *names, uint32_t count);

#endif
