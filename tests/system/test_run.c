/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Submitting tasks and reading their results.
 */
#include "tests/system/support.h"

#include "ipc/slot.h"
#include "pool/pool.h"

enum { MANY = 100000 };

static int echo(mc_task *task)
{
    size_t size;
    const void *args = mc_task_args(task, &size);
    board_begin(number_of(task));
    board_end();
    return mc_task_reply(task, args, size);
}

static int range(mc_task *task)
{
    uint64_t both[2] = {mc_task_start(task), mc_task_end(task)};
    return mc_task_reply(task, both, sizeof(both));
}

static int whoami(mc_task *task)
{
    pid_t pid = getpid();
    return mc_task_reply(task, &pid, sizeof(pid));
}

static int blocked(mc_task *task)
{
    board_begin(number_of(task));
    gate_pass();
    board_end();
    return 0;
}

static int sentence(mc_task *task)
{
    return mc_task_fail(task, -ENOENT, "no page %u", number_of(task));
}

static int zero_status(mc_task *task)
{
    return mc_task_fail(task, 0, "a failure all the same");
}

static int bare_errno(mc_task *task)
{
    return -EIO;
}

static int bare_number(mc_task *task)
{
    return 42;
}

static int fail_after_reply(mc_task *task)
{
    (void)mc_task_reply(task, "half", 4);
    return mc_task_fail(task, 7, "gave up");
}

static int recover_after_fail(mc_task *task)
{
    (void)mc_task_fail(task, 7, "gave up");
    return 0;
}

static int no_result(mc_task *task)
{
    return 0;
}

static const struct mc_handler handlers[] = {
    {.name = "echo", .run = echo},
    {.name = "range", .run = range},
    {.name = "whoami", .run = whoami},
    {.name = "blocked", .run = blocked},
    {.name = "sentence", .run = sentence},
    {.name = "zero-status", .run = zero_status},
    {.name = "bare-errno", .run = bare_errno},
    {.name = "bare-number", .run = bare_number},
    {.name = "fail-after-reply", .run = fail_after_reply},
    {.name = "recover-after-fail", .run = recover_after_fail},
    {.name = "no-result", .run = no_result},
};

static mc_pool *pool;

static mc_group *begin(void)
{
    board_open();
    pool = open_simple(HANDLERS(handlers));
    return open_group(pool);
}

static void finish(mc_group *group)
{
    mc_group_close(group);
    mc_pool_close(pool);
}

START_TEST(results_come_in_the_order_of_submission)
{
    mc_group *group = begin();
    for (uint32_t number = 0; number < 1000; number++)
        run_number(group, "echo", number);
    ck_assert_uint_eq(mc_group_size(group), 1000);
    wait_all(group);
    for (uint32_t number = 0; number < 1000; number++) {
        struct mc_result result = result_of(group, number);
        if (result.index != number || result.status != 0 || result.data_size != sizeof(number) ||
            memcmp(result.data, &number, sizeof(number)) != 0 || result.start != 0 ||
            result.end != 0 || result.format != MC_RAW || result.error[0] != '\0')
            ck_abort_msg("result %u is not that of task %u", number, number);
        ck_assert_uint_eq(atomic_load(&board->runs[number]), 1);
    }
    expect_quiet(pool);
    finish(group);
}
END_TEST

static void expect_cover(mc_group *group, uint64_t items, uint64_t least, uint64_t most)
{
    uint64_t next = 0;
    size_t count = mc_group_size(group);
    wait_all(group);
    for (size_t index = 0; index < count; index++) {
        struct mc_result result = result_of(group, index);
        uint64_t both[2];
        ck_assert_uint_eq(result.data_size, sizeof(both));
        memcpy(both, result.data, sizeof(both));
        ck_assert(both[0] == next && result.start == next && result.end == both[1]);
        ck_assert_uint_le(both[1] - both[0], most);
        if (index + 1 < count)
            ck_assert_uint_ge(both[1] - both[0], least);
        next = both[1];
    }
    ck_assert_uint_eq(next, items);
}

