/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fault/scenes.h"

#include "base/clock.h"
#include "base/fault.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

const struct mc_group_options unhelped = {.help = MC_HELP_NEVER};
const struct mc_group_options helped = {.help = MC_HELP_AUTO};

uint64_t now_ms(void)
{
    return clock_ns() / 1000000;
}

void pause_us(unsigned us)
{
    struct timespec pause = {.tv_nsec = (long)us * 1000};
    (void)nanosleep(&pause, NULL);
}

/* ---- what a client does ---- */

void small_tasks(void)
{
    struct batch batch;
    if (!batch_open(&batch, 8, helped))
        return;
    batch_repeat(&batch, 4, "work", 0, (struct job){.reply = 4}, sizeof(struct job));
    batch_repeat(&batch, 4, "threadsafe", 0, (struct job){.reply = 40}, 100);
    batch_finish(&batch);
}

static void *in_a_thread(void *nothing)
{
    small_tasks();
    return nothing;
}

void small_tasks_of_a_thread(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, in_a_thread, NULL) == 0)
        (void)pthread_join(thread, NULL);
}

void payloads(void)
{
    struct batch batch;
    if (!batch_open(&batch, 12, unhelped))
        return;
    batch_repeat(&batch, 4, "work", 0, (struct job){.reply = 5000}, 5000);
    batch_repeat(&batch, 2, "work", 0, (struct job){.reply = 3000, .larger = 9000}, 16);
    batch_repeat(&batch, 2, "work", 0, (struct job){.reply = 10, .larger = 600}, 300);
    batch_repeat(&batch, 4, "tell", 0, (struct job){.reply = 2000}, 16);
    batch_wait(&batch);
    batch_results(&batch);
    mc_group_release(batch.group, 0);
    batch_close(&batch);
}

void map(void)
{
    struct batch batch;
    if (!batch_open(&batch, 100, unhelped))
        return;
    (void)batch_map(&batch);
    batch_next(&batch);
    batch_close(&batch);
}

void values(void)
{
    struct batch batch;
    if (!batch_open(&batch, 4, helped))
        return;
    (void)(batch_echo(&batch, MC_JSON) && batch_echo(&batch, MC_MSGPACK) &&
           batch_echo(&batch, MC_JSON) && batch_echo(&batch, MC_MSGPACK));
    batch_wait(&batch);
    batch_results(&batch);
    batch_values(&batch);
    batch_close(&batch);
}

void quick_tasks(void)
{
    struct batch batch;
    if (!batch_open(&batch, 300, helped))
        return;
    batch_repeat(&batch, 300, "quick", 0, (struct job){0}, sizeof(struct job));
    batch_finish(&batch);
}

void one_by_one(void)
{
    struct batch batch;
    if (!batch_open(&batch, 12, unhelped))
        return;
    for (int i = 0; i < 12; i++) {
        if (!batch_run(&batch, "quick", 0, (struct job){0}, sizeof(struct job)))
            break;
        if (i == 10)
            (void)mc_group_wait(batch.group, 0); /* only looks, against its habit */
        batch_wait(&batch);
        if (i % 4 == 0)
            pause_us(400); /* the workers fall asleep */
    }
    batch_finish(&batch);
}

void urgent_tasks(void)
{
    struct batch batch;
    if (!batch_open(&batch, 6, (struct mc_group_options){.urgent = true, .help = MC_HELP_NEVER}))
        return;
    batch_repeat(&batch, 6, "work", 0, (struct job){.reply = 8}, sizeof(struct job));
    batch_finish(&batch);
}

void limited_tasks(void)
{
    struct batch batch;
    if (!batch_open(&batch, 10,
                    (struct mc_group_options){.max_parallel = 2, .help = MC_HELP_NEVER}))
        return;
    batch_repeat(&batch, 10, "work", 0, (struct job){.reply = 4000}, sizeof(struct job));
    batch_next(&batch);
    batch_close(&batch);
}

/* ---- an event loop ---- */

void when_done(mc_group *group, void *context)
{
    bool *done = context;
    *done = true;
}

void dispatch_until(const bool *done, struct batch *batch)
{
    int fd = mc_pool_fd(the_pool);
    if (!ledger_call(fd, "mc_pool_fd"))
        return; /* the group is closed with its tasks in flight */
    while (!*done) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        if (poll(&ready, 1, WAIT_MS) == 0) {
            ledger_wrong(WEDGED, "the event loop is told of nothing");
            troupe_describe();
            return;
        }
        if (!ledger_call(mc_pool_dispatch(the_pool), "mc_pool_dispatch") && !*done) {
            ledger_wrong(LOST, "the pool is gone, and a group was not reported");
            return;
        }
    }
    batch_results(batch);
}

void forget(struct batch *batch)
{
    for (uint32_t i = 0; i < batch->count; i++)
        ledger->entries[batch->first + i].traits |= FORGOTTEN;
}

void event_loop(uint32_t max_parallel, uint32_t traits)
{
    struct batch batch;
    bool done = false;
    if (!batch_open(&batch, 8,
                    (struct mc_group_options){
                        .on_done = when_done, .context = &done, .max_parallel = max_parallel}))
        return;
    if (batch_repeat(&batch, 8, "work", traits, (struct job){.reply = 100}, sizeof(struct job)))
        dispatch_until(&done, &batch);
    if (!done)
        forget(&batch);
    batch_close(&batch);
}

/* ---- forked clients ---- */

void be_child(void)
{
    FAULT_ROLE("child");
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    atomic_store(&ledger->child, getpid());
}

void await_child(pid_t child)
{
    int status = 0;
    for (int ms = 0; ms < 2 * WAIT_MS; ms++) {
        if (waitpid(child, &status, WNOHANG) != 0) {
            if (WIFSIGNALED(status) && child != fault_victim())
                ledger_wrong(LOST, "a forked client was killed by signal %d", WTERMSIG(status));
            return;
        }
        pause_us(1000);
    }
    ledger_wrong(WEDGED, "the forked client does not end");
    kill(child, SIGUSR1);
    pause_us(100000);
    kill(child, SIGKILL);
    (void)waitpid(child, &status, 0);
}
