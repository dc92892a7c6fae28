/* SPDX-License-Identifier: BSD-3-Clause
 *
 * While a served pool is away, and when it is back: what is linked runs in the caller.
 */
#include "tests/system/server.h"

#include "base/clock.h"
#include "base/fault.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct server server;

static int here(mc_task *task)
{
    int answer = mc_task_inline(task) ? 1 : 0;
    return mc_task_reply(task, &answer, sizeof(answer));
}

/* Asks a task of its own. */
static int nested(mc_task *task)
{
    mc_group *group = NULL;
    struct mc_group_options options = {.size = sizeof(options), .help = MC_HELP_NEVER};
    struct mc_result result = {.size = sizeof(result)};
    int status = mc_group_open(mc_task_pool(task), &options, &group);
    if (status == 0)
        status = mc_group_run(group, "version", NULL, 0);
    if (status == 0 && mc_group_next(group, &result, BOUND_MS) == 1)
        status = mc_task_reply(task, result.data, result.data_size);
    mc_group_close(group);
    return status;
}

static const struct mc_handler linked[] = {{.name = "version", .run = here}};

static void begin(void)
{
    board_open();
    server_prepare(&server);
    server_start(&server);
    ck_assert_msg(atomic_load(&server.told->events[SERVE_READY]) == 1, "%s", server.told->text);
}

START_TEST(a_group_of_a_pool_that_leaves_runs_here)
{
    const unsigned doze_ms = 700;
    begin();
    mc_pool *pool = attach(&server, linked, 1);
    mc_group *busy = open_unhelped(pool), *group = open_group(pool);
    run(busy, "doze", &doze_ms, sizeof(doze_ms));
    kill(server.pid, SIGTERM);
    ck_assert(server_await(&server, SERVE_STOPPING, 1));
    run(group, "version", NULL, 0);
    expect_error(mc_group_run(group, "echo", NULL, 0), -ESHUTDOWN, "");
    wait_all(group);
    struct mc_result result = result_of(group, 0);
    ck_assert_msg(result.status == 0, "%d %s", result.status, result.error);
    ck_assert_int_eq(*(const int *)result.data, 1);
    ck_assert_int_eq(mc_group_mode(group), MC_INLINE);
    wait_all(busy);
    mc_group_close(busy);
    ck_assert_int_eq(await_exit(server.pid), 0);
    run(group, "version", NULL, 0);
    wait_all(group);
    ck_assert_int_eq(failures(group), 0);
    mc_group_close(group);
    mc_pool_close(pool);
    server_remove(&server);
}
END_TEST

START_TEST(a_handler_that_runs_here_opens_groups_in_the_pool_that_is_there)
{
    const struct mc_handler both[] = {linked[0], {.name = "echo", .run = nested}};
    const int answers[] = {1, 107}; /* without a pool, and with the next */
    begin();
    mc_pool *pool = attach(&server, both, 2);
    mc_group *group = open_group(pool);
    server_kill(&server);
    while (mc_pool_connected(pool))
        pause_us(1000);
    for (size_t i = 0; i < 2; i++) {
        run(group, "echo", NULL, 0);
        wait_all(group);
        struct mc_result result = result_of(group, i);
        ck_assert_msg(result.status == 0, "%d %s", result.status, result.error);
        ck_assert_int_eq(*(const int *)result.data, answers[i]);
        if (i == 0)
            server_start(&server);
        await_version(pool, 107);
    }
    mc_group_close(group);
    mc_pool_close(pool);
    server_end(&server);
}
END_TEST

static int total(mc_task *task)
{
    uint64_t sum = 0;
    for (uint64_t i = mc_task_start(task); i < mc_task_end(task); i++)
        sum += i;
    return mc_task_reply(task, &sum, sizeof(sum));
}

static void *kill_server(void *nothing)
{
    pause_us(100000); /* by then the lane is full */
    kill(server.pid, SIGKILL);
    return NULL;
}

