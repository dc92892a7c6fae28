/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fault/served.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/sys.h"
#include "ipc/channel.h"
#include "pool/pool.h"
#include "pool/serve.h"
#include "tests/fault/allocations.h"
#include "tests/fault/look.h"
#include "tests/fault/plays.h"
#include "tests/fault/scenes.h"

#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    LATE_US = 130000, /* longer than a client that is waiting for a pool is patient */
    BYSTANDER_ROUNDS = 100,
    ANSWER_MS = 1000, /* to the operator */
    STRUCK_MS = 400,  /* for what a death may have prevented */
    CLIENT_MS = 2 * WAIT_MS,
};

enum wish {
    WISH_NOTHING,
    WISH_RELOAD,
    WISH_HANGUP,
    WISH_TRACE,
    WISH_ZYGOTE,
    WISH_DRAIN,
    WISH_KILL
};

struct host {
    const char *path;
    pid_t server; /* 0: ended */
    pid_t ended;  /* the last that did, ... */
    int status;   /* ... and how */
    bool to_end;  /* it was told to, or killed by us */
    pid_t client;
};

static uint64_t now_ms(void)
{
    return clock_ns() / 1000000;
}

static uint32_t told(enum serve_event event)
{
    return atomic_load(&ledger->told[event]);
}

/* ---- the server ---- */

static void tell(void *context, enum serve_event event, const char *text)
{
    if (text[0] != '\0')
        snprintf(ledger->told_text, sizeof(ledger->told_text), "%s", text);
    atomic_fetch_add(&ledger->told[event], 1);
}

static struct sockaddr_un address_of(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    return address;
}

static int listen_at(const char *path)
{
    struct sockaddr_un address = address_of(path);
    int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    unlink(path);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        chmod(path, 0666) < 0 || listen(listener, 16) < 0)
        _exit(9);
    return listener;
}

