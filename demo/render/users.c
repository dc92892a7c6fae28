/* SPDX-License-Identifier: BSD-3-Clause */
#include "users.h"
#include "seconds.h"

#include <errno.h>
#include <multicore.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    USERS = 100,
    USER_MS = 10,
    NAME_SIZE = 8, /* "user042 " */
    LIST_SIZE = USERS * NAME_SIZE,
};

/* Renders the users [start, end) into list, NAME_SIZE bytes each. */
static void render_users(uint64_t start, uint64_t end, char *list)
{
    for (uint64_t user = start; user < end; user++) {
        char name[NAME_SIZE + 1];
        struct timespec rest = {.tv_nsec = USER_MS * 1000000L};
        while (nanosleep(&rest, &rest) < 0 && errno == EINTR)
            ;
        snprintf(name, sizeof(name), "user%03u ", (unsigned)(user % 1000));
        memcpy(list + (user - start) * NAME_SIZE, name, NAME_SIZE);
    }
}

static int run_users(mc_task *task)
{
    char list[LIST_SIZE];
    uint64_t start = mc_task_start(task);
    uint64_t end = mc_task_end(task);
    if (end < start || end - start > USERS)
        return mc_task_fail(task, -ERANGE, "%d users at a time", USERS);
    render_users(start, end, list);
    return mc_task_reply(task, list, (end - start) * NAME_SIZE);
}

/* Puts the parts together in the order of submission. */
static int collect_users(mc_group *group, char *list, struct failure *failure)
{
    struct mc_result result = {.size = sizeof(result)};
    size_t filled = 0;
    int status = mc_group_wait(group, -1);
    for (size_t i = 0; status == 0 && i < mc_group_size(group); i++) {
        status = mc_group_result(group, i, &result);
        if (status < 0)
            break;
        if (result.status != 0)
            return failure_set(failure, result.status, "%s", result.error);
        if (result.data_size > LIST_SIZE - filled)
            return failure_set(failure, -EMSGSIZE, "more users came back than were sent");
        memcpy(list + filled, result.data, result.data_size);
        filled += result.data_size;
    }
    if (status < 0)
        return failure_set(failure, status, "%s", mc_error_message());
    if (filled != LIST_SIZE)
        return failure_set(failure, -EBADMSG, "fewer users came back than were sent");
    return 0;
}

static int run_group(mc_pool *pool, char *list, struct failure *failure)
{
    /* The caller only waits: the speedup is that of the workers alone. */
    struct mc_group_options options = {.size = sizeof(options), .help = MC_HELP_NEVER};
    mc_group *group;
    int status = mc_group_open(pool, &options, &group);
    if (status < 0)
        return failure_set(failure, status, "%s", mc_error_message());
    status = mc_group_map(group, "users", USERS, NULL, NULL, 0);
    if (status < 0)
        failure_set(failure, status, "%s", mc_error_message());
    else
        status = collect_users(group, list, failure);
    mc_group_close(group);
    return status;
}

int users_scene(unsigned workers, struct failure *failure)
{
    char serial[LIST_SIZE], parallel[LIST_SIZE];
    struct mc_handler handler = {.name = "users", .run = run_users};
    struct mc_pool_options options = {
        .size = sizeof(options), .handlers = &handler, .handler_count = 1, .workers = workers};
    mc_pool *pool;
    int status = mc_pool_open(&options, &pool);
    if (status < 0)
        return failure_set(failure, status, "%s", mc_error_message());

    uint64_t start_ns = monotonic_ns();
    render_users(0, USERS, serial);
    double serial_seconds = seconds_since(start_ns);
    start_ns = monotonic_ns();
    status = run_group(pool, parallel, failure);
    double parallel_seconds = seconds_since(start_ns);
    workers = mc_pool_workers(pool);
    mc_pool_close(pool);
    if (status < 0)
        return status;

    int differ = memcmp(serial, parallel, LIST_SIZE) != 0;
    printf("%d users, %d ms each\n", USERS, USER_MS);
    printf("serial     %.3f s\n", serial_seconds);
    printf("parallel   %.3f s on %u worker%s\n", parallel_seconds, workers,
           workers == 1 ? "" : "s");
    printf("speedup    %.2f\n", serial_seconds / parallel_seconds);
    printf("identical  %s\n", differ ? "no" : "yes");
    return differ;
}
