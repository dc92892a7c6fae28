/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A pool that is served: modules, attaching from other processes, its going and coming
 * back, and changing its set-up while it works.
 */
#include "tests/system/server.h"

#include "base/clock.h"
#include "base/fault.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

static struct server server;

static int here(mc_task *task)
{
    int answer = mc_task_inline(task) ? 1 : 0;
    return mc_task_reply(task, &answer, sizeof(answer));
}

static const struct mc_handler linked[] = {{.name = "version", .run = here}};

static void begin(void)
{
    board_open();
    server_prepare(&server);
    server_start(&server);
    ck_assert_msg(atomic_load(&server.told->events[SERVE_READY]) == 1, "%s", server.told->text);
}

static void finish(void)
{
    int status = server_stop(&server);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", status);
    server_remove(&server);
}

static int version_of(mc_pool *pool)
{
    mc_group *group = open_unhelped(pool);
    run(group, "version", NULL, 0);
    wait_all(group);
    struct mc_result result = result_of(group, 0);
    ck_assert_msg(result.status == 0, "%d %s", result.status, result.error);
    int answer;
    memcpy(&answer, result.data, sizeof(answer));
    mc_group_close(group);
    return answer;
}

static void expect_echo(mc_pool *pool, size_t size)
{
    char *bytes = malloc(size);
    ck_assert_ptr_nonnull(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(i * 7);
    mc_group *group = open_unhelped(pool);
    run(group, "echo", bytes, size);
    wait_all(group);
    struct mc_result result = result_of(group, 0);
    ck_assert_msg(result.status == 0, "%d %s", result.status, result.error);
    ck_assert_uint_eq(result.data_size, size);
    if (size > 0)
        ck_assert_mem_eq(result.data, bytes, size);
    mc_group_close(group);
    free(bytes);
}

START_TEST(a_stranger_attaches_and_uses_the_modules_handlers)
{
    begin();
    mc_pool *pool = attach(&server, NULL, 0);
    ck_assert_uint_eq(mc_pool_workers(pool), 2);
    expect_echo(pool, 10);
    expect_echo(pool, 3000000);
    ck_assert_int_eq(version_of(pool), 107);
    mc_group *group = open_unhelped(pool);
    ck_assert_int_eq(mc_group_map(group, "sum", 1000000, NULL, NULL, 0), 0);
    wait_all(group);
    uint64_t total = 0;
    for (size_t i = 0; i < mc_group_size(group); i++)
        total += *(const uint64_t *)result_of(group, i).data;
    ck_assert_uint_eq(total, UINT64_C(1000000) * 999999 / 2);
    run(group, "greeting", NULL, 0);
    wait_all(group);
    struct mc_result result = result_of(group, mc_group_size(group) - 1);
    ck_assert_uint_eq(result.data_size, 5);
    ck_assert_mem_eq(result.data, "hello", 5);
    expect_error(mc_group_run(group, "nonsense", NULL, 0), -ENOENT, "echo, sum, version");
    mc_group_close(group);
    mc_pool_close(pool);
    finish();
}
END_TEST

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

START_TEST(many_processes_attach_at_once)
{
    begin();
    pid_t children[20];
    for (int i = 0; i < 20; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            mc_pool *pool = attach(&server, NULL, 0);
            for (int round = 0; round < 50; round++)
                expect_echo(pool, (size_t)(round * 100));
            mc_pool_close(pool);
            _exit(0);
        }
    }
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(await_exit(children[i]), 0);
    finish();
}
END_TEST

START_TEST(a_worker_that_dies_is_replaced_and_the_quarantine_is_seen)
{
    begin();
    mc_pool *pool = attach(&server, NULL, 0);
    mc_group *group = open_unhelped(pool);
    run(group, "crash", "xyz", 3);
    run(group, "again", NULL, 0);
    wait_all(group);
    ck_assert_int_eq(result_of(group, 0).status, -EOWNERDEAD);
    ck_assert_int_eq(result_of(group, 1).status, -EOWNERDEAD);
    struct mc_quarantined entry = {.size = sizeof(entry)};
    unsigned attempts = 0;
    for (size_t i = 0; i < 2; i++) {
        ck_assert_int_eq(mc_pool_quarantine(pool, i, &entry), 1);
        attempts += entry.attempts;
        ck_assert_int_eq(entry.client_pid, getpid());
    }
    ck_assert_uint_eq(attempts, 1 + 3);
    mc_group_close(group);
    expect_echo(pool, 100);
    mc_pool_close(pool);
    finish();
}
END_TEST

