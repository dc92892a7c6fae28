/* SPDX-License-Identifier: BSD-3-Clause */
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATIENCE_MS = 20000 };

/* ---- its directory ---- */

static const char *const names[] = {"conf", "notify", "log", "socket"};

static const char *path_of(const struct server *server, const char *name)
{
    static char path[sizeof(server->socket)];
    snprintf(path, sizeof(path), "%s/%s", server->directory, name);
    return path;
}

static bool write_configuration(const struct server *server, unsigned max_clients)
{
    FILE *file = fopen(path_of(server, "conf"), "we");
    if (file == NULL)
        return false;
    fprintf(file, "socket = socket\nworkers = %d\nmax-clients = %u\nmodule \"%s\" {\n}\n",
            SERVER_WORKERS, max_clients, BENCH_MODULE);
    return fclose(file) == 0;
}

static bool listen_to_it(struct server *server)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path_of(server, "notify"));
    server->notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return server->notify >= 0 &&
           bind(server->notify, (const struct sockaddr *)&address, sizeof(address)) == 0;
}

/* ---- its process ---- */

static void run_command(const struct server *server)
{
    int log = open(path_of(server, "log"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (log < 0 || dup2(log, STDERR_FILENO) < 0 || dup2(log, STDOUT_FILENO) < 0)
        _exit(126);
    setenv("NOTIFY_SOCKET", path_of(server, "notify"), 1);
    unsetenv("WATCHDOG_USEC");
    unsetenv("LISTEN_FDS");
    execl(BENCH_COMMAND, "multicore", "serve", path_of(server, "conf"), (char *)NULL);
    _exit(127);
}

static bool ended(struct server *server, int options, int *status)
{
    pid_t found;
    while ((found = waitpid(server->pid, status, options)) < 0 && errno == EINTR) {
    }
    if (found == 0)
        return false;
    server->pid = 0;
    return true;
}

/* Waits for a message that has all the words; others may come before. */
static enum outcome await_message(struct server *server, const char *words, int timeout_ms)
{
    char message[1024] = "";
    int status;
    struct pollfd waited = {.fd = server->notify, .events = POLLIN};
    uint64_t limit = now_ns() + (uint64_t)timeout_ms * 1000000;
    while (now_ns() < limit) {
        int found = poll(&waited, 1, 10);
        ssize_t size =
            found == 1 ? recv(server->notify, message, sizeof(message) - 1, MSG_DONTWAIT) : -1;
        if (size >= 0) {
            message[size] = '\0';
            if (strstr(message, words) != NULL)
                return MEASURED;
        } else if (ended(server, WNOHANG, &status)) {
            message[strcspn(message, "\n")] = '\0';
            return failed("the server ended with status 0x%x; it said last '%s'", (unsigned)status,
                          message);
        }
    }
    return failed("the server did not say %s within %d ms", words, timeout_ms);
}

static void forget_messages(const struct server *server)
{
    char message[1024];
    while (recv(server->notify, message, sizeof(message), MSG_DONTWAIT) >= 0) {
    }
}

static enum outcome start(struct server *server)
{
    forget_messages(server);
    server->pid = fork();
    if (server->pid == 0)
        run_command(server);
    if (server->pid < 0) {
        server->pid = 0;
        return failed("no process for the server: %s", strerror(errno));
    }
    return await_message(server, "READY=1", PATIENCE_MS);
}

static enum outcome end(struct server *server, int signal)
{
    int status;
    (void)kill(server->pid, signal);
    uint64_t limit = now_ns() + PATIENCE_MS * UINT64_C(1000000);
    while (!ended(server, WNOHANG, &status)) {
        if (now_ns() > limit)
            return failed("the server does not end");
        pause_ns(200000);
    }
    bool fine = signal == SIGKILL || (WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return fine ? MEASURED : failed("the server ended with status 0x%x", (unsigned)status);
}

/* ---- what others call ---- */

enum outcome server_open(struct server *server, unsigned max_clients)
{
    *server = (struct server){.notify = -1};
    snprintf(server->directory, sizeof(server->directory), "/tmp/multicore-bench-XXXXXX");
    if (mkdtemp(server->directory) == NULL) {
        server->directory[0] = '\0';
        return failed("no directory in /tmp: %s", strerror(errno));
    }
    snprintf(server->socket, sizeof(server->socket), "%s", path_of(server, "socket"));
    if (!write_configuration(server, max_clients) || !listen_to_it(server))
        return failed("%s cannot be filled: %s", server->directory, strerror(errno));
    return start(server);
}

void server_close(struct server *server)
{
    if (server->pid != 0 && end(server, SIGTERM) == FAILED && server->pid != 0)
        (void)end(server, SIGKILL);
    if (server->notify >= 0)
        close(server->notify);
    if (server->directory[0] == '\0')
        return;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        unlink(path_of(server, names[i]));
    rmdir(server->directory);
}

enum outcome server_reload(struct server *server)
{
    forget_messages(server);
    (void)kill(server->pid, SIGHUP);
    enum outcome outcome = await_message(server, "RELOADING=1", PATIENCE_MS);
    return outcome == FAILED ? FAILED : await_message(server, ", reloaded.", PATIENCE_MS);
}

enum outcome server_restart(struct server *server)
{
    enum outcome outcome = end(server, SIGTERM);
    return outcome == FAILED ? FAILED : start(server);
}

enum outcome server_replace(struct server *server)
{
    enum outcome outcome = end(server, SIGKILL);
    return outcome == FAILED ? FAILED : start(server);
}