START_TEST(a_map_whose_pool_leaves_in_its_middle_goes_on_here)
{
    enum { DEPTH = 16, CHUNKS = 3 * DEPTH };
    const unsigned doze_ms = BOUND_MS;
    const struct mc_handler sums[] = {{.name = "sum", .run = total}};
    const struct mc_map_options split = {.size = sizeof(split), .max_chunk = 1};
    pthread_t killer;
    server_prepare(&server);
    server.options.pool.queue_depth = DEPTH;
    server_start(&server);
    mc_pool *pool = attach(&server, sums, 1);
    mc_group *busy = open_unhelped(pool), *group = open_unhelped(pool);
    for (int i = 0; i < 2; i++)
        run(busy, "doze", &doze_ms, sizeof(doze_ms));
    ck_assert_int_eq(pthread_create(&killer, NULL, kill_server, NULL), 0);
    int result = mc_group_map(group, "sum", CHUNKS, &split, NULL, 0);
    ck_assert_msg(result == 0, "%d %s", result, mc_error_message());
    pthread_join(killer, NULL);
    (void)await_exit(server.pid);
    wait_all(group);
    ck_assert_uint_eq(mc_group_size(group), CHUNKS);
    for (size_t i = 0; i < CHUNKS; i++) {
        ck_assert_int_eq(result_of(group, i).status, 0);
        ck_assert_uint_eq(*(const uint64_t *)result_of(group, i).data, i);
    }
    wait_all(busy);
    mc_group_close(busy);
    mc_group_close(group);
    mc_pool_close(pool);
    server_remove(&server);
}
END_TEST

START_TEST(while_the_pool_is_away_linked_handlers_run_here)
{
    board_open();
    server_prepare(&server);
    mc_pool *pool;
    struct mc_attach_options options = {
        .size = sizeof(options), .handlers = linked, .handler_count = 1};
    ck_assert_int_eq(mc_pool_attach(server.path, &options, &pool), 0);
    ck_assert(!mc_pool_connected(pool));
    ck_assert_uint_eq(mc_pool_workers(pool), 0);
    ck_assert_int_eq(version_of(pool), 1);
    mc_group *group = open_group(pool);
    ck_assert_int_eq(mc_group_mode(group), MC_INLINE);
    ck_assert_ptr_nonnull(strstr(mc_group_reason(group), "No such file"));
    expect_error(mc_group_run(group, "echo", NULL, 0), -ENOTCONN, "not linked");
    ck_assert_int_eq(mc_group_map(group, "version", 100, NULL, NULL, 0), 0);
    for (int i = 0; i < 10000; i++) /* more than the queue holds */
        run(group, "version", NULL, 0);
    wait_all(group);
    ck_assert_uint_eq(failures(group), 0);
    mc_group_close(group);
    server_start(&server);
    await_version(pool, 107);
    ck_assert(mc_pool_connected(pool));
    mc_pool_close(pool);
    server_end(&server);
}
END_TEST

START_TEST(tasks_without_a_pool_outlive_a_look_at_them)
{
    board_open();
    server_prepare(&server);
    mc_pool *pool;
    struct mc_result result = {.size = sizeof(result)};
    struct mc_attach_options options = {
        .size = sizeof(options), .handlers = linked, .handler_count = 1};
    ck_assert_int_eq(mc_pool_attach(server.path, &options, &pool), 0);
    mc_group *group = open_group(pool);
    for (int i = 0; i < 3; i++)
        run(group, "version", NULL, 0);
    expect_error(mc_group_wait(group, 0), -ETIMEDOUT, "3 of 3 tasks");
    expect_error(mc_group_next(group, &result, 0), -ETIMEDOUT, "3 of 3 tasks");
    wait_all(group);
    ck_assert_uint_eq(failures(group), 0);
    mc_group_close(group);
    mc_pool_close(pool);
    server_remove(&server);
}
END_TEST

