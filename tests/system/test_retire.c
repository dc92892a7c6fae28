/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Workers that make room for others: after a number of tasks, with age, when they
 * have grown; and hooks that fail.
 */
#include "tests/system/support.h"

#include "base/clock.h"

#include <signal.h>
#include <sys/resource.h>

enum {
    TASKS = 3000,
    PER_WORKER = 100,
    INITS = 0,
    EXITS = 1,
    INIT_FAILS = 2,
    INIT_MS = 3,
    NAPS = 4,
    IDLE_INITS = 5, /* of successors, during which no task ended */
    LEAK = 1 << 20,
};

static int count(mc_task *task)
{
    atomic_fetch_add(&board->runs[number_of(task) % BOARD_NUMBERS], 1);
    return 0;
}

/* Grows its worker, a little with each task. */
static int leak(mc_task *task)
{
    char *memory = malloc(LEAK);
    if (memory == NULL)
        return -ENOMEM;
    memset(memory, 1, LEAK);
    atomic_fetch_add(&board->words[8 + (uintptr_t)memory % 2], 1); /* it is used */
    pause_us(2000);
    return 0;
}

static int nap(mc_task *task)
{
    pause_us(1000 * number_of(task));
    atomic_fetch_add(&board->words[NAPS], 1);
    return 0;
}

static int hook_begin(void *context, void **state)
{
    (void)context;
    (void)state;
    uint32_t inits = atomic_fetch_add(&board->words[INITS], 1);
    uint32_t naps = atomic_load(&board->words[NAPS]);
    for (uint32_t i = 0; i < atomic_load(&board->words[INIT_MS]); i++)
        pause_us(1000);
    if (inits >= 2 && atomic_load(&board->words[NAPS]) == naps)
        atomic_fetch_add(&board->words[IDLE_INITS], 1);
    if (inits >= 2 && atomic_load(&board->words[INIT_FAILS]) != 0)
        return mc_fail(-ENXIO, "no more than %u of us", inits);
    return 0;
}

static void hook_end(void *state)
{
    (void)state;
    atomic_fetch_add(&board->words[EXITS], 1);
}

static const struct mc_handler handlers[] = {
    {.name = "count", .run = count}, {.name = "leak", .run = leak}, {.name = "nap", .run = nap}};

static mc_pool *pool;
static char log_text[1 << 18];

static void keep_log(void *context, int level, const char *line)
{
    (void)context;
    (void)level;
    size_t used = strlen(log_text);
    snprintf(log_text + used, sizeof(log_text) - used, "%s\n", line);
}

static void begin(struct mc_pool_options options)
{
    struct mc_pool_options base = pool_options(HANDLERS(handlers));
    options.size = base.size;
    options.handlers = base.handlers;
    options.handler_count = base.handler_count;
    options.workers = 2;
    options.worker_init = hook_begin;
    options.worker_exit = hook_end;
    options.log = keep_log;
    pool = open_pool(&options);
    ck_assert(await_workers(pool, BOUND_MS));
}

static void finish(void)
{
    ck_assert(await_workers(pool, BOUND_MS));
    expect_quiet(pool);
    mc_pool_close(pool);
}

static void run_counted(void)
{
    mc_group *group = open_unhelped(pool);
    for (uint32_t i = 0; i < TASKS; i++)
        atomic_store(&board->runs[i], 0);
    for (uint32_t i = 0; i < TASKS; i++)
        run_number(group, "count", i);
    wait_all(group);
    ck_assert_uint_eq(failures(group), 0);
    for (uint32_t i = 0; i < TASKS; i++)
        ck_assert_uint_eq(atomic_load(&board->runs[i]), 1);
    mc_group_close(group);
}

/* Until so many workers have ended in an orderly way. */
static void await_exits(uint32_t least)
{
    uint64_t began = clock_ns();
    while (atomic_load(&board->words[EXITS]) < least && ms_since(began) < BOUND_MS)
        pause_us(1000);
    ck_assert_uint_ge(atomic_load(&board->words[EXITS]), least);
}

