/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One client process with many threads, on a pool of its own: submitting,
 * waiting for room, collecting, dispatching, opening and closing side by side.
 * ThreadSanitizer sees the threads of the client, not the workers.
 */
#include "tests/system/support.h"

#include <poll.h>
#include <pthread.h>

enum { THREADS = 3, GROUPS = 60, REPORTING = 100 };

static int echo(mc_task *task)
{
    size_t size;
    const void *args = mc_task_args(task, &size);
    return mc_task_reply(task, args, size);
}

static int large(mc_task *task)
{
    void *data;
    int result = mc_task_reply_alloc(task, 5000, &data);
    if (result == 0)
        memset(data, 'x', 5000);
    return result;
}

static const struct mc_handler handlers[] = {
    {.name = "echo", .run = echo, .flags = MC_THREAD_SAFE},
    {.name = "large", .run = large},
};

static mc_pool *pool;
static _Atomic uint32_t wrong;

static void expect(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "%s: %s\n", what, mc_error_message());
    atomic_fetch_add(&wrong, 1);
}

static void submit(mc_group *group, uint32_t count)
{
    for (uint32_t number = 0; number < count; number++)
        expect(mc_group_run(group, number % 5 == 4 ? "large" : "echo", &number, sizeof(number)) ==
                   0,
               "run");
}

/* Submits, and collects in one way or another. */
static void *use_groups(void *argument)
{
    for (uint32_t i = 0; i < GROUPS; i++) {
        struct mc_group_options options = {.size = sizeof(options), .max_parallel = i % 3};
        struct mc_result result = {.size = sizeof(result)};
        mc_group *group = NULL;
        expect(mc_group_open(pool, &options, &group) == 0, "open");
        submit(group, 1 + i % 25);
        if (i % 4 == 0)
            expect(mc_group_cancel(group) >= 0, "cancel");
        if (i % 4 == 1)
            while (mc_group_next(group, &result, BOUND_MS) == 1)
                expect(result.status == 0, result.error);
        if (i % 4 != 3)
            expect(mc_group_wait(group, BOUND_MS) == 0, "wait");
        for (size_t index = 0; i % 4 == 2 && index < mc_group_size(group); index++) {
            expect(mc_group_result(group, index, &result) == 0 && result.status == 0, "result");
            mc_group_release(group, index);
        }
        mc_group_close(group);
    }
    return NULL;
}

static void note_done(mc_group *group, void *context)
{
    (*(uint32_t *)context)++;
}

static void one_look(struct pollfd *ready)
{
    (void)poll(ready, 1, 1); /* room may come from other threads too */
    expect(mc_pool_dispatch(pool) >= 0, "dispatch");
}

/* An event loop beside the others. */
static void *dispatch(void *argument)
{
    struct pollfd ready = {.fd = mc_pool_fd(pool), .events = POLLIN};
    for (uint32_t i = 0; i < REPORTING; i++) {
        uint32_t reported = 0, left = 1 + i % 3;
        struct mc_group_options options = {.size = sizeof(options),
                                           .on_done = note_done,
                                           .context = &reported,
                                           .max_parallel = i % 2};
        mc_group *group = NULL;
        expect(mc_group_open(pool, &options, &group) == 0, "open");
        while (left > 0) {
            int result = mc_group_run(group, "echo", &left, sizeof(left));
            expect(result == 0 || result == -EAGAIN, "run");
            if (result == 0)
                left--;
            else
                one_look(&ready);
        }
        for (int looks = 0; reported == 0 || mc_group_wait(group, 0) != 0; looks++) {
            if (looks == BOUND_MS) {
                expect(false, "a group was not reported");
                break;
            }
            one_look(&ready);
        }
        mc_group_close(group);
    }
    return NULL;
}

static void run_threads(bool with_dispatcher)
{
    pthread_t threads[THREADS + 1];
    int count = 0;
    while (count < THREADS)
        ck_assert_int_eq(pthread_create(&threads[count++], NULL, use_groups, NULL), 0);
    if (with_dispatcher)
        ck_assert_int_eq(pthread_create(&threads[count++], NULL, dispatch, NULL), 0);
    while (count > 0)
        pthread_join(threads[--count], NULL);
}

START_TEST(threads_share_a_lane)
{
    run_threads(false);
    ck_assert_uint_eq(atomic_load(&wrong), 0);
}
END_TEST

START_TEST(one_thread_dispatches_while_others_wait)
{
    run_threads(true);
    ck_assert_uint_eq(atomic_load(&wrong), 0);
}
END_TEST

/* ThreadSanitizer cannot follow Check's fork of each test, nor the pool's once
 * there are threads. */
int main(void)
{
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    options.queue_depth = 16; /* so that they wait for each other's room too */
    if (mc_pool_open(&options, &pool) != 0) {
        fprintf(stderr, "%s\n", mc_error_message());
        return EXIT_FAILURE;
    }
    const TTest *const cases[] = {threads_share_a_lane, one_thread_dispatches_while_others_wait};
    Suite *suite = suite_create("client_threads");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        TCase *one = tcase_create(cases[i]->name);
        tcase_add_test(one, cases[i]);
        suite_add_tcase(suite, one);
    }
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    mc_pool_close(pool);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
