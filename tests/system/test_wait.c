/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Waiting for tasks, and not waiting any longer.
 */
#include "tests/system/support.h"

#include "base/clock.h"
#include "pool/pool.h"

#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>

static int blocked(mc_task *task)
{
    uint32_t number = number_of(task);
    board_begin(number);
    gate_pass();
    board_end();
    return mc_task_reply(task, &number, sizeof(number));
}

static int quick(mc_task *task)
{
    uint32_t number = number_of(task);
    board_begin(number);
    board_end();
    return mc_task_reply(task, &number, sizeof(number));
}

/* Usually quick, so that callers run it themselves; with GATED it is not. */
enum { GATED = 1000 };

static int mostly_quick(mc_task *task)
{
    return number_of(task) == GATED ? blocked(task) : quick(task);
}

/* Runs until it is told to stop. */
static int patient(mc_task *task)
{
    uint64_t began = clock_ns();
    board_begin(number_of(task));
    while (!mc_task_cancelled(task) && ms_since(began) < BOUND_MS)
        pause_us(100);
    bool cancelled = mc_task_cancelled(task);
    board_count(&board->words[cancelled]);
    board_end();
    return cancelled ? mc_task_fail(task, -EINTR, "stopped early") : 0;
}

/* Ends when the task with the number that follows its own has run. */
static int after_next(mc_task *task)
{
    uint32_t number = number_of(task);
    board_begin(number);
    bool came = board_await(&board->runs[number + 1], 1, 3000);
    board_end();
    return came ? 0 : -ETIMEDOUT;
}

/* Long enough for others to run beside it. */
static int slow(mc_task *task)
{
    board_begin(number_of(task));
    pause_us(300);
    board_end();
    return 0;
}

static const struct mc_handler handlers[] = {
    {.name = "blocked", .run = blocked},       {.name = "quick", .run = quick},
    {.name = "patient", .run = patient},       {.name = "slow", .run = slow},
    {.name = "after-next", .run = after_next}, {.name = "mostly-quick", .run = mostly_quick},
};

static mc_pool *pool;

static void begin(unsigned workers)
{
    board_open();
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    options.workers = workers;
    options.close_timeout_ms = 200;
    pool = open_pool(&options);
}

static void finish(mc_group *group)
{
    mc_group_close(group);
    mc_pool_close(pool);
}

START_TEST(a_wait_that_timed_out_can_be_repeated)
{
    begin(2);
    mc_group *group = open_unhelped(pool);
    run_number(group, "quick", 0);
    run_number(group, "blocked", 1);
    uint64_t began = clock_ns();
    expect_error(mc_group_wait(group, 30), -ETIMEDOUT, "of 2 tasks");
    ck_assert_double_ge(ms_since(began), 29);
    ck_assert_int_eq(mc_group_wait(group, 1), -ETIMEDOUT);
    gate_open();
    wait_all(group);
    ck_assert_uint_eq(failures(group), 0);
    ck_assert_int_eq(mc_group_wait(group, 0), 0);
    finish(group);
}
END_TEST

START_TEST(a_wait_of_0_only_collects_and_says_so)
{
    struct mc_result result = {.size = sizeof(result)};
    begin(2);
    mc_group *group = open_group(pool);
    expect_error(mc_group_run(group, "nobody", NULL, 0), -ENOENT, "nobody");
    run_number(group, "blocked", 1);
    expect_error(mc_group_wait(group, 0), -ETIMEDOUT, "1 of 1 tasks");
    expect_error(mc_group_run(group, "nobody", NULL, 0), -ENOENT, "nobody");
    expect_error(mc_group_next(group, &result, 0), -ETIMEDOUT, "1 of 1 tasks");
    gate_open();
    uint64_t began = clock_ns();
    while (mc_group_wait(group, 0) != 0)
        ck_assert_double_lt(ms_since(began), BOUND_MS);
    finish(group);
}
END_TEST

START_TEST(next_gives_results_in_the_order_of_completion)
{
    struct mc_result result = {.size = sizeof(result)};
    begin(2);
    mc_group *group = open_unhelped(pool);
    run_number(group, "blocked", 0);
    ck_assert(board_await(&board->started, 1, BOUND_MS));
    for (uint32_t number = 1; number <= 5; number++)
        run_number(group, "quick", number);
    bool seen[6] = {false};
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(mc_group_next(group, &result, BOUND_MS), 1);
        ck_assert_uint_ge(result.index, 1);
        ck_assert(!seen[result.index]);
        seen[result.index] = true;
    }
    ck_assert_int_eq(mc_group_next(group, &result, 20), -ETIMEDOUT);
    gate_open();
    ck_assert_int_eq(mc_group_next(group, &result, BOUND_MS), 1);
    ck_assert_uint_eq(result.index, 0);
    ck_assert_int_eq(mc_group_next(group, &result, -1), 0);
    run_number(group, "quick", 6);
    ck_assert_int_eq(mc_group_next(group, &result, BOUND_MS), 1);
    ck_assert_uint_eq(result.index, 6);
    finish(group);
}
END_TEST

