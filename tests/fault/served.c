/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fault/served.h"

#include "base/fault.h"
#include "pool/pool.h"
#include "tests/fault/allocations.h"
#include "tests/fault/host.h"
#include "tests/fault/look.h"
#include "tests/fault/plays.h"
#include "tests/fault/scenes.h"

#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    BYSTANDER_ROUNDS = 100,
    STRUCK_MS = 400, /* for what a death may have prevented */
};

/* ---- the client ---- */

static mc_pool *behind(mc_pool *handle)
{
    mc_pool *pool = front_enter(handle->front);
    front_leave(handle->front);
    return pool;
}

/* Until the pool is there; whoever looks for events, or opens a group, finds it. The host
 * does not wait for one whose server has ended. */
static void await_pool(struct host *host)
{
    uint64_t deadline = now_ms() + WAIT_MS;
    while (!mc_pool_connected(the_pool) && (host == NULL || !host_ended(host))) {
        if (now_ms() >= deadline) {
            ledger_wrong(WEDGED, "the pool is not found again: %s", mc_error_message());
            return;
        }
        (void)mc_pool_dispatch(the_pool);
        pause_us(2000);
    }
}

static bool enter_pool(const char *path)
{
    if (!troupe_attach(path))
        return false;
    await_pool(NULL);
    return true;
}

static void leave_pool(void)
{
    mc_pool *pool = behind(the_pool);
    const char *damage = pool->away == NULL && pool->front == NULL && !client_gone(&pool->client)
                             ? lane_check(&pool->client.lane)
                             : NULL;
    if (damage != NULL)
        ledger_wrong(LOST, "the client's lane: %s", damage);
    troupe_close();
}

static bool wished(const uint32_t *before)
{
    return host_told(SERVE_READY) != before[0] ||
           host_told(SERVE_RELOADED) + host_told(SERVE_KEPT) != before[1];
}

/* Waits for the end of a reload that is wished for, or for another server. */
static void wish_reload(enum wish wish, enum serve_event expected)
{
    uint32_t before[2] = {host_told(SERVE_READY),
                          host_told(SERVE_RELOADED) + host_told(SERVE_KEPT)};
    uint32_t had = host_told(expected);
    uint64_t began = now_ms();
    atomic_store(&ledger->wish, wish);
    while (!wished(before) && now_ms() - began < (fault_struck() ? STRUCK_MS : WAIT_MS))
        pause_us(500);
    if (fault_struck())
        return;
    if (!wished(before))
        ledger_wrong(WEDGED, "a reload does not end");
    else if (host_told(expected) == had)
        ledger_wrong(LOST, "a reload ended otherwise than it should: %s", ledger->told_text);
}

/* Once in each set-up their module has to be loaded first, while others go on. */
static void late_tasks(void)
{
    struct batch batch;
    if (!batch_open(&batch, 20, unhelped))
        return;
    batch_repeat(&batch, 10, "late", 0, (struct job){.reply = 100}, sizeof(struct job));
    batch_repeat(&batch, 10, "work", 0, (struct job){.reply = 100}, sizeof(struct job));
    batch_finish(&batch);
}

/* While tasks are in flight, which nobody is to notice. */
static void new_set_up(void)
{
    struct batch batch;
    if (!batch_open(&batch, 30, unhelped))
        return;
    batch_repeat(&batch, 30, "work", 0, (struct job){.reply = 100}, sizeof(struct job));
    wish_reload(WISH_RELOAD, SERVE_RELOADED);
    batch_finish(&batch);
    small_tasks();
}

static void new_set_up_that_fails(void)
{
    atomic_store(&ledger->init_fails, 1);
    wish_reload(WISH_HANGUP, SERVE_KEPT);
    atomic_store(&ledger->init_fails, 0);
    small_tasks();
}

/* The next worker comes from a zygote that has to load the modules again. */
static void new_zygote(void)
{
    struct batch batch;
    atomic_store(&ledger->wish, WISH_ZYGOTE);
    if (!batch_open(&batch, 6, unhelped))
        return;
    while (atomic_load(&ledger->wish) != WISH_NOTHING)
        pause_us(500);
    batch_run(&batch, "quick", CRASHES, (struct job){.gate = 1}, sizeof(struct job));
    batch_repeat(&batch, 5, "work", 0, (struct job){.reply = 5000}, sizeof(struct job));
    batch_finish(&batch);
}

/* Where a worker is, whatever it does; another one if it was just followed. */
static void look_into_worker(void)
{
    const struct seat_row *row = &behind(the_pool)->control->rows[0];
    pid_t asked = 0;
    uint64_t deadline = now_ms() + (fault_struck() ? STRUCK_MS : WAIT_MS);
    while (atomic_load(&row->trace_answered) == 0 && now_ms() < deadline && !fault_struck()) {
        pid_t worker = atomic_load(&row->pid);
        if (worker != 0 && worker != asked && atomic_load(&ledger->wish) == WISH_NOTHING) {
            atomic_store(&ledger->worker, worker);
            atomic_store(&ledger->wish, WISH_TRACE);
            asked = worker;
        }
        pause_us(500);
    }
    if (!fault_struck() && atomic_load(&row->trace_answered) == 0)
        ledger_wrong(WEDGED, "a worker does not say where it is");
    small_tasks();
}

/* It has the handle of its parent, and finds the pool by itself. */
static void fork_one(void)
{
    pid_t child = fork();
    if (child == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        small_tasks();
        event_loop(0, 0);
        mc_pool_close(the_pool);
        if (look_own_memfds() != 0)
            ledger_wrong(LEAKED, "mc_pool_close() in a fork left %u mappings", look_own_memfds());
        _exit(0);
    }
    if (child > 0)
        await_child(child);
}