START_TEST(a_forked_child_connects_by_itself)
{
    begin();
    mc_pool *pool = attach(&server, NULL, 0);
    mc_group *inherited = open_unhelped(pool);
    expect_echo(pool, 10);
    pid_t child = fork();
    if (child == 0) {
        expect_error(mc_group_run(inherited, "echo", NULL, 0), -ESTALE, "fork");
        mc_group_close(inherited);
        expect_echo(pool, 1000);
        mc_pool_close(pool);
        _exit(0);
    }
    ck_assert_int_eq(await_exit(child), 0);
    run(inherited, "echo", "a", 1);
    wait_all(inherited);
    ck_assert_int_eq(result_of(inherited, 0).status, 0);
    mc_group_close(inherited);
    mc_pool_close(pool);
    finish();
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
    uint64_t began = clock_ns();
    while (version_of(pool) != 107 && ms_since(began) < BOUND_MS)
        pause_us(10000);
    ck_assert_int_eq(version_of(pool), 107);
    ck_assert(mc_pool_connected(pool));
    mc_pool_close(pool);
    finish();
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
        uint64_t began = clock_ns();
        while (version_of(pool) != 107 && ms_since(began) < BOUND_MS)
            pause_us(10000);
        ck_assert_int_eq(version_of(pool), 107);
        mc_group_close(across);
    }
    mc_pool_close(pool);
    finish();
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
    finish();
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
    began = clock_ns();
    while (version_of(pool) != 107 && ms_since(began) < BOUND_MS)
        pause_us(10000);
    ck_assert_int_eq(version_of(pool), 107);
    mc_pool_close(pool);
    finish();
}
END_TEST

static struct serve_options fresh;
static struct module_spec fresh_module;

static void prepare_fresh(const char *path)
{
    fresh = server.options;
    fresh_module = server.module;
    fresh_module.path = path;
    fresh.modules = &fresh_module;
    server.fresh = &fresh;
}

START_TEST(a_reload_moves_to_the_new_module_and_loses_nothing)
{
    board_open();
    server_prepare(&server);
    prepare_fresh(TEST_MODULE_2);
    server_start(&server);
    mc_pool *pool = attach(&server, NULL, 0);
    mc_group *group = open_unhelped(pool);
    ck_assert_int_eq(version_of(pool), 107);
    kill(server.pid, SIGHUP);
    size_t count = 0;
    while (atomic_load(&server.told->events[SERVE_RELOADED]) == 0 && count < 200000) {
        run(group, "version", NULL, 0);
        if (++count % 50 == 0)
            wait_all(group);
    }
    wait_all(group);
    ck_assert_uint_eq(failures(group), 0);
    mc_group_close(group);
    ck_assert(server_await(&server, SERVE_RELOADED, 1));
    ck_assert_int_eq(version_of(pool), 207);
    group = open_unhelped(pool);
    run(group, "novel", NULL, 0);
    wait_all(group);
    ck_assert_int_eq(result_of(group, 0).status, 0);
    mc_group_close(group);
    mc_pool_close(pool);
    finish();
}
END_TEST

START_TEST(reloads_asked_for_during_one_are_one_more)
{
    board_open();
    server_prepare(&server);
    prepare_fresh(TEST_MODULE_2);
    server.fresh_from = 2; /* what is configured when the first is over */
    server.again[SERVE_RELOADING] = true;
    server.again[SERVE_RELOADED] = true;
    server_start(&server);
    mc_pool *pool = attach(&server, NULL, 0);
    kill(server.pid, SIGHUP);
    ck_assert(server_await(&server, SERVE_RELOADED, 2));
    ck_assert_int_eq(version_of(pool), 207);
    mc_pool_close(pool);
    finish();
    ck_assert_uint_eq(atomic_load(&server.told->events[SERVE_RELOADING]), 2);
    ck_assert_uint_eq(atomic_load(&server.told->events[SERVE_KEPT]), 0);
}
END_TEST

START_TEST(a_reload_during_the_start_follows_it)
{
    board_open();
    server_prepare(&server);
    prepare_fresh(TEST_MODULE_2);
    static const struct setting hang_up = {"hang-up", "now"};
    server.module.settings = &hang_up;
    server.module.setting_count = 1;
    server_start(&server);
    mc_pool *pool = attach(&server, NULL, 0);
    ck_assert(server_await(&server, SERVE_RELOADED, 1));
    ck_assert_int_eq(version_of(pool), 207);
    mc_pool_close(pool);
    finish();
}
END_TEST

static void expect_kept(const char *why)
{
    server_start(&server);
    mc_pool *pool = attach(&server, NULL, 0);
    ck_assert_int_eq(version_of(pool), 107);
    kill(server.pid, SIGHUP);
    ck_assert(server_await(&server, SERVE_KEPT, 1));
    ck_assert_msg(strstr(server.told->text, why) != NULL, "%s", server.told->text);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(version_of(pool), 107);
    mc_pool_close(pool);
    finish();
}

START_TEST(a_set_up_that_cannot_be_loaded_leaves_the_old_one)
{
    board_open();
    server_prepare(&server);
    prepare_fresh("/nowhere/module.so");
    expect_kept("/nowhere/module.so");
}
END_TEST

START_TEST(a_set_up_that_refuses_leaves_the_old_one)
{
    board_open();
    server_prepare(&server);
    prepare_fresh(TEST_MODULE_2);
    static const struct setting refuse = {"refuse", "today"};
    fresh_module.settings = &refuse;
    fresh_module.setting_count = 1;
    expect_kept("module 'basic': configure: told to refuse: today");
}
END_TEST