START_TEST(a_pool_that_dies_and_comes_back_is_found_again)
{
    begin();
    mc_pool *pool = attach(&server, linked, 1);
    for (int round = 0; round < 5; round++) {
        mc_group *across = open_unhelped(pool);
        unsigned ms = 20;
        run(across, "doze", &ms, sizeof(ms));
        ck_assert_int_eq(version_of(pool), 107);
        server_kill(&server);
        ck_assert_int_eq(version_of(pool), 1); /* inline */
        wait_all(across);
        server_start(&server);
        await_version(pool, 107);
        mc_group_close(across);
    }
    mc_pool_close(pool);
    server_end(&server);
}
END_TEST

START_TEST(an_answer_that_comes_late_is_still_taken)
{
    begin();
    kill(server.pid, SIGSTOP);
    mc_pool *pool;
    struct mc_attach_options options = {
        .size = sizeof(options), .handlers = linked, .handler_count = 1, .timeout_ms = 50};
    ck_assert_int_eq(mc_pool_attach(server.path, &options, &pool), 0);
    ck_assert(!mc_pool_connected(pool));
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(version_of(pool), 1);
    kill(server.pid, SIGCONT);
    uint64_t began = clock_ns();
    while (version_of(pool) != 107 && ms_since(began) < BOUND_MS)
        pause_us(10000);
    ck_assert_uint_lt(ms_since(began), 3000);
    ck_assert(mc_pool_connected(pool));
    mc_pool_close(pool);
    server_end(&server);
}
END_TEST

START_TEST(a_signal_does_not_end_the_wait_for_an_answer)
{
    begin();
    fault_arm("await_input", 0, 1);
    mc_pool *pool = attach(&server, linked, 1);
    ck_assert(fault_struck());
    mc_pool_close(pool);
    server_end(&server);
}
END_TEST

START_TEST(groups_do_not_wait_for_a_pool_that_does_not_answer)
{
    begin();
    mc_pool *pool = attach(&server, linked, 1);
    server_kill(&server);
    server_start(&server);
    kill(server.pid, SIGSTOP);
    uint64_t began = clock_ns();
    for (int i = 0; i < 20; i++, pause_us(10000))
        ck_assert_int_eq(version_of(pool), 1);
    ck_assert_uint_lt(ms_since(began), 900); /* the default timeout_ms is 1,000 */
    kill(server.pid, SIGCONT);
    await_version(pool, 107);
    mc_pool_close(pool);
    server_end(&server);
}
END_TEST

START_TEST(no_more_clients_of_a_user_than_allowed)
{
    board_open();
    server_prepare(&server);
    server.options.pool.max_clients = 3;
    server_start(&server);
    mc_pool *pools[3], *late;
    for (int i = 0; i < 3; i++)
        pools[i] = attach(&server, NULL, 0);
    struct mc_attach_options options = {
        .size = sizeof(options), .handlers = linked, .handler_count = 1};
    ck_assert_int_eq(mc_pool_attach(server.path, &options, &late), 0);
    ck_assert(!mc_pool_connected(late));
    mc_group *group = open_group(late);
    ck_assert_ptr_nonnull(strstr(mc_group_reason(group), "max_clients"));
    mc_group_close(group);
    ck_assert_int_eq(version_of(late), 1);
    mc_pool_close(pools[0]);
    await_version(late, 107);
    mc_pool_close(late);
    mc_pool_close(pools[1]);
    mc_pool_close(pools[2]);
    server_end(&server);
}
END_TEST

/* ---- inline tasks of several pools ---- */

static _Atomic int inside;

static int alone(mc_task *task)
{
    if (atomic_exchange(&inside, 1) != 0)
        return mc_task_fail(task, -EBUSY, "two at once");
    board_count(&board->started);
    pause_us(300000);
    atomic_store(&inside, 0);
    return here(task);
}

static int note_init(void *context, void **state)
{
    board_count(&board->words[1]);
    return 0;
}

static void note_exit(void *state)
{
    board_count(&board->words[2]);
}

static void *wait_for_group(void *group)
{
    (void)mc_group_wait(group, BOUND_MS);
    return NULL;
}

