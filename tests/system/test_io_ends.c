/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How waits end early: by cancelling, time limits, deaths, recycling and closing.
 */
#include "base/clock.h"
#include "pool/pool.h"
#include "tests/system/engines.h"

#include <signal.h>

/* ---- handlers ---- */

static int die(mc_task *task)
{
    raise(SIGKILL);
    return 0;
}

static int hang(mc_task *task, unsigned events, void *context)
{
    for (;;)
        pause_us(1000);
    return 0;
}

static int hang_later(mc_task *task)
{
    int result = mc_task_await_timer(task, 1, hang, NULL);
    return result < 0 ? result : MC_PENDING;
}

/* Has a value open when its time is up. */
static int read_value(mc_task *task)
{
    mc_value value;
    int result = mc_task_value(task, &value);
    if (result == 0)
        result = mc_task_await_timer(task, 60000, reply_events, NULL);
    return result < 0 ? result : MC_PENDING;
}

static int again(mc_task *task)
{
    bool first = atomic_fetch_add(&board->words[4], 1) < 100;
    board_count(&board->words[2]);
    int result = mc_task_await_timer(task, first ? 60000 : 1, reply_events, NULL);
    return result < 0 ? result : MC_PENDING;
}

static void told(mc_task *task)
{
    board_count(&board->words[3]);
}

/* Its first call takes so long that it is told there. */
static int compute_first(mc_task *task)
{
    for (int i = 0; i < 80; i++)
        pause_us(1000);
    return doze(task);
}

static void die_of_it(mc_task *task)
{
    board_count(&board->words[3]);
    raise(SIGKILL);
}

static int answer_inner(mc_task *task, unsigned events, void *context)
{
    mc_pool *own = mc_task_pool(task);
    if (mc_pool_dispatch(own) == 0) {
        int result = mc_task_await_fd(task, mc_pool_fd(own), MC_EVENT_READ, answer_inner, NULL);
        return result < 0 ? result : MC_PENDING;
    }
    return 0;
}

static void close_inner(mc_group *group, void *context)
{
    mc_group_close(group);
}

/* Another task of this worker, by a group that it watches. */
static int run_inner(mc_task *task, unsigned events, void *context)
{
    struct mc_group_options options = {.size = sizeof(options), .on_done = close_inner};
    const uint32_t number = 1;
    mc_group *group;
    int result = mc_group_open(mc_task_pool(task), &options, &group);
    if (result == 0)
        result = mc_group_run(group, "doze", &number, sizeof(number));
    return result < 0 ? result : answer_inner(task, 0, NULL);
}

/* When its worker is to leave. */
static int nest_late(mc_task *task)
{
    int result = mc_task_await_timer(task, 300, run_inner, NULL);
    return result < 0 ? result : MC_PENDING;
}

static const struct mc_handler handlers[] = {
    {.name = "doze", .run = doze, .flags = MC_IO},
    {.name = "die", .run = die, .flags = MC_IO},
    {.name = "limited", .run = doze, .flags = MC_IO, .time_limit_ms = 50},
    {.name = "soft", .run = doze, .flags = MC_IO, .soft_time_limit_ms = 20, .on_soft_limit = told},
    {.name = "soft-compute",
     .run = compute_first,
     .flags = MC_IO,
     .soft_time_limit_ms = 20,
     .on_soft_limit = told},
    {.name = "soft-deadly",
     .run = doze,
     .flags = MC_IO | MC_IDEMPOTENT,
     .soft_time_limit_ms = 20,
     .on_soft_limit = die_of_it},
    {.name = "nest-late", .run = nest_late, .flags = MC_IO},
    {.name = "hang-later", .run = hang_later, .flags = MC_IO, .time_limit_ms = 50},
    {.name = "read-value", .run = read_value, .flags = MC_IO, .time_limit_ms = 20},
    {.name = "again", .run = again, .flags = MC_IO | MC_IDEMPOTENT},
};

static void begin(int engine)
{
    engine_begin(engine_options(engine, HANDLERS(handlers)));
}

/* ---- tests ---- */

START_TEST(a_waiting_task_hears_that_it_is_cancelled)
{
    begin(_i);
    mc_group *group = open_group(pool), *other = open_group(pool);
    for (int i = 0; i < 10; i++)
        run_number(group, "doze", 60000);
    run_number(other, "doze", 300);
    ck_assert(board_await(&board->words[0], 11, BOUND_MS));
    ck_assert_int_eq(mc_group_cancel(group), 0);
    wait_all(group);
    for (size_t i = 0; i < 10; i++) {
        ck_assert_int_eq(result_of(group, i).status, -ECANCELED);
        ck_assert_str_eq(result_of(group, i).error, "given up");
    }
    ck_assert_uint_eq(atomic_load(&board->words[1]), 10);
    wait_all(other);
    ck_assert_uint_eq(failures(other), 0);
    mc_group_close(other);
    engine_finish(group);
}
END_TEST

