/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Tasks that take too long: time limits, hard and soft, tasks that come too late,
 * the kill by force, and the report of slow ones.
 */
#include "tests/system/support.h"

#include "base/clock.h"
#include "base/fault.h"
#include "ipc/slot.h"
#include "pool/pool.h"

#include <signal.h>

enum { OVERDUE_SEEN = 0, SOFT_CALLS = 1, SOFT_PID = 2, STAY = 3, ROUNDS = 60 };

/* Stays for as many ms as its number says, busy, and asks no clock of ours. */
static int stay(mc_task *task)
{
    uint64_t began = clock_ns();
    uint32_t number = number_of(task);
    board_begin(number);
    while (clock_ns() - began < number * UINT64_C(1000000)) {
    }
    board_end();
    return 0;
}

static int polite(mc_task *task)
{
    for (int i = 0; i < 2 * BOUND_MS && !mc_task_overdue(task); i++)
        pause_us(500);
    return mc_task_fail(task, -EBUSY, "stopped by itself");
}

static void count_soft(mc_task *task)
{
    (void)task;
    atomic_fetch_add(&board->words[SOFT_CALLS], 1);
    atomic_store(&board->words[SOFT_PID], (uint32_t)getpid());
}

static int nap(mc_task *task)
{
    board_begin(number_of(task));
    for (uint32_t i = 0; i < number_of(task); i++)
        pause_us(1000);
    board_end();
    return 0;
}

/* Lasts as long, but hardly needs a core: who wakes up gets one soon, however many
 * others want it. */
static int sleep_on(mc_task *task)
{
    pause_us(number_of(task) * 1000);
    return 0;
}

static int forever(mc_task *task)
{
    board_begin(number_of(task));
    for (;;)
        pause_us(10000);
    return 0;
}

/* Leaves a process behind that would outlive it. */
static int with_child(mc_task *task)
{
    (void)task;
    pid_t child = fork();
    if (child == 0)
        for (;;)
            pause_us(100000);
    atomic_store(&board->words[STAY], (uint32_t)child);
    board_count(&board->started);
    for (;;)
        pause_us(100000);
    return 0;
}

static int blocked(mc_task *task)
{
    board_begin(number_of(task));
    gate_pass();
    return 0;
}

static const struct mc_handler handlers[] = {
    {.name = "stay", .run = stay},
    {.name = "brief", .run = stay, .time_limit_ms = 150},
    {.name = "polite", .run = polite, .soft_time_limit_ms = 40},
    {.name = "told", .run = nap, .soft_time_limit_ms = 40, .on_soft_limit = count_soft},
    {.name = "sleep", .run = sleep_on},
    {.name = "forever", .run = forever},
    {.name = "blocked", .run = blocked},
    {.name = "with-child", .run = with_child, .time_limit_ms = 50},
};

static mc_pool *pool;
static char log_text[1 << 16];

static void keep_log(void *context, int level, const char *line)
{
    (void)context;
    size_t used = strlen(log_text);
    snprintf(log_text + used, sizeof(log_text) - used, "%d %s\n", level, line);
}

static void begin_with(unsigned workers, unsigned slow_task_ms)
{
    board_open();
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    options.workers = workers;
    options.log = keep_log;
    options.slow_task_ms = slow_task_ms;
    pool = open_pool(&options);
    ck_assert(await_workers(pool, BOUND_MS));
}

static void begin(unsigned slow_task_ms)
{
    begin_with(2, slow_task_ms);
}

static void finish(void)
{
    ck_assert(await_workers(pool, BOUND_MS));
    expect_quiet(pool);
    mc_pool_close(pool);
}

static mc_group *open_limited(unsigned time_limit_ms, unsigned start_within_ms)
{
    return open_with(pool, (struct mc_group_options){.help = MC_HELP_NEVER,
                                                     .time_limit_ms = time_limit_ms,
                                                     .start_within_ms = start_within_ms});
}

static void expect_timed_out(mc_group *group, size_t index, const char *handler, const char *limit)
{
    struct mc_result result = result_of(group, index);
    ck_assert_msg(result.status == -ETIMEDOUT, "%d %s", result.status, result.error);
    ck_assert_msg(strstr(result.error, handler) != NULL && strstr(result.error, limit) != NULL,
                  "%s", result.error);
    ck_assert_int_gt(result.worker_pid, 0);
}

