/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fault/plays.h"

#include "base/sys.h"
#include "pool/pool.h"
#include "tests/fault/look.h"
#include "tests/fault/scenes.h"
#include "tests/fault/served.h"
#include "tests/fault/trouble.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void end_play(bool side_by_side)
{
    if (the_pool == NULL)
        return;
    troupe_expect_throughput(side_by_side);
    troupe_expect_sound();
    troupe_close();
}

static void play_work(void)
{
    struct mc_pool_options options = troupe_options();
    if (!troupe_open(&options))
        return;
    small_tasks();
    payloads();
    map();
    values();
    quick_tasks();
    one_by_one();
    urgent_tasks();
    limited_tasks();
    event_loop(0, 0);
    event_loop(2, 0);
    end_play(true);
}

/* Results that are kept leave no room for others. */
static void play_full(void)
{
    struct mc_pool_options options = troupe_options();
    struct batch kept, batch;
    options.arena_size = options.max_payload;
    if (!troupe_open(&options))
        return;
    if (batch_open(&kept, 4, unhelped)) {
        batch_repeat(&kept, 4, "work", ROOMLESS, (struct job){.reply = 25000}, 16);
        batch_wait(&kept);
        batch_results(&kept);
        if (batch_open(&batch, 4, unhelped)) {
            batch_repeat(&batch, 4, "tell", ROOMLESS, (struct job){.reply = 30000}, 16);
            batch_finish(&batch);
        }
        batch_close(&kept);
    }
    end_play(true);
}

static void play_trouble(void)
{
    struct mc_pool_options options = troupe_options();
    if (!troupe_open(&options))
        return;
    quick_tasks();
    nested_tasks();
    cancelled_tasks();
    cancelled_events();
    crash_amid_others();
    crash_with_result();
    end_play(true);
}

/* A lane that is found damaged is closed: that client has no pool any more. */
static void play_damaged(void)
{
    struct mc_pool_options options = troupe_options();
    if (!troupe_open(&options))
        return;
    atomic_store(&ledger->poolless, 1);
    damaged_request();
    troupe_close();
}

/* Tasks that take too long, and tasks that are tried again. */
static void play_limits(void)
{
    struct mc_pool_options options = troupe_options();
    struct batch batch;
    options.slow_task_ms = 5;
    if (!troupe_open(&options))
        return;
    if (batch_open(&batch, 3,
                   (struct mc_group_options){.help = MC_HELP_NEVER,
                                             .soft_time_limit_ms = 10,
                                             .time_limit_ms = 30,
                                             .start_within_ms = WAIT_MS})) {
        struct job job = {.gate = atomic_load(&ledger->gate) + 1};
        batch_repeat(&batch, 3, "stubborn", OVERDUE, job, sizeof(job));
        batch_finish(&batch);
    }
    if (batch_open(&batch, 4, unhelped)) {
        (void)(batch_repeat(&batch, 2, "retried", REPEATED, (struct job){.gate = 1}, 16) &&
               batch_repeat(&batch, 2, "retried", REPEATED | CRASHES, (struct job){.gate = 2}, 16));
        batch_finish(&batch);
    }
    end_play(true);
}

/* Tasks that wait: many, to their end; cancelled, and for too long; and with a worker that
 * dies, or is replaced. */
