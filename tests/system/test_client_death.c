/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Clients that die: their tasks are cancelled or end into the void, their lanes
 * come back, and nobody else notices.
 */
#include "tests/system/support.h"

#include "base/clock.h"
#include "base/fault.h"
#include "ipc/wake.h"
#include "pool/pool.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { MANY = 1000 };

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
    return mc_task_reply(task, &number, sizeof(number));
}

/* Slow enough for its client to fall asleep. */
static int slow(mc_task *task)
{
    pause_us(300);
    return 0;
}

static int large(mc_task *task)
{
    void *data;
    int result = mc_task_reply_alloc(task, 100000, &data);
    if (result == 0)
        memset(data, 'x', 100000);
    return result;
}

/* Goes on until nobody wants it any more. */
static int patient(mc_task *task)
{
    board_begin(number_of(task));
    uint64_t began = clock_ns();
    while (!mc_task_cancelled(task) && ms_since(began) < BOUND_MS / 2)
        pause_us(100);
    if (mc_task_cancelled(task))
        board_count(&board->words[7]);
    board_end();
    return 0;
}

static const struct mc_handler handlers[] = {
    {.name = "blocked", .run = blocked}, {.name = "quick", .run = quick},
    {.name = "slow", .run = slow},       {.name = "large", .run = large},
    {.name = "patient", .run = patient},
};

static mc_pool *pool;

static void begin(unsigned max_clients)
{
    board_open();
    fault_arm(NULL, 0, 0); /* makes the memory that the pool inherits */
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    options.max_clients = max_clients;
    options.queue_depth = 64;
    pool = open_pool(&options);
    ck_assert(await_workers(pool, BOUND_MS));
}

/* In a child: a lane comes back soon after its client is gone, not at once. */
static mc_group *child_open(enum mc_help help)
{
    struct mc_group_options options = {.size = sizeof(options), .help = help};
    mc_group *group = NULL;
    uint64_t began = clock_ns();
    while (mc_group_open(pool, &options, &group) == -EUSERS && ms_since(began) < BOUND_MS) {
        board_count(&board->words[0]);
        pause_us(100);
    }
    if (group == NULL) {
        fprintf(stderr, "%s\n", mc_error_message());
        _exit(1);
    }
    return group;
}

/* Uses the pool in all the ways that a blocking client can, until it dies. */
static void child_die_at(const char *point)
{
    const char *first = strcmp(point, "client_asleep") == 0 ? "slow" : "quick";
    bool helps = strcmp(point, "client_claimed") == 0;
    mc_group *group = child_open(helps ? MC_HELP_AUTO : MC_HELP_NEVER);
    for (int round = 0; round < 200; round++) {
        for (uint32_t number = 0; number < 10; number++)
            (void)mc_group_run(group, number % 2 == 0 ? first : "large", &number, sizeof(number));
        if (mc_group_wait(group, BOUND_MS) != 0)
            _exit(2);
        for (size_t index = 0; index < mc_group_size(group); index++)
            mc_group_release(group, index);
        if (round == 3)
            fault_arm(point, SIGKILL, 3);
    }
    _exit(3);
}

/* Workers pass this place too, so nobody else may be about to. */
static void child_die_waking(void)
{
    mc_group *group = child_open(MC_HELP_AUTO);
    uint32_t looking = 1;
    for (uint64_t began = clock_ns(); looking > 0 && ms_since(began) < BOUND_MS; pause_us(100)) {
        looking = !wake_anyone_sleeping(pool->bells);
        for (uint32_t seat = 0; seat < 2; seat++)
            looking += atomic_load(&pool->bells->seats[seat].state) == SEAT_LOOKING;
    }
    fault_arm("wake_before_futex", SIGKILL, 1);
    (void)mc_group_run(group, "quick", NULL, 0);
    (void)mc_group_wait(group, BOUND_MS);
    _exit(3);
}

static void expect_killed(pid_t child, const char *what)
{
    int status = await_exit(child);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "%s: status 0x%x", what,
                  (unsigned)status);
}

static void expect_sound(void)
{
    mc_group *group = open_unhelped(pool);
    for (uint32_t number = 0; number < 200; number++)
        run_number(group, number % 2 == 0 ? "quick" : "large", number);
    wait_all(group);
    ck_assert_uint_eq(failures(group), 0);
    mc_group_close(group);
}