START_TEST(workers_are_replaced_after_their_number_of_tasks_and_no_task_is_lost)
{
    board_open();
    begin((struct mc_pool_options){.max_tasks_per_worker = PER_WORKER});
    pid_t before[2], after[2];
    mc_pool_worker_pids(pool, before, 2);
    run_counted();
    await_exits(1); /* it may have done all, before its successor was ready */
    run_counted();
    await_exits(2);
    ck_assert(await_workers(pool, BOUND_MS));
    mc_pool_worker_pids(pool, after, 2);
    ck_assert(before[0] != after[0] || before[1] != after[1]); /* one may do most of the work */
    finish();
    ck_assert_ptr_ne(strstr(log_text, "made room for its successor, because of its number"), NULL);
    ck_assert_ptr_eq(strstr(log_text, "was killed"), NULL);
    ck_assert_ptr_eq(strstr(log_text, "exited with status"), NULL);
}
END_TEST

/* The successor is set up while the other one works on. */
START_TEST(a_slow_worker_init_leaves_no_gap)
{
    board_open();
    atomic_store(&board->words[INIT_MS], 300);
    begin((struct mc_pool_options){.max_tasks_per_worker = 10});
    mc_group *group = open_unhelped(pool);
    uint64_t began = clock_ns();
    while (atomic_load(&board->words[EXITS]) < 4 && ms_since(began) < 3 * BOUND_MS) {
        run_number(group, "nap", 1);
        wait_all(group);
    }
    ck_assert_uint_ge(atomic_load(&board->words[EXITS]), 4);
    ck_assert_uint_eq(failures(group), 0);
    ck_assert_uint_eq(atomic_load(&board->words[IDLE_INITS]), 0);
    mc_group_close(group);
    finish();
}
END_TEST

START_TEST(a_worker_that_has_grown_is_replaced)
{
    board_open();
    begin((struct mc_pool_options){.max_worker_memory = 64 << 20});
    mc_group *group = open_unhelped(pool);
    uint64_t began = clock_ns();
    while (atomic_load(&board->words[EXITS]) < 2 && ms_since(began) < BOUND_MS) {
        for (uint32_t i = 0; i < 8; i++)
            run_number(group, "leak", i);
        wait_all(group);
    }
    ck_assert_uint_eq(failures(group), 0);
    await_exits(2);
    mc_group_close(group);
    finish();
    ck_assert_ptr_ne(strstr(log_text, "because of its memory"), NULL);
}
END_TEST

START_TEST(a_worker_that_is_old_is_replaced)
{
    board_open();
    begin((struct mc_pool_options){.max_worker_age_s = 1});
    mc_group *group = open_unhelped(pool);
    uint64_t began = clock_ns();
    while (atomic_load(&board->words[EXITS]) < 2 && ms_since(began) < BOUND_MS) {
        run_number(group, "nap", 5);
        run_number(group, "nap", 5);
        wait_all(group);
    }
    ck_assert_uint_eq(failures(group), 0);
    await_exits(2);
    mc_group_close(group);
    finish();
    ck_assert_ptr_ne(strstr(log_text, "because of its age"), NULL);
}
END_TEST

START_TEST(a_successor_that_cannot_start_leaves_the_worker_at_its_place)
{
    board_open();
    atomic_store(&board->words[INIT_FAILS], 1);
    begin((struct mc_pool_options){.max_tasks_per_worker = PER_WORKER});
    pid_t before[2], after[2];
    mc_pool_worker_pids(pool, before, 2);
    run_counted();
    uint64_t began = clock_ns();
    while (atomic_load(&board->words[INITS]) < 5 && ms_since(began) < BOUND_MS)
        pause_us(1000);
    mc_pool_worker_pids(pool, after, 2);
    ck_assert(before[0] == after[0] && before[1] == after[1]);
    ck_assert_uint_eq(atomic_load(&board->words[EXITS]), 0);
    uint32_t tried = atomic_load(&board->words[INITS]);
    pause_us(200000);
    ck_assert_uint_lt(atomic_load(&board->words[INITS]), tried + 12); /* it does not loop */
    finish();
    ck_assert_ptr_ne(strstr(log_text, "no more than"), NULL);
    ck_assert_ptr_ne(strstr(log_text, "no successor for seat"), NULL);
}
END_TEST