START_TEST(a_map_covers_its_range_in_order)
{
    const struct mc_map_options shapes[] = {
        {.size = sizeof(shapes[0])},
        {.size = sizeof(shapes[0]), .split = MC_SPLIT_STATIC},
        {.size = sizeof(shapes[0]), .min_chunk = 30},
        {.size = sizeof(shapes[0]), .max_chunk = 7},
        {.size = sizeof(shapes[0]), .min_chunk = 100, .max_chunk = 10},
    };
    mc_group *group = begin();
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        mc_group *mapped = open_group(pool);
        ck_assert_int_eq(mc_group_map(mapped, "range", 1000, &shapes[i], NULL, 0), 0);
        uint64_t most = shapes[i].max_chunk != 0 ? shapes[i].max_chunk : 1000;
        uint64_t least = shapes[i].min_chunk < most ? shapes[i].min_chunk : most;
        expect_cover(mapped, 1000, least, most);
        if (shapes[i].split == MC_SPLIT_STATIC)
            ck_assert_uint_eq(mc_group_size(mapped), mc_pool_workers(pool));
        mc_group_close(mapped);
    }
    ck_assert_int_eq(mc_group_map(group, "range", UINT64_MAX, NULL, NULL, 0), 0);
    expect_cover(group, UINT64_MAX, 1, UINT64_MAX);
    finish(group);
}
END_TEST

START_TEST(a_map_of_nothing_is_an_empty_group)
{
    mc_group *group = begin();
    struct mc_result result = {.size = sizeof(result)};
    ck_assert_int_eq(mc_group_map(group, "range", 0, NULL, NULL, 0), 0);
    ck_assert_uint_eq(mc_group_size(group), 0);
    ck_assert_int_eq(mc_group_wait(group, -1), 0);
    ck_assert_int_eq(mc_group_next(group, &result, -1), 0);
    finish(group);
}
END_TEST

START_TEST(a_result_tells_who_ran_it_and_for_how_long)
{
    mc_group *helped = begin();
    mc_group *group = open_unhelped(pool);
    pid_t pid, pids[2];
    for (int i = 0; i < 20; i++)
        run(group, "whoami", NULL, 0);
    wait_all(group);
    ck_assert_uint_eq(mc_pool_worker_pids(pool, pids, 2), 2);
    for (size_t index = 0; index < 20; index++) {
        struct mc_result result = result_of(group, index);
        memcpy(&pid, result.data, sizeof(pid));
        ck_assert_int_eq(result.worker_pid, pid);
        ck_assert(pid == pids[0] || pid == pids[1]);
        ck_assert_uint_lt(result.run_ns, (uint64_t)BOUND_MS * 1000000);
    }
    mc_group_close(helped);
    finish(group);
}
END_TEST

START_TEST(every_task_has_a_status_and_a_text_of_its_own)
{
    static const struct {
        const char *handler;
        int status;
        const char *error;
    } expected[] = {
        {"sentence", -ENOENT, "no page 4"},
        {"echo", 0, ""},
        {"zero-status", -EINVAL, "a failure all the same"},
        {"bare-errno", -EIO, "handler 'bare-errno' returned -5 (Input/output error)"},
        {"bare-number", 42, "handler 'bare-number' returned 42"},
        {"fail-after-reply", 7, "gave up"},
        {"recover-after-fail", 0, ""},
        {"no-result", 0, ""},
    };
    size_t count = sizeof(expected) / sizeof(expected[0]);
    mc_group *group = begin();
    for (size_t i = 0; i < count; i++)
        run_number(group, expected[i].handler, 4);
    wait_all(group);
    for (size_t i = 0; i < count; i++) {
        struct mc_result result = result_of(group, i);
        ck_assert_int_eq(result.status, expected[i].status);
        ck_assert_str_eq(result.error, expected[i].error);
        bool has_data = strcmp(expected[i].handler, "echo") == 0;
        ck_assert_uint_eq(result.data_size, has_data ? 4 : 0);
        ck_assert_int_eq(result.data != NULL, has_data);
    }
    finish(group);
}
END_TEST

START_TEST(an_unknown_handler_is_answered_with_the_known_ones)
{
    mc_group *group = begin();
    expect_error(mc_group_run(group, "eccho", NULL, 0), -ENOENT, "'eccho'");
    ck_assert_ptr_nonnull(strstr(mc_error_message(), "echo, range, whoami"));
    expect_error(mc_group_map(group, "", 10, NULL, NULL, 0), -ENOENT, "echo");
    ck_assert_uint_eq(mc_group_size(group), 0);
    finish(group);
}
END_TEST