START_TEST(cancel_ends_what_has_not_begun)
{
    begin(2);
    mc_group *group = open_unhelped(pool);
    for (uint32_t number = 0; number < 10; number++)
        run_number(group, "blocked", number);
    ck_assert(board_await(&board->started, 2, BOUND_MS));
    ck_assert_int_eq(mc_group_cancel(group), 8);
    ck_assert_int_eq(mc_group_cancel(group), 0);
    gate_open();
    wait_all(group);
    for (size_t index = 0; index < 10; index++) {
        struct mc_result result = result_of(group, index);
        ck_assert_int_eq(result.status, index < 2 ? 0 : -ECANCELED);
        ck_assert_int_eq(result.worker_pid == 0, index >= 2);
        ck_assert_str_eq(result.error, index < 2 ? "" : "cancelled before it started");
        ck_assert_uint_eq(result.data_size, index < 2 ? 4 : 0);
    }
    ck_assert_uint_eq(atomic_load(&board->started), 2);
    expect_quiet(pool);
    finish(group);
}
END_TEST

START_TEST(running_tasks_learn_that_they_are_cancelled)
{
    begin(2);
    mc_group *group = open_unhelped(pool);
    run_number(group, "patient", 0);
    run_number(group, "patient", 1);
    ck_assert(board_await(&board->started, 2, BOUND_MS));
    ck_assert_int_eq(mc_group_cancel(group), 0);
    wait_all(group);
    ck_assert_int_eq(result_of(group, 0).status, -EINTR);
    ck_assert_str_eq(result_of(group, 1).error, "stopped early");
    finish(group);
}
END_TEST

START_TEST(running_tasks_learn_that_their_group_was_closed)
{
    begin(2);
    mc_group *group = open_unhelped(pool);
    run_number(group, "patient", 0);
    ck_assert(board_await(&board->started, 1, BOUND_MS));
    mc_group_close(group);
    ck_assert(board_await(&board->words[1], 1, BOUND_MS));
    finish(NULL);
}
END_TEST

START_TEST(a_cancelled_group_can_be_used_again)
{
    begin(1);
    mc_group *group = open_unhelped(pool);
    run_number(group, "blocked", 0);
    ck_assert(board_await(&board->started, 1, BOUND_MS));
    run_number(group, "quick", 1);
    ck_assert_int_eq(mc_group_cancel(group), 1);
    run_number(group, "quick", 2);
    gate_open();
    wait_all(group);
    ck_assert_int_eq(result_of(group, 1).status, -ECANCELED);
    ck_assert_int_eq(result_of(group, 2).status, 0);
    finish(group);
}
END_TEST

START_TEST(only_tasks_that_ran_count_as_done)
{
    begin(1);
    mc_group *group = open_unhelped(pool);
    run_number(group, "blocked", 0);
    ck_assert(board_await(&board->started, 1, BOUND_MS));
    for (uint32_t number = 1; number < 10; number++)
        run_number(group, "quick", number);
    ck_assert_int_eq(mc_group_cancel(group), 9);
    gate_open();
    wait_all(group);
    run_number(group, "quick", 10);
    wait_all(group);
    const struct seat_row *row = &pool->control->rows[0];
    for (uint64_t began = clock_ns();
         atomic_load(&row->run_count) != 0 && ms_since(began) < BOUND_MS;)
        pause_us(1000);
    ck_assert_uint_eq(atomic_load(&row->tasks_done), 2);
    finish(group);
}
END_TEST

/* ---- signals ---- */

static _Atomic uint32_t signals;

static void count_signal(int number)
{
    atomic_fetch_add(&signals, 1);
}

static void start_signals(void)
{
    struct sigaction action = {.sa_handler = count_signal};
    struct itimerval every = {{0, 5000}, {0, 5000}};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &every, NULL);
}

static void stop_signals(void)
{
    struct itimerval never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &never, NULL);
}

