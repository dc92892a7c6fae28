/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fault/host.h"

#include "base/fault.h"
#include "base/sys.h"
#include "ipc/channel.h"
#include "tests/fault/look.h"
#include "tests/fault/scenes.h"

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
    ANSWER_MS = 1000, /* to the operator */
    CLIENT_MS = 2 * WAIT_MS,
};

uint32_t host_told(enum serve_event event)
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

void host_enter_stage(const char *role)
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
    host_enter_stage("mc-supervisor");
    int result = serve_run(&options);
    tell(NULL, SERVE_ENDED, mc_error_message());
    _exit(result < 0 ? 2 : 0);
}

bool host_ended(struct host *host)
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
    uint32_t before = host_told(SERVE_READY);
    host->to_end = false;
    atomic_store(&ledger->init_fails, 0);
    host->server = fork();
    if (host->server == 0)
        be_server(host->path, late_us);
    uint64_t deadline = now_ms() + WAIT_MS;
    while (host_told(SERVE_READY) == before && !host_ended(host) && now_ms() < deadline)
        pause_us(500);
    return host_told(SERVE_READY) != before;
}

void host_start(struct host *host, unsigned late_us)
{
    if (start_once(host, late_us) || (fault_struck() && start_once(host, late_us)))
        return;
    ledger_wrong(WEDGED, "the server does not start: status %#x, %s", (unsigned)host->status,
                 ledger->told_text);
}

void host_keep(struct host *host)
{
    if (!host_ended(host))
        return;
    if (host->ended != 0)
        judge_end(host);
    host_start(host, LATE_US);
}

void host_end(struct host *host)
{
    uint64_t deadline = now_ms() + WAIT_MS;
    if (host_ended(host))
        return;
    host->to_end = true;
    kill(host->server, SIGTERM);
    while (!host_ended(host) && now_ms() < deadline)
        pause_us(500);
    if (host->server != 0)
        ledger_wrong(WEDGED, "the server does not end");
    else
        judge_end(host);
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

void host_attend(struct host *host)
{
    uint64_t deadline = now_ms() + CLIENT_MS;
    int status = 0;
    while (waitpid(host->client, &status, WNOHANG) == 0) {
        grant(host);
        host_keep(host);
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
