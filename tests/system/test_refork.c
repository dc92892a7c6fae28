/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A worker that has done its number of tasks becomes the zygote of the others: what it has
 * in memory, what is lost, and who dies meanwhile.
 */
#include "tests/system/support.h"

#include "base/clock.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

enum {
    AFTER = 50,
    INITS = 0,
    WARM_INITS = 1, /* in a process that has done tasks */
    EXITS = 2,
    INIT_FAILS_WARM = 3,
    INIT_DIES_WARM = 4,
    THREADS = 5,
};

static uint32_t done_here; /* tasks of this process, and of those that it is a fork of */

/* Answers how many tasks came before it. */
static int count(mc_task *task)
{
    uint32_t before = done_here++;
    uint32_t number = number_of(task);
    if (number < BOARD_NUMBERS)
        atomic_fetch_add(&board->runs[number], 1);
    return mc_task_reply(task, &before, sizeof(before));
}

/* Leaves a descriptor behind, at the first time. */
static int open_one(mc_task *task)
{
    static int opened = -1;
    (void)task;
    done_here++;
    if (opened < 0)
        opened = dup(STDERR_FILENO);
    return opened < 0 ? -errno : 0;
}

static void *linger(void *nothing)
{
    for (;;)
        pause();
    return nothing;
}

static int leave_thread(mc_task *task)
{
    static bool left;
    pthread_t thread;
    (void)task;
    if (!left && pthread_create(&thread, NULL, linger, NULL) == 0)
        atomic_fetch_add(&board->words[THREADS], 1);
    left = true;
    done_here++;
    return 0;
}

/* On how many the worker may run. */
static int cores(mc_task *task)
{
    cpu_set_t set;
    int number = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : -1;
    return mc_task_reply(task, &number, sizeof(number));
}

/* The inner task is submitted by a worker, which is a client then. */
static int nested(mc_task *task)
{
    mc_group *group;
    const uint32_t number = BOARD_NUMBERS;
    const struct mc_group_options options = {.size = sizeof(options), .help = MC_HELP_NEVER};
    int result = mc_group_open(mc_task_pool(task), &options, &group);
    if (result < 0)
        return result;
    result = mc_group_run(group, "count", &number, sizeof(number));
    if (result == 0)
        result = mc_group_wait(group, BOUND_MS);
    mc_group_close(group);
    done_here++;
    return result < 0 ? result : 0;
}

/* Keeps the first pool that it was given, and opens a group there in workers that have it from
 * another process: that fails, and must cost no descriptor that is theirs. */
static int use_kept(mc_task *task)
{
    static mc_pool *kept;
    static pid_t keeper;
    mc_group *group = NULL;
    int copies[32], status = 0;
    done_here++;
    if (kept == NULL) {
        kept = mc_task_pool(task);
        keeper = getpid();
    }
    if (keeper == getpid())
        return 0;
    for (int i = 0; i < 32; i++)
        copies[i] = dup(STDERR_FILENO);
    if (mc_group_open(kept, NULL, &group) == 0)
        status = -EPROTO;
    for (int i = 0; i < 32; i++)
        if (close(copies[i]) < 0)
            status = -errno;
    return status;
}

static int waited(mc_task *task, unsigned events, void *context)
{
    (void)events;
    (void)context;
    return count(task);
}

static int wait_first(mc_task *task)
{
    return mc_task_await_timer(task, 1, waited, NULL);
}

static int hook_begin(void *context, void **state)
{
    (void)context;
    (void)state;
    atomic_fetch_add(&board->words[INITS], 1);
    if (done_here == 0)
        return 0;
    board_count(&board->words[WARM_INITS]);
    if (atomic_load(&board->words[INIT_FAILS_WARM]) != 0)
        return mc_fail(-ENXIO, "not in a process that has done tasks");
    if (atomic_load(&board->words[INIT_DIES_WARM]) != 0)
        raise(SIGKILL);
    return 0;
}

static void hook_end(void *state)
{
    (void)state;
    atomic_fetch_add(&board->words[EXITS], 1);
}

static const struct mc_handler handlers[] = {
    {.name = "count", .run = count},
    {.name = "open", .run = open_one},
    {.name = "thread", .run = leave_thread},
    {.name = "cores", .run = cores},
    {.name = "nested", .run = nested},
    {.name = "use-kept", .run = use_kept},
    {.name = "wait", .run = wait_first, .flags = MC_IO}, /* for the test of it only */
};
enum { HANDLERS_WITHOUT_IO = sizeof(handlers) / sizeof(handlers[0]) - 1 };