START_TEST(a_task_over_its_limit_ends_and_names_handler_limit_time_and_the_workers_end)
{
    begin(0);
    mc_group *group = open_unhelped(pool);
    run_number(group, "brief", 10000);
    run_number(group, "brief", 1);
    wait_all(group);
    expect_timed_out(group, 0, "'brief'", "limit of 150 ms");
    struct mc_result late = result_of(group, 0);
    ck_assert_uint_ge(late.run_ns, 150 * 1000000);
    ck_assert_msg(strstr(late.error, "was killed") != NULL, "%s", late.error);
    ck_assert_int_eq(result_of(group, 1).status, 0);
    mc_group_close(group);
    finish();
    ck_assert_ptr_ne(strstr(log_text, "over its time limit of 150 ms"), NULL);
}
END_TEST

START_TEST(a_group_sets_limits_in_place_of_the_handlers)
{
    begin(0);
    mc_group *longer = open_limited(20000, 0), *shorter = open_limited(30, 0);
    run_number(longer, "brief", 250);
    run_number(shorter, "stay", 10000);
    wait_all(longer);
    wait_all(shorter);
    ck_assert_int_eq(result_of(longer, 0).status, 0);
    expect_timed_out(shorter, 0, "'stay'", "limit of 30 ms");
    mc_group_close(longer);
    mc_group_close(shorter);
    finish();
}
END_TEST

START_TEST(the_clock_starts_when_the_task_does)
{
    enum { LIMIT_MS = 1200, TASKS = 16, EACH_MS = 200 };
    static_assert(TASKS / 2 * EACH_MS > LIMIT_MS, "each worker is busy for longer than that");
    begin(0);
    /* On a crowded machine a task may last for a few hundred ms longer. */
    mc_group *group = open_limited(LIMIT_MS, 0);
    for (int i = 0; i < TASKS; i++)
        run_number(group, "sleep", EACH_MS);
    wait_all(group);
    ck_assert_uint_eq(failures(group), 0);
    mc_group_close(group);
    finish();
}
END_TEST

/* Tasks that end just when they would be killed: each is either done or timed out,
 * and no task that followed in the same worker is hurt. */
START_TEST(the_kill_for_one_task_never_strikes_the_next)
{
    begin(0);
    mc_group *group = open_unhelped(pool);
    for (uint32_t i = 0; i < ROUNDS; i++)
        run_number(group, i % 3 == 0 ? "brief" : "stay", i % 3 == 0 ? 148 + i % 8 : i % 2);
    wait_all(group);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        struct mc_result result = result_of(group, i);
        ck_assert_msg(result.status == 0 || (i % 3 == 0 && result.status == -ETIMEDOUT),
                      "task %u: %d %s", i, result.status, result.error);
    }
    mc_group_close(group);
    finish();
}
END_TEST

START_TEST(past_the_soft_limit_the_handler_is_told_when_it_asks)
{
    begin(0);
    mc_group *group = open_unhelped(pool);
    run_number(group, "polite", 0);
    wait_all(group);
    struct mc_result result = result_of(group, 0);
    ck_assert_int_eq(result.status, -EBUSY);
    ck_assert_uint_ge(result.run_ns, 40 * 1000000);
    mc_group_close(group);
    finish();
}
END_TEST

START_TEST(past_the_soft_limit_the_callback_is_called_once_in_the_worker)
{
    begin(0);
    mc_group *group = open_unhelped(pool);
    run_number(group, "told", 150);
    wait_all(group);
    struct mc_result result = result_of(group, 0);
    ck_assert_int_eq(result.status, 0);
    ck_assert_uint_eq(atomic_load(&board->words[SOFT_CALLS]), 1);
    ck_assert_int_eq((pid_t)atomic_load(&board->words[SOFT_PID]), result.worker_pid);
    run_number(group, "told", 1);
    wait_all(group);
    ck_assert_uint_eq(atomic_load(&board->words[SOFT_CALLS]), 1);
    mc_group_close(group);
    finish();
}
END_TEST

