/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A full lane: submissions that fail, wait for a time, or work meanwhile; and the
 * end of a pool by force.
 */
#include "tests/system/support.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/sys.h"

#include <pthread.h>
#include <signal.h>

enum {
    DEPTH = 16,
    INLINE_RUNS = 0,
    STOP = 1,
    CROWDED = 2,
    MAY_END = 1,
    LARGE = 300000,
    OFFSET = 100
};

static char large[LARGE];

static int blocked(mc_task *task)
{
    board_begin(number_of(task));
    gate_pass();
    board_end();
    return 0;
}

static int slow(mc_task *task)
{
    pause_us(3000);
    return 0;
}

static int where(mc_task *task)
{
    size_t size;
    (void)mc_task_args(task, &size);
    if (size != sizeof(uint32_t))
        return 0;
    atomic_fetch_add(&board->runs[OFFSET + number_of(task)], 1);
    if (mc_task_inline(task))
        atomic_fetch_add(&board->words[INLINE_RUNS], 1);
    return 0;
}

/* The first that runs in the caller says so, and waits until it may end. */
static int held(mc_task *task)
{
    if (mc_task_inline(task) && atomic_fetch_add(&board->words[INLINE_RUNS], 1) == 0) {
        sys_futex_wake(&board->words[INLINE_RUNS], INT32_MAX);
        (void)board_await(&board->words[MAY_END], 1, BOUND_MS);
    }
    return mc_task_reply(task, large, sizeof(large));
}

static const struct mc_handler handlers[] = {{.name = "blocked", .run = blocked},
                                             {.name = "where", .run = where},
                                             {.name = "held", .run = held},
                                             {.name = "slow", .run = slow}};

static mc_pool *pool;
static mc_group *plug; /* its two tasks hold both workers */

static void begin(void)
{
    board_open();
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    options.queue_depth = DEPTH;
    options.max_payload = 1 << 20;
    options.arena_size = 1 << 20;
    pool = open_pool(&options);
    ck_assert(await_workers(pool, BOUND_MS));
    plug = open_unhelped(pool);
    run_number(plug, "blocked", 0);
    run_number(plug, "blocked", 1);
    ck_assert(board_await(&board->started, 2, BOUND_MS));
}

static void finish(void)
{
    gate_open();
    wait_all(plug);
    mc_group_close(plug);
    expect_quiet(pool);
    mc_pool_close(pool);
}

static int try_number(mc_group *group, uint32_t number)
{
    return mc_group_run(group, "where", &number, sizeof(number));
}

START_TEST(a_full_lane_fails_at_once_if_that_was_chosen)
{
    begin();
    mc_group *group =
        open_with(pool, (struct mc_group_options){.help = MC_HELP_NEVER, .on_full = MC_FULL_FAIL});
    for (uint32_t i = 0; i < DEPTH - 2; i++)
        ck_assert_int_eq(try_number(group, i), 0);
    expect_error(try_number(group, DEPTH), -EAGAIN, "queue_depth (16)");
    gate_open();
    wait_all(group);
    ck_assert_int_eq(try_number(group, DEPTH), 0);
    wait_all(group);
    ck_assert_uint_eq(mc_group_size(group), DEPTH - 1);
    ck_assert_uint_eq(failures(group), 0);
    mc_group_close(group);
    finish();
}
END_TEST

START_TEST(a_full_arena_fails_likewise_and_names_its_size)
{
    begin();
    mc_group *group =
        open_with(pool, (struct mc_group_options){.help = MC_HELP_NEVER, .on_full = MC_FULL_FAIL});
    int result = 0, fit = 0;
    while ((result = mc_group_run(group, "where", large, sizeof(large))) == 0)
        fit++;
    expect_error(result, -EAGAIN, "arena_size");
    ck_assert_int_eq(fit, 3);
    gate_open();
    wait_all(group);
    mc_group_close(group);
    finish();
}
END_TEST

START_TEST(a_full_lane_is_waited_for_no_longer_than_was_chosen)
{
    begin();
    mc_group *group =
        open_with(pool, (struct mc_group_options){.help = MC_HELP_NEVER, .full_timeout_ms = 60});
    for (uint32_t i = 0; i < DEPTH - 2; i++)
        ck_assert_int_eq(try_number(group, i), 0);
    uint64_t began = clock_ns();
    expect_error(try_number(group, DEPTH), -EAGAIN, "queue_depth (16)");
    ck_assert(ms_since(began) >= 59);
    gate_open();
    ck_assert_int_eq(try_number(group, DEPTH), 0);
    wait_all(group);
    ck_assert_uint_eq(failures(group), 0);
    mc_group_close(group);
    finish();
}
END_TEST