START_TEST(workers_that_die_while_they_are_replaced_cost_their_own_task_at_most)
{
    board_open();
    begin((struct mc_pool_options){.max_tasks_per_worker = 20});
    mc_group *group = open_unhelped(pool);
    uint32_t kills = 0;
    for (uint32_t i = 0; i < TASKS; i++) {
        run_number(group, "count", i);
        if (i % 100 == 99) {
            pid_t pids[2];
            mc_pool_worker_pids(pool, pids, 2);
            if (pids[i / 100 % 2] > 0 && kill(pids[i / 100 % 2], SIGKILL) == 0)
                kills++;
            pause_us(i % 1000);
        }
    }
    wait_all(group);
    ck_assert_uint_le(failures(group), kills);
    for (uint32_t i = 0; i < TASKS; i++)
        ck_assert_uint_le(atomic_load(&board->runs[i]), 1);
    mc_group_close(group);
    finish();
}
END_TEST

/* Its next task comes while it still looks for it. */
START_TEST(a_worker_that_answers_one_caller_all_the_time_is_replaced_too)
{
    board_open();
    begin((struct mc_pool_options){.max_tasks_per_worker = PER_WORKER});
    mc_group *group = open_unhelped(pool);
    uint64_t began = clock_ns();
    uint32_t tasks = 0;
    while (atomic_load(&board->words[EXITS]) < 4 && ms_since(began) < BOUND_MS) {
        run_number(group, "count", tasks++);
        wait_all(group);
    }
    await_exits(4);
    mc_group_close(group);
    finish();
}
END_TEST

static void limit_descriptors(pid_t pid, rlim_t most, struct rlimit *before)
{
    ck_assert_int_eq(prlimit(pid, RLIMIT_NOFILE, NULL, before), 0);
    struct rlimit limit = {.rlim_cur = most, .rlim_max = before->rlim_max};
    ck_assert_int_eq(prlimit(pid, RLIMIT_NOFILE, &limit, NULL), 0);
}

START_TEST(a_successor_that_could_not_be_asked_for_is_asked_for_later)
{
    board_open();
    begin((struct mc_pool_options){.max_tasks_per_worker = PER_WORKER});
    struct family family;
    struct rlimit before;
    family_find(pool, &family);
    limit_descriptors(family.supervisor, 4, &before);
    run_counted();
    pause_us(50000);
    ck_assert_uint_eq(atomic_load(&board->words[INITS]), 2);
    ck_assert_int_eq(prlimit(family.supervisor, RLIMIT_NOFILE, &before, NULL), 0);
    ck_assert(board_await(&board->words[INITS], 3, BOUND_MS)); /* and no task comes */
    await_exits(1);
    finish();
}
END_TEST

START_TEST(a_pool_that_closes_misses_no_successor)
{
    board_open();
    begin((struct mc_pool_options){.max_tasks_per_worker = PER_WORKER});
    atomic_store(&board->words[INIT_MS], 3 * BOUND_MS);
    run_counted();
    ck_assert(board_await(&board->words[INITS], 3, BOUND_MS));
    mc_pool_close(pool);
    ck_assert_ptr_eq(strstr(log_text, "no successor"), NULL);
}
END_TEST

START_TEST(a_worker_that_is_too_large_from_the_start_is_not_replaced_at_once)
{
    board_open();
    uint64_t began = clock_ns();
    begin((struct mc_pool_options){.max_worker_memory = 1});
    mc_group *group = open_unhelped(pool);
    while (atomic_load(&board->words[EXITS]) < 4 && ms_since(began) < BOUND_MS) {
        run_number(group, "count", 1);
        run_number(group, "count", 2);
        wait_all(group);
    }
    await_exits(4);
    ck_assert(ms_since(began) >= 1950); /* two workers of one seat, but for coarse clocks */
    ck_assert_uint_eq(failures(group), 0);
    mc_group_close(group);
    finish();
    const char *warning = strstr(log_text, "max_worker_memory is 1: workers have more");
    ck_assert_ptr_nonnull(warning);
    ck_assert_ptr_null(strstr(warning + 1, "max_worker_memory is 1"));
}
END_TEST

TEST_MAIN(retire, workers_are_replaced_after_their_number_of_tasks_and_no_task_is_lost,
          a_slow_worker_init_leaves_no_gap, a_worker_that_has_grown_is_replaced,
          a_worker_that_is_old_is_replaced,
          a_successor_that_cannot_start_leaves_the_worker_at_its_place,
          workers_that_die_while_they_are_replaced_cost_their_own_task_at_most,
          a_worker_that_answers_one_caller_all_the_time_is_replaced_too,
          a_successor_that_could_not_be_asked_for_is_asked_for_later,
          a_pool_that_closes_misses_no_successor,
          a_worker_that_is_too_large_from_the_start_is_not_replaced_at_once)