static mc_pool *pool;
static char log_text[1 << 18];

static void keep_log(void *context, int level, const char *line)
{
    (void)context;
    (void)level;
    size_t used = strlen(log_text);
    snprintf(log_text + used, sizeof(log_text) - used, "%s\n", line);
}

static void begin_with(unsigned refork_after, size_t handler_count)
{
    struct mc_pool_options options = pool_options(handlers, handler_count);
    board_open();
    done_here = 0;
    log_text[0] = '\0';
    options.worker_init = hook_begin;
    options.worker_exit = hook_end;
    options.log = keep_log;
    options.refork_after = refork_after;
    pool = open_pool(&options);
    ck_assert(await_workers(pool, BOUND_MS));
}

static void begin(unsigned refork_after)
{
    begin_with(refork_after, HANDLERS_WITHOUT_IO);
}

static void finish(void)
{
    ck_assert(await_workers(pool, BOUND_MS));
    expect_quiet(pool);
    struct family family;
    family_find(pool, &family);
    mc_pool_close(pool);
    ck_assert(family_await_end(&family, BOUND_MS));
}

/* One after the other; the largest number of tasks that one found done before it, and in
 * *least the smallest. */
static uint32_t run_some(const char *handler, uint32_t tasks, uint32_t *least)
{
    mc_group *group = open_unhelped(pool);
    uint32_t most = 0;
    *least = UINT32_MAX;
    for (uint32_t i = 0; i < tasks; i++) {
        run_number(group, handler, i);
        wait_all(group);
        struct mc_result result = result_of(group, i);
        ck_assert_msg(result.status == 0, "%d %s", result.status, result.error);
        if (result.data_size == sizeof(uint32_t)) {
            uint32_t before;
            memcpy(&before, result.data, sizeof(before));
            most = before > most ? before : most;
            *least = before < *least ? before : *least;
        }
    }
    mc_group_close(group);
    return most;
}

static bool logged(const char *words)
{
    struct mc_group_options options = {.help = MC_HELP_NEVER};
    mc_group_close(open_with(pool, options)); /* the log is delivered in calls */
    return strstr(log_text, words) != NULL;
}

static bool await_logged(const char *words)
{
    uint64_t began = clock_ns();
    while (!logged(words) && ms_since(began) < BOUND_MS)
        pause_us(1000);
    return logged(words);
}

static void run_until_warm(const char *handler)
{
    uint32_t least;
    uint64_t began = clock_ns();
    while (!logged("all workers are forks") && ms_since(began) < BOUND_MS)
        run_some(handler, AFTER, &least);
    ck_assert_msg(logged("all workers are forks"), "%s", log_text);
    /* The last of the others may still be on its way out. */
    ck_assert(await_logged("(seat 0) made room for its successor, because of a warm zygote"));
    ck_assert(await_logged("(seat 1) made room for its successor, because of a warm zygote"));
}

static unsigned times_logged(const char *words)
{
    unsigned times = 0;
    for (const char *at = log_text; (at = strstr(at, words)) != NULL; at++)
        times++;
    return times;
}

START_TEST(workers_begin_where_a_worker_was)
{
    uint32_t least;
    begin(AFTER);
    ck_assert_uint_lt(run_some("count", AFTER / 2, &least), AFTER / 2);
    run_until_warm("count");
    ck_assert(await_workers(pool, BOUND_MS));
    run_some("count", 2 * AFTER, &least);
    ck_assert_uint_ge(least, AFTER);
    ck_assert_uint_eq(atomic_load(&board->words[WARM_INITS]), 2);
    ck_assert_uint_eq(atomic_load(&board->words[EXITS]), 2); /* of those that made room */
    finish();
}
END_TEST

START_TEST(it_happens_once)
{
    uint32_t least;
    begin(AFTER);
    run_until_warm("count");
    run_some("count", 6 * AFTER, &least);
    pause_us(50000);
    ck_assert_uint_eq(atomic_load(&board->words[INITS]), 4);
    finish();
}
END_TEST

START_TEST(without_the_option_it_does_not_happen)
{
    uint32_t least;
    begin(0);
    run_some("count", 6 * AFTER, &least);
    ck_assert_uint_eq(atomic_load(&board->words[INITS]), 2);
    finish();
}
END_TEST

