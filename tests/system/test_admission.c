/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How groups run under load, with load averages that the test writes; and that
 * it makes no difference to their results.
 */
#include "tests/system/support.h"

#include "base/clock.h"

#include <poll.h>
#include <sys/stat.h>

static uint64_t mix(uint64_t value)
{
    value ^= value >> 33;
    value *= UINT64_C(0xff51afd7ed558ccd);
    return value ^ value >> 29;
}

/* The same for the same range and arguments, whoever computes it. */
static uint64_t compute(uint64_t start, uint64_t end, uint32_t salt)
{
    uint64_t sum = salt;
    for (uint64_t i = start; i < end; i++)
        sum = mix(sum + i);
    return sum;
}

/* A result of 8 to 1000 bytes; every seventh range is refused. */
static int mixed(mc_task *task)
{
    uint64_t start = mc_task_start(task), end = mc_task_end(task), sum[125];
    if (start % 7 == 3)
        return mc_task_fail(task, (int)(start % 100) + 1, "no range from %llu",
                            (unsigned long long)start);
    for (uint64_t i = 0; i < 125; i++)
        sum[i] = compute(start, end, number_of(task) + (uint32_t)i);
    return mc_task_reply(task, sum, 8 * (1 + start % 125));
}

static int where(mc_task *task)
{
    board_begin(number_of(task));
    pid_t both[2] = {getpid(), mc_task_inline(task)};
    pause_us(100);
    board_end();
    return mc_task_reply(task, both, sizeof(both));
}

static int end_wait(mc_task *task, unsigned events, void *context)
{
    board_end();
    return 0;
}

static int waits(mc_task *task)
{
    board_begin(number_of(task));
    int result = mc_task_await_timer(task, 5, end_wait, NULL);
    return result < 0 ? result : MC_PENDING;
}

static const struct mc_handler handlers[] = {
    {.name = "mixed", .run = mixed},
    {.name = "mixed-isolated", .run = mixed, .flags = MC_ISOLATED},
    {.name = "where", .run = where},
    {.name = "where-isolated", .run = where, .flags = MC_ISOLATED},
    {.name = "waits", .run = waits, .flags = MC_IO},
};

static mc_pool *pool;
static char directory[] = "/tmp/multicore-proc-XXXXXX";

static void write_file(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "we");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

static void set_load(const char *average)
{
    char line[64];
    snprintf(line, sizeof(line), "%s 0.50 0.40 1/100 4711\n", average);
    write_file("loadavg", line);
}

static void begin(const char *average)
{
    char path[128];
    board_open();
    strcpy(directory + strlen(directory) - 6, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/pressure", directory);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    if (average != NULL)
        set_load(average);
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    options.max_load_average = "0.85";
    options.proc_path = directory;
    options.queue_depth = 16;
    pool = open_pool(&options);
    alarm(BOUND_MS / 1000); /* whatever has to wait for room gets it */
}

static void finish(void)
{
    static const char *const names[] = {"loadavg", "pressure/cpu", "pressure", ""};
    char path[128];
    mc_pool_close(pool);
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
        (void)remove(path);
    }
}

static void expect_reason(mc_group *group, enum mc_mode mode, const char *first, const char *second)
{
    const char *reason = mc_group_reason(group);
    ck_assert_msg(mc_group_mode(group) == mode, "mode %d: %s", mc_group_mode(group), reason);
    ck_assert_msg(strstr(reason, first) != NULL && strstr(reason, second) != NULL, "%s", reason);
}

/* How many of the group's tasks ran in this process. */
static size_t ran_here(mc_group *group)
{
    size_t here = 0;
    for (size_t index = 0; index < mc_group_size(group); index++) {
        struct mc_result result = result_of(group, index);
        pid_t both[2];
        ck_assert_int_eq(result.status, 0);
        memcpy(both, result.data, sizeof(both));
        ck_assert_int_eq(both[0], result.worker_pid);
        ck_assert_int_eq(both[0] == getpid(), both[1]);
        here += (size_t)both[1];
    }
    return here;
}

START_TEST(below_the_limit_groups_run_in_parallel)
{
    begin("0.10");
    mc_group *group = open_unhelped(pool);
    for (uint32_t number = 0; number < 10; number++)
        run_number(group, "where", number);
    expect_reason(group, MC_PARALLEL, "within max_load_average 0.85", "in parallel");
    wait_all(group);
    ck_assert_uint_eq(ran_here(group), 0);
    mc_group_close(group);
    finish();
}
END_TEST

