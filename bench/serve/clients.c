/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Round trips per second of many clients together. Each waits for one null task at a time.
 */
#include "probes.h"
#include "request.h"
#include "server.h"
#include "together.h"

enum { CLIENTS_MOST = 256 };

static void ask_on_and_on(struct client *client)
{
    mc_pool *pool = request_attach(client, false);
    request_null_or_fail(client, pool);
    client_ready(client);
    while (!client_over(client)) {
        request_null_or_fail(client, pool);
        atomic_fetch_add_explicit(&client->answered, 1, memory_order_relaxed);
    }
    mc_pool_close(pool);
}

enum outcome clients_together(const struct probe *probe, unsigned samples)
{
    struct server server;
    enum outcome outcome = server_open(&server, CLIENTS_MOST);
    if (outcome == MEASURED) {
        struct crowd *crowd =
            crowd_start((unsigned)probe->size, ask_on_and_on, server.socket, NULL);
        outcome = together_measure(crowd, probe->figure, samples);
    }
    server_close(&server);
    return outcome;
}
