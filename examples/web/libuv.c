/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A libuv program with a pool: the loop watches the pool's descriptor, and each slow
 * request is a group that reports itself when it is done.
 */
#include "../check.h"

#include <inttypes.h>
#include <uv.h>

enum { REQUESTS = 3 };

struct request {
    mc_pool *pool;
    uint64_t sum;
};

static int pending = REQUESTS;
static uv_poll_t watched;

/* In a worker. */
static int add_up(mc_task *task)
{
    uint64_t sum = 0;
    for (uint64_t i = mc_task_start(task); i < mc_task_end(task); i++)
        sum += i;
    return mc_task_reply(task, &sum, sizeof(sum));
}

/* In the loop's thread, called by mc_pool_dispatch(). */
static void request_done(mc_group *group, void *context)
{
    struct request *request = context;
    struct mc_result result = {.size = sizeof(result)};
    while (mc_group_next(group, &result, 0) == 1)
        if (check(result.status) == 0)
            request->sum += *(const uint64_t *)result.data;
    mc_group_close(group);
    if (--pending == 0)
        uv_poll_stop(&watched);
}

static void begin(struct request *request, uint64_t items)
{
    const struct mc_group_options options = {
        .size = sizeof(options), .on_done = request_done, .context = request};
    mc_group *group;
    check(mc_group_open(request->pool, &options, &group));
    check(mc_group_map(group, "add_up", items, NULL, NULL, 0));
}

static void on_readable(uv_poll_t *handle, int status, int events)
{
    struct request *requests = handle->data;
    (void)status;
    (void)events;
    check(mc_pool_dispatch(requests[0].pool));
}

int main(void)
{
    const struct mc_handler handlers[] = {{.name = "add_up", .run = add_up}};
    const struct mc_pool_options options = {
        .size = sizeof(options), .handlers = handlers, .handler_count = 1};
    struct request requests[REQUESTS] = {0};
    mc_pool *pool;
    check(mc_pool_open(&options, &pool)); /* before libuv starts threads */
    uv_loop_t *loop = uv_default_loop();
    uv_poll_init(loop, &watched, check(mc_pool_fd(pool)));
    watched.data = requests;
    uv_poll_start(&watched, UV_READABLE, on_readable);
    for (int i = 0; i < REQUESTS; i++) {
        requests[i].pool = pool;
        begin(&requests[i], 1000u * (unsigned)(i + 1));
    }
    uv_run(loop, UV_RUN_DEFAULT);
    for (int i = 0; i < REQUESTS; i++)
        printf("request %d: %" PRIu64 "\n", i, requests[i].sum);
    uv_close((uv_handle_t *)&watched, NULL);
    uv_run(loop, UV_RUN_DEFAULT);
    uv_loop_close(loop);
    mc_pool_close(pool);
    return 0;
}