START_TEST(a_task_that_would_start_too_late_never_does)
{
    begin(0);
    mc_group *busy = open_unhelped(pool), *late = open_limited(0, 30);
    run_number(busy, "stay", 150);
    run_number(busy, "stay", 150);
    ck_assert(board_await(&board->started, 2, BOUND_MS));
    run_number(late, "stay", 1);
    wait_all(late);
    struct mc_result result = result_of(late, 0);
    ck_assert_int_eq(result.status, -ETIME);
    ck_assert_ptr_ne(strstr(result.error, "within 30 ms"), NULL);
    ck_assert_int_eq(result.worker_pid, 0);
    ck_assert_uint_eq(result.run_ns, 0);
    wait_all(busy);
    ck_assert_uint_eq(atomic_load(&board->started), 2);
    run_number(late, "stay", 1); /* and one that comes in time is run */
    wait_all(late);
    ck_assert_int_eq(result_of(late, 1).status, 0);
    mc_group_close(late);
    mc_group_close(busy);
    finish();
}
END_TEST

START_TEST(inline_tasks_come_too_late_likewise)
{
    begin(0);
    mc_group *busy = open_unhelped(pool);
    mc_group *late =
        open_with(pool, (struct mc_group_options){.start_within_ms = 5, .on_full = MC_FULL_INLINE});
    run_number(busy, "stay", 100);
    run_number(busy, "stay", 100);
    ck_assert(board_await(&board->started, 2, BOUND_MS));
    run_number(late, "stay", 1);
    pause_us(20000);
    wait_all(late); /* nobody begins it within 1 ms, so the caller does */
    struct mc_result result = result_of(late, 0);
    ck_assert_int_eq(result.status, -ETIME);
    ck_assert_int_eq(result.worker_pid, 0);
    ck_assert_uint_eq(result.run_ns, 0);
    wait_all(busy);
    mc_group_close(late);
    mc_group_close(busy);
    finish();
}
END_TEST

START_TEST(a_kill_by_force_ends_what_runs_and_nothing_else)
{
    begin(0);
    mc_group *doomed = open_unhelped(pool), *other = open_unhelped(pool);
    run_number(doomed, "forever", 0);
    ck_assert(board_await(&board->started, 1, BOUND_MS));
    run_number(other, "stay", 200);
    ck_assert(board_await(&board->started, 2, BOUND_MS));
    run_number(doomed, "stay", 1);
    ck_assert_int_eq(mc_group_kill(doomed), 1);
    wait_all(doomed);
    struct mc_result killed = result_of(doomed, 0), queued = result_of(doomed, 1);
    ck_assert_int_eq(killed.status, -ECANCELED);
    ck_assert_ptr_ne(strstr(killed.error, "by force"), NULL);
    ck_assert_int_gt(killed.worker_pid, 0);
    ck_assert_int_eq(queued.status, -ECANCELED);
    ck_assert_int_eq(queued.worker_pid, 0);
    wait_all(other);
    ck_assert_int_eq(result_of(other, 0).status, 0);
    mc_group_close(doomed);
    mc_group_close(other);
    finish();
}
END_TEST

START_TEST(kills_race_with_ends_and_hurt_no_other_task)
{
    begin(0);
    mc_group *other = open_unhelped(pool);
    for (uint32_t i = 0; i < 60; i++) {
        mc_group *doomed = open_unhelped(pool);
        run_number(doomed, "told", 0);
        run_number(doomed, "stay", 0);
        run_number(other, "stay", 0);
        pause_us(i * 10);
        ck_assert_int_ge(mc_group_kill(doomed), 0);
        wait_all(doomed);
        for (size_t task = 0; task < 2; task++)
            ck_assert(result_of(doomed, task).status == 0 ||
                      result_of(doomed, task).status == -ECANCELED);
        mc_group_close(doomed);
    }
    wait_all(other);
    ck_assert_uint_eq(failures(other), 0);
    mc_group_close(other);
    finish();
}
END_TEST

