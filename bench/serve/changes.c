/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What clients notice when the server reloads, is restarted or dies: tasks that they get no
 * result of, and the longest time between two results. Four clients ask for a task of
 * 100 us and rest for 300 us, on and on. They have its handler linked in, so that it runs
 * in them while the pool is away, and it is idempotent: one that ends with -EOWNERDEAD,
 * which only happens when the pool dies, is submitted once more.
 */
#include "probes.h"
#include "request.h"
#include "server.h"

#include <errno.h>
#include <stdio.h>

enum {
    CLIENTS = 4,
    CLIENTS_MOST = 16,
    WORK_US = 100,
    REST_NS = 300000,
    STEADY_NS = 100000000, /* before a change begins, and after it is over */
    PATIENCE_MS = 20000,
};

/* ---- in a client ---- */

static void note_time(struct client *client, uint64_t *last)
{
    uint64_t now = now_ns();
    if (now - *last > atomic_load(&client->longest_ns))
        atomic_store(&client->longest_ns, now - *last);
    *last = now;
}

static void ask(struct client *client, mc_pool *pool)
{
    char text[PROBLEM_SIZE];
    pid_t server = 0;
    int status = request_work(pool, WORK_US, &server, text, sizeof(text));
    if (status == -EOWNERDEAD) {
        atomic_fetch_add(&client->resubmitted, 1);
        status = request_work(pool, WORK_US, &server, text, sizeof(text));
    }
    if (status != 0) {
        atomic_fetch_add(&client->lost, 1);
        fprintf(stderr, "bench_serve: a task was lost: %d: %s\n", status, text);
    }
    atomic_store(&client->server, server);
}

static void ask_on_and_on(struct client *client)
{
    mc_pool *pool = request_attach(client, true);
    ask(client, pool);
    client_ready(client);
    uint64_t last = now_ns();
    while (!client_over(client)) {
        ask(client, pool);
        note_time(client, &last);
        pause_ns(REST_NS);
    }
    mc_pool_close(pool);
}

/* ---- the change ---- */

struct counts {
    uint64_t lost, resubmitted, longest_ns;
};

static struct counts count(struct crowd *crowd)
{
    struct counts counts = {0};
    for (unsigned i = 0; i < crowd->count; i++) {
        struct client *client = &crowd->clients[i];
        uint64_t longest_ns = atomic_exchange(&client->longest_ns, 0);
        counts.lost += atomic_load(&client->lost);
        counts.resubmitted += atomic_load(&client->resubmitted);
        if (longest_ns > counts.longest_ns)
            counts.longest_ns = longest_ns;
    }
    return counts;
}

/* Until all clients are served by the server's workers. */
static enum outcome await_all(const struct crowd *crowd, const struct server *server)
{
    uint64_t limit = now_ns() + PATIENCE_MS * UINT64_C(1000000);
    for (unsigned i = 0; i < crowd->count; i++)
        while (atomic_load(&crowd->clients[i].server) != server->pid) {
            if (now_ns() > limit)
                return failed("client %u has not come back after %d s", i, PATIENCE_MS / 1000);
            pause_ns(1000000);
        }
    return MEASURED;
}

typedef enum outcome change_fn(struct server *server);

static enum outcome change_once(const struct probe *probe, struct crowd *crowd,
                                struct server *server, change_fn *change)
{
    pause_ns(STEADY_NS);
    struct counts before = count(crowd);
    enum outcome outcome = change != NULL ? change(server) : MEASURED;
    if (outcome == MEASURED)
        outcome = await_all(crowd, server);
    pause_ns(STEADY_NS);
    struct counts after = count(crowd);
    uint64_t resubmitted = after.resubmitted - before.resubmitted;
    uint64_t lost = after.lost - before.lost;
    bool dies = probe->figure == KILL_LOST;
    if (dies)
        figure_add(KILL_RESUBMITTED, (double)resubmitted);
    figure_add(probe->figure, (double)(dies ? lost : lost + resubmitted));
    figure_add(probe->beside[dies], (double)after.longest_ns / 1e6);
    return outcome;
}

static enum outcome measure_change(const struct probe *probe, unsigned samples, change_fn *change)
{
    struct server server;
    enum outcome outcome = server_open(&server, CLIENTS_MOST);
    if (outcome == MEASURED) {
        struct crowd *crowd = crowd_start(CLIENTS, ask_on_and_on, server.socket, NULL);
        outcome = crowd_begin(crowd);
        for (unsigned i = 0; i < samples && outcome == MEASURED; i++)
            outcome = change_once(probe, crowd, &server, change);
        enum outcome end = crowd_end(crowd);
        outcome = outcome == FAILED ? FAILED : end;
    }
    server_close(&server);
    return outcome;
}

enum outcome change_nothing(const struct probe *probe, unsigned samples)
{
    return measure_change(probe, samples, NULL);
}

enum outcome change_reload(const struct probe *probe, unsigned samples)
{
    return measure_change(probe, samples, server_reload);
}

enum outcome change_restart(const struct probe *probe, unsigned samples)
{
    return measure_change(probe, samples, server_restart);
}

enum outcome change_kill(const struct probe *probe, unsigned samples)
{
    return measure_change(probe, samples, server_replace);
}
