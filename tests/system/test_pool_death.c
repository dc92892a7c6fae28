/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The death of the host, of the supervisor and of the zygote.
 */
#include "tests/system/support.h"

#include "base/clock.h"
#include "base/fault.h"
#include "pool/pool.h"

#include <signal.h>
#include <sys/time.h>

static int blocked(mc_task *task)
{
    board_begin(number_of(task));
    gate_pass();
    board_end();
    return 0;
}

static int quick(mc_task *task)
{
    uint32_t number = number_of(task);
    board_begin(number);
    board_end();
    return mc_task_reply(task, &number, sizeof(number));
}

static int crash(mc_task *task)
{
    kill(getpid(), SIGKILL);
    return 0;
}

static const struct mc_handler handlers[] = {
    {.name = "blocked", .run = blocked},
    {.name = "quick", .run = quick},
    {.name = "isolated", .run = quick, .flags = MC_ISOLATED},
    {.name = "crash", .run = crash, .flags = MC_ISOLATED},
};

static mc_pool *pool;
static struct family family;

static void begin(void)
{
    board_open();
    fault_arm(NULL, 0, 0);
    pool = open_simple(HANDLERS(handlers));
    family_find(pool, &family);
}

static void expect_sound(void)
{
    mc_group *group = open_unhelped(pool);
    for (uint32_t number = 0; number < 50; number++)
        run_number(group, "quick", number);
    wait_all(group);
    ck_assert_uint_eq(failures(group), 0);
    mc_group_close(group);
}

/* ---- the host ---- */

/* In a child that is the host of a pool of its own. */
static void be_host(struct family *told, bool busy)
{
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    mc_group *group = NULL;
    uint32_t number = 0;
    if (mc_pool_open(&options, &pool) != 0 || !await_workers(pool, BOUND_MS) ||
        mc_group_open(pool, NULL, &group) != 0)
        _exit(1);
    for (; busy && number < 10; number++)
        (void)mc_group_run(group, "blocked", &number, sizeof(number));
    if (busy && !board_await(&board->started, 2, BOUND_MS))
        _exit(1);
    family_find(pool, told);
    board_count(&board->words[0]);
    (void)board_await(&board->words[1], 1, BOUND_MS);
    if (busy)
        kill(getpid(), SIGKILL);
    exit(0); /* without closing */
}

START_TEST(nothing_outlives_the_host_however_it_ends)
{
    for (int busy = 0; busy < 2; busy++) {
        board_open();
        struct family *told = (struct family *)(void *)board->order;
        pid_t child = fork();
        if (child == 0)
            be_host(told, busy);
        ck_assert(board_await(&board->words[0], 1, BOUND_MS));
        ck_assert(process_lives(told->supervisor) && process_lives(told->zygote));
        if (busy)
            ck_assert_int_eq(kill(child, SIGKILL), 0);
        else
            board_count(&board->words[1]);
        uint64_t began = clock_ns();
        (void)await_exit(child);
        ck_assert_msg(family_await_end(told, 1000), "a process of the pool outlived its host");
        printf("gone %.1f ms after the host\n", ms_since(began));
    }
}
END_TEST

START_TEST(a_client_notices_that_the_host_is_gone)
{
    board_open();
    struct family *told = (struct family *)(void *)board->order;
    pid_t child = fork();
    if (child == 0) {
        struct mc_pool_options options = pool_options(HANDLERS(handlers));
        if (mc_pool_open(&options, &pool) != 0)
            _exit(1);
        pid_t client = fork();
        if (client == 0) {
            mc_group *group = NULL;
            struct mc_result result = {.size = sizeof(result)};
            if (mc_group_open(pool, NULL, &group) != 0 ||
                mc_group_run(group, "blocked", NULL, 0) != 0)
                _exit(1);
            (void)board_await(&board->started, 1, BOUND_MS);
            board_count(&board->words[0]);
            int waited = mc_group_wait(group, BOUND_MS);
            if (waited == 0 && mc_group_result(group, 0, &result) == 0 &&
                result.status == -EOWNERDEAD)
                board_count(&board->words[2]);
            _exit(0);
        }
        family_find(pool, told);
        for (;;)
            pause();
    }
    ck_assert(board_await(&board->words[0], 1, BOUND_MS));
    uint64_t began = clock_ns();
    kill(child, SIGKILL);
    (void)await_exit(child);
    ck_assert(board_await(&board->words[2], 1, 3000));
    printf("a client learned of it after %.1f ms\n", ms_since(began));
}
END_TEST