START_TEST(a_name_is_what_it_says_wherever_it_stands)
{
    char name[16];
    mc_group *group = begin();
    for (int i = 0; i < 3; i++) { /* one address, several names, and again */
        strcpy(name, "echo");
        run(group, name, "x", 1);
        strcpy(name, "no-result");
        run(group, name, NULL, 0);
        strcpy(name, "nobody");
        ck_assert_int_eq(mc_group_run(group, name, NULL, 0), -ENOENT);
    }
    wait_all(group);
    for (size_t i = 0; i < mc_group_size(group); i++)
        ck_assert_uint_eq(result_of(group, i).data_size, i % 2 == 0 ? 1 : 0);
    finish(group);
}
END_TEST

START_TEST(mistakes_in_a_call_are_named)
{
    struct mc_map_options options = {0};
    struct mc_result result = {0};
    mc_group *group = begin(), *other = NULL;
    struct mc_group_options group_options = {0};
    expect_error(mc_group_open(pool, &group_options, &other), -EINVAL, "size");
    group_options.size = sizeof(group_options);
    group_options.help = (enum mc_help)2;
    expect_error(mc_group_open(pool, &group_options, &other), -EINVAL, "help");
    ck_assert_ptr_null(other);
    expect_error(mc_group_run(group, "echo", NULL, 1), -EINVAL, "NULL");
    expect_error(mc_group_run_encoded(group, "echo", (enum mc_format)3, "", 0), -EINVAL, "format");
    expect_error(mc_group_map(group, "echo", 1, &options, NULL, 0), -EINVAL, "size");
    options.size = sizeof(options);
    options.split = (enum mc_split)2;
    expect_error(mc_group_map(group, "echo", 1, &options, NULL, 0), -EINVAL, "split");
    expect_error(mc_group_next(group, &result, 0), -EINVAL, "size");
    ck_assert_uint_eq(mc_group_size(group), 0);
    finish(group);
}
END_TEST

START_TEST(results_that_are_not_there_are_told_apart)
{
    mc_group *group = begin();
    struct mc_result result = {.size = sizeof(result)};
    expect_error(mc_group_result(group, 0, &result), -ERANGE, "0 tasks");
    run_number(group, "blocked", 1);
    expect_error(mc_group_result(group, 0, &result), -EAGAIN, "task 0");
    expect_error(mc_group_result(group, 1, &result), -ERANGE, "1 tasks");
    mc_group_release(group, 0);
    mc_group_release(group, 1);
    gate_open();
    wait_all(group);
    ck_assert_int_eq(mc_group_result(group, 0, &result), 0);
    finish(group);
}
END_TEST

START_TEST(a_group_can_go_on_after_a_wait)
{
    mc_group *group = begin();
    for (uint32_t round = 0; round < 20; round++) {
        for (uint32_t number = 0; number < 10; number++)
            run_number(group, "echo", number);
        wait_all(group);
        ck_assert_uint_eq(mc_group_size(group), (round + 1) * 10);
        ck_assert_uint_eq(failures(group), 0);
    }
    finish(group);
}
END_TEST

START_TEST(a_hundred_thousand_runs_before_the_first_wait)
{
    mc_group *group = begin();
    for (uint32_t number = 0; number < MANY; number++)
        if (mc_group_run(group, "echo", &number, sizeof(number)) != 0)
            ck_abort_msg("task %u: %s", number, mc_error_message());
    wait_all(group);
    for (uint32_t number = 0; number < MANY; number++) {
        struct mc_result result = {.size = sizeof(result)};
        if (mc_group_result(group, number, &result) != 0 || result.status != 0 ||
            memcmp(result.data, &number, sizeof(number)) != 0)
            ck_abort_msg("task %u", number);
    }
    expect_quiet(pool);
    finish(group);
}
END_TEST