START_TEST(the_caller_of_a_full_lane_works_itself_if_that_was_chosen)
{
    begin();
    mc_group *group = open_with(
        pool, (struct mc_group_options){.help = MC_HELP_NEVER, .on_full = MC_FULL_INLINE});
    for (uint32_t i = 0; i < 10 * DEPTH; i++)
        ck_assert_int_eq(try_number(group, i), 0);
    ck_assert_uint_ge(atomic_load(&board->words[INLINE_RUNS]), 9 * DEPTH);
    gate_open();
    wait_all(group);
    ck_assert_uint_eq(failures(group), 0);
    for (uint32_t i = 0; i < 10 * DEPTH; i++)
        ck_assert_uint_eq(atomic_load(&board->runs[OFFSET + i]), 1);
    mc_group_close(group);
    finish();
}
END_TEST

START_TEST(tasks_of_another_group_of_the_caller_are_run_for_room_too)
{
    begin();
    mc_group *first = open_group(pool);
    for (uint32_t i = 0; i < DEPTH - 2; i++)
        ck_assert_int_eq(try_number(first, i), 0);
    mc_group *group = open_with(pool, (struct mc_group_options){.on_full = MC_FULL_INLINE});
    ck_assert_int_eq(try_number(group, DEPTH), 0);
    ck_assert_uint_ge(atomic_load(&board->words[INLINE_RUNS]), 1);
    gate_open();
    wait_all(group);
    wait_all(first);
    ck_assert_uint_eq(failures(first) + failures(group), 0);
    mc_group_close(group);
    mc_group_close(first);
    finish();
}
END_TEST

static mc_group *begin_otherwise(unsigned workers)
{
    board_open();
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    options.queue_depth = DEPTH;
    options.workers = workers;
    options.max_payload = options.arena_size = 1 << 20;
    pool = open_pool(&options);
    ck_assert(await_workers(pool, BOUND_MS));
    alarm(BOUND_MS / 1000); /* whatever has to wait for room gets it */
    return open_unhelped(pool);
}

START_TEST(one_slow_task_keeps_no_room_from_others)
{
    mc_group *group = begin_otherwise(2);
    run_number(group, "blocked", 0);
    for (uint32_t i = 0; i < 10 * DEPTH; i++)
        ck_assert_int_eq(try_number(group, i), 0);
    ck_assert_uint_eq(atomic_load(&board->ended), 0);
    gate_open();
    wait_all(group);
    mc_group_close(group);
    expect_quiet(pool);
    mc_pool_close(pool);
}
END_TEST

START_TEST(a_wait_for_room_ends_when_others_make_room)
{
    mc_group *group = begin_otherwise(2), *other = open_unhelped(pool);
    run_number(group, "blocked", 0);
    ck_assert(board_await(&board->started, 1, BOUND_MS));
    for (uint32_t i = 1; i < DEPTH; i++)
        run_number(other, "slow", i);
    ck_assert_int_eq(try_number(group, 1), 0);
    ck_assert_uint_eq(atomic_load(&board->ended), 0);
    gate_open();
    wait_all(group);
    wait_all(other);
    mc_group_close(group);
    mc_group_close(other);
    expect_quiet(pool);
    mc_pool_close(pool);
}
END_TEST

/* The short half and one more have to end before the long ones do. */
START_TEST(a_wait_for_room_ends_when_less_than_half_of_its_group_has_ended)
{
    mc_group *group = begin_otherwise(DEPTH / 2 + 2);
    for (uint32_t i = 0; i < DEPTH / 2 + 1; i++)
        run_number(group, "blocked", i);
    for (uint32_t i = DEPTH / 2 + 1; i < DEPTH; i++)
        run_number(group, "slow", i);
    ck_assert_int_eq(try_number(group, 1), 0);
    ck_assert_uint_eq(atomic_load(&board->ended), 0);
    gate_open();
    wait_all(group);
    mc_group_close(group);
    expect_quiet(pool);
    mc_pool_close(pool);
}
END_TEST

