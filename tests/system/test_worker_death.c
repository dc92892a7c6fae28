/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Workers that die: at each named place of their code, of their handlers, and
 * by somebody's hand.
 */
#include "tests/system/support.h"

#include "base/clock.h"
#include "base/fault.h"
#include "pool/pool.h"

#include <signal.h>

enum { TASKS = 60, LARGE = 5000 };

/* Answers with its number: small, in a block, or in a block after a larger one. */
static int work(mc_task *task)
{
    static uint32_t answer[2 * LARGE];
    uint32_t number = number_of(task);
    board_begin(number);
    for (int i = 0; i < LARGE; i++)
        answer[i] = number;
    int result = 0;
    if (number % 3 == 2)
        result = mc_task_reply(task, answer, sizeof(answer));
    pause_us(50);
    if (result == 0)
        result = mc_task_reply(task, answer, number % 3 == 0 ? 4 : LARGE);
    board_end();
    return result;
}

/* Very quick, and with the largest number fatal: the next to take over what is
 * left of its run dies too. */
#define FATAL UINT32_MAX

static int quick(mc_task *task)
{
    uint32_t number = number_of(task);
    if (number == FATAL) {
        fault_arm("worker_took_repair", SIGKILL, 1);
        kill(getpid(), SIGKILL);
    }
    atomic_fetch_add_explicit(&board->runs[number % BOARD_NUMBERS], 1, memory_order_relaxed);
    return 0;
}

static int crash(mc_task *task)
{
    switch (number_of(task)) {
    case 0:
        raise(SIGSEGV);
        break;
    case 1:
        abort();
    case 2:
        _exit(3);
    default:
        exit(0);
    }
    return 0;
}

static int blocked(mc_task *task)
{
    board_begin(number_of(task));
    gate_pass();
    board_end();
    return 0;
}

/* Dies with tasks of its own in flight. */
static int dying_parent(mc_task *task)
{
    mc_group *group = NULL;
    uint32_t number = number_of(task);
    if (mc_group_open(mc_task_pool(task), NULL, &group) != 0)
        return mc_task_fail(task, -EUSERS, "%s", mc_error_message());
    for (uint32_t i = 0; i < 4; i++)
        if (mc_group_run(group, "work", &number, sizeof(number)) != 0)
            return -EIO;
    kill(getpid(), SIGKILL);
    return 0;
}

static const struct mc_handler handlers[] = {
    {.name = "work", .run = work},       {.name = "quick", .run = quick},
    {.name = "crash", .run = crash},     {.name = "dying-parent", .run = dying_parent},
    {.name = "blocked", .run = blocked},
};

static mc_pool *pool;

static void begin(unsigned max_clients)
{
    board_open();
    fault_arm(NULL, 0, 0); /* makes the memory that the pool inherits */
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    options.max_clients = max_clients;
    pool = open_pool(&options);
    ck_assert(await_workers(pool, BOUND_MS));
}

static void finish(void)
{
    struct family family;
    family_find(pool, &family); /* every dead worker was replaced */
    expect_quiet(pool);
    mc_pool_close(pool);
}

static void submit_work(mc_group *group)
{
    for (uint32_t i = 0; i < BOARD_NUMBERS; i++)
        atomic_store(&board->runs[i], 0);
    for (uint32_t number = 0; number < TASKS; number++)
        run_number(group, "work", number);
}

/* Every result is right, or says that its worker died. */
static size_t check_work(mc_group *group, const char *point)
{
    size_t dead = 0;
    for (uint32_t number = 0; number < TASKS; number++) {
        struct mc_result result = result_of(group, number);
        uint32_t runs = atomic_load(&board->runs[number]), answer;
        if (result.status == 0) {
            memcpy(&answer, result.data, sizeof(answer));
            ck_assert_msg(answer == number && runs == 1, "%s: task %u ran %u times", point, number,
                          runs);
            continue;
        }
        dead++;
        char pid[32];
        snprintf(pid, sizeof(pid), "worker %d,", (int)result.worker_pid);
        ck_assert_int_eq(result.status, -EOWNERDEAD);
        ck_assert_uint_le(runs, 1);
        ck_assert_msg(result.worker_pid > 0 && strstr(result.error, pid) != NULL &&
                          strstr(result.error, "signal 9") != NULL &&
                          strstr(result.error, "'work'") != NULL,
                      "%s: %s", point, result.error);
    }
    return dead;
}