START_TEST(a_slow_task_is_reported_once_with_the_place_where_it_is)
{
    begin(50);
    mc_group *group = open_unhelped(pool);
    run_number(group, "stay", 800); /* where the machine is crowded, it answers late */
    run_number(group, "stay", 1);
    wait_all(group);
    mc_group_close(group);
    finish();
    const char *first = strstr(log_text, "handler 'stay' has been running for");
    ck_assert_msg(first != NULL, "%s", log_text);
    ck_assert_ptr_eq(strstr(first + 1, "handler 'stay' has been running for"), NULL);
    ck_assert_msg(strstr(first, "system_test_limits+") != NULL, "%s", log_text);
}
END_TEST

START_TEST(what_a_handler_started_dies_with_its_worker)
{
    begin(0);
    mc_group *group = open_unhelped(pool);
    run_number(group, "with-child", 0);
    wait_all(group);
    ck_assert_int_eq(result_of(group, 0).status, -ETIMEDOUT);
    pid_t child = (pid_t)atomic_load(&board->words[STAY]);
    uint64_t began = clock_ns();
    while (process_lives(child) && ms_since(began) < BOUND_MS)
        pause_us(1000);
    ck_assert(!process_lives(child));
    mc_group_close(group);
    finish();
}
END_TEST

START_TEST(limits_that_contradict_each_other_are_refused)
{
    board_open();
    struct mc_handler wrong = {
        .name = "x", .run = stay, .soft_time_limit_ms = 100, .time_limit_ms = 50};
    struct mc_pool_options options = pool_options(&wrong, 1);
    mc_pool *none;
    expect_error(mc_pool_open(&options, &none), -EINVAL, "soft_time_limit_ms");
    begin(0);
    struct mc_group_options group_options = {
        .size = sizeof(group_options), .soft_time_limit_ms = 100, .time_limit_ms = 50};
    mc_group *group;
    expect_error(mc_group_open(pool, &group_options, &group), -EINVAL, "soft_time_limit_ms");
    finish();
}
END_TEST

/* The worker stops when it has written down a task's limit, but not its start, while
 * the supervisor looks at its row. */
START_TEST(the_time_of_the_task_before_in_the_same_run_does_not_count)
{
    fault_open();
    begin_with(1, 0);
    mc_group *free = open_unhelped(pool), *limited = open_limited(800, 0);
    for (uint32_t i = 0; i < 1000; i++) /* quick ones are taken together */
        run_number(free, "stay", 0);
    wait_all(free);
    uint32_t started = atomic_load(&board->started);
    run_number(limited, "blocked", 0);
    ck_assert(board_await(&board->started, started + 1, BOUND_MS));
    fault_arm("limits_noted", SIGSTOP, 1);
    run_number(free, "stay", 900);
    for (uint32_t i = 0; i < 30; i++)
        run_number(limited, "stay", 0);
    gate_open();
    for (uint64_t began = clock_ns(); !fault_struck() && ms_since(began) < BOUND_MS;)
        pause_us(1000);
    ck_assert(fault_struck());
    pause_us(100000);
    kill(fault_victim(), SIGCONT);
    wait_all(limited);
    wait_all(free);
    ck_assert_uint_eq(failures(limited) + failures(free), 0);
    mc_group_close(limited);
    mc_group_close(free);
    finish();
    ck_assert_ptr_eq(strstr(log_text, "over its time limit"), NULL);
}
END_TEST

/* As another client, whose lane the worker knows: a task that takes a while, behind what runs. */
static pid_t submit_from_child(void)
{
    pid_t child = fork();
    if (child != 0)
        return child;
    uint32_t first = 0, second = 200;
    mc_group *group;
    struct mc_group_options options = {.size = sizeof(options), .help = MC_HELP_NEVER};
    if (mc_group_open(pool, &options, &group) < 0 ||
        mc_group_run(group, "stay", &first, sizeof(first)) < 0 ||
        mc_group_wait(group, BOUND_MS) < 0 || !board_await(&board->started, 2, BOUND_MS) ||
        mc_group_run(group, "stay", &second, sizeof(second)) < 0)
        _exit(1);
    board_count(&board->words[STAY]);
    if (mc_group_wait(group, 2 * BOUND_MS) < 0)
        _exit(2);
    _exit(failures(group) == 0 ? 0 : 3);
}