START_TEST(above_the_limit_groups_run_inline_and_inside_waits)
{
    begin("8.00");
    mc_group *group = open_unhelped(pool); /* that is about helping, not about this */
    for (uint32_t number = 0; number < 10; number++)
        run_number(group, "where", number);
    expect_reason(group, MC_INLINE, "above max_load_average 0.85", "inline");
    ck_assert_int_eq(mc_group_wait(group, 0), -ETIMEDOUT);
    ck_assert_uint_eq(atomic_load(&board->started), 0);
    wait_all(group);
    ck_assert_uint_eq(ran_here(group), 10);
    ck_assert_uint_eq(atomic_load(&board->most_running), 1);
    for (uint32_t number = 0; number < 10; number++)
        ck_assert_uint_eq(atomic_load(&board->order[number]), number);
    mc_group_close(group);
    finish();
}
END_TEST

START_TEST(an_inline_wait_stops_at_its_timeout_between_tasks)
{
    begin("8.00");
    mc_group *group = open_group(pool);
    for (uint32_t number = 0; number < 16; number++)
        run_number(group, "where", number);
    ck_assert_int_eq(mc_group_wait(group, 1), -ETIMEDOUT); /* 16 take more than that */
    uint32_t began = atomic_load(&board->started);
    ck_assert_uint_lt(began, 16);
    ck_assert_uint_eq(atomic_load(&board->ended), began);
    wait_all(group);
    ck_assert_uint_eq(ran_here(group), 16);
    mc_group_close(group);
    finish();
}
END_TEST

START_TEST(isolated_tasks_narrow_their_group_to_one_worker)
{
    begin("8.00");
    mc_group *group = open_group(pool);
    for (uint32_t number = 0; number < 16; number++)
        run_number(group, "where-isolated", number);
    expect_reason(group, MC_NARROW, "above max_load_average 0.85", "one worker at a time");
    wait_all(group);
    ck_assert_uint_eq(ran_here(group), 0);
    ck_assert_uint_eq(atomic_load(&board->most_running), 1);
    mc_group_close(group);
    finish();
}
END_TEST

START_TEST(only_the_isolated_tasks_of_a_mixed_group_leave_the_caller)
{
    begin("8.00");
    mc_group *group = open_group(pool);
    for (uint32_t number = 0; number < 16; number++)
        run_number(group, number % 2 == 0 ? "where" : "where-isolated", number);
    ck_assert_int_eq(mc_group_mode(group), MC_NARROW);
    wait_all(group);
    ck_assert_uint_eq(ran_here(group), 8);
    for (size_t index = 0; index < 16; index++)
        ck_assert_int_eq(result_of(group, index).worker_pid == getpid(), index % 2 == 0);
    mc_group_close(group);
    finish();
}
END_TEST

START_TEST(max_parallel_is_never_exceeded_by_the_caller_beside_a_worker)
{
    for (unsigned most = 1; most <= 2; most++) {
        begin("8.00");
        mc_group *group = open_with(pool, (struct mc_group_options){.max_parallel = most});
        for (uint32_t number = 0; number < 100; number++)
            run_number(group, number % 2 == 0 ? "where" : "where-isolated", number);
        wait_all(group);
        ck_assert_uint_eq(ran_here(group), 50);
        ck_assert_uint_le(atomic_load(&board->most_running), most);
        mc_group_close(group);
        finish();
    }
}
END_TEST

static void count_done(mc_group *group, void *context)
{
    (*(unsigned *)context)++;
}

static void dispatch_until(const unsigned *reported)
{
    struct pollfd ready = {.fd = mc_pool_fd(pool), .events = POLLIN};
    uint64_t began = clock_ns();
    while (*reported == 0) {
        ck_assert_double_lt(ms_since(began), BOUND_MS);
        ck_assert_int_eq(poll(&ready, 1, BOUND_MS), 1);
        ck_assert_int_ge(mc_pool_dispatch(pool), 0);
    }
}