/* From now on this process may be struck. */
static void enter_stage(const char *role)
{
    fault_opened = true;
    fault_role(role);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static void be_server(const char *path, unsigned late_us)
{
    /* The last two have something to load, side by side. */
    static const struct module_spec modules[] = {{.path = TROUPE_MODULE},
                                                 {.path = LATE_MODULE, .lazy = true},
                                                 {.path = TEST_GRAPH "/lone.so"},
                                                 {.path = TEST_GRAPH "/island.so"}};
    struct serve_options options = {.pool = troupe_options(),
                                    .modules = modules,
                                    .module_count = 4,
                                    .listener = listen_at(path),
                                    .tell = tell};
    options.pool.handlers = NULL;
    options.pool.handler_count = 0;
    options.pool.worker_init = NULL;
    options.pool.refork_after = 60;
    pause_us(late_us);
    enter_stage("mc-supervisor");
    int result = serve_run(&options);
    tell(NULL, SERVE_ENDED, mc_error_message());
    _exit(result < 0 ? 2 : 0);
}

static bool server_ended(struct host *host)
{
    if (host->server != 0 && waitpid(host->server, &host->status, WNOHANG) == host->server) {
        host->ended = host->server;
        host->server = 0;
    }
    return host->server == 0;
}

/* How it ended is right, or due to somebody who was struck: itself, or what it is made
 * of. A client is nothing to it. */
static void judge_end(const struct host *host)
{
    pid_t victim = fault_victim();
    int status = host->status;
    bool right =
        host->to_end && (status == 0 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
    char line[TEXT_SIZE];
    snprintf(line, sizeof(line), "the server (%d) ended with status %#x%s: %.100s",
             (int)host->ended, (unsigned)status, host->to_end ? ", as it was told to" : "",
             ledger->told_text);
    ledger_line(NULL, 0, line);
    bool due = WIFSIGNALED(status) ? victim == host->ended : victim != 0 && victim != host->client;
    if (!right && !due)
        ledger_wrong(LOST, "the server ended with status %#x: %s", (unsigned)status,
                     ledger->told_text);
}

/* True when it is ready. */
static bool start_once(struct host *host, unsigned late_us)
{
    uint32_t before = told(SERVE_READY);
    host->to_end = false;
    atomic_store(&ledger->init_fails, 0);
    host->server = fork();
    if (host->server == 0)
        be_server(host->path, late_us);
    uint64_t deadline = now_ms() + WAIT_MS;
    while (told(SERVE_READY) == before && !server_ended(host) && now_ms() < deadline)
        pause_us(500);
    return told(SERVE_READY) != before;
}

static void start_server(struct host *host, unsigned late_us)
{
    if (start_once(host, late_us) || (fault_struck() && start_once(host, late_us)))
        return;
    ledger_wrong(WEDGED, "the server does not start: status %#x, %s", (unsigned)host->status,
                 ledger->told_text);
}

/* Starts it again if it is gone. */
static void keep_server(struct host *host)
{
    if (!server_ended(host))
        return;
    if (host->ended != 0)
        judge_end(host);
    start_server(host, LATE_US);
}

/* ---- what is done to it ---- */

static void command(const struct host *host, uint32_t type, int32_t value)
{
    struct sockaddr_un address = address_of(host->path);
    struct parcel parcel = {.message = {.type = type, .index = LAYOUT_VERSION, .value = value}};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
        channel_send(fd, &parcel, 0) == 0)
        (void)poll(&ready, 1, ANSWER_MS);
    close(fd);
}

static void kill_zygote(pid_t server)
{
    int pidfd = sys_pidfd_open(server);
    pid_t zygote = pidfd >= 0 ? look_zygote(pidfd) : 0;
    if (zygote > 0)
        kill(zygote, SIGKILL);
    sys_close(&pidfd);
}

static void grant(struct host *host)
{
    enum wish wish = (enum wish)atomic_exchange(&ledger->wish, WISH_NOTHING);
    if (wish == WISH_NOTHING || host->server == 0)
        return;
    host->to_end = wish == WISH_DRAIN || wish == WISH_KILL;
    if (wish == WISH_RELOAD)
        command(host, MESSAGE_RELOAD, 0);
    else if (wish == WISH_DRAIN)
        command(host, MESSAGE_DRAIN, -1);
    else if (wish == WISH_TRACE)
        command(host, MESSAGE_TRACE, atomic_load(&ledger->worker));
    else if (wish == WISH_ZYGOTE)
        kill_zygote(host->server);
    else
        kill(host->server, wish == WISH_HANGUP ? SIGHUP : SIGKILL);
}

/* Until the client has ended. */
static void attend(struct host *host)
{
    uint64_t deadline = now_ms() + CLIENT_MS;
    int status = 0;
    while (waitpid(host->client, &status, WNOHANG) == 0) {
        grant(host);
        keep_server(host);
        if (now_ms() >= deadline) {
            ledger_wrong(WEDGED, "the client does not end");
            kill(host->client, SIGUSR1);
            pause_us(100000);
            kill(host->client, SIGKILL);
            (void)waitpid(host->client, NULL, 0);
            return;
        }
        pause_us(500);
    }
    if (WIFSIGNALED(status) && host->client != fault_victim())
        ledger_wrong(LOST, "the client was killed by signal %d", WTERMSIG(status));
}

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
    while (!mc_pool_connected(the_pool) && (host == NULL || !server_ended(host))) {
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
    return told(SERVE_READY) != before[0] || told(SERVE_RELOADED) + told(SERVE_KEPT) != before[1];
}

/* Waits for the end of a reload that is wished for, or for another server. */
static void wish_reload(enum wish wish, enum serve_event expected)
{
    uint32_t before[2] = {told(SERVE_READY), told(SERVE_RELOADED) + told(SERVE_KEPT)};
    uint32_t had = told(expected);
    uint64_t began = now_ms();
    atomic_store(&ledger->wish, wish);
    while (!wished(before) && now_ms() - began < (fault_struck() ? STRUCK_MS : WAIT_MS))
        pause_us(500);
    if (fault_struck())
        return;
    if (!wished(before))
        ledger_wrong(WEDGED, "a reload does not end");
    else if (told(expected) == had)
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
    enter_stage("child");
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
    keep_server(host);
    if (!troupe_attach(host->path))
        return true;
    await_pool(host);
    mc_pool *handle = the_pool;
    the_pool = behind(handle);
    if (!server_ended(host)) {
        troupe_expect_throughput(true);
        troupe_expect_sound();
    }
    the_pool = handle;
    troupe_close();
    return !server_ended(host);
}

static void end_server(struct host *host)
{
    uint64_t deadline = now_ms() + WAIT_MS;
    if (server_ended(host))
        return;
    host->to_end = true;
    kill(host->server, SIGTERM);
    while (!server_ended(host) && now_ms() < deadline)
        pause_us(500);
    if (host->server != 0)
        ledger_wrong(WEDGED, "the server does not end");
    else
        judge_end(host);
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
        start_server(&host, 0);
        bystander = start_bystander(path);
    }
    start_client(&host, act);
    attend(&host);
    atomic_store(&ledger->curtain, 1);
    if (bystander > 0)
        await_child(bystander);
    if (!look_anew(&host))
        (void)look_anew(&host);
    end_server(&host);
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
