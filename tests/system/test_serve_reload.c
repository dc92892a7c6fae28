/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A served pool changes its set-up while it works, or keeps the one that it has.
 */
#include "tests/system/server.h"

#include "base/clock.h"
#include "pool/pool.h"

#include <signal.h>
#include <stdlib.h>

static struct server server;

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
    server_end(&server);
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
    server_end(&server);
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
    server_end(&server);
}
END_TEST

START_TEST(clients_that_are_attached_obey_the_limits_of_a_new_set_up)
{
    board_open();
    server_prepare(&server);
    server.options.pool.proc_path = TEST_DATA "/proc/good-busy";
    prepare_fresh(TEST_MODULE_1);
    fresh.pool.max_load_average = "0.01";
    server_start(&server);
    mc_pool *pool = attach(&server, NULL, 0);
    mc_group *group = open_unhelped(pool);
    ck_assert_int_eq(mc_group_mode(group), MC_PARALLEL);
    kill(server.pid, SIGHUP);
    ck_assert(server_await(&server, SERVE_RELOADED, 1));
    uint64_t began = clock_ns();
    do {
        mc_group_close(group);
        pause_us(1000); /* the load is looked at when somebody submits */
        group = open_unhelped(pool);
    } while (mc_group_mode(group) == MC_PARALLEL && ms_since(began) < BOUND_MS);
    ck_assert_int_eq(mc_group_mode(group), MC_INLINE);
    ck_assert_msg(strstr(mc_group_reason(group), "above max_load_average 0.01") != NULL, "%s",
                  mc_group_reason(group));
    mc_group_close(group);
    mc_pool_close(pool);
    server_end(&server);
}
END_TEST

/* ---- set-ups that are given up ---- */

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
    mc_group *group = open_unhelped(pool);
    ck_assert_int_eq(mc_group_run(group, "novel", NULL, 0), -ENOENT);
    mc_group_close(group);
    mc_pool_close(pool);
    server_end(&server);
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

START_TEST(a_set_up_that_is_given_up_replaces_no_worker)
{
    board_open();
    server_prepare(&server);
    prepare_fresh(TEST_MODULE_2);
    static const struct setting none = {"greeting", "none"};
    fresh_module.settings = &none;
    fresh_module.setting_count = 1;
    server_start(&server);
    mc_pool *pool = attach(&server, NULL, 0);
    await_both_workers(pool);
    pid_t before[2], after[2];
    mc_pool_worker_pids(pool, before, 2);
    kill(server.pid, SIGHUP);
    ck_assert(server_await(&server, SERVE_KEPT, 1));
    pause_us(500000); /* longer than the rest before another attempt */
    mc_pool_worker_pids(pool, after, 2);
    ck_assert_mem_eq(before, after, sizeof(before));
    mc_pool_close(pool);
    server_end(&server);
}
END_TEST

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
    server_end(&server);
}
END_TEST

/* ---- seats ---- */

static void kill_all_workers(mc_pool *pool)
{
    pid_t pids[3];
    ck_assert_uint_eq(mc_pool_worker_pids(pool, pids, 3), 3);
    for (int i = 0; i < 3; i++)
        if (pids[i] > 0)                  /* else it is being replaced */
            (void)kill(pids[i], SIGKILL); /* or it has left by now */
    for (int i = 0; i < 3; i++)
        for (uint64_t began = clock_ns(); pids[i] > 0 && process_lives(pids[i]); pause_us(1000))
            ck_assert(ms_since(began) < BOUND_MS);
}

/* Whatever the machine has by now: lanes have arenas for as many seats as there were. */
START_TEST(a_reload_changes_no_number_of_workers)
{
    board_open();
    server_prepare(&server);
    server.options.pool.io_workers = 1;
    server.module.path = TEST_MODULE_3;
    prepare_fresh(TEST_MODULE_3);
    server_start(&server);
    mc_pool *pool = attach(&server, NULL, 0);
    await_both_workers(pool);
    const unsigned numbers[][2] = {{4, 2}, {1, 0}};
    const unsigned ms[2] = {1, 0};
    for (uint32_t i = 0; i < 2; i++) {
        fresh.pool.workers = numbers[i][0];
        fresh.pool.io_workers = numbers[i][1];
        kill(server.pid, SIGHUP);
        ck_assert(server_await(&server, SERVE_RELOADED, i + 1));
        kill_all_workers(pool);
        await_both_workers(pool);
        mc_group *group = open_unhelped(pool);
        run(group, "linger", ms, sizeof(ms));
        wait_all(group);
        ck_assert_int_eq(result_of(group, 0).status, 0);
        mc_group_close(group);
    }
    mc_pool_close(pool);
    server_end(&server);
}
END_TEST

/* ---- zygotes that die ---- */