static void wait_with(enum mc_io_engine engine)
{
    struct mc_pool_options options = troupe_options();
    struct batch batch;
    options.handler_count = TROUPE_WITH_IO;
    options.io_engine = engine;
    options.max_tasks_per_worker = 40;
    if (!troupe_open(&options))
        return;
    if (batch_open(&batch, 14, unhelped)) {
        batch_repeat(&batch, 12, "wait", WAITING, (struct job){.reply = 30}, sizeof(struct job));
        batch_repeat(&batch, 2, "wait", WAITING, (struct job){.reply = 5000}, 1000);
        batch_finish(&batch);
    }
    if (batch_open(&batch, 4, unhelped)) {
        uint32_t started = atomic_load(&ledger->started);
        batch_repeat(&batch, 4, "wait-long", WAITING | CANCELLABLE, (struct job){0},
                     sizeof(struct job));
        for (int ms = 0; ms < 100 && atomic_load(&ledger->started) < started + 4; ms++)
            pause_us(1000);
        (void)ledger_call(mc_group_cancel(batch.group), "mc_group_cancel");
        batch_finish(&batch);
    }
    if (batch_open(&batch, 2,
                   (struct mc_group_options){.help = MC_HELP_NEVER, .time_limit_ms = 20})) {
        batch_repeat(&batch, 2, "wait-long", WAITING | OVERDUE, (struct job){0},
                     sizeof(struct job));
        batch_finish(&batch);
    }
    if (batch_open(&batch, 6, unhelped)) {
        (void)(batch_repeat(&batch, 4, "wait-retried", WAITING | REPEATED, (struct job){0}, 16) &&
               batch_repeat(&batch, 2, "wait", WAITING | CRASHES, (struct job){.reply = 4}, 16));
        batch_finish(&batch);
    }
    if (batch_open(&batch, 60, unhelped)) {
        batch_repeat(&batch, 60, "wait", WAITING, (struct job){.reply = 4}, 16);
        batch_finish(&batch);
    }
    end_play(true);
}

static void play_waiting(void)
{
    wait_with(MC_IO_AUTO);
}

static void play_waiting_epoll(void)
{
    wait_with(MC_IO_EPOLL);
}

/* Workers that are replaced after some tasks, by successors of which some fail. */
static void play_heirs(void)
{
    struct mc_pool_options options = troupe_options();
    options.max_tasks_per_worker = 30;
    if (!troupe_open(&options))
        return;
    for (int round = 0; round < 3; round++) {
        small_tasks();
        one_by_one();
        event_loop(0, 0);
        pause_us(10000);
    }
    atomic_store(&ledger->init_fails, 1);
    for (int round = 0; round < 8; round++)
        event_loop(0, LOSABLE);
    pause_us(10000);
    atomic_store(&ledger->init_fails, 0);
    end_play(true);
}

/* A worker becomes the zygote of the others, whose workers then cannot start for a while;
 * and once more after the death of that. */
static void play_refork(void)
{
    struct mc_pool_options options = troupe_options();
    options.refork_after = 10;
    if (!troupe_open(&options))
        return;
    /* With one worker and no other to come, tasks would be lost when that is struck. */
    for (int ms = 0; ms < WAIT_MS && atomic_load(&the_pool->control->seats_up) < 2; ms++)
        pause_us(1000);
    atomic_store(&ledger->init_fails, 1);
    for (int round = 0; round < 3; round++)
        event_loop(0, LOSABLE);
    pause_us(5000);
    atomic_store(&ledger->init_fails, 0);
    for (int round = 0; round < 4; round++) {
        small_tasks();
        one_by_one();
        event_loop(0, 0);
        pause_us(5000);
        pid_t zygote = round == 1 ? look_zygote(the_pool->supervisor_pidfd) : 0;
        if (zygote > 0)
            kill(zygote, SIGKILL);
    }
    end_play(true);
}

/* Memory goes back to the system, and limits are looked after no more. */
static void play_idle(void)
{
    struct mc_pool_options options = troupe_options();
    struct batch batch;
    options.max_payload = 4 << 20;
    options.arena_size = 16 << 20;
    if (!troupe_open(&options))
        return;
    if (batch_open(&batch, 4,
                   (struct mc_group_options){.help = MC_HELP_NEVER, .time_limit_ms = WAIT_MS})) {
        batch_repeat(&batch, 4, "huge", 0, (struct job){.reply = 3 << 20}, sizeof(struct job));
        batch_wait(&batch);
        batch_results(&batch);
        mc_group_release(batch.group, 0);
        for (int ms = 0; ms < 1200; ms += 100)
            pause_us(100000);
        batch_close(&batch);
    }
    for (int ms = 0; ms < 1200; ms += 100)
        pause_us(100000);
    end_play(true);
}

