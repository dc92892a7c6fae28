/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A pool as a guest in its host's process: what it leaves behind, and how it
 * ends.
 */
#include "tests/system/support.h"

#include "base/clock.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { ROUNDS = 50 };

static int quick(mc_task *task)
{
    uint32_t number = number_of(task);
    board_begin(number);
    board_end();
    return mc_task_reply(task, &number, sizeof(number));
}

static int blocked(mc_task *task)
{
    board_begin(number_of(task));
    gate_pass();
    board_end();
    return 0;
}

/* Deaf to everything but SIGKILL. */
static int hang(mc_task *task)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    board_begin(0);
    for (;;)
        pause();
    return 0;
}

/* What a worker has that it should not have: bits of a number. */
enum { HAS_DESCRIPTOR = 1, HAS_HANDLER = 2, HAS_MASK = 4, HAS_INPUT = 8, HAS_GROUP = 16 };

static int planted_fd;
static pid_t planted_group;

static int inspect(mc_task *task)
{
    struct sigaction action;
    sigset_t mask;
    uint32_t found = 0;
    char byte;
    sigaction(SIGUSR1, NULL, &action);
    sigprocmask(SIG_BLOCK, NULL, &mask);
    if (fcntl(planted_fd, F_GETFD) != -1)
        found |= HAS_DESCRIPTOR;
    if (action.sa_handler != SIG_DFL)
        found |= HAS_HANDLER;
    if (sigismember(&mask, SIGUSR2))
        found |= HAS_MASK;
    if (read(STDIN_FILENO, &byte, 1) != 0)
        found |= HAS_INPUT;
    if (getpgrp() == planted_group)
        found |= HAS_GROUP;
    return mc_task_reply(task, &found, sizeof(found));
}

static const struct mc_handler handlers[] = {
    {.name = "quick", .run = quick},
    {.name = "blocked", .run = blocked},
    {.name = "hang", .run = hang, .flags = MC_ISOLATED},
    {.name = "inspect", .run = inspect},
};

static _Atomic uint32_t child_signals;

static void count_signal(int number)
{
    atomic_fetch_add(&child_signals, 1);
}

static void use(mc_pool *pool)
{
    mc_group *group = open_unhelped(pool);
    for (uint32_t number = 0; number < 10; number++)
        run_number(group, "quick", number);
    wait_all(group);
    ck_assert_uint_eq(failures(group), 0);
    mc_group_close(group);
}

START_TEST(closing_leaves_no_process_descriptor_or_mapping)
{
    struct family family;
    struct sigaction action = {.sa_handler = count_signal};
    board_open();
    sigaction(SIGCHLD, &action, NULL);
    mc_pool_close(open_simple(HANDLERS(handlers))); /* what is opened once and for all */
    unsigned descriptors = open_descriptors(), mappings = mapped_memfds();
    for (int round = 0; round < ROUNDS; round++) {
        mc_pool *pool = open_simple(HANDLERS(handlers));
        family_find(pool, &family);
        if (round % 2 == 0)
            use(pool);
        (void)mc_pool_fd(pool);
        mc_pool_close(pool);
        ck_assert_msg(family_await_end(&family, 1000), "round %d left a process", round);
        ck_assert_uint_eq(open_descriptors(), descriptors);
        ck_assert_uint_eq(mapped_memfds(), mappings);
        ck_assert(waitpid(-1, NULL, WNOHANG | __WALL) == -1 && errno == ECHILD);
    }
    ck_assert_uint_eq(mappings, 0);
    ck_assert_uint_eq(atomic_load(&child_signals), 0);
}
END_TEST