START_TEST(an_interruptible_wait_ends_with_a_signal)
{
    struct mc_result result = {.size = sizeof(result)};
    begin(2);
    mc_group *group =
        open_with(pool, (struct mc_group_options){.interruptible = true, .help = MC_HELP_NEVER});
    run_number(group, "blocked", 0);
    run_number(group, "blocked", 1);
    start_signals();
    expect_error(mc_group_wait(group, BOUND_MS), -EINTR, "signal");
    expect_error(mc_group_next(group, &result, BOUND_MS), -EINTR, "signal");
    stop_signals();
    gate_open();
    wait_all(group);
    ck_assert_uint_eq(failures(group), 0);
    finish(group);
}
END_TEST

START_TEST(a_wait_for_room_that_others_take_ends_with_a_signal_likewise)
{
    board_open();
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    options.queue_depth = 16;
    pool = open_pool(&options);
    mc_group *full = open_unhelped(pool);
    mc_group *group =
        open_with(pool, (struct mc_group_options){
                            .interruptible = true, .help = MC_HELP_NEVER, .full_timeout_ms = 500});
    uint32_t number = 16;
    for (uint32_t i = 0; i < 16; i++)
        run_number(full, "blocked", i);
    start_signals();
    expect_error(mc_group_run(group, "quick", &number, sizeof(number)), -EINTR, "signal");
    stop_signals();
    gate_open();
    wait_all(full);
    mc_group_close(full);
    finish(group);
}
END_TEST

START_TEST(other_waits_go_on_after_a_signal)
{
    begin(2);
    mc_group *group = open_unhelped(pool);
    run_number(group, "blocked", 0);
    start_signals();
    expect_error(mc_group_wait(group, 100), -ETIMEDOUT, "1 of 1");
    ck_assert_uint_ge(atomic_load(&signals), 5);
    gate_open();
    wait_all(group);
    stop_signals();
    finish(group);
}
END_TEST

/* ---- complaints ---- */

/* The supervisor bumps `alarm` for each. */
START_TEST(who_waits_for_busy_workers_does_not_complain_of_idle_ones_for_other_tasks)
{
    const struct mc_handler both[] = {{.name = "blocked", .run = blocked},
                                      {.name = "waits", .run = quick, .flags = MC_IO}};
    board_open();
    struct mc_pool_options options = pool_options(HANDLERS(both));
    options.workers = 1;
    pool = open_pool(&options);
    ck_assert(await_workers(pool, BOUND_MS));
    mc_group *group = open_unhelped(pool);
    run_number(group, "blocked", 0);
    ck_assert(board_await(&board->started, 1, BOUND_MS));
    run_number(group, "blocked", 1);
    uint32_t before = atomic_load(&pool->control->alarm);
    ck_assert_int_eq(mc_group_wait(group, 700), -ETIMEDOUT);
    ck_assert_uint_eq(atomic_load(&pool->control->alarm), before);
    gate_open();
    wait_all(group);
    finish(group);
}
END_TEST

/* ---- max_parallel ---- */

START_TEST(max_parallel_is_never_exceeded)
{
    const char *const names[] = {"slow", "quick"};
    for (unsigned limit = 1; limit <= 2; limit++) {
        for (int i = 0; i < 2; i++) {
            begin(4);
            mc_group *group = open_with(pool, (struct mc_group_options){.max_parallel = limit});
            for (uint32_t number = 0; number < 200; number++)
                run_number(group, names[i], number);
            wait_all(group);
            ck_assert_uint_eq(failures(group), 0);
            ck_assert_msg(atomic_load(&board->most_running) <= limit, "%s: %u at once, not %u",
                          names[i], atomic_load(&board->most_running), limit);
            finish(group);
        }
    }
}
END_TEST

START_TEST(max_parallel_holds_while_the_caller_helps)
{
    begin(2);
    mc_group *warm = open_group(pool);
    for (uint32_t number = 0; number < 50; number++)
        run_number(warm, "mostly-quick", number);
    wait_all(warm);
    mc_group *group = open_with(pool, (struct mc_group_options){.max_parallel = 1});
    atomic_store(&board->started, 0);
    run_number(group, "mostly-quick", GATED);
    ck_assert(board_await(&board->started, 1, BOUND_MS));
    atomic_store(&board->most_running, 1);
    run_number(group, "mostly-quick", 1);
    ck_assert_int_eq(mc_group_wait(group, 50), -ETIMEDOUT);
    gate_open();
    wait_all(group);
    ck_assert_uint_eq(atomic_load(&board->most_running), 1);
    mc_group_close(warm);
    finish(group);
}
END_TEST

START_TEST(max_parallel_is_made_use_of_behind_a_long_task)
{
    begin(4);
    mc_group *group =
        open_with(pool, (struct mc_group_options){.max_parallel = 2, .help = MC_HELP_NEVER});
    run_number(group, "after-next", 9); /* ends when 10 has run */
    run_number(group, "quick", 1);
    run_number(group, "quick", 2);
    run_number(group, "quick", 10);
    wait_all(group);
    ck_assert_msg(failures(group) == 0, "the third task waited for the end of the first");
    finish(group);
}
END_TEST