/* ---- the zygote ---- */

START_TEST(a_dead_zygote_is_replaced_and_workers_go_on)
{
    begin();
    mc_group *group = open_unhelped(pool);
    for (uint32_t number = 0; number < 6; number++)
        run_number(group, "blocked", number);
    ck_assert(board_await(&board->started, 2, BOUND_MS));
    struct family before = family;
    end_process(before.zygote);
    gate_open();
    wait_all(group);
    ck_assert_uint_eq(failures(group), 0);
    mc_group_close(group);
    for (int round = 0; round < 3; round++) {
        struct family after;
        family_find(pool, &after);
        ck_assert_int_ne(after.zygote, before.zygote);
        end_process(after.workers[round % 2]);
        expect_sound();
    }
    mc_pool_close(pool);
}
END_TEST

START_TEST(a_zygote_that_dies_at_its_work_costs_nothing)
{
    const char *const points[] = {"zygote_spawn", "zygote_spawned"};
    for (int i = 0; i < 4; i++) {
        board_open();
        fault_arm(points[i / 2], SIGKILL, 1 + i % 2);
        pool = open_simple(HANDLERS(handlers));
        uint64_t began = clock_ns();
        while (!fault_struck())
            ck_assert_double_lt(ms_since(began), BOUND_MS);
        fault_arm(NULL, 0, 0);
        expect_sound();
        family_find(pool, &family); /* with all seats taken */
        expect_sound();
        mc_pool_close(pool);
        ck_assert(family_await_end(&family, BOUND_MS));
    }
}
END_TEST

START_TEST(zygote_and_workers_can_die_together)
{
    begin();
    for (int round = 0; round < 3; round++) {
        family_find(pool, &family);
        end_process(family.zygote);
        end_process(family.workers[0]);
        end_process(family.workers[1]);
        expect_sound();
    }
    family_find(pool, &family);
    expect_quiet(pool);
    mc_pool_close(pool);
}
END_TEST

/* ---- the supervisor ---- */

START_TEST(tasks_of_a_waiting_client_end_when_the_supervisor_dies)
{
    begin();
    mc_group *group = open_unhelped(pool);
    run_number(group, "blocked", 0);
    run_number(group, "blocked", 1);
    ck_assert(board_await(&board->started, 2, BOUND_MS));
    for (uint32_t number = 2; number < 10; number++)
        run_number(group, number % 2 == 0 ? "quick" : "isolated", number);
    ck_assert_int_eq(mc_group_wait(group, 20), -ETIMEDOUT);
    ck_assert_int_eq(kill(family.supervisor, SIGKILL), 0);
    uint64_t began = clock_ns();
    wait_all(group);
    printf("learned of it after %.1f ms\n", ms_since(began));
    ck_assert_double_lt(ms_since(began), 3000);
    for (size_t index = 0; index < 10; index++) {
        struct mc_result result = result_of(group, index);
        bool lost = index < 2 || index % 2 == 1;
        ck_assert_msg(result.status == (lost ? -EOWNERDEAD : 0), "task %zu: %d: %s", index,
                      result.status, result.error);
        if (lost)
            ck_assert_ptr_nonnull(strstr(result.error, "supervisor"));
        else
            ck_assert_int_eq(result.worker_pid, getpid());
    }
    ck_assert(family_await_end(&family, 1000));
    mc_group_close(group);
    mc_pool_close(pool);
}
END_TEST