START_TEST(the_host_has_no_child_while_a_pool_is_open)
{
    board_open();
    mc_pool *pool = open_simple(HANDLERS(handlers));
    use(pool);
    ck_assert(waitpid(-1, NULL, WNOHANG | __WALL) == -1 && errno == ECHILD);
    pid_t child = fork(); /* one of its own is found as ever */
    if (child == 0)
        _exit(7);
    int status;
    ck_assert_int_eq(wait(&status), child);
    ck_assert_int_eq(WEXITSTATUS(status), 7);
    mc_pool_close(pool);
}
END_TEST

START_TEST(a_host_that_reaps_orphans_is_left_none)
{
    board_open();
    ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0); /* or it is a container's first */
    struct family family;
    mc_pool *pool = open_simple(HANDLERS(handlers));
    family_find(pool, &family);
    use(pool);
    mc_pool_close(pool);
    ck_assert(family_await_end(&family, BOUND_MS));
    int result = waitpid(-1, NULL, WNOHANG | __WALL);
    ck_assert_msg(result == -1 && errno == ECHILD, "process %d is left for wait() to find", result);
}
END_TEST

START_TEST(a_pool_can_be_opened_where_children_are_ignored)
{
    board_open();
    signal(SIGCHLD, SIG_IGN);
    mc_pool *pool = open_simple(HANDLERS(handlers));
    use(pool);
    mc_pool_close(pool);
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    signal(SIGCHLD, SIG_DFL);
    pool = open_simple(HANDLERS(handlers));
    use(pool);
    mc_pool_close(pool);
}
END_TEST

START_TEST(workers_inherit_nothing_of_the_hosts_signals_and_descriptors)
{
    board_open();
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    planted_fd = fcntl(ends[0], F_DUPFD, 200); /* not one that a worker's own may get */
    ck_assert_int_ge(planted_fd, 200);
    planted_group = getpgrp();
    signal(SIGUSR1, count_signal);
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR2);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    mc_pool *pool = open_simple(HANDLERS(handlers));
    mc_group *group = open_unhelped(pool);
    run(group, "inspect", NULL, 0);
    wait_all(group);
    uint32_t found;
    memcpy(&found, result_of(group, 0).data, sizeof(found));
    ck_assert_uint_eq(found, 0);
    sigprocmask(SIG_BLOCK, NULL, &mask);
    ck_assert_int_eq(sigismember(&mask, SIGUSR2), 1);
    mc_group_close(group);
    mc_pool_close(pool);
}
END_TEST

START_TEST(two_pools_in_one_process_are_independent)
{
    board_open();
    mc_pool *first = open_simple(HANDLERS(handlers)), *second = open_simple(HANDLERS(handlers));
    use(first);
    mc_pool_close(first);
    use(second);
    first = open_simple(HANDLERS(handlers));
    use(first);
    mc_pool_close(second);
    use(first);
    mc_pool_close(first);
    ck_assert_uint_eq(mapped_memfds(), 0);
}
END_TEST

static void *open_gate_later(void *pool)
{
    (void)board_await(&board->words[0], 1, BOUND_MS);
    gate_open();
    return NULL;
}

START_TEST(closing_lets_accepted_tasks_run_to_their_end)
{
    board_open();
    mc_pool *pool = open_simple(HANDLERS(handlers));
    mc_group *group = open_unhelped(pool);
    for (uint32_t number = 0; number < 20; number++)
        run_number(group, "blocked", number);
    ck_assert(board_await(&board->started, 2, BOUND_MS));
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, open_gate_later, NULL), 0);
    uint64_t began = clock_ns();
    board_count(&board->words[0]);
    mc_pool_close(pool);
    ck_assert_uint_eq(atomic_load(&board->ended), 20);
    ck_assert_double_lt(ms_since(began), 5000); /* half of close_timeout_ms */
    pthread_join(thread, NULL);
    expect_error(mc_group_wait(group, 0), -ESHUTDOWN, "closed");
    mc_group_close(group);
}
END_TEST

