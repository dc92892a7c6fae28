/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How long one client waits for a null task, alone and beside one that floods the pool:
 * that one submits as fast as it can, until its queue is full.
 */
#include "handlers.h"
#include "pingpong.h"
#include "probes.h"
#include "request.h"
#include "server.h"

enum {
    CLIENTS_MOST = 8,
    WARM_UP = 20,
    PAUSE_NS = 1000000,
    GROUPS = 8,
    GROUP_TASKS = 512, /* all groups together: the default queue_depth */
};

struct neighbours {
    unsigned figure;
    unsigned samples;
    const char *flood; /* its handler */
};

/* ---- the two clients ---- */

static void ask_now_and_then(struct client *client)
{
    const struct neighbours *neighbours = client->crowd->context;
    mc_pool *pool = request_attach(client, false);
    request_null_or_fail(client, pool);
    client_ready(client);
    for (unsigned i = 0; i < WARM_UP + neighbours->samples; i++) {
        pause_ns(PAUSE_NS);
        uint64_t began = now_ns();
        request_null_or_fail(client, pool);
        double took = elapsed_ns(began, now_ns());
        if (i >= WARM_UP)
            client_sample(client, neighbours->figure, took);
    }
    mc_pool_close(pool);
}

static mc_group *submit(struct client *client, mc_pool *pool, const char *handler)
{
    mc_group *group;
    const unsigned duration_us = FLOOD_TASK_US;
    if (mc_group_open(pool, NULL, &group) < 0)
        client_fail(client, "the flood: %s", mc_error_message());
    for (int i = 0; i < GROUP_TASKS; i++)
        if (mc_group_run(group, handler, &duration_us, sizeof(duration_us)) < 0)
            client_fail(client, "the flood: %s", mc_error_message());
    return group;
}

static void flood(struct client *client)
{
    const struct neighbours *neighbours = client->crowd->context;
    mc_pool *pool = request_attach(client, false);
    mc_group *groups[GROUPS];
    for (int i = 0; i < GROUPS; i++)
        groups[i] = submit(client, pool, neighbours->flood);
    client_ready(client);
    for (int oldest = 0; !client_over(client); oldest = (oldest + 1) % GROUPS) {
        if (mc_group_wait(groups[oldest], -1) < 0)
            client_fail(client, "the flood: %s", mc_error_message());
        mc_group_close(groups[oldest]);
        groups[oldest] = submit(client, pool, neighbours->flood);
    }
    for (int i = 0; i < GROUPS; i++)
        mc_group_close(groups[i]);
    mc_pool_close(pool);
}

static void take_part(struct client *client)
{
    if (client_number(client) == 0)
        ask_now_and_then(client);
    else
        flood(client);
}

static enum outcome measure_neighbours(struct neighbours neighbours)
{
    struct server server;
    enum outcome outcome = server_open(&server, CLIENTS_MOST);
    if (outcome == MEASURED) {
        unsigned count = neighbours.flood != NULL ? 2 : 1;
        struct crowd *crowd = crowd_start(count, take_part, server.socket, &neighbours);
        outcome = crowd_run(crowd);
    }
    server_close(&server);
    return outcome;
}

enum outcome neighbour_alone(const struct probe *probe, unsigned samples)
{
    return measure_neighbours((struct neighbours){probe->figure, samples, NULL});
}

enum outcome neighbour_flooded(const struct probe *probe, unsigned samples)
{
    return measure_neighbours((struct neighbours){probe->figure, samples, "work"});
}

enum outcome neighbour_flooded_null(const struct probe *probe, unsigned samples)
{
    return measure_neighbours((struct neighbours){probe->figure, samples, "null"});
}

/* ---- what the scheduler makes of it without a pool ---- */

enum outcome neighbour_floor(const struct probe *probe, unsigned samples)
{
    return ping_pong(probe->figure, samples,
                     (struct ping_pong){.answerer = BOTH_CPUS, .idle_ns = PAUSE_NS});
}

static void keep_busy(struct client *client)
{
    static const enum place places[] = {FIRST_CPU, SECOND_CPU, BOTH_CPUS};
    place_on(places[client_number(client)]);
    client_ready(client);
    while (!client_over(client)) {
    }
}

enum outcome neighbour_floor_busy(const struct probe *probe, unsigned samples)
{
    struct crowd *crowd = crowd_start((unsigned)probe->size, keep_busy, NULL, NULL);
    enum outcome outcome = crowd_begin(crowd);
    if (outcome == MEASURED)
        outcome = neighbour_floor(probe, samples);
    enum outcome end = crowd_end(crowd);
    return outcome == FAILED ? FAILED : end;
}
