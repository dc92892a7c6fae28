/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One pool, many threads; and pools opened amid threads.
 */
#include "base/fault.h"
#include "tests/system/support.h"

#include <pthread.h>
#include <signal.h>

enum { THREADS = 4, GROUPS = 150 };

static int echo(mc_task *task)
{
    size_t size;
    const void *args = mc_task_args(task, &size);
    return mc_task_reply(task, args, size);
}

static int range(mc_task *task)
{
    uint64_t sum = 0;
    for (uint64_t i = mc_task_start(task); i < mc_task_end(task); i++)
        sum += i;
    return mc_task_reply(task, &sum, sizeof(sum));
}

/* Not to be run by two threads of one process at once. */
static int alone(mc_task *task)
{
    static _Atomic int inside;
    if (atomic_exchange(&inside, 1) != 0)
        return mc_task_fail(task, -EBUSY, "two at once");
    if (mc_task_inline(task))
        board_count(&board->words[0]);
    pause_us(20);
    atomic_store(&inside, 0);
    return 0;
}

static int own_state(mc_task *task)
{
    pthread_t *owner = mc_task_state(task);
    if (mc_task_inline(task) && !pthread_equal(*owner, pthread_self()))
        return mc_task_fail(task, -EPERM, "another thread's state");
    return 0;
}

static int make_state(void *context, void **state)
{
    pthread_t *owner = malloc(sizeof(*owner));
    if (owner == NULL)
        return -ENOMEM;
    *owner = pthread_self();
    *state = owner;
    board_count(&board->words[1]);
    return 0;
}

static void free_state(void *state)
{
    free(state);
    board_count(&board->words[2]);
}

static const struct mc_handler handlers[] = {
    {.name = "echo", .run = echo},
    {.name = "range", .run = range},
    {.name = "alone", .run = alone},
    {.name = "own-state", .run = own_state, .flags = MC_THREAD_SAFE},
};

static mc_pool *pool;
static _Atomic uint32_t wrong;

static void note_wrong(const char *what, uint32_t number)
{
    fprintf(stderr, "%s %u: %s\n", what, number, mc_error_message());
    atomic_fetch_add(&wrong, 1);
}

static void one_group(uint32_t mark)
{
    mc_group *group;
    struct mc_result result = {.size = sizeof(result)};
    struct mc_map_options chunks = {.size = sizeof(chunks), .max_chunk = 100};
    uint64_t total = 0, part;
    if (mc_group_open(pool, NULL, &group) != 0) {
        note_wrong("open", mark);
        return;
    }
    for (uint32_t i = 0; i < 5; i++) {
        uint32_t number = mark * 10 + i;
        if (mc_group_run(group, "echo", &number, sizeof(number)) != 0)
            note_wrong("run", number);
    }
    if (mc_group_map(group, "range", 1000, &chunks, NULL, 0) != 0)
        note_wrong("map", mark);
    int next;
    while ((next = mc_group_next(group, &result, BOUND_MS)) == 1) {
        uint32_t expected = mark * 10 + (uint32_t)result.index;
        if (result.status != 0) {
            note_wrong(result.error, mark);
        } else if (result.index < 5) {
            if (memcmp(result.data, &expected, sizeof(expected)) != 0)
                note_wrong("echo", expected);
        } else {
            memcpy(&part, result.data, sizeof(part));
            total += part;
        }
    }
    if (next != 0 || total != 499500)
        note_wrong("total", mark);
    mc_group_close(group);
}

static void *many_groups(void *argument)
{
    for (uint32_t i = 0; i < GROUPS; i++)
        one_group((uint32_t)(uintptr_t)argument * GROUPS + i);
    return NULL;
}

static void *many_waits(void *handler)
{
    for (int i = 0; i < GROUPS; i++) {
        mc_group *group = NULL;
        struct mc_result result = {.size = sizeof(result)};
        if (mc_group_open(pool, NULL, &group) != 0)
            note_wrong("open", 0);
        for (int k = 0; k < 4; k++)
            if (mc_group_run(group, handler, NULL, 0) != 0)
                note_wrong("run", 0);
        while (mc_group_next(group, &result, BOUND_MS) == 1)
            if (result.status != 0)
                note_wrong(result.error, 0);
        mc_group_close(group);
    }
    return NULL;
}

