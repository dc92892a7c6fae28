/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How soon another client has the place of one that was killed. The pool lets in one client
 * only; that one has tasks of 100 us queued and running when it is killed, and the next
 * one tries to attach until it is let in.
 */
#include "handlers.h"
#include "probes.h"
#include "request.h"
#include "server.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TASKS = 1000, RETRY_NS = 100000, PATIENCE_NS = 1000000000 };

/* What the victim does before it is killed. False: it could not. */
typedef bool prepare_fn(struct client *client);

/* ---- the victim ---- */

/* The place of the last one may not be free yet. */
static mc_pool *attach_within(struct client *client, uint64_t limit_ns)
{
    uint64_t began = now_ns();
    for (;;) {
        mc_pool *pool;
        if (mc_pool_attach(client->crowd->socket, NULL, &pool) < 0)
            client_fail(client, "cannot attach: %s", mc_error_message());
        if (mc_pool_connected(pool))
            return pool;
        mc_pool_close(pool);
        if (now_ns() - began > limit_ns)
            return NULL;
        pause_ns(RETRY_NS);
    }
}

static bool fill_the_pool(struct client *client)
{
    mc_group *group;
    const unsigned duration_us = FLOOD_TASK_US;
    mc_pool *pool = attach_within(client, PATIENCE_NS);
    bool fine = pool != NULL && mc_group_open(pool, NULL, &group) == 0;
    for (int i = 0; fine && i < TASKS; i++)
        fine = mc_group_run(group, "work", &duration_us, sizeof(duration_us)) == 0;
    return fine && mc_group_wait(group, 1) == -ETIMEDOUT; /* some have begun */
}

static bool do_nothing(struct client *client)
{
    (void)client;
    return true;
}

/* Returns our end of a socket whose other end it has, when it is prepared; -1: it is not. */
static int start_victim(struct client *client, prepare_fn *prepare, pid_t *pid)
{
    int ends[2];
    char byte = 0;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        client_fail(client, "no sockets: %s", strerror(errno));
    *pid = fork();
    if (*pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(ends[0]);
        if (prepare(client) && send(ends[1], &byte, 1, MSG_NOSIGNAL) == 1)
            pause();
        _exit(1);
    }
    close(ends[1]);
    if (*pid > 0 && recv(ends[0], &byte, 1, 0) == 1)
        return ends[0];
    close(ends[0]);
    return -1;
}

/* ---- the one that kills it ---- */

static void kill_and_take_over(struct client *client, pid_t victim, int line)
{
    (void)line;
    uint64_t began = now_ns();
    (void)kill(victim, SIGKILL);
    mc_pool *pool = attach_within(client, PATIENCE_NS);
    uint64_t ended = now_ns();
    if (pool == NULL)
        client_fail(client, "the place of a dead client is not free after 1 s");
    client_sample(client, RECLAIM, (double)(ended - began) / 1e6);
    request_null_or_fail(client, pool);
    mc_pool_close(pool);
}

static void kill_and_see_the_end(struct client *client, pid_t victim, int line)
{
    char byte;
    uint64_t began = now_ns();
    (void)kill(victim, SIGKILL);
    (void)recv(line, &byte, 1, 0);
    client_sample(client, FLOOR_RECLAIM, (double)(now_ns() - began) / 1e6);
}

struct killing {
    unsigned samples;
    prepare_fn *prepare;
    void (*kill)(struct client *client, pid_t victim, int line);
};

static void kill_again_and_again(struct client *client)
{
    const struct killing *killing = client->crowd->context;
    client_ready(client);
    for (unsigned i = 0; i < killing->samples; i++) {
        pid_t victim;
        int line = start_victim(client, killing->prepare, &victim);
        if (line < 0)
            client_fail(client, "a client that is to be killed cannot be started");
        killing->kill(client, victim, line);
        close(line);
        while (waitpid(victim, NULL, 0) < 0 && errno == EINTR) {
        }
    }
}

/* ---- the figures ---- */

enum outcome reclaim_library(const struct probe *probe, unsigned samples)
{
    (void)probe;
    struct killing killing = {samples, fill_the_pool, kill_and_take_over};
    struct server server;
    enum outcome outcome = server_open(&server, 1);
    if (outcome == MEASURED)
        outcome = crowd_run(crowd_start(1, kill_again_and_again, server.socket, &killing));
    server_close(&server);
    return outcome;
}

enum outcome reclaim_floor(const struct probe *probe, unsigned samples)
{
    (void)probe;
    struct killing killing = {samples, do_nothing, kill_and_see_the_end};
    return crowd_run(crowd_start(1, kill_again_and_again, NULL, &killing));
}
