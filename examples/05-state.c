/* SPDX-License-Identifier: BSD-3-Clause
 *
 * 05-state: what a worker keeps between tasks. worker_init opens a "connection"
 * in each worker, tasks use it, worker_exit closes it.
 */
#include "check.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>

enum { WORKERS = 2, QUERIES = 40 };

struct server { /* in memory that the workers share with us */
    atomic_int opened, closed;
} * server;

struct connection {
    int number;
    int queries;
};

static int connect_worker(void *hook_context, void **state)
{
    struct connection *connection = calloc(1, sizeof(*connection));
    if (connection == NULL)
        return -ENOMEM; /* this worker does not start */
    connection->number = atomic_fetch_add(&server->opened, 1);
    *state = connection;
    return 0;
}

static void disconnect_worker(void *state)
{
    atomic_fetch_add(&server->closed, 1);
    free(state);
}

/* No lock: a worker runs one task at a time, and the connection is its own. */
static int query(mc_task *task)
{
    struct connection *connection = mc_task_state(task);
    connection->queries++;
    return mc_task_reply(task, connection, sizeof(*connection));
}

int main(void)
{
    const struct mc_handler handlers[] = {{.name = "query", .run = query}};
    const struct mc_pool_options options = {.size = sizeof(options),
                                            .handlers = handlers,
                                            .handler_count = 1,
                                            .workers = WORKERS,
                                            .worker_init = connect_worker,
                                            .worker_exit = disconnect_worker};
    /* A caller that helps would open a connection of its own. */
    const struct mc_group_options waits = {.size = sizeof(waits), .help = MC_HELP_NEVER};
    struct mc_result result = {.size = sizeof(result)};
    int queries[WORKERS] = {0};
    mc_pool *pool;
    mc_group *group;
    server = mmap(NULL, sizeof(*server), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (server == MAP_FAILED)
        return EXIT_FAILURE;
    check(mc_pool_open(&options, &pool));
    check(mc_group_open(pool, &waits, &group));
    for (int i = 0; i < QUERIES; i++)
        check(mc_group_run(group, "query", NULL, 0));
    while (check(mc_group_next(group, &result, -1)) == 1) {
        const struct connection *last = result.data;
        if (result.status == 0 && last->queries > queries[last->number])
            queries[last->number] = last->queries;
    }
    mc_group_close(group);
    mc_pool_close(pool); /* the workers leave, each through worker_exit */
    printf("%d queries, %d connections opened, %d closed\n", queries[0] + queries[1],
           server->opened, server->closed);
    return 0;
}