/* The client of a task that is to be killed takes the mark back, and the supervisor is held up
 * there: before it has told the worker, or after. */
static void take_mark_back(const char *held_up_at, bool told)
{
    fault_open();
    begin_with(1, 0);
    mc_group *doomed = open_unhelped(pool);
    pid_t worker = pool->control->rows[0].pid, child = submit_from_child();
    ck_assert(board_await(&board->started, 1, BOUND_MS));
    run_number(doomed, "blocked", 0);
    ck_assert(board_await(&board->words[STAY], 1, BOUND_MS));
    fault_arm(held_up_at, SIGSTOP, 1);
    ck_assert_int_eq(mc_group_kill(doomed), 0);
    for (uint64_t began = clock_ns(); !fault_struck() && ms_since(began) < BOUND_MS;)
        pause_us(1000);
    ck_assert(await_state(fault_victim(), 'T'));
    for (uint32_t i = 0; i < pool->client.lane.geometry->slot_count; i++)
        atomic_fetch_and(&pool->client.lane.slots[i].word, ~((uint64_t)SLOT_KILL << 4));
    gate_open();
    if (told)
        ck_assert(await_state(worker, 'Z')); /* it has not begun the other */
    else
        ck_assert(board_await(&board->started, 3, BOUND_MS));
    kill(fault_victim(), SIGCONT);
    ck_assert_int_eq(await_exit(child), 0);
    wait_all(doomed);
    mc_group_close(doomed);
    finish();
}

START_TEST(a_mark_that_is_taken_back_has_nobody_else_killed)
{
    take_mark_back("watch_marked", false);
    take_mark_back("watch_doomed", true);
}
END_TEST

/* Its socket is full, so the kill goes out later, from the wait or the dispatch. */
static void expect_late_kill(mc_group *group, bool dispatched)
{
    struct family family;
    family_find(pool, &family);
    uint32_t started = atomic_load(&board->started);
    run_number(group, "forever", 0);
    ck_assert(board_await(&board->started, started + 1, BOUND_MS));
    ck_assert_int_eq(kill(family.supervisor, SIGSTOP), 0);
    ck_assert(await_state(family.supervisor, 'T'));
    for (int i = 0; i < 5000; i++)
        client_poke(&pool->client);
    ck_assert_int_eq(mc_group_kill(group), 0);
    ck_assert_int_eq(kill(family.supervisor, SIGCONT), 0);
    if (dispatched)
        for (uint64_t began = clock_ns(); mc_pool_dispatch(pool) == 0; pause_us(1000))
            ck_assert(ms_since(began) < BOUND_MS);
    else
        wait_all(group);
    ck_assert_int_eq(result_of(group, 0).status, -ECANCELED);
    mc_group_close(group);
}

static void do_nothing(mc_group *group, void *context)
{
    (void)group;
    (void)context;
}

START_TEST(a_kill_by_force_does_not_wait_for_a_supervisor_that_is_busy)
{
    begin(0);
    expect_late_kill(open_unhelped(pool), false);
    expect_late_kill(open_with(pool, (struct mc_group_options){.on_done = do_nothing}), true);
    finish();
}
END_TEST

TEST_MAIN(limits, a_task_over_its_limit_ends_and_names_handler_limit_time_and_the_workers_end,
          a_group_sets_limits_in_place_of_the_handlers, the_clock_starts_when_the_task_does,
          the_kill_for_one_task_never_strikes_the_next,
          past_the_soft_limit_the_handler_is_told_when_it_asks,
          past_the_soft_limit_the_callback_is_called_once_in_the_worker,
          a_task_that_would_start_too_late_never_does, inline_tasks_come_too_late_likewise,
          a_kill_by_force_ends_what_runs_and_nothing_else,
          kills_race_with_ends_and_hurt_no_other_task,
          a_slow_task_is_reported_once_with_the_place_where_it_is,
          what_a_handler_started_dies_with_its_worker,
          limits_that_contradict_each_other_are_refused,
          the_time_of_the_task_before_in_the_same_run_does_not_count,
          a_mark_that_is_taken_back_has_nobody_else_killed,
          a_kill_by_force_does_not_wait_for_a_supervisor_that_is_busy)