static void play_forks(void)
{
    struct mc_pool_options options = troupe_options();
    if (!troupe_open(&options))
        return;
    small_tasks();
    /* An event loop believes a seat that seems to look for work: after a client that
     * died while it woke that seat, somebody else has to. */
    child_that_works();
    event_loop(0, 0);
    child_that_dies();
    event_loop(0, 0);
    child_with_a_child();
    small_tasks();
    end_play(true);
}

/* No worker can be started for a while: what may run in the caller does, the rest
 * is lost. */
static void play_hopeless(void)
{
    struct mc_pool_options options = troupe_options();
    struct batch batch;
    pid_t pids[2];
    if (!troupe_open(&options))
        return;
    small_tasks();
    bool done = false;
    struct batch events;
    bool waiting =
        batch_open(&events, 4, (struct mc_group_options){.on_done = when_done, .context = &done});
    atomic_store(&ledger->init_fails, 1);
    (void)mc_pool_worker_pids(the_pool, pids, 2);
    for (int i = 0; i < 2; i++)
        if (pids[i] > 0)
            kill(pids[i], SIGKILL);
    if (waiting) {
        if (batch_repeat(&events, 4, "isolated", LOSABLE, (struct job){.reply = 4},
                         sizeof(struct job)))
            dispatch_until(&done, &events);
        if (!done)
            forget(&events);
        batch_close(&events);
    }
    if (batch_open(&batch, 8, helped)) {
        batch_repeat(&batch, 4, "isolated", LOSABLE, (struct job){.reply = 4}, sizeof(struct job));
        batch_repeat(&batch, 4, "work", LOSABLE, (struct job){.reply = 4}, sizeof(struct job));
        batch_finish(&batch);
    }
    atomic_store(&ledger->init_fails, 0);
    end_play(true);
}

/* The zygote dies, and then workers that are to be replaced. */
static void play_zygote(void)
{
    struct mc_pool_options options = troupe_options();
    if (!troupe_open(&options))
        return;
    for (int round = 0; round < 2; round++) {
        pid_t zygote = look_zygote(the_pool->supervisor_pidfd);
        if (zygote > 0)
            kill(zygote, SIGKILL);
        crash_with_result();
        small_tasks();
    }
    end_play(true);
}

static void play_unopened(void)
{
    struct mc_pool_options options = troupe_options();
    atomic_store(&ledger->init_fails, 1);
    atomic_store(&ledger->poolless, 1);
    if (troupe_open(&options)) {
        ledger_wrong(LOST, "a pool was opened although no worker can start");
        troupe_close();
    }
}

char play_directory[] = "/tmp/multicore-fault-XXXXXX";

/* Two groups whose tasks run in the caller: the second finds the queue full of the first's. */
static void share_queue(uint32_t depth)
{
    struct batch first, second;
    if (!batch_open(&first, depth, helped))
        return;
    batch_repeat(&first, depth, "work", 0, (struct job){.reply = 4}, sizeof(struct job));
    if (batch_open(&second, 1, helped)) {
        batch_repeat(&second, 1, "work", 0, (struct job){.reply = 4}, sizeof(struct job));
        batch_finish(&second);
    }
    batch_finish(&first);
}

/* The machine is busy: tasks run in the caller, or one at a time. */
static void play_busy(void)
{
    struct mc_pool_options options = troupe_options();
    struct batch batch;
    options.max_load_average = "0.5";
    options.proc_path = play_directory;
    if (!troupe_open(&options))
        return;
    small_tasks_of_a_thread();
    small_tasks();
    quick_tasks();
    if (batch_open(&batch, 6, helped)) {
        batch_repeat(&batch, 2, "work", 0, (struct job){.reply = 1000}, 1000);
        batch_repeat(&batch, 4, "isolated", 0, (struct job){.reply = 1000}, 1000);
        batch_finish(&batch);
    }
    share_queue(options.queue_depth);
    event_loop(0, 0);
    end_play(false);
}

/* Submits to an event loop what is waited for later. */
static bool begin_events(struct batch *batch, bool *done)
{
    *done = false;
    return batch_open(batch, 3, (struct mc_group_options){.on_done = when_done, .context = done}) &&
           batch_repeat(batch, 3, "work", 0, (struct job){.reply = 4}, sizeof(struct job));
}