START_TEST(inline_tasks_are_run_one_at_a_time_whichever_pool_they_are_of)
{
    static const struct mc_handler handlers[] = {{.name = "version", .run = alone}};
    const unsigned doze_ms = 1500;
    board_open();
    server_prepare(&server);
    mc_pool *pool;
    struct mc_attach_options options = {.size = sizeof(options),
                                        .handlers = handlers,
                                        .handler_count = 1,
                                        .worker_init = note_init,
                                        .worker_exit = note_exit};
    ck_assert_int_eq(mc_pool_attach(server.path, &options, &pool), 0);
    mc_group *early = open_group(pool);
    run(early, "version", NULL, 0);
    server_start(&server);
    uint64_t began = clock_ns();
    while (!mc_pool_connected(pool) && ms_since(began) < BOUND_MS)
        (void)mc_pool_dispatch(pool);
    mc_group *busy = open_unhelped(pool), *late = open_group(pool);
    for (int worker = 0; worker < 2; worker++)
        run(busy, "doze", &doze_ms, sizeof(doze_ms));
    run(late, "version", NULL, 0);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, wait_for_group, early), 0);
    ck_assert(board_await(&board->started, 1, BOUND_MS));
    wait_all(late);
    pthread_join(thread, NULL);
    ck_assert_uint_eq(atomic_load(&board->started), 2);
    ck_assert_uint_eq(failures(early) + failures(late), 0);
    mc_group_close(early);
    mc_group_close(late);
    mc_group_close(busy);
    mc_pool_close(pool);
    ck_assert_uint_eq(atomic_load(&board->words[1]), 1);
    ck_assert_uint_eq(atomic_load(&board->words[2]), 1);
    server_end(&server);
}
END_TEST

/* ---- event loops ---- */

static int dones;

static void on_done(mc_group *group, void *context)
{
    dones++;
    mc_group_close(group);
}

START_TEST(an_event_loop_survives_the_pools_restart)
{
    begin();
    mc_pool *pool = attach(&server, linked, 1);
    int fd = mc_pool_fd(pool);
    ck_assert_int_ge(fd, 0);
    for (int round = 0; round < 3; round++) {
        mc_group *group = NULL;
        struct mc_group_options options = {.size = sizeof(options), .on_done = on_done};
        uint64_t began = clock_ns();
        while (mc_group_open(pool, &options, &group) == -ENOTCONN && ms_since(began) < BOUND_MS)
            pause_us(10000);
        ck_assert_ptr_nonnull(group);
        ck_assert_int_eq(mc_group_run(group, "echo", "x", 1), 0);
        began = clock_ns();
        while (dones == round && ms_since(began) < BOUND_MS) {
            (void)mc_pool_dispatch(pool);
            pause_us(1000);
        }
        ck_assert_int_eq(dones, round + 1);
        ck_assert_int_eq(mc_pool_fd(pool), fd);
        server_kill(&server);
        ck_assert_int_ge(mc_pool_dispatch(pool), 0);
        server_start(&server);
    }
    mc_pool_close(pool);
    server_end(&server);
}
END_TEST

/* A pool that is not there yet, and would be waited for for long. */
static mc_pool *attach_to_nothing(void)
{
    mc_pool *pool = NULL;
    struct mc_attach_options options = {
        .size = sizeof(options), .handlers = linked, .handler_count = 1, .timeout_ms = BOUND_MS};
    ck_assert_int_eq(mc_pool_attach(server.path, &options, &pool), 0);
    ck_assert(!mc_pool_connected(pool));
    return pool;
}

/* Where nobody ever answers. */
static int listen_silently(struct sockaddr_un *address, int backlog)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(address->sun_path, sizeof(address->sun_path), "%s", server.path);
    int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)address, sizeof(*address)), 0);
    ck_assert_int_eq(listen(listener, backlog), 0);
    return listener;
}

static double dispatch_ms(mc_pool *pool)
{
    uint64_t began = clock_ns();
    ck_assert_int_eq(mc_pool_dispatch(pool), 0);
    return ms_since(began);
}