START_TEST(a_dead_pool_refuses_what_is_new_and_closes_at_once)
{
    begin();
    mc_group *group = open_group(pool), *other = NULL;
    run_number(group, "quick", 0);
    wait_all(group);
    run_number(group, "isolated", 1);
    wait_all(group);
    kill(family.supervisor, SIGKILL);
    ck_assert(family_await_end(&family, BOUND_MS));
    run_number(group, "quick", 2); /* nobody can know yet */
    wait_all(group);
    ck_assert_int_eq(result_of(group, 2).status, 0);
    if (mc_group_run(group, "isolated", NULL, 0) == 0) {
        wait_all(group);
        ck_assert_int_eq(result_of(group, 3).status, -EOWNERDEAD);
    }
    uint64_t killed = clock_ns();
    while (mc_group_open(pool, NULL, &other) == 0 && ms_since(killed) < BOUND_MS)
        mc_group_close(other);
    expect_error(mc_group_open(pool, NULL, &other), -ESHUTDOWN, "gone");
    expect_error(mc_group_run(group, "quick", NULL, 0), -ESHUTDOWN, "gone");
    ck_assert_int_eq(result_of(group, 0).status, 0); /* what it had is still there */
    mc_group_close(group);
    uint64_t began = clock_ns();
    mc_pool_close(pool);
    ck_assert_double_lt(ms_since(began), 1000);
}
END_TEST

START_TEST(a_supervisor_that_dies_at_its_work_leaves_no_task_hanging)
{
    static const char *const points[] = {"sweep_crash", "sweep_clear", "supervisor_event",
                                         "lane_drop"};
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        begin();
        mc_group *group = open_unhelped(pool);
        for (uint32_t number = 0; number < 20; number++)
            run_number(group, number == 5 ? "crash" : "quick", number);
        fault_arm(points[i], SIGKILL, 1);
        pid_t child = fork(); /* for the last of them: a client that goes */
        if (child == 0) {
            mc_group *own = NULL;
            (void)mc_group_open(pool, NULL, &own);
            _exit(0);
        }
        (void)await_exit(child);
        run_number(group, "crash", 20);
        wait_all(group);
        for (size_t index = 0; index < 21; index++) {
            int status = result_of(group, index).status;
            ck_assert_msg(status == 0 || status == -EOWNERDEAD, "%s: task %zu: %d", points[i],
                          index, status);
        }
        ck_assert_int_eq(result_of(group, 5).status, -EOWNERDEAD);
        uint64_t began = clock_ns();
        while (!fault_struck())
            ck_assert_msg(ms_since(began) < BOUND_MS, "nobody came to %s", points[i]);
        mc_group_close(group);
        mc_pool_close(pool);
        ck_assert(family_await_end(&family, 1000));
    }
}
END_TEST

static void ignore(int signal)
{
    (void)signal;
}

START_TEST(signals_that_end_each_nap_do_not_hide_the_end_of_the_pool)
{
    begin();
    struct sigaction action = {.sa_handler = ignore}, before;
    struct itimerval often = {.it_interval = {.tv_usec = 20000}, .it_value = {.tv_usec = 20000}};
    struct itimerval never = {0};
    mc_group *group = open_unhelped(pool);
    run_number(group, "blocked", 0);
    ck_assert(board_await(&board->started, 1, BOUND_MS));
    ck_assert_int_eq(sigaction(SIGALRM, &action, &before), 0);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
    pid_t killer = fork();
    if (killer == 0) {
        pause_us(100000);
        kill(family.supervisor, SIGKILL);
        _exit(0);
    }
    uint64_t began = clock_ns();
    wait_all(group);
    ck_assert(ms_since(began) < BOUND_MS / 4);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
    ck_assert_int_eq(sigaction(SIGALRM, &before, NULL), 0);
    ck_assert_int_eq(result_of(group, 0).status, -EOWNERDEAD);
    (void)await_exit(killer);
    mc_group_close(group);
    mc_pool_close(pool);
}
END_TEST

TEST_MAIN(pool_death, nothing_outlives_the_host_however_it_ends,
          a_client_notices_that_the_host_is_gone, a_dead_zygote_is_replaced_and_workers_go_on,
          a_zygote_that_dies_at_its_work_costs_nothing, zygote_and_workers_can_die_together,
          tasks_of_a_waiting_client_end_when_the_supervisor_dies,
          a_dead_pool_refuses_what_is_new_and_closes_at_once,
          a_supervisor_that_dies_at_its_work_leaves_no_task_hanging,
          signals_that_end_each_nap_do_not_hide_the_end_of_the_pool)
