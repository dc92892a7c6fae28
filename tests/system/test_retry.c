/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Tasks that kill their workers: repeated if they may be, and put into quarantine.
 */
#include "tests/system/support.h"

#include "base/clock.h"
#include "base/fault.h"
#include "ipc/slot.h"
#include "pool/pool.h"

#include <signal.h>
#include <sys/wait.h>

enum { START_WITHIN_MS = 1000 };

/* Kills its worker until it is run for the time that its number says. */
static int fatal(mc_task *task)
{
    uint32_t number = number_of(task), attempt = mc_task_attempt(task);
    board_begin(attempt);
    if (attempt < number)
        raise(SIGSEGV);
    board_end();
    return mc_task_reply(task, &attempt, sizeof(attempt));
}

static int stuck(mc_task *task)
{
    board_begin(number_of(task));
    for (;;)
        pause_us(10000);
    return 0;
}

/* Kills its first worker after longer than START_WITHIN_MS. */
static int late(mc_task *task)
{
    if (mc_task_attempt(task) == 1) {
        pause_us((START_WITHIN_MS + 100) * 1000);
        raise(SIGKILL);
    }
    return 0;
}

static int answer(mc_task *task)
{
    uint32_t number = number_of(task);
    return mc_task_reply(task, &number, sizeof(number));
}

static const struct mc_handler handlers[] = {
    {.name = "answer", .run = answer},
    {.name = "once", .run = fatal},
    {.name = "again", .run = fatal, .flags = MC_IDEMPOTENT},
    {.name = "five", .run = fatal, .flags = MC_IDEMPOTENT, .max_attempts = 5},
    {.name = "stuck", .run = stuck, .flags = MC_IDEMPOTENT, .time_limit_ms = 40},
    {.name = "held", .run = stuck, .flags = MC_IDEMPOTENT},
    {.name = "late", .run = late, .flags = MC_IDEMPOTENT},
};

static mc_pool *pool;

static void begin(void)
{
    board_open();
    pool = open_simple(HANDLERS(handlers));
    ck_assert(await_workers(pool, BOUND_MS));
}

static void finish(void)
{
    ck_assert(await_workers(pool, BOUND_MS));
    expect_quiet(pool);
    mc_pool_close(pool);
}

static uint32_t runs(uint32_t attempt)
{
    return atomic_load(&board->runs[attempt]);
}

START_TEST(an_idempotent_task_is_run_again_by_another_worker)
{
    begin();
    mc_group *group = open_unhelped(pool);
    run_number(group, "again", 3);
    wait_all(group);
    struct mc_result result = result_of(group, 0);
    ck_assert_msg(result.status == 0, "%s", result.error);
    ck_assert_uint_eq(*(const uint32_t *)result.data, 3);
    ck_assert(runs(1) == 1 && runs(2) == 1 && runs(3) == 1);
    struct mc_quarantined none = {.size = sizeof(none)};
    ck_assert_int_eq(mc_pool_quarantine(pool, 0, &none), 0);
    mc_group_close(group);
    finish();
}
END_TEST

START_TEST(many_tasks_are_repeated_beside_others_that_are_not)
{
    begin();
    mc_group *group = open_unhelped(pool);
    for (uint32_t i = 0; i < 20; i++) {
        run_number(group, "again", 1 + i % 3);
        run_number(group, "once", 1 + i % 2);
    }
    wait_all(group);
    for (uint32_t i = 0; i < 20; i++) {
        ck_assert_int_eq(result_of(group, (size_t)2 * i).status, 0);
        ck_assert_int_eq(result_of(group, (size_t)2 * i + 1).status, i % 2 == 0 ? 0 : -EOWNERDEAD);
    }
    mc_group_close(group);
    finish();
}
END_TEST

static void expect_quarantined(size_t index, const char *handler, unsigned attempts,
                               uint32_t number)
{
    struct mc_quarantined entry = {.size = sizeof(entry)};
    ck_assert_int_eq(mc_pool_quarantine(pool, index, &entry), 1);
    ck_assert_str_eq(entry.handler, handler);
    ck_assert_uint_eq(entry.attempts, attempts);
    ck_assert_int_eq(entry.client_pid, getpid());
    ck_assert_int_gt(entry.worker_pid, 0);
    ck_assert(WIFSIGNALED(entry.wait_status) && WTERMSIG(entry.wait_status) == SIGSEGV);
    ck_assert_uint_eq(entry.args_size, sizeof(number));
    ck_assert_uint_eq(entry.args_kept, sizeof(number));
    ck_assert_mem_eq(entry.args, &number, sizeof(number));
    ck_assert_uint_gt(entry.time_ms, UINT64_C(1000000000000));
}