START_TEST(client_killed_at_any_step_disturbs_nobody)
{
    static const char *const points[] = {
        "client_before_submit", "client_submitted", "client_pushed",    "client_before_free",
        "client_claimed",       "client_asleep",    "wake_before_futex"};
    begin(3);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
            atomic_store(&board->gate, 0);
            atomic_store(&board->started, 0);
            mc_group *group = open_unhelped(pool);
            run_number(group, "blocked", 0);
            ck_assert(board_await(&board->started, 1, BOUND_MS));
            for (uint32_t number = 1; round == 1 && number < 5; number++)
                run_number(group, "blocked", number);
            pid_t child = fork();
            if (child == 0) {
                if (round == 1)
                    gate_open();
                if (strcmp(points[i], "wake_before_futex") == 0)
                    child_die_waking();
                child_die_at(points[i]);
            }
            expect_killed(child, points[i]);
            fault_arm(NULL, 0, 0);
            gate_open();
            wait_all(group);
            ck_assert_uint_eq(failures(group), 0);
            mc_group_close(group);
            expect_sound();
        }
    }
    expect_quiet(pool);
    mc_pool_close(pool);
}
END_TEST

START_TEST(queued_tasks_of_a_dead_client_never_run)
{
    begin(0);
    mc_group *group = open_unhelped(pool);
    run_number(group, "blocked", 0);
    run_number(group, "blocked", 1);
    ck_assert(board_await(&board->started, 2, BOUND_MS));
    pid_t child = fork();
    if (child == 0) {
        mc_group *queued = child_open(MC_HELP_AUTO);
        for (uint32_t number = 0; number < 20; number++)
            (void)mc_group_run(queued, "blocked", &number, sizeof(number));
        kill(getpid(), SIGKILL);
    }
    expect_killed(child, "child");
    pid_t successor = fork(); /* served after the dead one was noticed */
    if (successor == 0) {
        (void)child_open(MC_HELP_AUTO);
        _exit(0);
    }
    ck_assert_int_eq(await_exit(successor), 0);
    gate_open();
    wait_all(group);
    expect_sound();
    expect_quiet(pool);
    ck_assert_uint_eq(atomic_load(&board->started), 2);
    mc_group_close(group);
    mc_pool_close(pool);
}
END_TEST

START_TEST(running_tasks_of_a_dead_client_are_asked_to_stop_and_end_into_the_void)
{
    begin(2);
    for (uint32_t round = 1; round <= 5; round++) {
        pid_t child = fork();
        if (child == 0) {
            mc_group *group = child_open(MC_HELP_AUTO);
            for (uint32_t number = 0; number < 2; number++)
                (void)mc_group_run(group, "patient", &number, sizeof(number));
            (void)board_await(&board->started, 2 * round, BOUND_MS);
            kill(getpid(), SIGKILL);
        }
        expect_killed(child, "child");
        ck_assert(board_await(&board->ended, 2 * round, BOUND_MS));
        ck_assert_uint_eq(atomic_load(&board->words[7]), 2 * round);
        expect_sound();
    }
    expect_quiet(pool);
    mc_pool_close(pool);
}
END_TEST

START_TEST(a_thousand_dead_clients_do_not_use_up_the_lanes)
{
    begin(8);
    for (uint32_t i = 0; i < MANY; i++) {
        pid_t child = fork();
        if (child == 0) {
            mc_group *group = child_open(MC_HELP_AUTO);
            for (uint32_t number = 0; number < i % 5; number++)
                (void)mc_group_run(group, number % 2 == 0 ? "quick" : "large", &number,
                                   sizeof(number));
            if (i % 3 == 0)
                (void)mc_group_wait(group, BOUND_MS);
            kill(getpid(), SIGKILL);
        }
        expect_killed(child, "child");
    }
    printf("%u times all lanes were in use\n", atomic_load(&board->words[0]));
    expect_sound();
    expect_quiet(pool);
    mc_pool_close(pool);
}
END_TEST

/* Leaves the pool, and the world only when told. */
static void leave_in_two_steps(void)
{
    (void)child_open(MC_HELP_AUTO);
    board_count(&board->words[1]);
    (void)board_await(&board->words[2], 1, BOUND_MS);
    mc_pool_close(pool);
    board_count(&board->words[3]);
    (void)board_await(&board->words[4], 1, BOUND_MS);
    _exit(0);
}

static void come_and_stay(void)
{
    struct mc_result result = {.size = sizeof(result)};
    board_count(&board->words[6]);
    mc_group *group = child_open(MC_HELP_AUTO);
    for (size_t i = 0; i < 20; i++) {
        if (mc_group_run(group, "quick", NULL, 0) != 0 || mc_group_wait(group, BOUND_MS) != 0 ||
            mc_group_result(group, i, &result) != 0 || result.status != 0) {
            fprintf(stderr, "%s\n", mc_error_message());
            _exit(1);
        }
        (void)board_await(&board->words[5], 1, 5);
    }
    _exit(0);
}