START_TEST(the_caller_of_a_full_lane_works_although_a_task_of_its_group_runs)
{
    mc_group *other = begin_otherwise(1);
    mc_group *group = open_with(pool, (struct mc_group_options){.on_full = MC_FULL_INLINE});
    run_number(group, "blocked", 0);
    ck_assert(board_await(&board->started, 1, BOUND_MS));
    mc_group_close(other);
    other = open_group(pool);
    for (uint32_t i = 1; i < DEPTH; i++)
        ck_assert_int_eq(try_number(other, i), 0);
    ck_assert_int_eq(try_number(group, DEPTH), 0);
    ck_assert_uint_ge(atomic_load(&board->words[INLINE_RUNS]), 1);
    gate_open();
    wait_all(group);
    wait_all(other);
    mc_group_close(group);
    mc_group_close(other);
    expect_quiet(pool);
    mc_pool_close(pool);
}
END_TEST

static double thread_ms(void)
{
    struct timespec used;
    ck_assert_int_eq(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used), 0);
    return (double)used.tv_sec * 1e3 + (double)used.tv_nsec / 1e6;
}

/* Two tasks hold the arena, and all that came after them have ended. */
START_TEST(who_waits_for_room_sleeps_and_sees_the_end_of_the_pool)
{
    static char larger[LARGE + LARGE / 2];
    mc_group *group = begin_otherwise(3);
    struct family family;
    family_find(pool, &family);
    run(group, "blocked", larger, sizeof(larger));
    run(group, "blocked", larger, sizeof(larger));
    for (uint32_t i = 0; i < DEPTH / 2; i++)
        run_number(group, "where", i);
    pid_t killer = fork();
    if (killer == 0) {
        pause_us(400000);
        kill(family.supervisor, SIGKILL);
        _exit(0);
    }
    double before_ms = thread_ms();
    (void)mc_group_run(group, "where", larger, sizeof(larger));
    ck_assert(!process_lives(family.supervisor));
    ck_assert(thread_ms() - before_ms < 200);
    (void)await_exit(killer);
    wait_all(group);
    mc_group_close(group);
    mc_pool_close(pool);
}
END_TEST

/* Always has half of the arena in use, in pieces. */
static void *crowd(void *context)
{
    static char small[LARGE / 3];
    mc_group *group = context;
    struct mc_result result = {.size = sizeof(result)};
    for (int i = 0; atomic_load(&board->words[STOP]) == 0; i++) {
        (void)mc_group_run(group, "slow", small, sizeof(small));
        if (i >= 5)
            (void)mc_group_next(group, &result, -1);
        else
            board_count(&board->words[CROWDED]);
    }
    return NULL;
}

START_TEST(large_arguments_find_room_although_others_go_on_with_small_ones)
{
    static char huge[LARGE * 3];
    mc_group *group = begin_otherwise(2), *other = open_unhelped(pool);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, crowd, other), 0);
    ck_assert(board_await(&board->words[CROWDED], 5, BOUND_MS));
    for (int i = 0; i < 5; i++)
        run(group, "where", huge, sizeof(huge));
    atomic_store(&board->words[STOP], 1);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    wait_all(group);
    wait_all(other);
    ck_assert_uint_eq(failures(group) + failures(other), 0);
    mc_group_close(group);
    mc_group_close(other);
    expect_quiet(pool);
    mc_pool_close(pool);
}
END_TEST

START_TEST(unknown_ways_are_refused)
{
    begin();
    mc_group *group;
    struct mc_group_options options = {.size = sizeof(options), .on_full = (enum mc_full)7};
    expect_error(mc_group_open(pool, &options, &group), -EINVAL, "on_full");
    finish();
}
END_TEST

START_TEST(a_pool_that_is_terminated_kills_what_runs)
{
    begin();
    struct family family;
    family_find(pool, &family);
    uint64_t began = clock_ns();
    mc_pool_terminate(pool);
    ck_assert(ms_since(began) < BOUND_MS / 2);
    ck_assert(family_await_end(&family, BOUND_MS));
    mc_group_close(plug);
    ck_assert_uint_eq(atomic_load(&board->ended), 0);
}
END_TEST

/* When the caller has waited for long enough to have run one, if it were to. */
static void *open_gate_later(void *nothing)
{
    pause_us(50000);
    gate_open();
    return nothing;
}