START_TEST(a_task_that_kills_as_many_workers_as_it_may_goes_into_quarantine)
{
    begin();
    mc_group *group = open_unhelped(pool);
    const char *const names[] = {"once", "again", "five"};
    const unsigned attempts[] = {1, 3, 5};
    for (size_t i = 0; i < 3; i++) {
        run_number(group, names[i], 99);
        wait_all(group);
        struct mc_result result = result_of(group, i);
        ck_assert_msg(result.status == -EOWNERDEAD, "%s: %s", names[i], result.error);
        expect_quarantined(0, names[i], attempts[i], 99);
    }
    ck_assert(runs(1) == 3 && runs(2) == 2 && runs(3) == 2 && runs(4) == 1 && runs(5) == 1);
    ck_assert_uint_eq(runs(6), 0);
    expect_quarantined(2, "once", 1, 99);
    struct mc_quarantined none = {.size = sizeof(none)};
    ck_assert_int_eq(mc_pool_quarantine(pool, 3, &none), 0);
    none.size = 0;
    expect_error(mc_pool_quarantine(pool, 0, &none), -EINVAL, "size");
    mc_group_close(group);
    finish();
}
END_TEST

START_TEST(the_quarantine_keeps_the_beginning_of_large_arguments)
{
    begin();
    static uint32_t large[50000];
    for (uint32_t i = 0; i < 50000; i++)
        large[i] = i == 0 ? 99 : i;
    mc_group *group = open_unhelped(pool);
    run(group, "once", large, sizeof(large));
    wait_all(group);
    struct mc_quarantined entry = {.size = sizeof(entry)};
    ck_assert_int_eq(mc_pool_quarantine(pool, 0, &entry), 1);
    ck_assert_uint_eq(entry.args_size, sizeof(large));
    ck_assert_uint_eq(entry.args_kept, sizeof(entry.args));
    ck_assert_mem_eq(entry.args, large, sizeof(entry.args));
    mc_group_close(group);
    finish();
}
END_TEST

START_TEST(a_task_over_its_limit_is_not_run_again)
{
    begin();
    mc_group *group = open_unhelped(pool);
    run_number(group, "stuck", 7);
    wait_all(group);
    ck_assert_int_eq(result_of(group, 0).status, -ETIMEDOUT);
    ck_assert_uint_eq(runs(7), 1);
    struct mc_quarantined none = {.size = sizeof(none)};
    ck_assert_int_eq(mc_pool_quarantine(pool, 0, &none), 0);
    mc_group_close(group);
    finish();
}
END_TEST

/* One worker, whose successors start when the gate is open. */
static int hook_begin(void *context, void **state)
{
    (void)context;
    (void)state;
    if (atomic_fetch_add(&board->words[0], 1) != 0)
        gate_pass();
    return 0;
}

static void begin_alone(void)
{
    board_open();
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    options.workers = 1;
    options.worker_init = hook_begin;
    pool = open_pool(&options);
}

/* Kills the worker of the only task, and returns when that is queued again. */
static void requeue(int signal)
{
    (void)signal;
    pid_t worker;
    mc_pool_worker_pids(pool, &worker, 1);
    kill(worker, SIGKILL);
    for (uint64_t began = clock_ns(); ms_since(began) < BOUND_MS; pause_us(100))
        if (slot_state(slot_load(&pool->client.lane.slots[0].word)) == SLOT_SUBMITTED)
            return;
}

START_TEST(a_kill_reaches_a_task_that_is_queued_again_at_that_moment)
{
    begin_alone();
    mc_group *group = open_unhelped(pool);
    run_number(group, "held", 7);
    ck_assert(board_await(&board->started, 1, BOUND_MS));
    struct sigaction action = {.sa_handler = requeue};
    sigaction(SIGUSR1, &action, NULL);
    fault_arm("client_cancelling", SIGUSR1, 1);
    ck_assert_int_eq(mc_group_kill(group), 1);
    gate_open();
    wait_all(group);
    ck_assert_int_eq(result_of(group, 0).status, -ECANCELED);
    ck_assert_uint_eq(runs(7), 1);
    mc_group_close(group);
    finish();
}
END_TEST

