/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One thread, one epoll: libmicrohttpd has descriptors of its own to watch and shows them
 * as one. When the server stops, it closes its listening sockets, serves the requests that
 * it has, and then ends; whoever is still sending or reading when the time limit of a request
 * has passed since is not waited for.
 */
#include "server.h"
#include "listen.h"
#include "seconds.h"
#include "stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

enum { IDLE_S = 60 };     /* a connection that says nothing is closed */
enum { TURNS_MAX = 512 }; /* for as many connections as wait at most, SOMAXCONN */

/* ---- The access log ---- */

static int open_log(struct server *server, const char *path, struct failure *failure)
{
    if (!path)
        return 0;
    server->log = strcmp(path, "-") == 0 ? stdout : fopen(path, "ae");
    if (!server->log)
        return failure_set(failure, -errno, "--access-log %s: %s", path, strerror(errno));
    return 0;
}

static const char *client_name(const struct request *request, char *name, size_t size)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info ? info->client_addr : NULL;
    const void *bytes = NULL;
    if (address && address->sa_family == AF_INET)
        bytes = &((const struct sockaddr_in *)(const void *)address)->sin_addr;
    else if (address && address->sa_family == AF_INET6)
        bytes = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    const char *text = bytes ? inet_ntop(address->sa_family, bytes, name, (socklen_t)size) : NULL;
    return text ? text : "unix";
}

/* Method and path are the client's to choose: what would end word or line is not printed. */
static void print_word(FILE *log, const char *word)
{
    for (const unsigned char *c = (const unsigned char *)word; *c; c++)
        if (*c > ' ' && *c < 0x7f)
            fputc(*c, log);
        else
            fprintf(log, "%%%02X", *c);
}

void server_log(struct server *server, const struct request *request, bool complete)
{
    char name[INET6_ADDRSTRLEN], when[32];
    time_t now = time(NULL);
    struct tm utc;
    if (!server->log)
        return;
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    fprintf(server->log, "%s %s ", when, client_name(request, name, sizeof(name)));
    print_word(server->log, request->method ? request->method : "-");
    fputc(' ', server->log);
    print_word(server->log, request->url ? request->url : "-");
    fprintf(server->log, " %u %zu %.1fms%s\n", request->status, request->sent,
            seconds_since(request->start_ns) * 1e3, complete ? "" : " incomplete");
}

/* ---- Listening ---- */

static void on_readable(struct watch *watch, uint32_t events)
{
    struct listener *listener = watch->context;
    (void)events;
    MHD_run(listener->daemon);
}

/* A Unix socket's file goes with it: it is ours, as long as that is open. */
static void close_socket(struct listener *listener)
{
    if (listener->path)
        unlink(listener->path);
    close(listener->fd);
}

/* Takes the socket, also when it fails. */
static int serve_socket(struct server *server, int fd, const char *path, struct failure *failure)
{
    struct listener *listener = &server->listeners[server->listener_count];
    *listener = (struct listener){.fd = fd, .path = path};
    listener->watch = (struct watch){.ready = on_readable, .context = listener};
    listener->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, request_on_data, server,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, request_on_end, server,
        MHD_OPTION_CONNECTION_LIMIT, server->options->max_requests + 1000u,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S, MHD_OPTION_END);
    if (!listener->daemon) {
        close_socket(listener);
        return failure_set(failure, -EIO, "libmicrohttpd does not start");
    }
    server->listener_count++;
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(listener->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    int status = info ? loop_watch(server->loop, info->epoll_fd, EPOLLIN, &listener->watch) : -EIO;
    return status == 0 ? 0 : failure_set(failure, status, "cannot watch libmicrohttpd");
}

static int serve_sockets(struct server *server, struct failure *failure)
{
    const struct options *options = server->options;
    char name[256] = "";
    int status = 0;
    if (options->listen) {
        int fd = listen_tcp(options->listen, name, sizeof(name), failure);
        status = fd < 0 ? fd : serve_socket(server, fd, NULL, failure);
    }
    if (status == 0 && options->unix_path) {
        int fd = listen_unix(options->unix_path, failure);
        status = fd < 0 ? fd : serve_socket(server, fd, options->unix_path, failure);
    }
    if (status < 0)
        return status;
    printf("listening on %s%s%s\n", name, *name && options->unix_path ? " and " : "",
           options->unix_path ? options->unix_path : "");
    fflush(stdout);
    return 0;
}

/* Nothing becomes readable when a request is resumed: libmicrohttpd wants to be called. */
static void run_daemons(struct server *server)
{
    bool resumed = server->resumed;
    server->resumed = false;
    for (unsigned i = 0; i < server->listener_count; i++) {
        struct MHD_Daemon *daemon = server->listeners[i].daemon;
        MHD_UNSIGNED_LONG_LONG ms = 1;
        if (resumed || (MHD_get_timeout(daemon, &ms) == MHD_YES && ms == 0))
            MHD_run(daemon);
    }
}

/* ---- Stopping ---- */

static bool has_callers(const struct listener *listener)
{
    struct pollfd watched = {.fd = listener->fd, .events = POLLIN};
    return poll(&watched, 1, 0) > 0;
}

/* What has been sent until now is taken. libmicrohttpd accepts some ten connections in a turn,
 * and reads from them in the next one; when it has as many as it may, it accepts none. */
static void take_what_is_there(const struct listener *listener)
{
    for (unsigned turns = 0; turns < TURNS_MAX && has_callers(listener); turns++)
        MHD_run(listener->daemon);
    MHD_run(listener->daemon);
}

