/* SPDX-License-Identifier: BSD-3-Clause */
#include "handlers.h"
#include "mode.h"
#include "pages.h"
#include "posts.h"

#include <errno.h>
#include <stdlib.h>

int handlers_init(void *hook_context, void **state)
{
    const struct options *options = hook_context;
    struct database *database;
    struct failure failure = {0};
    int status = mode_open_database(options, options->connections, &database, &failure);
    if (status < 0)
        return mc_fail(status, "%s", failure.text);
    *state = database;
    return 0;
}

void handlers_exit(void *state)
{
    database_close(state);
}

static int reply_with(mc_task *task, int status, struct reply *reply, const struct failure *failure)
{
    if (status == 0)
        status = mc_task_reply(task, reply->data, reply->size);
    else
        status = mc_task_fail(task, status, "%s", failure->text);
    free(reply->data);
    return status;
}

/* ---- Works that compute ---- */

static int compute(mc_task *task, const struct work *work)
{
    struct reply reply = {0};
    struct failure failure = {0};
    size_t size;
    const void *args = mc_task_args(task, &size);
    int status = work->compute(args, size, &reply, &failure);
    return reply_with(task, status, &reply, &failure);
}

static int run_cpu(mc_task *task)
{
    return compute(task, &posts_cpu);
}

static int run_count(mc_task *task)
{
    return compute(task, &pages_count);
}

static int run_page(mc_task *task)
{
    return compute(task, &pages_draw);
}

static int run_prepare(mc_task *task)
{
    return compute(task, &pages_prepare);
}

/* ---- Works that ask the database ---- */

/* A task that waits. */
struct asking {
    struct query query;
    const struct work *work;
    mc_task *task;
};

static int go_on(mc_task *task, unsigned events, void *context);

static int await_query(struct asking *asking)
{
    const struct query *query = &asking->query;
    unsigned events = (query->events & QUERY_READ ? MC_EVENT_READ : 0u) |
                      (query->events & QUERY_WRITE ? MC_EVENT_WRITE : 0u);
    if (query->fd < 0)
        return mc_task_await_wake(asking->task, go_on, asking);
    return mc_task_await_fd(asking->task, query->fd, events, go_on, asking);
}

static int settle(struct asking *asking, int status, struct failure *failure)
{
    struct reply reply = {0};
    if (status == QUERY_PENDING) {
        int awaiting = await_query(asking);
        if (awaiting == 0)
            return MC_PENDING;
        status = failure_set(failure, awaiting, "%s", mc_error_message());
    }
    if (status == 0)
        status = asking->work->tell(asking->query.result, &reply, failure);
    mc_task *task = asking->task;
    query_fini(&asking->query);
    free(asking);
    return reply_with(task, status, &reply, failure);
}

static int go_on(mc_task *task, unsigned events, void *context)
{
    struct asking *asking = context;
    struct failure failure = {0};
    (void)task;
    int status = events & MC_EVENT_END
                     ? failure_set(&failure, -ECANCELED, "given up before the database answered")
                     : query_advance(&asking->query, &failure);
    return settle(asking, status, &failure);
}

static void wake(struct query *query)
{
    const struct asking *asking = query->context;
    mc_task_wake(asking->task);
}

static int ask(mc_task *task, const struct work *work)
{
    struct failure failure = {0};
    struct asking *asking = calloc(1, sizeof(*asking));
    size_t size;
    const void *args = mc_task_args(task, &size);
    if (!asking)
        return mc_task_fail(task, -ENOMEM, "no memory for a query");
    *asking = (struct asking){.work = work, .task = task};
    asking->query.wake = wake;
    asking->query.context = asking;
    int status = work->ask(args, size, &asking->query, &failure);
    if (status == 0)
        status = query_begin(&asking->query, mc_task_state(task), &failure);
    return settle(asking, status, &failure);
}

static int run_create(mc_task *task)
{
    return ask(task, &posts_create);
}

static int run_read(mc_task *task)
{
    return ask(task, &posts_read);
}

/* What only reads is run again when its worker dies; a post must not be created twice. A
 * renderer may have died of what it is given: one more worker finds out. */
enum { RENDERS = MC_ISOLATED | MC_IDEMPOTENT };
const struct mc_handler handlers[] = {
    {.name = "cpu", .run = run_cpu, .flags = MC_IDEMPOTENT},
    {.name = "count", .run = run_count, .flags = RENDERS, .max_attempts = 2},
    {.name = "page", .run = run_page, .flags = RENDERS, .max_attempts = 2},
    {.name = "prepare", .run = run_prepare, .flags = MC_ISOLATED},
    {.name = "io_create", .run = run_create, .flags = MC_IO},
    {.name = "io_read", .run = run_read, .flags = MC_IO | MC_IDEMPOTENT},
};
const size_t handler_count = sizeof(handlers) / sizeof(handlers[0]);