START_TEST(no_task_is_lost_or_repeated_while_workers_change)
{
    begin(AFTER);
    uint64_t began = clock_ns();
    do {
        mc_group *group = open_unhelped(pool);
        for (uint32_t i = 0; i < BOARD_NUMBERS; i++)
            atomic_store(&board->runs[i], 0);
        for (uint32_t i = 0; i < BOARD_NUMBERS; i++)
            run_number(group, "count", i);
        wait_all(group);
        ck_assert_uint_eq(failures(group), 0);
        for (uint32_t i = 0; i < BOARD_NUMBERS; i++)
            ck_assert_uint_eq(atomic_load(&board->runs[i]), 1);
        mc_group_close(group);
    } while (!logged("all workers are forks") && ms_since(began) < BOUND_MS);
    ck_assert(logged("all workers are forks"));
    ck_assert(!logged("was killed") && !logged("exited with status"));
    finish();
}
END_TEST

START_TEST(a_worker_that_follows_a_dead_one_is_warm)
{
    uint32_t least;
    begin(AFTER);
    run_until_warm("count");
    for (uint32_t i = 0; i < 4; i++) {
        struct family family;
        family_find(pool, &family);
        end_process(family.workers[i % 2]);
        ck_assert(board_await(&board->words[WARM_INITS], 3 + i, BOUND_MS));
    }
    run_some("count", 2 * AFTER, &least);
    ck_assert_uint_ge(least, AFTER);
    ck_assert_uint_eq(atomic_load(&board->words[INITS]), 8); /* two in the beginning */
    finish();
}
END_TEST

START_TEST(a_pool_that_a_handler_has_kept_is_of_no_use_and_no_harm_in_what_is_forked)
{
    uint32_t least;
    begin(AFTER);
    run_until_warm("use-kept");
    run_some("use-kept", 10, &least);
    run_some("nested", 10, &least);
    finish();
}
END_TEST

START_TEST(every_worker_is_on_a_core_of_its_own_as_before)
{
    uint32_t least, least_before;
    begin(AFTER);
    uint32_t most_before = run_some("cores", 10, &least_before);
    run_until_warm("count");
    ck_assert_uint_eq(run_some("cores", 2 * AFTER, &least), most_before);
    ck_assert_uint_eq(least, least_before);
    struct family family;
    family_find(pool, &family);
    cpu_set_t zygotes, ours;
    ck_assert_int_eq(sched_getaffinity(family.zygote, sizeof(zygotes), &zygotes), 0);
    ck_assert_int_eq(sched_getaffinity(0, sizeof(ours), &ours), 0);
    ck_assert(CPU_EQUAL(&zygotes, &ours));
    finish();
}
END_TEST

START_TEST(descriptors_of_handlers_are_closed_in_what_is_forked)
{
    uint32_t least;
    begin(AFTER);
    struct family before, after;
    family_find(pool, &before);
    unsigned descriptors = open_descriptors_of(before.zygote);
    unsigned supervisors = open_descriptors_of(before.supervisor);
    run_until_warm("open");
    family_find(pool, &after);
    ck_assert_int_ne(after.zygote, before.zygote);
    ck_assert_uint_eq(open_descriptors_of(after.zygote), descriptors);
    uint64_t began = clock_ns();
    while (open_descriptors_of(after.supervisor) != supervisors && ms_since(began) < BOUND_MS)
        pause_us(1000); /* the old zygote is being buried */
    ck_assert_uint_eq(open_descriptors_of(after.supervisor), supervisors);
    run_some("count", 10, &least);
    finish();
}
END_TEST

START_TEST(a_worker_that_submits_tasks_becomes_one_too)
{
    uint32_t least;
    begin(AFTER);
    run_until_warm("nested");
    run_some("nested", AFTER, &least);
    run_some("count", AFTER, &least);
    ck_assert_uint_ge(least, AFTER);
    finish();
}
END_TEST

START_TEST(workers_for_tasks_that_wait_begin_there_too)
{
    uint32_t least;
    begin_with(AFTER, HANDLERS_WITHOUT_IO + 1);
    run_some("wait", 2 * AFTER, &least);
    ck_assert_uint_eq(atomic_load(&board->words[INITS]), 3); /* it is not taken itself */
    run_until_warm("count");
    run_some("wait", 10, &least);
    ck_assert_uint_ge(least, AFTER);
    ck_assert_uint_eq(atomic_load(&board->words[WARM_INITS]), 3);
    finish();
}
END_TEST