START_TEST(a_client_that_comes_while_another_goes_is_not_taken_for_it)
{
    begin(2); /* so that it gets the other's lane */
    struct family family;
    family_find(pool, &family);
    pid_t going = fork();
    if (going == 0)
        leave_in_two_steps();
    ck_assert(board_await(&board->words[1], 1, BOUND_MS));
    kill(family.supervisor, SIGSTOP); /* it sees all that follows in one look */
    ck_assert(await_state(family.supervisor, 'T'));
    board_count(&board->words[2]);
    ck_assert(board_await(&board->words[3], 1, BOUND_MS));
    pid_t coming = fork();
    if (coming == 0)
        come_and_stay();
    ck_assert(board_await(&board->words[6], 1, BOUND_MS));
    ck_assert(await_state(coming, 'S')); /* for an answer */
    board_count(&board->words[4]);
    ck_assert_int_eq(await_exit(going), 0);
    kill(family.supervisor, SIGCONT);
    ck_assert_int_eq(await_exit(coming), 0);
    mc_pool_close(pool);
}
END_TEST

START_TEST(a_client_that_exits_without_closing_is_no_different)
{
    begin(3);
    for (uint32_t i = 0; i < 50; i++) {
        pid_t child = fork();
        if (child == 0) {
            mc_group *group = child_open(MC_HELP_AUTO);
            (void)mc_group_run(group, "large", NULL, 0);
            if (i % 2 == 0)
                (void)mc_group_wait(group, BOUND_MS);
            _exit(0);
        }
        ck_assert_int_eq(await_exit(child), 0);
    }
    expect_sound();
    mc_pool_close(pool);
}
END_TEST

START_TEST(a_client_that_hangs_does_not_keep_the_pool_open)
{
    begin(0);
    struct family family;
    family_find(pool, &family);
    pid_t child = fork();
    if (child == 0) {
        mc_group *group = child_open(MC_HELP_AUTO);
        (void)mc_group_run(group, "quick", NULL, 0);
        (void)mc_group_wait(group, BOUND_MS);
        board_count(&board->words[1]);
        for (;;)
            pause();
    }
    ck_assert(board_await(&board->words[1], 1, BOUND_MS));
    kill(child, SIGSTOP);
    expect_sound();
    uint64_t began = clock_ns();
    mc_pool_close(pool);
    ck_assert_double_lt(ms_since(began), 5000);
    ck_assert(family_await_end(&family, BOUND_MS));
    kill(child, SIGKILL);
    expect_killed(child, "child");
}
END_TEST

/* In a child, whose connection breaks while both workers are busy: slots that were used
 * once, and others that were used before. */
static int child_lose_lane(void)
{
    mc_group *group = child_open(MC_HELP_NEVER);
    for (uint32_t number = 0; number < 3; number++)
        (void)mc_group_run(group, "quick", &number, sizeof(number));
    if (mc_group_cancel(group) != 3)
        return 1;
    for (uint32_t number = 0; number < 6; number++)
        (void)mc_group_run(group, "quick", &number, sizeof(number));
    if (shutdown(pool->client.socket, SHUT_WR) != 0)
        return 5;
    const volatile uint64_t *magic = &pool->client.lane.header->magic;
    for (uint64_t began = clock_ns(); *magic != 0; pause_us(100))
        if (ms_since(began) > BOUND_MS)
            return 2;
    if (mc_group_wait(group, BOUND_MS) != 0)
        return 3;
    for (size_t index = 3; index < mc_group_size(group); index++) {
        struct mc_result result = {.size = sizeof(result)};
        if (mc_group_result(group, index, &result) != 0 || result.status != -EOWNERDEAD)
            return 4;
    }
    mc_group_close(group);
    return 0;
}

START_TEST(a_client_whose_lane_was_taken_away_is_told_so)
{
    begin(0);
    mc_group *plug = open_unhelped(pool);
    run_number(plug, "blocked", 0);
    run_number(plug, "blocked", 1);
    ck_assert(board_await(&board->started, 2, BOUND_MS));
    pid_t child = fork();
    if (child == 0)
        _exit(child_lose_lane());
    int status = await_exit(child);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "0x%x", (unsigned)status);
    gate_open();
    wait_all(plug);
    ck_assert_uint_eq(failures(plug), 0);
    mc_group_close(plug);
    expect_quiet(pool);
    mc_pool_close(pool);
}
END_TEST

TEST_MAIN(client_death, client_killed_at_any_step_disturbs_nobody,
          queued_tasks_of_a_dead_client_never_run,
          running_tasks_of_a_dead_client_are_asked_to_stop_and_end_into_the_void,
          a_thousand_dead_clients_do_not_use_up_the_lanes,
          a_client_that_comes_while_another_goes_is_not_taken_for_it,
          a_client_that_exits_without_closing_is_no_different,
          a_client_that_hangs_does_not_keep_the_pool_open,
          a_client_whose_lane_was_taken_away_is_told_so)
