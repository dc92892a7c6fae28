/* SPDX-License-Identifier: BSD-3-Clause */
#include "request.h"

#include "handlers.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { ANSWER_MS = 20000 };

mc_pool *request_attach(struct client *client, bool linked)
{
    mc_pool *pool;
    struct mc_attach_options options = {
        .size = sizeof(options),
        .handlers = linked ? bench_handlers : NULL,
        .handler_count = linked ? bench_handler_count : 0,
        .timeout_ms = ANSWER_MS,
    };
    if (mc_pool_attach(client->crowd->socket, &options, &pool) < 0)
        client_fail(client, "cannot attach: %s", mc_error_message());
    if (!mc_pool_connected(pool))
        client_fail(client, "is not let in: %s", mc_error_message());
    return pool;
}

bool request_null(mc_pool *pool)
{
    mc_group *group;
    struct mc_result result = {.size = sizeof(result)};
    if (mc_group_open(pool, NULL, &group) < 0)
        return false;
    bool fine = mc_group_run(group, "null", NULL, 0) == 0 && mc_group_wait(group, ANSWER_MS) == 0 &&
                mc_group_result(group, 0, &result) == 0;
    if (fine && result.status != 0)
        fine = mc_fail(result.status, "%s", result.error) == 0;
    mc_group_close(group);
    return fine;
}

void request_null_or_fail(struct client *client, mc_pool *pool)
{
    if (!request_null(pool))
        client_fail(client, "a null task: %s", mc_error_message());
}

int request_work(mc_pool *pool, unsigned duration_us, pid_t *server, char *text, size_t size)
{
    mc_group *group = NULL;
    struct mc_result result = {.size = sizeof(result)};
    int status = mc_group_open(pool, NULL, &group);
    if (status == 0) {
        status = mc_group_run(group, "work", &duration_us, sizeof(duration_us));
        if (status == 0)
            status = mc_group_wait(group, ANSWER_MS);
        if (status == 0)
            status = mc_group_result(group, 0, &result);
    }
    snprintf(text, size, "%s", status < 0 ? mc_error_message() : result.error);
    if (status == 0)
        status = result.status;
    if (status == 0 && result.data_size == sizeof(*server))
        memcpy(server, result.data, sizeof(*server));
    else if (status == 0)
        status = -EBADMSG;
    mc_group_close(group);
    return status;
}