START_TEST(a_task_that_waits_too_long_ends_and_its_worker_lives)
{
    begin(_i);
    pid_t before[3], after[3];
    ck_assert(await_workers(pool, BOUND_MS));
    ck_assert_uint_eq(mc_pool_worker_pids(pool, before, 3), 3);
    mc_group *group = open_group(pool);
    run_number(group, "limited", 60000);
    run_number(group, "soft", 100);
    wait_all(group);
    ck_assert_int_eq(result_of(group, 0).status, -ETIMEDOUT);
    ck_assert_ptr_nonnull(strstr(result_of(group, 0).error, "over its time limit of 50 ms"));
    ck_assert_ptr_null(strstr(result_of(group, 0).error, "killed"));
    ck_assert_uint_eq(atomic_load(&board->words[1]), 1); /* it was told */
    expect_events(group, 1, MC_EVENT_TIMER);
    ck_assert_uint_eq(atomic_load(&board->words[3]), 1);
    ck_assert_uint_eq(mc_pool_worker_pids(pool, after, 3), 3);
    ck_assert_int_eq(before[2], after[2]);
    engine_finish(group);
}
END_TEST

START_TEST(the_limits_of_one_task_are_not_the_next_ones)
{
    begin(_i);
    mc_group *limited =
        open_with(pool, (struct mc_group_options){.time_limit_ms = 100, .soft_time_limit_ms = 50});
    for (int i = 0; i < 10; i++)
        run_number(limited, "doze", 1);
    wait_all(limited);
    mc_group_close(limited);
    mc_group *group = open_group(pool);
    for (int i = 0; i < 10; i++)
        run_number(group, "doze", 200);
    expect_all_good(group);
    engine_finish(group);
}
END_TEST

START_TEST(a_task_that_was_told_of_its_soft_limit_in_its_first_call_is_not_told_again)
{
    begin(_i);
    mc_group *group = run_one("soft-compute", 50);
    wait_all(group);
    expect_events(group, 0, MC_EVENT_TIMER);
    ck_assert_uint_eq(atomic_load(&board->words[3]), 1);
    engine_finish(group);
}
END_TEST

START_TEST(a_limit_ends_one_that_reads_a_value)
{
    begin(_i);
    mc_group *group = open_group(pool);
    for (int i = 0; i < 10; i++) {
        mc_writer *writer = NULL;
        ck_assert_int_eq(mc_group_writer(group, MC_JSON, &writer), 0);
        mc_write_string(writer, "a string");
        ck_assert_int_eq(mc_group_run_value(group, "read-value", writer), 0);
    }
    wait_all(group);
    for (size_t i = 0; i < 10; i++)
        ck_assert_int_eq(result_of(group, i).status, -ETIMEDOUT);
    pid_t worker[3];
    ck_assert_uint_eq(mc_pool_worker_pids(pool, worker, 3), 3);
    engine_finish(group);
}
END_TEST

START_TEST(a_call_that_hangs_is_killed_with_its_worker)
{
    begin(_i);
    mc_group *group = open_group(pool);
    run_number(group, "doze", 60000);
    ck_assert(board_await(&board->words[0], 1, BOUND_MS));
    run(group, "hang-later", NULL, 0);
    wait_all(group);
    ck_assert_int_eq(result_of(group, 0).status, -EOWNERDEAD);
    ck_assert_int_eq(result_of(group, 1).status, -ETIMEDOUT);
    ck_assert(await_workers(pool, BOUND_MS));
    engine_finish(group);
}
END_TEST

START_TEST(a_death_takes_what_waits_along_or_has_it_run_again)
{
    begin(_i);
    mc_group *group = open_group(pool);
    for (int i = 0; i < 100; i++)
        run_number(group, "again", 0);
    run_number(group, "doze", 60000);
    ck_assert(board_await(&board->words[2], 100, BOUND_MS));
    ck_assert(board_await(&board->words[0], 1, BOUND_MS));
    run(group, "die", NULL, 0);
    wait_all(group);
    for (size_t i = 0; i < 100; i++)
        expect_events(group, i, MC_EVENT_TIMER);
    ck_assert_uint_eq(atomic_load(&board->words[2]), 200);
    ck_assert_int_eq(result_of(group, 100).status, -EOWNERDEAD);
    ck_assert_int_eq(result_of(group, 101).status, -EOWNERDEAD);
    ck_assert(await_workers(pool, BOUND_MS));
    engine_finish(group);
}
END_TEST

START_TEST(recycling_loses_nothing_that_waits)
{
    struct mc_pool_options options = engine_options(_i, HANDLERS(handlers));
    options.max_tasks_per_worker = 50;
    engine_begin(options);
    mc_group *group = open_group(pool);
    for (uint32_t i = 0; i < 500; i++)
        run_number(group, "doze", i % 20);
    wait_all(group);
    ck_assert_uint_eq(failures(group), 0);
    engine_finish(group);
}
END_TEST