/* ---- tasks that take longer than they use to ---- */

START_TEST(a_task_that_is_slow_for_once_does_not_hold_up_others_of_its_group)
{
    struct mc_result result = {.size = sizeof(result)};
    begin(2);
    mc_group *warm = open_unhelped(pool), *group = open_unhelped(pool);
    for (uint32_t number = 0; number < 500; number++)
        run_number(warm, "mostly-quick", number);
    wait_all(warm);
    expect_quiet(pool);
    atomic_store(&board->started, 0);
    run_number(group, "mostly-quick", GATED);
    ck_assert(board_await(&board->started, 1, BOUND_MS));
    for (uint32_t round = 1; round <= 20; round++) {
        run_number(group, "mostly-quick", round);
        int next = mc_group_next(group, &result, 2000);
        ck_assert_msg(next == 1, "with a worker asleep, task %u was not begun", round);
        ck_assert_uint_eq(result.index, round);
        pause_us(1000); /* whoever ran it may fall asleep */
    }
    gate_open();
    wait_all(group);
    mc_group_close(warm);
    finish(group);
}
END_TEST

/* ---- room ---- */

static void *open_gate_later(void *argument)
{
    pause_us(300000);
    gate_open();
    return NULL;
}

static double own_cpu_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

START_TEST(waiting_for_room_costs_no_cpu)
{
    board_open();
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    options.queue_depth = 16;
    pool = open_pool(&options);
    mc_group *group = open_unhelped(pool);
    run_number(group, "quick", 0);
    wait_all(group);
    for (uint32_t number = 1; number <= 16; number++)
        run_number(group, "blocked", number);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, open_gate_later, NULL), 0);
    double began = own_cpu_ms();
    alarm(5);
    run_number(group, "quick", 17);
    double took = own_cpu_ms() - began;
    wait_all(group);
    pthread_join(thread, NULL);
    ck_assert_msg(took < 100, "%.0f ms of CPU for 300 ms of waiting", took);
    finish(group);
}
END_TEST

START_TEST(a_queue_full_of_limited_tasks_makes_room_for_others)
{
    board_open();
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    options.queue_depth = 16;
    options.workers = 1;
    pool = open_pool(&options);
    mc_group *limited =
        open_with(pool, (struct mc_group_options){.max_parallel = 1, .help = MC_HELP_NEVER});
    mc_group *other = open_unhelped(pool);
    for (uint32_t number = 0; number < 16; number++)
        run_number(limited, "slow", number);
    alarm(5); /* nobody waits for `limited` */
    run_number(other, "quick", 16);
    wait_all(other);
    wait_all(limited);
    ck_assert_uint_eq(failures(limited) + failures(other), 0);
    mc_group_close(limited);
    finish(other);
}
END_TEST

START_TEST(a_queue_full_of_ended_tasks_of_another_group_makes_room)
{
    board_open();
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    options.queue_depth = 16;
    pool = open_pool(&options);
    mc_group *first = open_group(pool), *second = open_group(pool);
    alarm(5);
    for (uint32_t number = 0; number < 1000; number++)
        run_number(number % 2 == 0 ? first : second, "quick", number);
    wait_all(second);
    wait_all(first);
    ck_assert_uint_eq(failures(first) + failures(second), 0);
    mc_group_close(first);
    finish(second);
}
END_TEST

TEST_MAIN(wait, a_wait_that_timed_out_can_be_repeated, a_wait_of_0_only_collects_and_says_so,
          next_gives_results_in_the_order_of_completion, cancel_ends_what_has_not_begun,
          running_tasks_learn_that_they_are_cancelled,
          running_tasks_learn_that_their_group_was_closed, a_cancelled_group_can_be_used_again,
          only_tasks_that_ran_count_as_done, an_interruptible_wait_ends_with_a_signal,
          a_wait_for_room_that_others_take_ends_with_a_signal_likewise,
          other_waits_go_on_after_a_signal,
          who_waits_for_busy_workers_does_not_complain_of_idle_ones_for_other_tasks,
          max_parallel_is_never_exceeded, max_parallel_holds_while_the_caller_helps,
          max_parallel_is_made_use_of_behind_a_long_task,
          a_task_that_is_slow_for_once_does_not_hold_up_others_of_its_group,
          waiting_for_room_costs_no_cpu, a_queue_full_of_limited_tasks_makes_room_for_others,
          a_queue_full_of_ended_tasks_of_another_group_makes_room)
