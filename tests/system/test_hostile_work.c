/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Too much of what is allowed.
 */
#include "tests/system/hostile.h"

#include "base/clock.h"

#include <signal.h>
#include <sys/socket.h>

START_TEST(urgent_work_of_one_client_does_not_keep_others_out)
{
    hostile_begin();
    pid_t child = fork();
    if (child == 0) {
        mc_pool *pool;
        if (mc_pool_attach(server.path, NULL, &pool) < 0)
            _exit(1);
        mc_group *group = NULL;
        struct mc_group_options options = {
            .size = sizeof(options), .urgent = true, .help = MC_HELP_NEVER};
        unsigned ms = 1;
        if (mc_group_open(pool, &options, &group) < 0)
            _exit(2);
        board_count(&board->words[6]);
        for (unsigned i = 0; atomic_load(&board->words[7]) == 0 && i < 100000; i++)
            (void)mc_group_run(group, "doze", &ms, sizeof(ms)); /* waits while it is full */
        raise(SIGKILL);
    }
    ck_assert(board_await(&board->words[6], 1, BOUND_MS));
    pause_us(100000);
    honest_go_on(50);
    honest_end("urgent work without end", 200);
    atomic_store(&board->words[7], 1);
    (void)await_exit(child);
    server_end(&server);
}
END_TEST

START_TEST(pokes_without_end_cost_little)
{
    hostile_begin();
    pid_t child = fork();
    if (child == 0) {
        struct parcel parcel;
        int fd = join_raw(&parcel);
        board_count(&board->words[6]);
        while (atomic_load(&board->words[7]) == 0) {
            struct message message = {.type = MESSAGE_POKE};
            (void)send(fd, &message, sizeof(message), MSG_NOSIGNAL);
        }
        _exit(0);
    }
    ck_assert(board_await(&board->words[6], 1, BOUND_MS));
    honest_go_on(1000);
    honest_end("pokes", 100);
    atomic_store(&board->words[7], 1);
    ck_assert_int_eq(await_exit(child), 0);
    server_end(&server);
}
END_TEST

START_TEST(workers_killed_on_request_are_followed_at_once)
{
    hostile_begin();
    mc_pool *pool = attach(&server, NULL, 0);
    unsigned ms = 5000;
    for (int i = 0; i < 100; i++) {
        mc_group *group = open_unhelped(pool);
        uint64_t began = clock_ns();
        run(group, "doze", &ms, sizeof(ms));
        ck_assert_int_eq(mc_group_wait(group, 2), -ETIMEDOUT);
        while (mc_group_kill(group) == 0 && mc_group_wait(group, 5) == -ETIMEDOUT)
            ck_assert_double_lt(ms_since(began), 2000);
        ck_assert_int_eq(result_of(group, 0).status, -ECANCELED);
        mc_group_close(group);
    }
    mc_pool_close(pool);
    hostile_finish("workers killed on request");
}
END_TEST

START_TEST(crashing_tasks_cost_others_time_but_no_task)
{
    hostile_begin();
    mc_pool *pool = attach(&server, NULL, 0);
    uint64_t began = clock_ns();
    unsigned crashes = 0;
    while (ms_since(began) < 3000) {
        mc_group *group = open_unhelped(pool);
        run(group, "crash", NULL, 0);
        wait_all(group);
        ck_assert_int_eq(result_of(group, 0).status, -EOWNERDEAD);
        mc_group_close(group);
        crashes++;
    }
    printf("%u crashes in 3 s\n", crashes);
    mc_pool_close(pool);
    honest_end("crashes", SLOWEST_MS);
    server_end(&server);
}
END_TEST

TEST_MAIN(hostile_work, urgent_work_of_one_client_does_not_keep_others_out,
          pokes_without_end_cost_little, workers_killed_on_request_are_followed_at_once,
          crashing_tasks_cost_others_time_but_no_task)