static void stop(struct server *server)
{
    if (server->stopping)
        return;
    for (unsigned i = 0; i < server->listener_count; i++) {
        struct listener *listener = &server->listeners[i];
        take_what_is_there(listener);
        MHD_quiesce_daemon(listener->daemon);
        close_socket(listener);
    }
    server->stopping = true;
    server->end_ns = monotonic_ns() + server->options->time_limit_ms * UINT64_C(1000000);
}

static void on_signal(struct watch *watch, uint32_t events)
{
    struct server *server = watch->context;
    struct signalfd_siginfo info;
    (void)events;
    if (read(server->signal_fd, &info, sizeof(info)) != sizeof(info))
        return;
    server->hurry = server->stopping;
    stop(server);
}

static int watch_signals(struct server *server, struct failure *failure)
{
    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGTERM);
    sigaddset(&wanted, SIGINT);
    sigaddset(&wanted, SIGHUP); /* ignored as ever under nohup */
    sigprocmask(SIG_BLOCK, &wanted, NULL);
    signal(SIGPIPE, SIG_IGN);
    server->signals = (struct watch){.ready = on_signal, .context = server};
    server->signal_fd = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
    if (server->signal_fd < 0)
        return failure_set(failure, -errno, "no signalfd: %s", strerror(errno));
    int status = loop_watch(server->loop, server->signal_fd, EPOLLIN, &server->signals);
    return status == 0 ? 0 : failure_set(failure, status, "cannot watch for signals");
}

/* libmicrohttpd does not end while a request is suspended; and while it answers one, the rest
 * of another's body may come. */
static void refuse_suspended(struct server *server)
{
    struct request *request;
    do {
        while ((request = TAILQ_FIRST(&server->suspended))) {
            mode_cancel(server->mode, &request->job);
            request_refuse(request, MHD_HTTP_SERVICE_UNAVAILABLE, "the server is ending");
        }
        streams_tell(server);
        run_daemons(server);
    } while (!TAILQ_EMPTY(&server->suspended));
}

/* ---- The loop ---- */

static void expire(struct server *server)
{
    uint64_t now_ns = monotonic_ns();
    struct request *request;
    while ((request = TAILQ_FIRST(&server->suspended)) && request->deadline_ns <= now_ns)
        request_expire(request);
}

static void tell_streams(struct server *server)
{
    uint64_t now_ns = monotonic_ns();
    if (now_ns - server->told_ns < STREAM_MS * UINT64_C(1000000) && !server->stopping)
        return;
    server->told_ns = now_ns;
    streams_tell(server);
}

static int earlier(int one, int other)
{
    return one < 0 || (other >= 0 && other < one) ? other : one;
}

static int ms_until(uint64_t when_ns)
{
    uint64_t now_ns = monotonic_ns();
    return when_ns > now_ns ? (int)((when_ns - now_ns) / 1000000 + 1) : 0;
}

/* Until the next request is out of time, or libmicrohttpd wants to be called. */
static int next_timeout(const struct server *server)
{
    const struct request *first = TAILQ_FIRST(&server->suspended);
    int timeout = first ? ms_until(first->deadline_ns) : -1;
    if (server->stream_count > 0)
        timeout = earlier(timeout, STREAM_MS);
    if (server->stopping)
        timeout = earlier(timeout, ms_until(server->end_ns));
    for (unsigned i = 0; i < server->listener_count; i++) {
        MHD_UNSIGNED_LONG_LONG ms;
        if (MHD_get_timeout(server->listeners[i].daemon, &ms) == MHD_YES)
            timeout = earlier(timeout, ms < 60000 ? (int)ms : 60000);
    }
    return timeout;
}

static bool is_over(const struct server *server)
{
    bool nothing_left = server->requests == 0 || monotonic_ns() >= server->end_ns;
    return server->hurry || (server->stopping && nothing_left);
}

int server_run(struct server *server, struct failure *failure)
{
    int status = 0;
    while (status == 0 && !is_over(server)) {
        status = loop_turn(server->loop, next_timeout(server));
        expire(server);
        tell_streams(server);
        run_daemons(server);
        if (server->log)
            fflush(server->log);
        if (server->mode->lost)
            stop(server);
    }
    if (server->mode->lost)
        return failure_set(failure, -EOWNERDEAD, "the pool is gone");
    return status == 0 ? 0 : failure_set(failure, status, "the event loop: %s", strerror(-status));
}

/* Each connection is a descriptor. */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

int server_init(struct server *server, const struct options *options, struct mode *mode,
                struct loop *loop, struct failure *failure)
{
    *server = (struct server){.options = options, .mode = mode, .loop = loop, .signal_fd = -1};
    TAILQ_INIT(&server->suspended);
    TAILQ_INIT(&server->streams);
    raise_descriptors();
    int status = watch_signals(server, failure);
    if (status == 0)
        status = documents_init(&server->documents, failure);
    if (status == 0)
        status = open_log(server, options->access_log, failure);
    if (status == 0)
        status = serve_sockets(server, failure);
    return status;
}

void server_fini(struct server *server)
{
    stop(server);
    refuse_suspended(server);
    for (unsigned i = 0; i < server->listener_count; i++)
        MHD_stop_daemon(server->listeners[i].daemon);
    documents_fini(&server->documents);
    if (server->signal_fd >= 0)
        close(server->signal_fd);
    if (server->log && server->log != stdout)
        fclose(server->log);
}