START_TEST(tasks_that_are_left_to_workers_are_not_run_for_room)
{
    begin();
    mc_group *first = open_unhelped(pool);
    for (uint32_t i = 0; i < DEPTH - 2; i++)
        ck_assert_int_eq(try_number(first, i), 0);
    mc_group *group = open_with(pool, (struct mc_group_options){.on_full = MC_FULL_INLINE});
    pthread_t opener;
    ck_assert_int_eq(pthread_create(&opener, NULL, open_gate_later, NULL), 0);
    ck_assert_int_eq(mc_group_run(group, "blocked", NULL, 0), 0);
    pthread_join(opener, NULL);
    wait_all(first);
    wait_all(group);
    ck_assert_uint_eq(atomic_load(&board->words[INLINE_RUNS]), 0);
    mc_group_close(group);
    mc_group_close(first);
    finish();
}
END_TEST

/* Fills the lane with tasks of a group that another thread takes over. Who submits to the
 * group that is returned runs the first of them, until it may end. */
static mc_group *hand_over(void *(*take)(void *handed), pthread_t *thread, mc_group **handed)
{
    begin();
    *handed = open_group(pool);
    for (uint32_t i = 0; i < DEPTH - 2; i++)
        ck_assert_int_eq(mc_group_run(*handed, "held", NULL, 0), 0);
    ck_assert_int_eq(pthread_create(thread, NULL, take, *handed), 0);
    return open_with(pool, (struct mc_group_options){.on_full = MC_FULL_INLINE});
}

/* Another thread takes the group over, and closes it in the middle of its task. */
static void *close_meanwhile(void *group)
{
    bool begun = board_await(&board->words[INLINE_RUNS], 1, BOUND_MS);
    mc_group_close(group);
    mc_group *next = NULL; /* takes the memory of a group that is free */
    (void)mc_group_open(pool, NULL, &next);
    board_count(&board->words[MAY_END]);
    gate_open();
    return begun ? next : NULL;
}

START_TEST(a_group_is_closed_while_another_thread_runs_a_task_of_it)
{
    pthread_t thread;
    void *next;
    mc_group *handed, *group = hand_over(close_meanwhile, &thread, &handed);
    ck_assert_int_eq(try_number(group, 1), 0);
    pthread_join(thread, &next);
    ck_assert_ptr_nonnull(next);
    ck_assert_uint_eq(mc_group_size(next), 0);
    for (uint32_t i = 0; i < 4 * DEPTH; i++)
        ck_assert_int_eq(try_number(next, i), 0);
    wait_all(next);
    wait_all(group);
    ck_assert_uint_eq(failures(next) + failures(group), 0);
    mc_group_close(group);
    mc_group_close(next);
    finish();
}
END_TEST

static void be_late(int number)
{
    board_count(&board->words[INLINE_RUNS]);
    (void)board_await(&board->words[MAY_END], 1, BOUND_MS);
}

START_TEST(a_group_is_closed_before_another_thread_begins_the_task_that_it_has_claimed)
{
    struct sigaction action = {.sa_handler = be_late};
    sigset_t late;
    pthread_t thread;
    void *next;
    mc_group *handed;
    sigemptyset(&late);
    sigaddset(&late, SIGUSR1);
    ck_assert_int_eq(sigaction(SIGUSR1, &action, NULL), 0);
    ck_assert_int_eq(pthread_sigmask(SIG_BLOCK, &late, NULL), 0); /* in the other thread */
    mc_group *group = hand_over(close_meanwhile, &thread, &handed);
    ck_assert_int_eq(pthread_sigmask(SIG_UNBLOCK, &late, NULL), 0);
    fault_arm("client_guest", SIGUSR1, 1);
    ck_assert_int_eq(try_number(group, 1), 0);
    ck_assert(fault_struck());
    pthread_join(thread, &next);
    ck_assert_ptr_nonnull(next);
    wait_all(group);
    ck_assert_uint_eq(failures(group), 0);
    mc_group_close(group);
    mc_group_close(next);
    finish();
}
END_TEST