START_TEST(a_cancelled_task_is_not_run_again)
{
    begin();
    mc_group *group = open_unhelped(pool);
    run_number(group, "held", 7);
    ck_assert(board_await(&board->started, 1, BOUND_MS));
    ck_assert_int_eq(mc_group_cancel(group), 0);
    pid_t pids[2];
    mc_pool_worker_pids(pool, pids, 2);
    kill(pids[0], SIGKILL);
    kill(pids[1], SIGKILL);
    wait_all(group);
    ck_assert_int_eq(result_of(group, 0).status, -ECANCELED);
    ck_assert_uint_eq(runs(7), 1);
    struct mc_quarantined none = {.size = sizeof(none)};
    ck_assert_int_eq(mc_pool_quarantine(pool, 0, &none), 0);
    mc_group_close(group);
    finish();
}
END_TEST

START_TEST(a_task_that_began_in_time_may_begin_again_later)
{
    begin();
    mc_group *group = open_with(
        pool, (struct mc_group_options){.help = MC_HELP_NEVER, .start_within_ms = START_WITHIN_MS});
    run(group, "late", NULL, 0);
    wait_all(group);
    ck_assert_int_eq(result_of(group, 0).status, 0);
    mc_group_close(group);
    finish();
}
END_TEST

/* The worker dies when it has claimed the task, and has not written down yet that it
 * may be run again. */
START_TEST(a_task_whose_worker_died_before_it_began_is_run_again)
{
    fault_open();
    begin();
    mc_group *group = open_unhelped(pool);
    fault_arm("worker_claimed", SIGKILL, 1);
    run_number(group, "again", 1);
    wait_all(group);
    ck_assert(fault_struck());
    struct mc_result result = result_of(group, 0);
    ck_assert_msg(result.status == 0, "%s", result.error);
    ck_assert_uint_eq(*(const uint32_t *)result.data, 2);
    fault_arm("worker_claimed", SIGKILL, 1);
    run_number(group, "once", 1);
    wait_all(group);
    ck_assert_int_eq(result_of(group, 1).status, -EOWNERDEAD);
    mc_group_close(group);
    finish();
}
END_TEST

/* A worker that has run a ticket of one client again looks for more where that came from, not
 * where it had looked before: there it would take tickets, and look them up in the wrong lane. */
START_TEST(tickets_that_come_again_take_no_other_clients_along)
{
    begin();
    pid_t child = fork();
    if (child == 0) {
        for (int round = 0; round < 100; round++) {
            mc_group *group = open_unhelped(pool);
            run_number(group, "again", 2);
            wait_all(group);
            if (result_of(group, 0).status != 0)
                _exit(1);
            mc_group_close(group);
        }
        _exit(0);
    }
    int status = 0;
    for (uint32_t number = 0; waitpid(child, &status, WNOHANG) == 0; number++) {
        mc_group *group = open_unhelped(pool);
        run_number(group, "answer", number);
        wait_all(group);
        struct mc_result result = result_of(group, 0);
        ck_assert_msg(result.status == 0, "%s", result.error);
        ck_assert_uint_eq(*(const uint32_t *)result.data, number);
        mc_group_close(group);
    }
    ck_assert_int_eq(status, 0);
    finish();
}
END_TEST

TEST_MAIN(retry, an_idempotent_task_is_run_again_by_another_worker,
          many_tasks_are_repeated_beside_others_that_are_not,
          a_task_that_kills_as_many_workers_as_it_may_goes_into_quarantine,
          the_quarantine_keeps_the_beginning_of_large_arguments,
          a_task_over_its_limit_is_not_run_again, a_cancelled_task_is_not_run_again,
          a_kill_reaches_a_task_that_is_queued_again_at_that_moment,
          a_task_that_began_in_time_may_begin_again_later,
          a_task_whose_worker_died_before_it_began_is_run_again,
          tickets_that_come_again_take_no_other_clients_along)
