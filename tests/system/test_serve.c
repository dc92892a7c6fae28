/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A pool that is served, with handlers of modules, and those who attach to it.
 */
#include "tests/system/server.h"

#include "pool/pool.h"

#include <stdlib.h>

static struct server server;

static void begin(void)
{
    board_open();
    server_prepare(&server);
    server_start(&server);
    ck_assert_msg(atomic_load(&server.told->events[SERVE_READY]) == 1, "%s", server.told->text);
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
    server_end(&server);
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
    server_end(&server);
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
    server_end(&server);
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
    server_end(&server);
}
END_TEST

static bool await_client(const struct control *control, pid_t pid, bool there)
{
    for (int ms = 0; ms < BOUND_MS; ms++) {
        bool seen = false;
        for (uint32_t i = 0; i < MAX_LANES; i++)
            seen = seen || atomic_load(&control->lanes[i].client_pid) == pid;
        if (seen == there)
            return true;
        pause_us(1000);
    }
    return false;
}

START_TEST(a_forked_child_keeps_no_lane_of_its_parent)
{
    begin();
    mc_pool *pool = attach(&server, NULL, 0);
    expect_echo(pool, 10);
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        mc_group *group = open_unhelped(pool);
        _exit(await_client(group->pool->control, parent, false) ? 0 : 1);
    }
    mc_group *group = open_unhelped(pool);
    ck_assert(await_client(group->pool->control, child, true));
    mc_group_close(group);
    mc_pool_close(pool);
    ck_assert_int_eq(await_exit(child), 0);
    server_end(&server);
}
END_TEST

START_TEST(a_client_cannot_lengthen_a_handlers_time_limit)
{
    board_open();
    server_prepare(&server);
    server.options.pool.io_workers = 1;
    server.module.path = TEST_MODULE_3;
    server_start(&server);
    mc_pool *pool = attach(&server, NULL, 0);
    const unsigned ms[2] = {60000, 0};
    const unsigned limits[] = {3600000, 20};
    for (int i = 0; i < 2; i++) {
        mc_group *group = open_with(pool, (struct mc_group_options){.time_limit_ms = limits[i]});
        run(group, "linger-limited", ms, sizeof(ms));
        wait_all(group);
        struct mc_result result = result_of(group, 0);
        ck_assert_int_eq(result.status, -ETIMEDOUT);
        ck_assert_msg(strstr(result.error, i == 0 ? "200 ms" : "20 ms") != NULL, "%s",
                      result.error);
        mc_group_close(group);
    }
    mc_pool_close(pool);
    server_end(&server);
}
END_TEST

START_TEST(a_handler_that_a_worker_does_not_have_fails_its_task_alone)
{
    begin();
    mc_pool *pool = attach(&server, NULL, 0);
    mc_group *group = open_unhelped(pool);
    struct config *config = group->pool->config; /* as it would be from another set-up */
    snprintf(config->handlers[config->handler_count].name, HANDLER_NAME_SIZE, "elsewhere");
    config->handler_count++;
    run(group, "elsewhere", NULL, 0);
    run(group, "version", NULL, 0);
    wait_all(group);
    struct mc_result result = result_of(group, 0);
    ck_assert_int_eq(result.status, -ENOSYS);
    ck_assert_msg(strstr(result.error, "do not have this handler") != NULL, "%s", result.error);
    ck_assert_int_eq(result_of(group, 1).status, 0);
    mc_group_close(group);
    expect_echo(pool, 100);
    mc_pool_close(pool);
    server_end(&server);
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
    server_end(&server);
    ck_assert(!process_lives(pids[0]) && !process_lives(pids[1]));
}
END_TEST

TEST_MAIN(serve, a_stranger_attaches_and_uses_the_modules_handlers, many_processes_attach_at_once,
          a_worker_that_dies_is_replaced_and_the_quarantine_is_seen,
          a_forked_child_connects_by_itself, a_forked_child_keeps_no_lane_of_its_parent,
          a_client_cannot_lengthen_a_handlers_time_limit,
          a_handler_that_a_worker_does_not_have_fails_its_task_alone,
          a_pool_that_cannot_start_says_why, nothing_is_left_of_a_pool_that_was_stopped)