/* Another thread waits for the group; the pool goes in the middle of a task that runs here. */
static void *wait_without_pool(void *group)
{
    struct family family;
    family_find(pool, &family);
    bool begun = board_await(&board->words[INLINE_RUNS], 1, BOUND_MS);
    kill(family.supervisor, SIGKILL);
    while (mc_pool_connected(pool))
        pause_us(1000);
    int early = mc_group_wait(group, 0), later = mc_group_wait(group, 300);
    board_count(&board->words[MAY_END]);
    bool all = mc_group_wait(group, BOUND_MS) == 0;
    return begun && early == -ETIMEDOUT && later == -ETIMEDOUT && all ? group : NULL;
}

START_TEST(a_task_that_runs_in_another_thread_is_not_lost_with_the_pool)
{
    pthread_t thread;
    void *waited;
    mc_group *handed, *group = hand_over(wait_without_pool, &thread, &handed);
    (void)try_number(group, 1);
    pthread_join(thread, &waited);
    ck_assert_ptr_eq(waited, handed);
    ck_assert_int_eq(result_of(handed, 0).status, 0);
    ck_assert_uint_eq(result_of(handed, 0).data_size, LARGE);
    for (uint32_t i = 0; i < DEPTH - 2; i++)
        ck_assert(result_of(handed, i).status == 0 || result_of(handed, i).status == -EOWNERDEAD);
    mc_group_close(group);
    mc_group_close(handed);
    mc_group_close(plug);
    mc_pool_close(pool);
}
END_TEST

/* The gate opens when the caller waits already, or does not any more. */
START_TEST(a_time_to_wait_longer_than_an_int_is_no_end)
{
    begin();
    mc_group *group = open_with(
        pool, (struct mc_group_options){.help = MC_HELP_NEVER, .full_timeout_ms = UINT32_MAX});
    for (uint32_t i = 0; i < DEPTH - 2; i++)
        ck_assert_int_eq(try_number(group, i), 0);
    pthread_t opener;
    ck_assert_int_eq(pthread_create(&opener, NULL, open_gate_later, NULL), 0);
    ck_assert_int_eq(try_number(group, DEPTH), 0);
    pthread_join(opener, NULL);
    wait_all(group);
    mc_group_close(group);
    finish();
}
END_TEST

/* The tasks of the first group are offered one by one, when another of them is collected;
 * which here nobody does but a caller that waits for the room they take. */
START_TEST(tasks_of_another_group_are_begun_while_its_caller_waits_for_room)
{
    begin();
    gate_open();
    wait_all(plug);
    mc_group *narrow =
        open_with(pool, (struct mc_group_options){.help = MC_HELP_NEVER, .max_parallel = 1});
    for (uint32_t i = 0; i < DEPTH - 2; i++)
        ck_assert_int_eq(mc_group_run(narrow, "slow", large, LARGE / 5), 0);
    mc_group *group = open_with(
        pool, (struct mc_group_options){.help = MC_HELP_NEVER, .full_timeout_ms = BOUND_MS});
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(mc_group_run(group, "where", large, sizeof(large)), 0);
    wait_all(group);
    wait_all(narrow);
    mc_group_close(group);
    mc_group_close(narrow);
    finish();
}
END_TEST

TEST_MAIN(full, a_full_lane_fails_at_once_if_that_was_chosen,
          a_full_arena_fails_likewise_and_names_its_size,
          a_full_lane_is_waited_for_no_longer_than_was_chosen,
          the_caller_of_a_full_lane_works_itself_if_that_was_chosen,
          tasks_of_another_group_of_the_caller_are_run_for_room_too, unknown_ways_are_refused,
          one_slow_task_keeps_no_room_from_others, a_wait_for_room_ends_when_others_make_room,
          a_wait_for_room_ends_when_less_than_half_of_its_group_has_ended,
          the_caller_of_a_full_lane_works_although_a_task_of_its_group_runs,
          who_waits_for_room_sleeps_and_sees_the_end_of_the_pool,
          a_pool_that_is_terminated_kills_what_runs,
          tasks_that_are_left_to_workers_are_not_run_for_room,
          a_group_is_closed_while_another_thread_runs_a_task_of_it,
          a_group_is_closed_before_another_thread_begins_the_task_that_it_has_claimed,
          a_task_that_runs_in_another_thread_is_not_lost_with_the_pool,
          a_time_to_wait_longer_than_an_int_is_no_end,
          tasks_of_another_group_are_begun_while_its_caller_waits_for_room,
          large_arguments_find_room_although_others_go_on_with_small_ones)