START_TEST(a_worker_with_threads_is_left_alone_and_the_log_says_so_once)
{
    uint32_t least;
    begin(AFTER);
    uint64_t began = clock_ns();
    while (atomic_load(&board->words[THREADS]) < 2 && ms_since(began) < BOUND_MS) {
        mc_group *group = open_unhelped(pool);
        for (uint32_t i = 0; i < 100; i++)
            run_number(group, "thread", i);
        wait_all(group);
        mc_group_close(group);
    }
    run_some("thread", 6 * AFTER, &least);
    ck_assert(await_logged("has 2 threads, and can be no zygote"));
    ck_assert_uint_eq(times_logged("threads, and can be no zygote"), 1);
    ck_assert_uint_eq(atomic_load(&board->words[INITS]), 2);
    finish();
}
END_TEST

/* All tries, and then there are no more; workers of the first kind do the work. */
static void expect_given_up(const char *words)
{
    uint32_t least;
    uint64_t began = clock_ns();
    while (!logged("there is no other try") && ms_since(began) < 2 * BOUND_MS)
        run_some("count", AFTER, &least);
    ck_assert_msg(logged("there is no other try"), "%s", log_text);
    ck_assert(logged(words));
    run_some("count", 6 * AFTER, &least);
    ck_assert(!logged("all workers are forks"));
    ck_assert_uint_eq(times_logged("no warm zygote"), 3);
    finish();
}

START_TEST(when_worker_init_fails_there_all_stays_as_it_was)
{
    begin(AFTER);
    atomic_store(&board->words[INIT_FAILS_WARM], 1);
    expect_given_up("not in a process that has done tasks");
}
END_TEST

START_TEST(when_workers_die_there_all_stays_as_it_was)
{
    begin(AFTER);
    atomic_store(&board->words[INIT_DIES_WARM], 1);
    expect_given_up("its workers die");
}
END_TEST

START_TEST(after_the_death_of_the_zygote_it_happens_again)
{
    uint32_t least;
    struct family family, next;
    begin(AFTER);
    run_until_warm("count");
    family_find(pool, &family);
    end_process(family.zygote);
    ck_assert(await_logged("died; starting another"));
    family_find(pool, &next);
    ck_assert_int_ne(next.zygote, family.zygote);
    for (int i = 0; i < 2; i++) {
        end_process(family.workers[i]);
        ck_assert(await_workers(pool, BOUND_MS));
    }
    run_some("count", 1, &least);
    ck_assert_uint_lt(least, AFTER); /* from the beginning */
    log_text[0] = '\0';
    run_until_warm("count");
    run_some("count", AFTER, &least);
    ck_assert_uint_ge(least, AFTER);
    finish();
}
END_TEST

START_TEST(deaths_of_workers_meanwhile_cost_their_own_task_at_most)
{
    uint32_t kills = 0;
    begin(10);
    mc_group *group = open_unhelped(pool);
    for (uint32_t i = 0; i < 3000; i++) {
        run_number(group, "count", i);
        if (i % 50 == 49) {
            pid_t pids[2];
            mc_pool_worker_pids(pool, pids, 2);
            if (pids[i / 50 % 2] > 0 && kill(pids[i / 50 % 2], SIGKILL) == 0)
                kills++;
            pause_us(i % 3000);
        }
    }
    wait_all(group);
    ck_assert_uint_le(failures(group), kills);
    for (uint32_t i = 0; i < 3000; i++)
        ck_assert_uint_le(atomic_load(&board->runs[i]), 1);
    mc_group_close(group);
    finish();
}
END_TEST

TEST_MAIN(refork, workers_begin_where_a_worker_was, it_happens_once,
          without_the_option_it_does_not_happen, no_task_is_lost_or_repeated_while_workers_change,
          a_worker_that_follows_a_dead_one_is_warm, every_worker_is_on_a_core_of_its_own_as_before,
          descriptors_of_handlers_are_closed_in_what_is_forked,
          a_pool_that_a_handler_has_kept_is_of_no_use_and_no_harm_in_what_is_forked,
          a_worker_that_submits_tasks_becomes_one_too, workers_for_tasks_that_wait_begin_there_too,
          a_worker_with_threads_is_left_alone_and_the_log_says_so_once,
          when_worker_init_fails_there_all_stays_as_it_was,
          when_workers_die_there_all_stays_as_it_was,
          after_the_death_of_the_zygote_it_happens_again,
          deaths_of_workers_meanwhile_cost_their_own_task_at_most)