/* It takes nothing any more, but hears what its tasks have to be told. */
START_TEST(a_worker_that_is_to_leave_hears_of_cancels)
{
    struct mc_pool_options options = engine_options(_i, HANDLERS(handlers));
    options.max_tasks_per_worker = 5;
    engine_begin(options);
    mc_group *waiting = run_one("doze", 60000);
    ck_assert(board_await(&board->words[0], 1, BOUND_MS));
    mc_group *group = open_group(pool);
    for (uint32_t i = 0; i < 50; i++)
        run_number(group, "doze", 0);
    pause_us(300000); /* by now it takes no more of them */
    ck_assert_int_eq(mc_group_cancel(waiting), 0);
    expect_all_good(group);
    wait_all(waiting);
    ck_assert_int_eq(result_of(waiting, 0).status, -ECANCELED);
    mc_group_close(waiting);
    engine_finish(group);
}
END_TEST

/* For a second it waits for that one, then no longer. */
START_TEST(a_worker_that_is_to_leave_goes_on_where_one_waits_for_long)
{
    struct mc_pool_options options = engine_options(_i, HANDLERS(handlers));
    options.max_tasks_per_worker = 5;
    engine_begin(options);
    const struct seat_row *row = &pool->control->rows[IO_SEAT];
    const _Atomic int32_t *pid = &row->pid;
    mc_group *waiting = run_one("doze", 60000);
    ck_assert(board_await(&board->words[0], 1, BOUND_MS));
    int32_t first = atomic_load(pid);
    mc_group *group = run_one("nest-late", 0);
    for (uint32_t i = 0; i < 10; i++)
        run_number(group, "doze", 0);
    for (uint64_t began = clock_ns(); atomic_load(&row->leave) == 0; pause_us(1000))
        ck_assert(ms_since(began) < BOUND_MS);
    for (uint32_t i = 0; i < 50; i++)
        run_number(group, "doze", 0);
    expect_all_good(group);
    ck_assert_int_eq(atomic_load(pid), first);
    ck_assert_int_eq(mc_group_cancel(waiting), 0);
    for (uint64_t began = clock_ns(); atomic_load(pid) == first || atomic_load(pid) == 0;) {
        ck_assert(ms_since(began) < 2 * BOUND_MS);
        pause_us(1000);
    }
    mc_group_close(waiting);
    engine_finish(group);
}
END_TEST

START_TEST(a_task_that_dies_of_its_soft_limit_is_not_run_for_ever)
{
    begin(_i);
    mc_group *group = run_one("soft-deadly", 60000);
    wait_all(group);
    ck_assert_int_eq(result_of(group, 0).status, -EOWNERDEAD);
    ck_assert_uint_eq(atomic_load(&board->words[3]), 3);
    ck_assert(await_workers(pool, BOUND_MS));
    engine_finish(group);
}
END_TEST

START_TEST(the_tasks_of_a_dead_client_are_given_up)
{
    begin(_i);
    pid_t child = fork();
    if (child == 0) {
        uint32_t number = 60000;
        mc_group *group = NULL;
        int result = mc_group_open(pool, NULL, &group);
        for (int i = 0; result == 0 && i < 20; i++)
            result = mc_group_run(group, "doze", &number, sizeof(number));
        (void)board_await(&board->words[0], 20, BOUND_MS);
        _exit(result == 0 ? 0 : 1);
    }
    ck_assert_int_eq(await_exit(child), 0);
    ck_assert(board_await(&board->words[1], 20, BOUND_MS));
    mc_group *group = run_one("doze", 1);
    wait_all(group);
    expect_events(group, 0, MC_EVENT_TIMER);
    expect_quiet(pool);
    engine_finish(group);
}
END_TEST

START_TEST(closing_waits_for_what_waits)
{
    begin(_i);
    mc_group *group = run_one("doze", 200);
    mc_pool_close(pool);
    mc_group_close(group);
    ck_assert_uint_eq(atomic_load(&board->words[1]), 0);
}
END_TEST

ENGINE_MAIN(io_ends, a_waiting_task_hears_that_it_is_cancelled,
            a_task_that_waits_too_long_ends_and_its_worker_lives,
            the_limits_of_one_task_are_not_the_next_ones,
            a_task_that_was_told_of_its_soft_limit_in_its_first_call_is_not_told_again,
            a_limit_ends_one_that_reads_a_value, a_call_that_hangs_is_killed_with_its_worker,
            a_death_takes_what_waits_along_or_has_it_run_again, recycling_loses_nothing_that_waits,
            a_worker_that_is_to_leave_hears_of_cancels,
            a_worker_that_is_to_leave_goes_on_where_one_waits_for_long,
            a_task_that_dies_of_its_soft_limit_is_not_run_for_ever,
            the_tasks_of_a_dead_client_are_given_up, closing_waits_for_what_waits)