START_TEST(max_parallel_is_never_exceeded_by_tasks_that_wait)
{
    begin("8.00");
    unsigned reported = 0;
    mc_group *group = open_with(
        pool,
        (struct mc_group_options){.on_done = count_done, .context = &reported, .max_parallel = 2});
    for (uint32_t number = 0; number < 16; number++)
        run_number(group, "waits", number);
    dispatch_until(&reported);
    ck_assert_uint_eq(failures(group), 0);
    ck_assert_uint_eq(atomic_load(&board->most_running), 2);
    mc_group_close(group);
    finish();
}
END_TEST

START_TEST(reporting_groups_are_narrow_under_load)
{
    begin("8.00");
    unsigned reported = 0;
    mc_group *group =
        open_with(pool, (struct mc_group_options){.on_done = count_done, .context = &reported});
    ck_assert_int_ge(mc_pool_fd(pool), 0);
    for (uint32_t number = 0; number < 10; number++)
        run_number(group, "where", number);
    expect_reason(group, MC_NARROW, "above", "one worker at a time");
    dispatch_until(&reported);
    ck_assert_uint_eq(ran_here(group), 0);
    ck_assert_uint_eq(atomic_load(&board->most_running), 1);
    mc_group_close(group);
    finish();
}
END_TEST

/* Opens groups until one has the mode. */
static void await_mode(enum mc_mode mode)
{
    uint64_t began = clock_ns();
    for (;;) {
        mc_group *group = open_group(pool);
        enum mc_mode now = mc_group_mode(group);
        mc_group_close(group);
        if (now == mode)
            return;
        ck_assert_msg(ms_since(began) < BOUND_MS, "the mode stays %d", now);
        pause_us(1000);
    }
}

START_TEST(groups_follow_the_load_and_open_ones_keep_their_mode)
{
    begin("0.10");
    mc_group *calm = open_unhelped(pool);
    set_load("8.00");
    uint64_t began = clock_ns();
    await_mode(MC_INLINE);
    printf("noticed the load after %.0f ms\n", ms_since(began));
    mc_group *busy = open_unhelped(pool);
    set_load("0.10");
    await_mode(MC_PARALLEL);
    run_number(calm, "where", 0);
    run_number(busy, "where", 1);
    ck_assert_int_eq(mc_group_mode(calm), MC_PARALLEL);
    ck_assert_int_eq(mc_group_mode(busy), MC_INLINE);
    wait_all(calm);
    wait_all(busy);
    ck_assert_uint_eq(ran_here(calm), 0);
    ck_assert_uint_eq(ran_here(busy), 1);
    mc_group_close(calm);
    mc_group_close(busy);
    finish();
}
END_TEST

START_TEST(long_run_queues_and_pressure_are_noticed_before_the_average)
{
    begin("0.10");
    write_file("loadavg", "0.10 0.10 0.10 60/100 4711\n");
    write_file("pressure/cpu", "some avg10=75.00 avg60=5.00 avg300=1.00 total=1\n");
    await_mode(MC_INLINE);
    mc_group *group = open_group(pool);
    expect_reason(group, MC_INLINE, "tasks per core wait for a CPU", "inline");
    mc_group_close(group);
    finish();
}
END_TEST

START_TEST(a_load_that_cannot_be_read_is_no_reason_to_go_inline)
{
    begin(NULL);
    mc_group *group = open_group(pool);
    expect_reason(group, MC_PARALLEL, "cannot be read", "in parallel");
    mc_group_close(group);
    finish();
}
END_TEST

START_TEST(without_a_limit_the_load_does_not_matter)
{
    board_open();
    pool = open_simple(HANDLERS(handlers));
    mc_group *group = open_group(pool);
    expect_reason(group, MC_PARALLEL, "max_load_average is not set", "in parallel");
    mc_group_close(group);
    mc_pool_close(pool);
}
END_TEST

START_TEST(two_inline_groups_of_one_thread_share_the_queue)
{
    begin("8.00");
    mc_group *first = open_group(pool), *second = open_group(pool);
    for (uint32_t number = 0; number < 16; number++)
        run_number(first, "where", number); /* all the queue has room for */
    alarm(5);                               /* nobody waits for `first` */
    run_number(second, "where", 16);
    wait_all(second);
    wait_all(first);
    ck_assert_uint_eq(ran_here(first) + ran_here(second), 17);
    mc_group_close(first);
    mc_group_close(second);
    finish();
}
END_TEST