static void run_threads(void *(*body)(void *), void *argument)
{
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(
            pthread_create(&threads[i], NULL, body, argument != NULL ? argument : (void *)i), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(atomic_load(&wrong), 0);
}

START_TEST(threads_with_groups_of_their_own_do_not_meet)
{
    board_open();
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    options.queue_depth = 32; /* so that they wait for room too */
    pool = open_pool(&options);
    run_threads(many_groups, NULL);
    expect_quiet(pool);
    mc_pool_close(pool);
}
END_TEST

START_TEST(inline_tasks_are_run_one_at_a_time_unless_thread_safe)
{
    board_open();
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    options.worker_init = make_state;
    options.worker_exit = free_state;
    options.workers = 1;
    pool = open_pool(&options);
    run_threads(many_waits, "alone");
    run_threads(many_waits, "own-state");
    printf("%u tasks were run by the callers\n", atomic_load(&board->words[0]));
    mc_pool_close(pool);
    ck_assert_uint_eq(atomic_load(&board->words[1]), atomic_load(&board->words[2]));
}
END_TEST

/* ---- threads that end ---- */

static _Atomic uint32_t begun_here, ended_here;

static int begin_here(void *context, void **state)
{
    atomic_fetch_add(&begun_here, 1);
    return 0;
}

static void end_here(void *state)
{
    board_count(&board->words[3]);
    pause_us(500000);
    atomic_fetch_add(&ended_here, 1);
}

static void stay_until_closed(int signal)
{
    board_count(&board->words[3]);
    (void)board_await(&board->words[4], 1, BOUND_MS);
}

static void *run_one_and_end(void *argument)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_UNBLOCK, &all, NULL);
    mc_group *group = open_group(pool);
    run(group, "own", NULL, 0);
    wait_all(group);
    mc_group_close(group);
    return NULL;
}

static int own(mc_task *task)
{
    return mc_task_inline(task) ? 0 : -EPERM;
}

/* The pool is closed when the thread that ran a task here is at the place where it counts
 * words[3]. */
static void close_while_a_thread_ends(void)
{
    static const struct mc_handler table[] = {{.name = "own", .run = own, .flags = MC_THREAD_SAFE}};
    struct mc_pool_options options = pool_options(HANDLERS(table));
    pthread_t thread;
    pid_t worker;
    sigset_t all;
    options.workers = 1;
    options.worker_init = begin_here;
    options.worker_exit = end_here;
    pool = open_pool(&options);
    ck_assert_uint_eq(mc_pool_worker_pids(pool, &worker, 1), 1);
    kill(worker, SIGSTOP); /* so the caller runs it */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    ck_assert_int_eq(pthread_create(&thread, NULL, run_one_and_end, NULL), 0);
    ck_assert(board_await(&board->words[3], 1, BOUND_MS));
    mc_pool_terminate(pool);
    ck_assert_uint_eq(atomic_load(&begun_here), 1);
    ck_assert_uint_eq(atomic_load(&ended_here), 1);
    board_count(&board->words[4]);
    pthread_join(thread, NULL);
    ck_assert_uint_eq(atomic_load(&ended_here), 1);
}

START_TEST(a_pool_that_is_closed_waits_for_a_thread_that_ends_its_state)
{
    board_open();
    close_while_a_thread_ends();
}
END_TEST

START_TEST(a_thread_that_ends_when_its_pool_was_closed_has_no_state_any_more)
{
    struct sigaction action = {.sa_handler = stay_until_closed};
    board_open();
    sigaction(SIGUSR1, &action, NULL);
    fault_arm("inline_thread_ends", SIGUSR1, 1);
    close_while_a_thread_ends();
    ck_assert(fault_struck());
}
END_TEST

/* ---- pools amid threads ---- */

static void *wait_for_word(void *argument)
{
    (void)board_await(&board->words[0], 1, BOUND_MS);
    return NULL;
}

START_TEST(a_pool_is_not_opened_amid_threads_unless_allowed)
{
    board_open();
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, wait_for_word, NULL), 0);
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    pool = NULL;
    expect_error(mc_pool_open(&options, &pool), -EBUSY, "MC_ALLOW_THREADS");
    ck_assert_ptr_nonnull(strstr(mc_error_message(), "2 threads"));
    ck_assert_ptr_null(pool);
    options.flags = MC_ALLOW_THREADS;
    pool = open_pool(&options);
    one_group(1);
    ck_assert_uint_eq(atomic_load(&wrong), 0);
    mc_pool_close(pool);
    board_count(&board->words[0]);
    pthread_join(thread, NULL);
    options.flags = 0;
    pool = open_pool(&options);
    mc_pool_close(pool);
}
END_TEST

static void *open_and_end(void *argument)
{
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    options.flags = MC_ALLOW_THREADS;
    if (mc_pool_open(&options, &pool) != 0)
        note_wrong("open", 0);
    return NULL;
}

START_TEST(a_pool_outlives_the_thread_that_opened_it)
{
    board_open();
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, open_and_end, NULL), 0);
    pthread_join(thread, NULL);
    ck_assert_uint_eq(atomic_load(&wrong), 0);
    struct family family;
    family_find(pool, &family);
    one_group(1);
    ck_assert(process_lives(family.supervisor));
    ck_assert_uint_eq(atomic_load(&wrong), 0);
    mc_pool_close(pool);
}
END_TEST

TEST_MAIN(threads, threads_with_groups_of_their_own_do_not_meet,
          inline_tasks_are_run_one_at_a_time_unless_thread_safe,
          a_pool_that_is_closed_waits_for_a_thread_that_ends_its_state,
          a_thread_that_ends_when_its_pool_was_closed_has_no_state_any_more,
          a_pool_is_not_opened_amid_threads_unless_allowed,
          a_pool_outlives_the_thread_that_opened_it)