static void count_line(void *context, int level, const char *line)
{
    if (strstr(line, "cannot start") != NULL)
        board_count(&board->words[0]);
}

static char module_file[128];

static void replace_module(const char *with)
{
    char command[512];
    snprintf(command, sizeof(command), "cp %s %s.new && mv %s.new %s", with, module_file,
             module_file, module_file);
    ck_assert_int_eq(system(command), 0);
}

static void prepare_file(const char *with)
{
    board_open();
    server_prepare(&server);
    server.options.pool.log = count_line;
    snprintf(module_file, sizeof(module_file), "%s/module.so", server.directory);
    replace_module(with);
}

START_TEST(a_reload_mends_a_set_up_that_cannot_be_loaded_any_more)
{
    prepare_file(TEST_MODULE_1);
    prepare_fresh(TEST_MODULE_2);
    server.module.path = module_file;
    server_start(&server);
    mc_pool *pool = attach(&server, NULL, 0);
    pid_t zygote = server_zygote(&server, 0);
    replace_module("/proc/self/stat");
    end_process(zygote);
    ck_assert(board_await(&board->words[0], 1, BOUND_MS));
    for (uint32_t i = 1; i <= 2; i++) {
        kill(server.pid, SIGHUP);
        ck_assert(server_await(&server, SERVE_RELOADED, i));
        ck_assert_int_eq(version_of(pool), 207);
    }
    mc_pool_close(pool);
    unlink(module_file);
    server_end(&server);
}
END_TEST

/* The workers that are left take tasks, until the last of them dies. */
START_TEST(tasks_are_given_up_when_no_zygote_can_be_loaded_and_no_worker_is_left)
{
    prepare_file(TEST_MODULE_1);
    server.module.path = module_file;
    server_start(&server);
    mc_pool *pool = attach(&server, NULL, 0);
    await_both_workers(pool);
    replace_module("/proc/self/stat");
    end_process(server_zygote(&server, 0));
    ck_assert(board_await(&board->words[0], 1, BOUND_MS));
    ck_assert_int_eq(version_of(pool), 107);
    end_process(child_named(server.pid, "mc-worker/0", 0));
    end_process(child_named(server.pid, "mc-worker/1", 0));
    mc_group *group = open_unhelped(pool);
    run(group, "version", NULL, 0);
    wait_all(group);
    ck_assert_int_eq(result_of(group, 0).status, -EOWNERDEAD);
    mc_group_close(group);
    replace_module(TEST_MODULE_1);
    await_both_workers(pool);
    ck_assert_int_eq(version_of(pool), 107);
    mc_pool_close(pool);
    unlink(module_file);
    server_end(&server);
}
END_TEST

START_TEST(a_set_up_whose_zygote_dies_and_cannot_be_loaded_again_is_given_up)
{
    prepare_file(TEST_MODULE_2);
    prepare_fresh(module_file);
    server_start(&server);
    mc_pool *pool = attach(&server, NULL, 0);
    await_both_workers(pool);
    mc_group *group = open_unhelped(pool);
    unsigned doze_ms = 4000; /* meanwhile the new set-up waits for this worker */
    run(group, "doze", &doze_ms, sizeof(doze_ms));
    pid_t old = server_zygote(&server, 0);
    kill(server.pid, SIGHUP);
    await_version(pool, 207);
    replace_module("/proc/self/stat");
    end_process(server_zygote(&server, old));
    ck_assert(server_await(&server, SERVE_KEPT, 1));
    await_version(pool, 107);
    replace_module(TEST_MODULE_2);
    kill(server.pid, SIGHUP);
    ck_assert(server_await(&server, SERVE_RELOADED, 1));
    ck_assert_int_eq(version_of(pool), 207);
    wait_all(group);
    ck_assert_int_eq(result_of(group, 0).status, 0);
    mc_group_close(group);
    mc_pool_close(pool);
    unlink(module_file);
    server_end(&server);
}
END_TEST

TEST_MAIN(serve_reload, a_reload_moves_to_the_new_module_and_loses_nothing,
          reloads_asked_for_during_one_are_one_more, a_reload_during_the_start_follows_it,
          clients_that_are_attached_obey_the_limits_of_a_new_set_up,
          a_set_up_that_cannot_be_loaded_leaves_the_old_one,
          a_set_up_that_refuses_leaves_the_old_one,
          a_set_up_whose_workers_cannot_start_leaves_the_old_one,
          a_set_up_that_is_given_up_replaces_no_worker,
          set_ups_that_are_given_up_leave_nothing_in_the_server,
          a_reload_changes_no_number_of_workers,
          a_reload_mends_a_set_up_that_cannot_be_loaded_any_more,
          tasks_are_given_up_when_no_zygote_can_be_loaded_and_no_worker_is_left,
          a_set_up_whose_zygote_dies_and_cannot_be_loaded_again_is_given_up)