static void expect_sound(void)
{
    mc_group *after = open_unhelped(pool);
    submit_work(after);
    wait_all(after);
    ck_assert_uint_eq(check_work(after, "afterwards"), 0);
    mc_group_close(after);
}

/* Some places are only come to when the work is done. */
static void await_fault(const char *point)
{
    uint64_t began = clock_ns();
    while (!fault_struck() && ms_since(began) < BOUND_MS)
        pause_us(100);
    ck_assert_msg(fault_struck(), "nobody came to %s", point);
    fault_arm(NULL, 0, 0);
}

static void die_at(const char *point, int count, size_t expected)
{
    begin(0);
    expect_sound();
    mc_group *group = open_unhelped(pool);
    fault_arm(point, SIGKILL, count);
    submit_work(group);
    wait_all(group);
    await_fault(point);
    size_t dead = check_work(group, point);
    ck_assert_msg(dead == expected, "%s (%d): %zu tasks failed, not %zu", point, count, dead,
                  expected);
    expect_sound();
    mc_group_close(group);
    finish();
}

/* Each is passed several times, and is fatal at one of them. */
static const char *const before_the_start[] = {"worker_noted", "worker_taken",
                                               "worker_before_claim"};
static const char *const while_running[] = {"worker_claimed", "blocks_link", "blocks_unlink",
                                            "worker_before_end"};
static const char *const after_the_end[] = {"worker_after_end", "notify", "worker_after_notify",
                                            "worker_asleep"};

static bool is_rare(const char *point)
{
    return strcmp(point, "worker_asleep") == 0 || strcmp(point, "notify") == 0;
}

static void die_at_all(const char *const *points, size_t count, size_t expected)
{
    for (size_t i = 0; i < count; i++)
        for (int passing = 1; passing <= 9; passing += 4)
            die_at(points[i], is_rare(points[i]) ? 1 : passing, expected);
}

START_TEST(worker_killed_before_a_task_starts_fails_none)
{
    die_at_all(before_the_start, 3, 0);
}
END_TEST

START_TEST(worker_killed_while_running_fails_only_its_task)
{
    die_at_all(while_running, 4, 1);
}
END_TEST

START_TEST(worker_killed_after_the_end_of_a_task_fails_none)
{
    die_at_all(after_the_end, 4, 0);
}
END_TEST

START_TEST(worker_killed_while_it_starts_is_replaced)
{
    const char *const points[] = {"worker_hello", "worker_ready"};
    for (int i = 0; i < 2; i++) {
        for (int count = 1; count <= 2; count++) {
            board_open();
            fault_arm(points[i], SIGKILL, count);
            pool = open_simple(HANDLERS(handlers));
            ck_assert(await_workers(pool, BOUND_MS));
            uint64_t began = clock_ns();
            while (!fault_struck() || !await_workers(pool, 0))
                ck_assert_msg(ms_since(began) < BOUND_MS, "%s", points[i]);
            expect_sound();
            finish();
        }
    }
}
END_TEST

START_TEST(worker_killed_while_it_wakes_another_fails_none)
{
    for (int round = 0; round < 5; round++) {
        begin(0);
        expect_quiet(pool);
        mc_group *group = open_unhelped(pool);
        struct mc_map_options options = {.size = sizeof(options), .max_chunk = 1};
        fault_arm("wake_before_futex", SIGKILL, 2); /* the first waker is this process */
        ck_assert_int_eq(mc_group_map(group, "blocked", 4, &options, NULL, 0), 0);
        await_fault("wake_before_futex");
        gate_open();
        wait_all(group);
        ck_assert_uint_eq(failures(group), 0);
        mc_group_close(group);
        expect_sound();
        finish();
    }
}
END_TEST

