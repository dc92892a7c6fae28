/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The metrics over HTTP: one process, one thread, which sleeps until somebody asks. It
 * observes the pool as any other command does, so that nothing that happens here can
 * reach the supervisor.
 */
#include "tools/stats.h"

#include "base/error.h"
#include "base/sys.h"
#include "tools/listener.h"

#include <errno.h>
#include <limits.h>
#include <microhttpd.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    CONNECTIONS_MOST = 64,
    PATIENCE_S = 10, /* with a client that says nothing, or does not read */
    HOST_SIZE = 256,
};

struct exporter {
    const char *socket; /* of the pool */
    struct listener listener;
    struct view *view; /* NULL: the pool is not there */
    struct MHD_Daemon *daemon;
    int signals;
};

/* ---- where it listens ---- */

/* "HOST:PORT" in two; HOST may be in brackets, as addresses of IPv6 are, or empty. */
static int split_address(const char *address, char host[HOST_SIZE], const char **port)
{
    const char *colon = strrchr(address, ':');
    size_t length = colon != NULL ? (size_t)(colon - address) : 0;
    bool bracketed = length >= 2 && address[0] == '[' && address[length - 1] == ']';
    if (colon == NULL || colon[1] == '\0' || length >= HOST_SIZE)
        return error_set(-EINVAL,
                         "--listen is '%s'; write HOST:PORT, such as localhost:9464, or the path "
                         "of a socket, with a slash in it",
                         address);
    snprintf(host, HOST_SIZE, "%.*s", (int)(bracketed ? length - 2 : length), address + bracketed);
    *port = colon + 1;
    return 0;
}

/* Returns a descriptor or a negative errno. */
static int bind_to(const struct addrinfo *found)
{
    const int yes = 1;
    int fd = socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, found->ai_protocol);
    if (fd < 0)
        return -errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0)
        return fd;
    int result = -errno;
    close(fd);
    return result;
}

/* At the first address that this machine has. One whose port is in use is not passed over:
 * then two would serve a part each of what the name stands for. */
static int bind_first(const struct addrinfo *found, const char *address)
{
    int fd = -EADDRNOTAVAIL;
    for (; found != NULL && fd < 0 && fd != -EADDRINUSE; found = found->ai_next)
        fd = bind_to(found);
    if (fd < 0)
        return error_system(fd, "cannot listen at %s; choose another port or address", address);
    return fd;
}

static int listen_at_port(struct exporter *exporter, const char *address)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found;
    char host[HOST_SIZE] = "";
    const char *port = NULL;
    int result = split_address(address, host, &port);
    if (result < 0)
        return result;
    result = getaddrinfo(host[0] != '\0' ? host : NULL, port, &hints, &found);
    if (result != 0)
        return error_set(-EINVAL, "--listen is '%s': %s", address, gai_strerror(result));
    exporter->listener.socket = bind_first(found, address);
    freeaddrinfo(found);
    return exporter->listener.socket < 0 ? exporter->listener.socket : 0;
}

static int listen_at(struct exporter *exporter, const char *address)
{
    if (strchr(address, '/') == NULL)
        return listen_at_port(exporter, address);
    mode_t mask = umask(0);
    umask(mask);
    return listener_open_stream(&exporter->listener, address, 0666 & ~mask);
}

/* ---- what it answers ---- */

/* The pool may have come, gone, or been followed by another. */
static const struct view *look(struct exporter *exporter)
{
    for (int tries = 0; tries < 2; tries++) {
        if (exporter->view == NULL && view_open(&exporter->view, exporter->socket) < 0)
            return NULL;
        if (view_take(exporter->view) == 0)
            return exporter->view;
        view_close(exporter->view);
        exporter->view = NULL;
    }
    return NULL;
}

static struct MHD_Response *metrics(struct exporter *exporter)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return NULL;
    stats_metrics(look(exporter), out);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    struct MHD_Response *response =
        MHD_create_response_from_buffer(size, text, MHD_RESPMEM_MUST_FREE);
    if (response != NULL)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, STATS_METRICS_TYPE);
    return response;
}

static struct MHD_Response *words(const char *text)
{
    return MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text,
                                           MHD_RESPMEM_PERSISTENT);
}

static enum MHD_Result answer(void *context, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **state)
{
    struct exporter *exporter = context;
    unsigned status = MHD_HTTP_OK;
    struct MHD_Response *response;
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
        status = MHD_HTTP_METHOD_NOT_ALLOWED;
        response = words("GET and HEAD only\n");
        if (response != NULL)
            MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    } else if (strcmp(url, "/metrics") == 0) {
        response = metrics(exporter);
    } else {
        status = MHD_HTTP_NOT_FOUND;
        response = words("the metrics are at /metrics\n");
    }
    if (response == NULL)
        return MHD_NO;
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

/* ---- the loop ---- */

static int wait_ms(struct exporter *exporter)
{
    MHD_UNSIGNED_LONG_LONG timeout;
    if (MHD_get_timeout(exporter->daemon, &timeout) != MHD_YES)
        return -1;
    return timeout < INT_MAX ? (int)timeout : INT_MAX;
}

static int loop(struct exporter *exporter)
{
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(exporter->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    struct pollfd waits[] = {{.fd = exporter->signals, .events = POLLIN},
                             {.fd = info != NULL ? info->epoll_fd : -1, .events = POLLIN}};
    while ((waits[0].revents & POLLIN) == 0) {
        if (poll(waits, 2, wait_ms(exporter)) < 0 && errno != EINTR)
            return error_system(-errno, "cannot wait for requests");
        (void)MHD_run(exporter->daemon);
    }
    return 0;
}

/* ---- from start to end ---- */

static int take_signals(struct exporter *exporter)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    (void)signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return error_system(-errno, "cannot wait for signals");
    exporter->signals = signalfd(-1, &set, SFD_CLOEXEC);
    return exporter->signals < 0 ? error_system(-errno, "cannot wait for signals") : 0;
}

static int start(struct exporter *exporter)
{
    exporter->daemon = MHD_start_daemon(
        MHD_USE_EPOLL, 0, NULL, NULL, answer, exporter, MHD_OPTION_LISTEN_SOCKET,
        exporter->listener.socket, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MOST,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)PATIENCE_S, MHD_OPTION_END);
    if (exporter->daemon == NULL)
        return error_set(-EIO, "the HTTP server cannot be started");
    return 0;
}

int exporter_run(const char *socket, const char *address)
{
    struct exporter exporter = {.socket = socket, .signals = -1, .listener = {.socket = -1}};
    int result = take_signals(&exporter);
    if (result == 0)
        result = listen_at(&exporter, address);
    if (result == 0)
        result = start(&exporter);
    if (result == 0) {
        if (look(&exporter) == NULL)
            fprintf(stderr, "multicore: %s; metrics say so until it is there\n", error_message());
        fprintf(stderr, "multicore: metrics of the pool at %s are served at %s\n", socket, address);
        result = loop(&exporter);
    }
    if (exporter.daemon != NULL) {
        MHD_stop_daemon(exporter.daemon); /* closes the socket that it listens at */
        exporter.listener.socket = -1;
    }
    listener_close(&exporter.listener);
    view_close(exporter.view);
    sys_close(&exporter.signals);
    return result;
}