/* A user whom the server has no reason to trust. */
static void be_nobody(void)
{
    enum { NOBODY = 65534 };
    if (geteuid() != 0)
        return;
    if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
        setresuid(NOBODY, NOBODY, NOBODY) < 0)
        _exit(9);
    (void)prctl(PR_SET_DUMPABLE, 1); /* it looks at itself in /proc */
}

/* Another client, which is never struck and is to notice nothing. */
static pid_t start_bystander(const char *path)
{
    pid_t bystander = fork();
    if (bystander != 0)
        return bystander;
    be_nobody();
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (enter_pool(path)) {
        for (int round = 0; atomic_load(&ledger->curtain) == 0; round++) {
            if (round < BYSTANDER_ROUNDS)
                small_tasks();
            pause_us(3000);
        }
        leave_pool();
    }
    _exit(0);
}

static void client_served(const char *path)
{
    if (!enter_pool(path))
        return;
    small_tasks();
    late_tasks();
    payloads();
    map();
    values();
    event_loop(0, 0);
    new_set_up();
    late_tasks();
    look_into_worker();
    new_set_up_that_fails();
    new_zygote();
    event_loop(2, 0);
    fork_one();
    small_tasks();
    leave_pool();
    if (!enter_pool(path))
        return;
    quick_tasks();
    leave_pool();
}

/* Until the pool is gone; not for long if something went wrong. */
static void wish_end(enum wish wish)
{
    uint64_t began = now_ms();
    atomic_store(&ledger->wish, wish);
    while (mc_pool_connected(the_pool) && now_ms() - began < (fault_struck() ? STRUCK_MS : WAIT_MS))
        pause_us(500);
    if (mc_pool_connected(the_pool) && !fault_struck())
        ledger_wrong(WEDGED, "the server does not end");
}

/* All that was accepted runs; then tasks run here. */
static void see_it_drained(void)
{
    struct batch batch;
    if (!batch_open(&batch, 20, unhelped))
        return;
    batch_repeat(&batch, 20, "work", 0, (struct job){.reply = 100}, sizeof(struct job));
    wish_end(WISH_DRAIN);
    batch_finish(&batch);
    small_tasks();
}

/* What runs is lost, and what may run nowhere else. */
static void see_it_killed(void)
{
    struct batch gates = {0}, batch = {0}, events = {0};
    bool done = false;
    if (batch_open(&gates, 2, unhelped))
        gate_shut(&gates);
    bool waiting =
        batch_open(&events, 3, (struct mc_group_options){.on_done = when_done, .context = &done}) &&
        batch_repeat(&events, 3, "isolated", LOSABLE, (struct job){.reply = 4}, sizeof(struct job));
    if (batch_open(&batch, 6, unhelped)) {
        batch_repeat(&batch, 3, "isolated", LOSABLE, (struct job){.reply = 4}, sizeof(struct job));
        batch_repeat(&batch, 3, "work", 0, (struct job){.reply = 4}, sizeof(struct job));
    }
    wish_end(WISH_KILL);
    gate_lift();
    if (batch.group != NULL)
        batch_finish(&batch);
    if (waiting)
        dispatch_until(&done, &events);
    if (!done)
        forget(&events);
    batch_close(&events);
    for (uint32_t i = 0; i < gates.count; i++)
        ledger->entries[gates.first + i].traits |= LOSABLE;
    if (gates.group != NULL)
        batch_finish(&gates);
    small_tasks();
}

static void client_restarted(const char *path)
{
    if (!enter_pool(path))
        return;
    small_tasks();
    see_it_drained();
    await_pool(NULL);
    small_tasks();
    event_loop(0, 0);
    see_it_killed();
    await_pool(NULL);
    event_loop(0, 0);
    leave_pool();
}

static void start_client(struct host *host, void (*act)(const char *path))
{
    host->client = fork();
    if (host->client != 0)
        return;
    be_child();
    host_enter_stage("child");
    long live = allocations_live();
    act(host->path);
    if (allocations_live() != live)
        ledger_wrong(LEAKED, "%ld allocations of the client were not given back",
                     allocations_live() - live);
    _exit(0);
}

/* ---- the plays ---- */

/* What a new client finds. False when the server was struck just then: another is started
 * when this process is no client any more, whose memory and descriptors it would inherit. */
static bool look_anew(struct host *host)
{
    host_keep(host);
    if (!troupe_attach(host->path))
        return true;
    await_pool(host);
    mc_pool *handle = the_pool;
    the_pool = behind(handle);
    if (!host_ended(host)) {
        troupe_expect_throughput(true);
        troupe_expect_sound();
    }
    the_pool = handle;
    troupe_close();
    return !host_ended(host);
}

static void play(void (*act)(const char *path), bool first_the_client)
{
    pid_t bystander = 0;
    char path[64];
    struct host host = {.path = path};
    unsigned fds = look_own_fds();
    snprintf(path, sizeof(path), "%s/%d", play_directory, (int)getpid());
    fault_opened = false; /* this process is not struck, nor are those that it looks with */
    if (!first_the_client) {
        host_start(&host, 0);
        bystander = start_bystander(path);
    }
    start_client(&host, act);
    host_attend(&host);
    atomic_store(&ledger->curtain, 1);
    if (bystander > 0)
        await_child(bystander);
    if (!look_anew(&host))
        (void)look_anew(&host);
    host_end(&host);
    unlink(path);
    if (look_own_fds() != fds)
        ledger_wrong(LEAKED, "%d descriptors are left", (int)look_own_fds() - (int)fds);
}

void play_served(void)
{
    play(client_served, false);
}

void play_restarted(void)
{
    play(client_restarted, true);
}