enum { TAKEN_COUNT = 800, TAKEN_FATAL = 100, TAKEN_ROUNDS = 20 };

/* A worker dies of one of many short tasks. Whether it had taken others with it
 * depends on how short it believes them to be, which an interruption can spoil. */
static bool die_amid_short_tasks(void)
{
    begin(0);
    mc_group *warm = open_unhelped(pool), *group = open_unhelped(pool);
    for (uint32_t number = 0; number < 2000; number++)
        run_number(warm, "quick", TAKEN_COUNT);
    wait_all(warm);
    run_number(warm, "blocked", TAKEN_COUNT);
    run_number(warm, "blocked", TAKEN_COUNT);
    ck_assert(board_await(&board->started, 2, BOUND_MS));
    for (uint32_t number = 0; number < TAKEN_COUNT; number++)
        run_number(group, "quick", number == TAKEN_FATAL ? FATAL : number);
    gate_open();
    wait_all(group);
    wait_all(warm);
    for (uint32_t number = 0; number < TAKEN_COUNT; number++) {
        struct mc_result result = result_of(group, number);
        ck_assert_msg(result.status == (number == TAKEN_FATAL ? -EOWNERDEAD : 0), "task %u: %s",
                      number, result.error);
        ck_assert_uint_eq(atomic_load(&board->runs[number]), number != TAKEN_FATAL);
    }
    bool taken_over = fault_struck() != 0;
    mc_group_close(warm);
    mc_group_close(group);
    finish();
    return taken_over;
}

START_TEST(tickets_that_a_dead_worker_had_taken_are_taken_over)
{
    bool taken_over = false;
    for (int round = 0; round < TAKEN_ROUNDS && !taken_over; round++)
        taken_over = die_amid_short_tasks();
    ck_assert_msg(taken_over, "nobody took anything over in %d rounds", TAKEN_ROUNDS);
}
END_TEST

START_TEST(a_crash_is_described_with_signal_or_status)
{
    static const char *const expected[] = {"killed by signal 11", "killed by signal 6",
                                           "exited with status 3", "exited with status 0"};
    begin(0);
    mc_group *group = open_unhelped(pool);
    for (uint32_t number = 0; number < 4; number++) {
        run_number(group, "crash", number);
        wait_all(group);
        struct mc_result result = result_of(group, number);
        ck_assert_int_eq(result.status, -EOWNERDEAD);
        ck_assert_msg(strstr(result.error, expected[number]) != NULL &&
                          strstr(result.error, "'crash'") != NULL,
                      "%s", result.error);
        ck_assert_ptr_null(result.data);
    }
    mc_group_close(group);
    expect_sound();
    finish();
}
END_TEST

START_TEST(a_series_of_crashes_fails_each_of_its_tasks_and_no_other)
{
    begin(0);
    mc_group *group = open_unhelped(pool), *others = open_unhelped(pool);
    submit_work(others);
    for (int i = 0; i < 30; i++)
        run_number(group, "crash", 0);
    wait_all(group);
    wait_all(others);
    ck_assert_uint_eq(failures(group), 30);
    ck_assert_uint_eq(check_work(others, "others"), 0);
    mc_group_close(group);
    mc_group_close(others);
    finish();
}
END_TEST

START_TEST(results_outlive_the_worker_that_made_them)
{
    begin(0);
    struct family family;
    family_find(pool, &family);
    mc_group *held = open_unhelped(pool);
    submit_work(held);
    wait_all(held);
    for (unsigned i = 0; i < family.worker_count; i++)
        end_process(family.workers[i]);
    for (int round = 0; round < 5; round++)
        expect_sound();
    for (uint32_t number = 0; number < TASKS; number++) {
        struct mc_result result = result_of(held, number);
        const uint32_t *answer = result.data;
        for (size_t i = 0; i < result.data_size / sizeof(*answer); i++)
            if (answer[i] != number)
                ck_abort_msg("result %u was overwritten", number);
    }
    mc_group_close(held);
    finish();
}
END_TEST