START_TEST(a_dispatch_does_not_wait_for_an_answer_and_the_next_group_does)
{
    enum { POOLS = 5 };
    mc_pool *pools[POOLS];
    struct sockaddr_un address;
    double quickest = BOUND_MS; /* any of them may be held up by something else */
    server_prepare(&server);
    for (int i = 0; i < POOLS; i++)
        pools[i] = attach_to_nothing();
    int listener = listen_silently(&address, 2 * POOLS);
    pause_us(300000); /* by then another attempt is due */
    for (int i = 0; i < POOLS; i++) {
        double took = dispatch_ms(pools[i]);
        quickest = took < quickest ? took : quickest;
    }
    ck_assert_double_lt(quickest, 50);
    uint64_t began = clock_ns();
    ck_assert_int_eq(version_of(pools[0]), 1);
    ck_assert_double_ge(ms_since(began), 90);
    for (int i = 0; i < POOLS; i++)
        mc_pool_close(pools[i]);
    close(listener);
    server_remove(&server);
}
END_TEST

START_TEST(a_dispatch_does_not_wait_where_too_many_connect)
{
    enum { CALLERS = 4 };
    int callers[CALLERS], refused = 0;
    struct sockaddr_un address;
    server_prepare(&server);
    mc_pool *pool = attach_to_nothing();
    int listener = listen_silently(&address, 0);
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        refused += connect(callers[i], (struct sockaddr *)&address, sizeof(address)) < 0;
    }
    ck_assert_int_gt(refused, 0);
    pause_us(300000);
    ck_assert_double_lt(dispatch_ms(pool), BOUND_MS / 2.0);
    pause_us(300000);
    uint64_t began = clock_ns();
    ck_assert_int_eq(version_of(pool), 1);
    ck_assert_double_lt(ms_since(began), BOUND_MS / 2.0);
    for (int i = 0; i < CALLERS; i++)
        close(callers[i]);
    mc_pool_close(pool);
    close(listener);
    server_remove(&server);
}
END_TEST

static mc_group *open_watched(mc_pool *pool, mc_done_fn *done, void *context)
{
    mc_group *group = NULL;
    struct mc_group_options options = {
        .size = sizeof(options), .on_done = done, .context = context};
    ck_assert_int_eq(mc_group_open(pool, &options, &group), 0);
    return group;
}

/* As an event loop does it, until so many groups were reported. */
static void expect_dones(mc_pool *pool, int count)
{
    struct pollfd ready = {.fd = mc_pool_fd(pool), .events = POLLIN};
    while (dones < count) {
        ck_assert_int_eq(poll(&ready, 1, BOUND_MS), 1);
        (void)mc_pool_dispatch(pool);
    }
}

static void see_the_end(mc_group *group, void *context)
{
    uint64_t began = clock_ns();
    while (mc_pool_connected(context) && ms_since(began) < BOUND_MS)
        pause_us(10000);
    on_done(group, context);
}

START_TEST(groups_are_reported_also_when_somebody_else_sees_the_end_of_the_pool_first)
{
    begin();
    mc_pool *pool = attach(&server, linked, 1);
    struct pollfd ready = {.fd = mc_pool_fd(pool), .events = POLLIN};
    const unsigned doze_ms = BOUND_MS;
    mc_group *lost = open_watched(pool, on_done, NULL);
    mc_group *told = open_watched(pool, see_the_end, pool);
    run(lost, "doze", &doze_ms, sizeof(doze_ms));
    run(told, "echo", "x", 1);
    ck_assert_int_eq(poll(&ready, 1, BOUND_MS), 1);
    server_kill(&server);
    pause_us(200000); /* the next look asks the kernel, ... */
    fault_arm("channel_receive", 0, 1);
    (void)mc_pool_dispatch(pool); /* ... and learns nothing yet */
    ck_assert(fault_struck());
    expect_dones(pool, 2);
    mc_pool_close(pool);
    server_remove(&server);
}
END_TEST

