/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A thread that never waits for a group: it watches the pool's descriptor, and
 * dispatches when that is readable and at no other time.
 */
#include "tests/soak/soak.h"

#include <poll.h>
#include <stdlib.h>

enum { BATCHES = 4, LOOK_MS = 20 };

struct events {
    struct thread *thread;
    struct batch *batches[BATCHES];
};

/* Its tasks are booked here; then it is closed, here or later, or goes on. */
static void group_done(mc_group *group, void *context)
{
    struct batch *batch = context;
    struct chance *chance = &batch->thread->chance;
    note_stall(now_ns() - batch->began_ns, "on_done");
    if (batch->done || group != batch->group)
        complain(&board->wrong, "a group was reported that was closed, or had nothing new");
    batch_settle_all(batch, true);
    batch->began_ns = now_ns();
    if (one_in(chance, 4))
        (void)batch_submit(batch);
    if (batch->settled_count != batch->task_count)
        return; /* it is reported again, also if a map was cut short */
    batch->done = true;
    if (one_in(chance, 2))
        batch_close(batch);
}

static struct batch *begin(struct thread *thread)
{
    struct batch *batch = malloc(sizeof(*batch));
    if (batch == NULL || !batch_open(batch, thread, group_done)) {
        free(batch);
        return NULL;
    }
    batch->began_ns = now_ns();
    for (uint32_t count = 1 + draw(&thread->chance, 20); count > 0; count--)
        if (!batch_submit(batch) && !one_in(&thread->chance, 3))
            break;
    if (one_in(&thread->chance, 10)) {
        batch->cancelled = true;
        (void)mc_group_cancel(batch->group);
    }
    if (batch->task_count == 0 ||
        one_in(&thread->chance, 20)) { /* there is no report to wait for */
        batch_settle_all(batch, false);
        batch_close(batch);
        batch->done = true;
    }
    return batch;
}

/* Ends what is done, begins others; returns how many are under way. */
static unsigned tend(struct events *events, bool more)
{
    unsigned open = 0;
    for (unsigned i = 0; i < BATCHES; i++) {
        struct batch **batch = &events->batches[i];
        if (*batch != NULL && (*batch)->done) {
            batch_close(*batch);
            free(*batch);
            *batch = NULL;
        }
        if (*batch == NULL && more && !events->thread->over)
            *batch = begin(events->thread);
        open += *batch != NULL;
    }
    return open;
}

static void show_progress(struct events *events)
{
    uint64_t oldest = 0;
    for (unsigned i = 0; i < BATCHES; i++) {
        const struct batch *batch = events->batches[i];
        if (batch != NULL && !batch->done && (oldest == 0 || batch->began_ns < oldest))
            oldest = batch->began_ns;
    }
    atomic_store(&events->thread->progress->what, "on_done");
    atomic_store(&events->thread->progress->since_ns, oldest);
}

/* The pool is gone, and all has been reported. */
static void give_up(struct events *events)
{
    events->thread->over = true;
    for (unsigned i = 0; i < BATCHES; i++) {
        struct batch *batch = events->batches[i];
        if (batch != NULL && !batch->done)
            complain(&board->lost, "the pool is gone, and a group of %u tasks was not reported",
                     batch->task_count);
        if (batch != NULL)
            batch->done = true;
    }
}

static void judge_end(uint64_t readable_ns)
{
    uint64_t gone = gone_ns();
    if (gone == 0 && phase() != PHASE_ENDING)
        complain(&board->wrong, "mc_pool_dispatch() says that the pool is gone, which it is not");
    if (gone == 0 || readable_ns < gone)
        return;
    raise_to(&board->longest_gone_ns, readable_ns - gone);
    if (!seen_in_time(readable_ns - gone))
        complain(&board->wrong, "the descriptor told of the end of the pool after %.0f ms",
                 (double)(readable_ns - gone) / 1e6);
}

void events_run(struct thread *thread)
{
    struct events events = {.thread = thread};
    struct pollfd ready = {.events = POLLIN};
    /* Also when a submission has told of the end: what is open is reported yet. */
    for (;;) {
        unsigned open = tend(&events, phase() == PHASE_RUNNING);
        if (open == 0 && (thread->over || phase() != PHASE_RUNNING))
            break;
        ready.fd = mc_pool_fd(thread->pool);
        if (ready.fd < 0) {
            thread->over = pool_over();
            pause_us(2000); /* no room for another client yet */
            continue;
        }
        show_progress(&events);
        if (poll(&ready, 1, LOOK_MS) <= 0)
            continue;
        uint64_t readable_ns = now_ns();
        int result = mc_pool_dispatch(thread->pool);
        if (result == -ESHUTDOWN) {
            judge_end(readable_ns);
            give_up(&events);
        } else if (result < 0) {
            complain(&board->wrong, "mc_pool_dispatch() failed: %d %s", result, mc_error_message());
        }
    }
    atomic_store(&thread->progress->since_ns, 0);
}
