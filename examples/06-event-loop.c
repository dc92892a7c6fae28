/* SPDX-License-Identifier: BSD-3-Clause
 *
 * 06-event-loop: a program that must not block. It watches the pool's descriptor
 * beside a timer of its own; a group reports itself when its tasks have ended.
 */
#include "check.h"

#include <inttypes.h>
#include <poll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { REQUESTS = 3, PARTS = 4 };

struct request { /* its number is its place */
    uint64_t sum;
    int failed;
};

static int pending = REQUESTS;

/* Slow enough for the timer to be seen meanwhile. */
static int part(mc_task *task)
{
    uint64_t sum = mc_task_start(task) + 1;
    nanosleep(&(struct timespec){.tv_nsec = 20 * 1000 * 1000}, NULL);
    return mc_task_reply(task, &sum, sizeof(sum));
}

/* Called by mc_pool_dispatch(), in the loop's own thread. */
static void request_done(mc_group *group, void *context)
{
    struct request *request = context;
    struct mc_result result = {.size = sizeof(result)};
    while (mc_group_next(group, &result, 0) == 1) {
        if (result.status == 0)
            request->sum += *(const uint64_t *)result.data;
        else
            request->failed++;
    }
    mc_group_close(group);
    pending--;
}

int main(void)
{
    const struct mc_handler handlers[] = {{.name = "part", .run = part}};
    const struct mc_pool_options options = {
        .size = sizeof(options), .handlers = handlers, .handler_count = 1};
    const struct mc_map_options single = {.size = sizeof(single), .max_chunk = 1};
    const struct itimerspec often = {.it_value.tv_nsec = 5000000, .it_interval.tv_nsec = 5000000};
    struct request requests[REQUESTS] = {0};
    uint64_t ticks = 0, more;
    mc_pool *pool;
    check(mc_pool_open(&options, &pool));
    for (int i = 0; i < REQUESTS; i++) {
        const struct mc_group_options reports = {
            .size = sizeof(reports), .on_done = request_done, .context = &requests[i]};
        mc_group *group;
        check(mc_group_open(pool, &reports, &group));
        check(mc_group_map(group, "part", PARTS + i, &single, NULL, 0));
    }
    struct pollfd watched[] = {{.fd = check(mc_pool_fd(pool)), .events = POLLIN},
                               {.fd = timerfd_create(CLOCK_MONOTONIC, 0), .events = POLLIN}};
    timerfd_settime(watched[1].fd, 0, &often, NULL);
    while (pending > 0 && poll(watched, 2, -1) > 0) {
        if (watched[0].revents != 0)
            check(mc_pool_dispatch(pool));
        if (watched[1].revents != 0 && read(watched[1].fd, &more, sizeof(more)) == sizeof(more))
            ticks += more;
    }
    for (int i = 0; i < REQUESTS; i++)
        printf("request %d: %" PRIu64 ", %d failed\n", i, requests[i].sum, requests[i].failed);
    printf("the loop went on meanwhile: %s\n", ticks > 0 ? "yes" : "no");
    mc_pool_close(pool);
    return 0;
}