/* The supervisor dies, with tasks running and queued. */
static void play_bereaved(void)
{
    struct mc_pool_options options = troupe_options();
    struct batch gates = {0}, batch = {0}, events = {0};
    bool done;
    if (!troupe_open(&options))
        return;
    atomic_store(&ledger->poolless, 1);
    if (batch_open(&gates, 2, unhelped))
        gate_shut(&gates);
    bool waiting = begin_events(&events, &done);
    if (batch_open(&batch, 6, unhelped)) {
        batch_repeat(&batch, 3, "isolated", 0, (struct job){.reply = 4}, sizeof(struct job));
        batch_repeat(&batch, 3, "work", 0, (struct job){.reply = 4}, sizeof(struct job));
    }
    (void)sys_pidfd_kill(the_pool->supervisor_pidfd, SIGKILL);
    if (batch.group != NULL)
        batch_finish(&batch);
    if (waiting)
        dispatch_until(&done, &events);
    if (!done)
        forget(&events);
    batch_close(&events);
    if (gates.group != NULL)
        batch_finish(&gates);
    troupe_close();
}

/* Closed while tasks are in flight, which run to their end first. */
static void play_closing(void)
{
    struct mc_pool_options options = troupe_options();
    struct batch batch;
    if (!troupe_open(&options))
        return;
    bool opened = batch_open(&batch, 40, unhelped);
    if (opened) {
        forget(&batch);
        batch_repeat(&batch, 40, "work", FORGOTTEN, (struct job){.reply = 1000}, 1000);
    }
    troupe_close();
    if (opened)
        batch_close(&batch);
}

/* Closed while tasks are in flight that do not end in time. */
static void play_stuck(void)
{
    struct mc_pool_options options = troupe_options();
    struct batch batch;
    options.close_timeout_ms = 20;
    if (!troupe_open(&options))
        return;
    bool opened = batch_open(&batch, 10, unhelped);
    if (opened) {
        forget(&batch);
        gate_shut(&batch);
        batch_repeat(&batch, 8, "work", FORGOTTEN, (struct job){.reply = 10}, 100);
    }
    troupe_close();
    if (opened)
        batch_close(&batch);
}

const struct play plays[] = {
    {.name = "work", .act = play_work},
    {.name = "trouble", .act = play_trouble},
    {.name = "damaged", .act = play_damaged},
    {.name = "limits", .act = play_limits},
    {.name = "waiting", .act = play_waiting},
    {.name = "waiting-epoll", .act = play_waiting_epoll},
    {.name = "heirs", .act = play_heirs},
    {.name = "refork", .act = play_refork},
    {.name = "idle", .act = play_idle, .slow = true},
    {.name = "full", .act = play_full},
    {.name = "forks", .act = play_forks},
    {.name = "hopeless", .act = play_hopeless},
    {.name = "zygote", .act = play_zygote},
    {.name = "unopened", .act = play_unopened},
    {.name = "busy", .act = play_busy},
    {.name = "bereaved", .act = play_bereaved},
    {.name = "closing", .act = play_closing},
    {.name = "stuck", .act = play_stuck},
    {.name = "served", .act = play_served, .served = true},
    {.name = "restarted", .act = play_restarted, .slow = true, .served = true},
};
const unsigned play_count = sizeof(plays) / sizeof(plays[0]);

void plays_begin(void)
{
    char path[64];
    if (mkdtemp(play_directory) == NULL || chmod(play_directory, 0711) < 0)
        return;
    snprintf(path, sizeof(path), "%s/loadavg", play_directory);
    FILE *file = fopen(path, "we");
    if (file == NULL)
        return;
    fputs("99.00 99.00 99.00 1/100 4711\n", file);
    fclose(file);
}

void plays_end(void)
{
    char path[64];
    snprintf(path, sizeof(path), "%s/loadavg", play_directory);
    unlink(path);
    rmdir(play_directory);
}