START_TEST(closing_is_bounded_when_a_handler_hangs)
{
    board_open();
    struct family family;
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    options.close_timeout_ms = 200;
    mc_pool *pool = open_pool(&options);
    family_find(pool, &family);
    mc_group *group = open_unhelped(pool);
    run(group, "hang", NULL, 0);
    run(group, "hang", NULL, 0);
    run(group, "quick", NULL, 0);
    ck_assert(board_await(&board->started, 2, BOUND_MS));
    mc_group_close(group); /* does not wait for them */
    uint64_t began = clock_ns();
    mc_pool_close(pool);
    double took = ms_since(began);
    printf("closed after %.1f ms\n", took);
    ck_assert_double_ge(took, 150);
    ck_assert_double_lt(took, 200 + 1000);
    ck_assert(family_await_end(&family, 1000));
}
END_TEST

START_TEST(closing_an_idle_pool_is_quick_whoever_ran_the_tasks)
{
    board_open();
    for (int handed_over = 0; handed_over < 2; handed_over++) {
        mc_pool *pool = open_simple(HANDLERS(handlers));
        for (uint32_t number = 0; number < 200; number++) {
            mc_group *group = handed_over ? open_unhelped(pool) : open_group(pool);
            run_number(group, "quick", number);
            if (number % 3 == 0)
                ck_assert_int_ge(mc_group_cancel(group), 0);
            wait_all(group);
            mc_group_close(group);
        }
        expect_quiet(pool);
        uint64_t began = clock_ns();
        mc_pool_close(pool);
        ck_assert_msg(ms_since(began) < 1000, "it took %.0f ms", ms_since(began));
    }
}
END_TEST

START_TEST(a_group_that_is_still_open_is_valid_for_closing_only)
{
    board_open();
    struct mc_result result = {.size = sizeof(result)};
    mc_pool *pool = open_simple(HANDLERS(handlers));
    mc_group *group = open_group(pool), *empty = open_group(pool);
    for (uint32_t number = 0; number < 100; number++)
        run_number(group, "quick", number);
    wait_all(group);
    mc_pool_close(pool);
    expect_error(mc_group_run(group, "quick", NULL, 0), -ESHUTDOWN, "closed");
    expect_error(mc_group_next(group, &result, 0), -ESHUTDOWN, "closed");
    expect_error(mc_group_result(group, 0, &result), -ESHUTDOWN, "closed");
    expect_error(mc_group_cancel(group), -ESHUTDOWN, "closed");
    mc_group_release(group, 0);
    ck_assert_str_ne(mc_group_reason(group), "");
    mc_group_close(group);
    mc_group_close(empty);
    mc_group_close(NULL);
    mc_pool_close(NULL);
}
END_TEST

static int count_init(void *context, void **state)
{
    board_count(&board->words[1]);
    return 0;
}

static void count_exit(void *state)
{
    board_count(&board->words[2]);
}

START_TEST(every_worker_that_began_ends_with_worker_exit)
{
    board_open();
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    options.worker_init = count_init;
    options.worker_exit = count_exit;
    mc_pool *pool = open_pool(&options);
    struct family family;
    family_find(pool, &family);
    use(pool);
    mc_pool_close(pool);
    ck_assert_uint_eq(atomic_load(&board->words[1]), 2);
    ck_assert_uint_eq(atomic_load(&board->words[2]), 2);
}
END_TEST

TEST_MAIN(close, closing_leaves_no_process_descriptor_or_mapping,
          the_host_has_no_child_while_a_pool_is_open, a_host_that_reaps_orphans_is_left_none,
          a_pool_can_be_opened_where_children_are_ignored,
          workers_inherit_nothing_of_the_hosts_signals_and_descriptors,
          two_pools_in_one_process_are_independent, closing_lets_accepted_tasks_run_to_their_end,
          closing_is_bounded_when_a_handler_hangs,
          closing_an_idle_pool_is_quick_whoever_ran_the_tasks,
          a_group_that_is_still_open_is_valid_for_closing_only,
          every_worker_that_began_ends_with_worker_exit)