START_TEST(an_event_loop_that_comes_late_hears_of_earlier_pools_too)
{
    begin();
    mc_pool *pool = attach(&server, linked, 1);
    const unsigned doze_ms = BOUND_MS;
    mc_group *lost = open_watched(pool, on_done, NULL);
    run(lost, "doze", &doze_ms, sizeof(doze_ms));
    server_kill(&server);
    server_start(&server);
    await_version(pool, 107);
    expect_dones(pool, 1);
    mc_pool_close(pool);
    server_end(&server);
}
END_TEST

START_TEST(groups_of_a_pool_that_is_gone_are_counted)
{
    begin();
    mc_pool *pool = attach(&server, linked, 1);
    struct pollfd ready = {.fd = mc_pool_fd(pool), .events = POLLIN};
    const unsigned doze_ms = BOUND_MS;
    for (int i = 0; i < 3; i++)
        run(open_watched(pool, on_done, NULL), "doze", &doze_ms, sizeof(doze_ms));
    server_kill(&server);
    int reported = 0;
    while (dones < 3) {
        ck_assert_int_eq(poll(&ready, 1, BOUND_MS), 1);
        reported += mc_pool_dispatch(pool);
    }
    ck_assert_int_eq(reported, 3);
    mc_pool_close(pool);
    server_remove(&server);
}
END_TEST

START_TEST(an_event_loop_that_cannot_watch_the_pool_is_told)
{
    begin();
    mc_pool *pool = attach(&server, linked, 1);
    fault_arm("attach_listen", 0, 1);
    ck_assert_int_eq(mc_pool_fd(pool), -ENOMEM);
    ck_assert_int_ge(mc_pool_fd(pool), 0);
    server_kill(&server);
    uint64_t began = clock_ns();
    while (mc_pool_connected(pool) && ms_since(began) < BOUND_MS)
        (void)mc_pool_dispatch(pool);
    server_start(&server);
    fault_arm("attach_listen", 0, 1); /* when it is found; it is tried again for the group */
    began = clock_ns();
    while (!mc_pool_connected(pool) && ms_since(began) < BOUND_MS)
        (void)mc_pool_dispatch(pool);
    ck_assert(fault_struck());
    mc_group *group = NULL;
    struct mc_group_options options = {.size = sizeof(options), .on_done = on_done};
    fault_arm("attach_listen", 0, 1);
    ck_assert_int_eq(mc_group_open(pool, &options, &group), -ENOMEM);
    ck_assert_ptr_null(group);
    ck_assert_int_eq(mc_group_open(pool, &options, &group), 0);
    ck_assert_int_eq(mc_group_run(group, "echo", "x", 1), 0);
    struct pollfd ready = {.fd = mc_pool_fd(pool), .events = POLLIN};
    ck_assert_int_eq(poll(&ready, 1, BOUND_MS), 1);
    mc_group_close(group);
    mc_pool_close(pool);
    server_end(&server);
}
END_TEST

TEST_MAIN(serve_away, a_group_of_a_pool_that_leaves_runs_here,
          a_handler_that_runs_here_opens_groups_in_the_pool_that_is_there,
          a_map_whose_pool_leaves_in_its_middle_goes_on_here,
          while_the_pool_is_away_linked_handlers_run_here,
          tasks_without_a_pool_outlive_a_look_at_them,
          a_pool_that_dies_and_comes_back_is_found_again, an_answer_that_comes_late_is_still_taken,
          a_signal_does_not_end_the_wait_for_an_answer,
          groups_do_not_wait_for_a_pool_that_does_not_answer,
          no_more_clients_of_a_user_than_allowed,
          inline_tasks_are_run_one_at_a_time_whichever_pool_they_are_of,
          an_event_loop_survives_the_pools_restart,
          a_dispatch_does_not_wait_for_an_answer_and_the_next_group_does,
          a_dispatch_does_not_wait_where_too_many_connect,
          groups_are_reported_also_when_somebody_else_sees_the_end_of_the_pool_first,
          groups_of_a_pool_that_is_gone_are_counted,
          an_event_loop_that_comes_late_hears_of_earlier_pools_too,
          an_event_loop_that_cannot_watch_the_pool_is_told)