START_TEST(an_inline_group_may_be_larger_than_the_queue)
{
    begin("8.00");
    mc_group *group = open_group(pool);
    for (uint32_t number = 0; number < 100; number++)
        run_number(group, "where", number);
    wait_all(group);
    ck_assert_uint_eq(ran_here(group), 100);
    mc_group_close(group);
    finish();
}
END_TEST

/* ---- the same everywhere ---- */

enum { ITEMS = 5000, SALT = 77 };

/* All that a caller can see of a group, but for who ran it and how long. */
static uint64_t digest(mc_group *group)
{
    uint64_t sum = 0;
    wait_all(group);
    for (size_t index = 0; index < mc_group_size(group); index++) {
        struct mc_result result = result_of(group, index);
        const uint8_t *data = result.data;
        sum = mix(sum + (uint64_t)(int64_t)result.status);
        sum = mix(sum + result.start);
        sum = mix(sum + result.end);
        sum = mix(sum + (uint64_t)result.format);
        for (size_t i = 0; i < result.data_size; i++)
            sum = mix(sum + data[i]);
        for (const char *c = result.error; *c != '\0'; c++)
            sum = mix(sum + (uint8_t)*c);
    }
    return sum;
}

static uint64_t digest_of(const char *handler, enum mc_mode mode)
{
    uint32_t salt = SALT;
    struct mc_map_options options = {.size = sizeof(options), .max_chunk = 50};
    mc_group *group = mode == MC_PARALLEL ? open_unhelped(pool) : open_group(pool);
    ck_assert_int_eq(mc_group_map(group, handler, ITEMS, &options, &salt, sizeof(salt)), 0);
    ck_assert_int_eq(mc_group_mode(group), mode);
    uint64_t sum = digest(group);
    mc_group_close(group);
    return sum;
}

START_TEST(results_are_the_same_in_parallel_inline_and_narrow)
{
    begin("0.10");
    uint64_t parallel = digest_of("mixed", MC_PARALLEL);
    ck_assert_uint_eq(digest_of("mixed-isolated", MC_PARALLEL), parallel);
    set_load("8.00");
    await_mode(MC_INLINE);
    ck_assert_uint_eq(digest_of("mixed", MC_INLINE), parallel);
    ck_assert_uint_eq(digest_of("mixed-isolated", MC_NARROW), parallel);
    finish();
}
END_TEST

START_TEST(results_are_those_of_a_serial_computation)
{
    begin("8.00");
    for (int busy = 1; busy >= 0; busy--) {
        uint32_t salt = SALT;
        size_t refused = 0;
        mc_group *group = open_group(pool);
        ck_assert_int_eq(mc_group_map(group, "mixed", ITEMS, NULL, &salt, sizeof(salt)), 0);
        wait_all(group);
        for (size_t index = 0; index < mc_group_size(group); index++) {
            struct mc_result result = result_of(group, index);
            refused += result.status != 0;
            ck_assert_int_eq(result.status != 0, result.start % 7 == 3);
            for (size_t i = 0; i < result.data_size / 8; i++)
                if (((const uint64_t *)result.data)[i] !=
                    compute(result.start, result.end, salt + (uint32_t)i))
                    ck_abort_msg("chunk %zu, word %zu", index, i);
        }
        ck_assert_uint_lt(refused, mc_group_size(group));
        mc_group_close(group);
        set_load("0.10");
        await_mode(MC_PARALLEL);
    }
    finish();
}
END_TEST

TEST_MAIN(admission, below_the_limit_groups_run_in_parallel,
          above_the_limit_groups_run_inline_and_inside_waits,
          an_inline_wait_stops_at_its_timeout_between_tasks,
          isolated_tasks_narrow_their_group_to_one_worker,
          only_the_isolated_tasks_of_a_mixed_group_leave_the_caller,
          reporting_groups_are_narrow_under_load,
          max_parallel_is_never_exceeded_by_the_caller_beside_a_worker,
          max_parallel_is_never_exceeded_by_tasks_that_wait,
          groups_follow_the_load_and_open_ones_keep_their_mode,
          long_run_queues_and_pressure_are_noticed_before_the_average,
          a_load_that_cannot_be_read_is_no_reason_to_go_inline,
          without_a_limit_the_load_does_not_matter, two_inline_groups_of_one_thread_share_the_queue,
          an_inline_group_may_be_larger_than_the_queue,
          results_are_the_same_in_parallel_inline_and_narrow,
          results_are_those_of_a_serial_computation)