START_TEST(a_set_up_whose_workers_cannot_start_leaves_the_old_one)
{
    board_open();
    server_prepare(&server);
    prepare_fresh(TEST_MODULE_2);
    static const struct setting none = {"greeting", "none"};
    fresh_module.settings = &none;
    fresh_module.setting_count = 1;
    expect_kept("nothing to say");
}
END_TEST

/* The server is ready with its first worker; now it knows both. */
static void await_both_workers(mc_pool *pool)
{
    struct mc_group_options options = {.size = sizeof(options), .help = MC_HELP_NEVER};
    struct mc_result results[2] = {{.size = sizeof(results[0])}, {.size = sizeof(results[0])}};
    unsigned doze_ms = 30;
    uint64_t began = clock_ns();
    do {
        mc_group *group;
        ck_assert_int_eq(mc_group_open(pool, &options, &group), 0);
        for (int i = 0; i < 2; i++)
            ck_assert_int_eq(mc_group_run(group, "doze", &doze_ms, sizeof(doze_ms)), 0);
        ck_assert_int_eq(mc_group_wait(group, BOUND_MS), 0);
        for (size_t i = 0; i < 2; i++)
            ck_assert_int_eq(mc_group_result(group, i, &results[i]), 0);
        mc_group_close(group);
    } while (results[0].worker_pid == results[1].worker_pid && ms_since(began) < BOUND_MS);
    ck_assert_int_ne(results[0].worker_pid, results[1].worker_pid);
}

START_TEST(set_ups_that_are_given_up_leave_nothing_in_the_server)
{
    board_open();
    server_prepare(&server);
    prepare_fresh(TEST_MODULE_2);
    static const struct setting none = {"greeting", "none"};
    fresh_module.settings = &none;
    fresh_module.setting_count = 1;
    server_start(&server);
    mc_pool *pool = attach(&server, NULL, 0);
    ck_assert_int_eq(version_of(pool), 107);
    await_both_workers(pool);
    unsigned descriptors = open_descriptors_of(server.pid);
    for (uint32_t round = 1; round <= 20; round++) {
        kill(server.pid, SIGHUP);
        ck_assert(server_await(&server, SERVE_KEPT, round));
        uint64_t began = clock_ns();
        while (open_descriptors_of(server.pid) != descriptors && ms_since(began) < BOUND_MS)
            pause_us(1000);
        ck_assert_uint_eq(open_descriptors_of(server.pid), descriptors);
    }
    ck_assert_int_eq(version_of(pool), 107);
    mc_pool_close(pool);
    finish();
}
END_TEST

START_TEST(a_pool_that_cannot_start_says_why)
{
    board_open();
    server_prepare(&server);
    server.module.path = "/nowhere/module.so";
    server_start(&server);
    int status = await_exit(server.pid);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    ck_assert_ptr_nonnull(strstr(server.told->text, "/nowhere/module.so"));
    server_remove(&server);
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
    uint64_t began = clock_ns();
    while (version_of(late) != 107 && ms_since(began) < BOUND_MS)
        pause_us(10000);
    ck_assert_int_eq(version_of(late), 107);
    mc_pool_close(late);
    mc_pool_close(pools[1]);
    mc_pool_close(pools[2]);
    finish();
}
END_TEST

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
    finish();
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
    finish();
}
END_TEST

START_TEST(nothing_is_left_of_a_pool_that_was_stopped)
{
    begin();
    mc_pool *pool = attach(&server, NULL, 0);
    pid_t pids[2];
    mc_pool_worker_pids(pool, pids, 2);
    mc_pool_close(pool);
    unsigned descriptors = open_descriptors();
    pool = attach(&server, NULL, 0);
    expect_echo(pool, 100);
    mc_pool_close(pool);
    ck_assert_uint_eq(open_descriptors(), descriptors);
    finish();
    ck_assert(!process_lives(pids[0]) && !process_lives(pids[1]));
}
END_TEST

TEST_MAIN(serve, a_group_of_a_pool_that_leaves_runs_here,
          a_stranger_attaches_and_uses_the_modules_handlers, many_processes_attach_at_once,
          a_worker_that_dies_is_replaced_and_the_quarantine_is_seen,
          a_forked_child_connects_by_itself, while_the_pool_is_away_linked_handlers_run_here,
          a_pool_that_dies_and_comes_back_is_found_again, an_answer_that_comes_late_is_still_taken,
          groups_do_not_wait_for_a_pool_that_does_not_answer,
          a_reload_moves_to_the_new_module_and_loses_nothing,
          reloads_asked_for_during_one_are_one_more, a_reload_during_the_start_follows_it,
          a_set_up_that_cannot_be_loaded_leaves_the_old_one,
          a_set_up_that_refuses_leaves_the_old_one,
          a_set_up_whose_workers_cannot_start_leaves_the_old_one,
          set_ups_that_are_given_up_leave_nothing_in_the_server, a_pool_that_cannot_start_says_why,
          no_more_clients_of_a_user_than_allowed, an_event_loop_survives_the_pools_restart,
          an_event_loop_that_cannot_watch_the_pool_is_told,
          nothing_is_left_of_a_pool_that_was_stopped)