START_TEST(an_idle_worker_is_replaced_within_a_moment)
{
    begin(0);
    struct family before;
    double longest = 0;
    for (int round = 0; round < 10; round++) {
        family_find(pool, &before);
        pid_t victim = before.workers[round % 2], pids[2];
        uint64_t began = clock_ns();
        ck_assert_int_eq(kill(victim, SIGKILL), 0);
        do {
            ck_assert_msg(ms_since(began) < 2000, "no successor after %.0f ms", ms_since(began));
            pause_us(50);
            mc_pool_worker_pids(pool, pids, 2);
        } while (pids[round % 2] == victim || pids[round % 2] == 0 ||
                 atomic_load(&pool->control->seats_up) != 2);
        if (ms_since(began) > longest)
            longest = ms_since(began);
        ck_assert_int_eq(pids[1 - round % 2], before.workers[1 - round % 2]);
    }
    printf("replaced after %.2f ms at most\n", longest);
    expect_sound();
    finish();
}
END_TEST

START_TEST(a_worker_that_could_not_be_watched_is_not_made)
{
    begin(0);
    struct family family;
    family_find(pool, &family);
    fault_arm("supervisor_watch", 0, 1);
    end_process(family.workers[0]);
    uint64_t began = clock_ns();
    while (!fault_struck())
        ck_assert_double_lt(ms_since(began), BOUND_MS);
    family_find(pool, &family);
    while (has_zombies(family.supervisor)) {
        ck_assert_msg(ms_since(began) < BOUND_MS, "a dead worker stays");
        pause_us(10000);
    }
    expect_sound();
    finish();
}
END_TEST

START_TEST(the_death_of_all_workers_fails_what_they_ran_and_nothing_else)
{
    begin(0);
    struct family family;
    family_find(pool, &family);
    mc_group *group = open_unhelped(pool);
    for (uint32_t number = 0; number < 10; number++)
        run_number(group, "blocked", number);
    ck_assert(board_await(&board->started, 2, BOUND_MS));
    gate_open(); /* from here on they race with their death */
    for (unsigned i = 0; i < family.worker_count; i++)
        kill(family.workers[i], SIGKILL);
    wait_all(group);
    ck_assert_uint_le(failures(group), 2);
    mc_group_close(group);
    expect_sound();
    finish();
}
END_TEST

START_TEST(dead_workers_leave_none_of_their_own_lanes_behind)
{
    begin(4);
    mc_group *group = open_unhelped(pool);
    for (uint32_t i = 0; i < 30; i++) {
        run_number(group, "dying-parent", i);
        wait_all(group);
        struct mc_result result = result_of(group, i);
        ck_assert_msg(result.status == -EOWNERDEAD, "round %u: %s", i, result.error);
    }
    mc_group_close(group);
    expect_sound();
    finish();
}
END_TEST

TEST_MAIN(worker_death, worker_killed_before_a_task_starts_fails_none,
          worker_killed_while_running_fails_only_its_task,
          worker_killed_after_the_end_of_a_task_fails_none,
          worker_killed_while_it_starts_is_replaced,
          worker_killed_while_it_wakes_another_fails_none,
          tickets_that_a_dead_worker_had_taken_are_taken_over,
          a_crash_is_described_with_signal_or_status,
          a_series_of_crashes_fails_each_of_its_tasks_and_no_other,
          results_outlive_the_worker_that_made_them, an_idle_worker_is_replaced_within_a_moment,
          a_worker_that_could_not_be_watched_is_not_made,
          the_death_of_all_workers_fails_what_they_ran_and_nothing_else,
          dead_workers_leave_none_of_their_own_lanes_behind)