START_TEST(more_maps_than_the_queue_holds_go_through)
{
    board_open();
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    options.queue_depth = 16;
    pool = open_pool(&options);
    mc_group *group = open_unhelped(pool);
    struct mc_map_options small = {.size = sizeof(small), .max_chunk = 1};
    ck_assert_int_eq(mc_group_map(group, "range", 500, &small, NULL, 0), 0);
    expect_cover(group, 500, 1, 1);
    finish(group);
}
END_TEST

START_TEST(urgent_tasks_go_before_normal_ones)
{
    board_open();
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    options.workers = 1;
    pool = open_pool(&options);
    mc_group *normal = open_unhelped(pool);
    mc_group *urgent =
        open_with(pool, (struct mc_group_options){.urgent = true, .help = MC_HELP_NEVER});
    run_number(normal, "blocked", 0);
    ck_assert(board_await(&board->started, 1, BOUND_MS));
    for (uint32_t number = 1; number <= 3; number++)
        run_number(normal, "blocked", number);
    for (uint32_t number = 11; number <= 13; number++)
        run_number(urgent, "blocked", number);
    gate_open();
    wait_all(normal);
    wait_all(urgent);
    static const uint32_t expected[] = {0, 11, 12, 13, 1, 2, 3};
    for (int i = 0; i < 7; i++)
        ck_assert_uint_eq(atomic_load(&board->order[i]), expected[i]);
    mc_group_close(urgent);
    finish(normal);
}
END_TEST

/* As a ticket of a task that its caller ran is, when its slot has been used so often since then
 * that its part of the generation is the same again. */
START_TEST(a_ticket_of_a_task_that_is_long_over_costs_nobody_anything)
{
    board_open();
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    options.workers = 1;
    pool = open_pool(&options);
    mc_group *group = open_unhelped(pool);
    run_number(group, "blocked", 0);
    ck_assert(board_await(&board->started, 1, BOUND_MS));
    run(group, "whoami", NULL, 0);
    const struct record *record = group_record(group, 1);
    ck_assert_uint_ne(record->handler, 0);
    struct ring *urgent = lane_ring(&pool->client.lane, SEAT_CPU, LANE_URGENT);
    ck_assert(ring_push(urgent, name_make(0, record->generation, record->slot)));
    ring_publish(urgent);
    gate_open();
    wait_all(group);
    ck_assert_int_eq(result_of(group, 1).status, 0);
    ck_assert_uint_eq(atomic_load(&pool->control->totals.lanes_faulted), 0);
    expect_quiet(pool);
    finish(group);
}
END_TEST

START_TEST(a_group_that_is_closed_early_leaves_the_pool_as_it_was)
{
    mc_group *group = begin();
    for (int round = 0; round < 3; round++) {
        mc_group *left = open_unhelped(pool);
        atomic_store(&board->gate, 0);
        atomic_store(&board->started, 0);
        atomic_store(&board->ended, 0);
        for (uint32_t number = 0; number < 10; number++)
            run_number(left, "blocked", number);
        ck_assert(board_await(&board->started, 2, BOUND_MS));
        mc_group_close(left);
        gate_open();
        ck_assert(board_await(&board->ended, 2, BOUND_MS));
    }
    for (uint32_t number = 0; number < 10000; number++) /* more than there are slots */
        run_number(group, "echo", number);
    wait_all(group);
    ck_assert_uint_eq(failures(group), 0);
    expect_quiet(pool);
    ck_assert_uint_eq(atomic_load(&board->ended), 2 + 10000);
    finish(group);
}
END_TEST

TEST_MAIN(run, results_come_in_the_order_of_submission, a_map_covers_its_range_in_order,
          a_map_of_nothing_is_an_empty_group, a_result_tells_who_ran_it_and_for_how_long,
          every_task_has_a_status_and_a_text_of_its_own,
          an_unknown_handler_is_answered_with_the_known_ones,
          a_name_is_what_it_says_wherever_it_stands, mistakes_in_a_call_are_named,
          results_that_are_not_there_are_told_apart, a_group_can_go_on_after_a_wait,
          a_hundred_thousand_runs_before_the_first_wait, more_maps_than_the_queue_holds_go_through,
          urgent_tasks_go_before_normal_ones,
          a_ticket_of_a_task_that_is_long_over_costs_nobody_anything,
          a_group_that_is_closed_early_leaves_the_pool_as_it_was)
