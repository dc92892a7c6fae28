/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Arguments and results of all sizes, their limits, and the memory behind them.
 */
#include "tests/system/support.h"

#include "pool/pool.h"

#include <signal.h>

enum { MIB = 1 << 20 };

static int echo(mc_task *task)
{
    size_t size;
    const void *args = mc_task_args(task, &size);
    return mc_task_reply(task, args, size);
}

/* The sum of the argument bytes, read in place. */
static int sum(mc_task *task)
{
    size_t size;
    const uint8_t *args = mc_task_args(task, &size);
    uint64_t total = 0;
    for (size_t i = 0; i < size; i++)
        total += args[i];
    return mc_task_reply(task, &total, sizeof(total));
}

static int fill(mc_task *task)
{
    void *data;
    uint32_t size = number_of(task);
    int result = mc_task_reply_alloc(task, size, &data);
    if (result < 0)
        return result;
    if ((uintptr_t)data % 64 != 0 && size > 40)
        return mc_task_fail(task, 1, "the result is not aligned");
    memset(data, 'f', size);
    return 0;
}

/* Replies with a large and with a small result in turn; the last one counts. */
static int many_replies(mc_task *task)
{
    static char large[200000];
    for (int i = 0; i < 10; i++) {
        memset(large, 'a' + i, sizeof(large));
        if (mc_task_reply(task, large, sizeof(large)) != 0 || mc_task_reply(task, "small", 5) != 0)
            return -EIO;
    }
    return number_of(task) == 0 ? 0 : mc_task_reply(task, large, sizeof(large));
}

static int blocked_fill(mc_task *task)
{
    board_begin(0);
    gate_pass();
    int result = fill(task);
    board_end();
    return result;
}

static int fill_after_refusal(mc_task *task)
{
    void *data;
    if (mc_task_reply(task, "before", 6) != 0 ||
        mc_task_reply_alloc(task, (size_t)1 << 40, &data) != -EMSGSIZE)
        return -EIO;
    return 0;
}

/* The second reply finds no room, and the first one was given up for it. */
static int fill_twice(mc_task *task)
{
    void *data;
    if (mc_task_reply_alloc(task, MIB / 2, &data) != 0 ||
        mc_task_reply_alloc(task, MIB, &data) != -ENOSPC)
        return -EIO;
    return 0;
}

static int fail_in_short(mc_task *task)
{
    return mc_task_fail(task, -EIO, "twelve bytes");
}

static const struct mc_handler handlers[] = {
    {.name = "echo", .run = echo},
    {.name = "fill-twice", .run = fill_twice},
    {.name = "sum", .run = sum},
    {.name = "fill", .run = fill},
    {.name = "many-replies", .run = many_replies},
    {.name = "blocked-fill", .run = blocked_fill},
    {.name = "fail-in-short", .run = fail_in_short},
    {.name = "fill-after-refusal", .run = fill_after_refusal},
};

static mc_pool *pool;

static mc_group *begin(size_t max_payload, size_t arena_size)
{
    board_open();
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    options.max_payload = max_payload;
    options.arena_size = arena_size;
    options.queue_depth = 64;
    pool = open_pool(&options);
    return open_unhelped(pool);
}

static void finish(mc_group *group)
{
    mc_group_close(group);
    mc_pool_close(pool);
}

/* Bytes that depend on their place. */
static uint8_t *pattern(size_t size)
{
    uint8_t *bytes = malloc(size + 1);
    ck_assert_ptr_nonnull(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(i * 131 + (i >> 8) + (i >> 16));
    return bytes;
}

START_TEST(arguments_and_results_of_every_size_come_back)
{
    static const size_t sizes[] = {0,    1,    39,   40,       41,    127,     128,      129,
                                   4095, 4096, 4097, 64 << 10, 65537, 1000003, 16 * MIB, 64 * MIB};
    mc_group *warm = begin(0, 0);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        mc_group *group = open_unhelped(pool);
        uint8_t *bytes = pattern(sizes[i]);
        run(group, "echo", bytes, sizes[i]);
        wait_all(group);
        struct mc_result result = result_of(group, 0);
        ck_assert_msg(result.status == 0, "%zu bytes: %s", sizes[i], result.error);
        ck_assert_uint_eq(result.data_size, sizes[i]);
        ck_assert_int_eq(result.data == NULL, sizes[i] == 0);
        ck_assert_uint_eq((uintptr_t)result.data % 8, 0);
        if (sizes[i] > 0 && memcmp(result.data, bytes, sizes[i]) != 0)
            ck_abort_msg("%zu bytes did not come back as they were", sizes[i]);
        free(bytes);
        mc_group_close(group);
    }
    expect_quiet(pool);
    finish(warm);
}
END_TEST

START_TEST(sizes_of_all_kinds_can_be_in_flight_together)
{
    mc_group *group = begin(0, 0);
    uint8_t *bytes = pattern(300000);
    for (size_t i = 0; i < 200; i++)
        run(group, "echo", bytes, i * i * 7);
    wait_all(group);
    for (size_t i = 0; i < 200; i++) {
        struct mc_result result = result_of(group, i);
        if (result.status != 0 || result.data_size != i * i * 7 ||
            (i > 0 && memcmp(result.data, bytes, i * i * 7) != 0))
            ck_abort_msg("task %zu: %s", i, result.error);
    }
    free(bytes);
    finish(group);
}
END_TEST

START_TEST(arguments_are_copied_before_run_returns)
{
    mc_group *group = begin(0, 0);
    uint8_t *bytes = pattern(100000);
    uint64_t expected = 0, total;
    for (int i = 0; i < 100000; i++)
        expected += bytes[i];
    for (int i = 0; i < 10; i++) {
        uint8_t *copy = malloc(100000);
        memcpy(copy, bytes, 100000);
        run(group, "sum", copy, 100000);
        memset(copy, 0xff, 100000);
        free(copy);
    }
    wait_all(group);
    for (size_t i = 0; i < 10; i++) {
        memcpy(&total, result_of(group, i).data, sizeof(total));
        ck_assert_uint_eq(total, expected);
    }
    free(bytes);
    finish(group);
}
END_TEST

START_TEST(arguments_above_the_limit_are_refused_with_it)
{
    mc_group *group = begin(MIB, 0);
    uint8_t *bytes = pattern(MIB + 1);
    run(group, "sum", bytes, MIB);
    expect_error(mc_group_run(group, "sum", bytes, MIB + 1), -EMSGSIZE, "1048576");
    ck_assert_ptr_nonnull(strstr(mc_error_message(), "'sum'"));
    ck_assert_ptr_nonnull(strstr(mc_error_message(), "1048577"));
    ck_assert_ptr_nonnull(strstr(mc_error_message(), "max_payload"));
    ck_assert_uint_eq(mc_group_size(group), 1);
    wait_all(group);
    ck_assert_uint_eq(failures(group), 0);
    free(bytes);
    finish(group);
}
END_TEST

START_TEST(a_result_above_the_limit_fails_its_task_with_it)
{
    mc_group *group = begin(MIB, 0);
    run_number(group, "fill", MIB);
    run_number(group, "fill", MIB + 1);
    run_number(group, "fill", 10);
    wait_all(group);
    struct mc_result result = result_of(group, 1);
    ck_assert_int_eq(result.status, -EMSGSIZE);
    ck_assert_ptr_nonnull(strstr(result.error, "max_payload is 1048576"));
    ck_assert_ptr_nonnull(strstr(result.error, "'fill' has 1048577 bytes"));
    ck_assert_uint_eq(result_of(group, 0).data_size, MIB);
    ck_assert_uint_eq(failures(group), 1);
    finish(group);
}
END_TEST

START_TEST(a_message_above_the_limit_is_not_longer_than_it_was)
{
    mc_group *group = begin(8, 0);
    run(group, "fail-in-short", NULL, 0);
    wait_all(group);
    ck_assert_uint_eq(group_record(group, 0)->size, strlen("twelve bytes"));
    ck_assert_str_eq(result_of(group, 0).error, "twelve bytes");
    finish(group);
}
END_TEST

START_TEST(a_refused_reply_leaves_the_one_before)
{
    mc_group *group = begin(MIB, 0);
    run_number(group, "fill-after-refusal", 0);
    wait_all(group);
    struct mc_result result = result_of(group, 0);
    ck_assert_int_eq(result.status, 0);
    ck_assert_uint_eq(result.data_size, 6);
    ck_assert_mem_eq(result.data, "before", 6);
    finish(group);
}
END_TEST

START_TEST(the_last_reply_counts)
{
    mc_group *group = begin(MIB, 0);
    for (uint32_t number = 0; number < 40; number++)
        run_number(group, "many-replies", number % 2);
    wait_all(group);
    for (size_t index = 0; index < 40; index++) {
        struct mc_result result = result_of(group, index);
        ck_assert_int_eq(result.status, 0);
        if (index % 2 == 0) {
            ck_assert_uint_eq(result.data_size, 5);
            ck_assert_mem_eq(result.data, "small", 5);
        } else {
            ck_assert_uint_eq(result.data_size, 200000);
            ck_assert_int_eq(((const char *)result.data)[199999], 'j');
        }
        mc_group_release(group, index);
    }
    finish(group);
}
END_TEST

START_TEST(released_results_make_room_for_others)
{
    mc_group *group = begin(MIB, 4 * MIB);
    for (size_t index = 0; index < 200; index++) {
        run_number(group, "fill", MIB - 100);
        wait_all(group);
        struct mc_result result = result_of(group, index);
        ck_assert_msg(result.status == 0, "task %zu: %s", index, result.error);
        ck_assert_int_eq(((const char *)result.data)[MIB - 101], 'f');
        mc_group_release(group, index);
        ck_assert_ptr_null(result_of(group, index).data);
        mc_group_release(group, index);
    }
    finish(group);
}
END_TEST

START_TEST(results_that_are_never_released_fill_the_arena_with_an_error)
{
    mc_group *group = begin(MIB, 4 * MIB);
    mc_group *after = open_unhelped(pool);
    for (int i = 0; i < 30; i++)
        run_number(group, "fill", MIB - 100);
    wait_all(group);
    size_t failed = failures(group);
    ck_assert_uint_ge(failed, 30 - 2 * 4);
    ck_assert_uint_lt(failed, 30);
    for (size_t index = 0; index < 30; index++) {
        struct mc_result result = result_of(group, index);
        if (result.status == 0)
            continue;
        ck_assert_int_eq(result.status, -ENOSPC);
        ck_assert_ptr_nonnull(strstr(result.error, "a result of 1048476 bytes"));
        char arena[64];
        snprintf(arena, sizeof(arena), "arena of %llu",
                 (unsigned long long)pool->config->geometry.arena_size);
        ck_assert_ptr_nonnull(strstr(result.error, arena));
        ck_assert_ptr_nonnull(strstr(result.error, "release results, or raise arena_size"));
    }
    mc_group_close(group);
    for (int i = 0; i < 4; i++)
        run_number(after, "fill", MIB - 100);
    wait_all(after);
    ck_assert_uint_eq(failures(after), 0);
    finish(after);
}
END_TEST

START_TEST(a_reply_without_room_leaves_none)
{
    mc_group *group = begin(MIB, MIB);
    for (int i = 0; i < 2; i++) /* each worker has a result that is not released */
        run_number(group, "blocked-fill", MIB / 4);
    ck_assert(board_await(&board->started, 2, BOUND_MS));
    gate_open();
    run(group, "fill-twice", NULL, 0);
    run_number(group, "fill", MIB / 2);
    wait_all(group);
    struct mc_result result = result_of(group, 2);
    ck_assert_msg(result.status == 0, "%d: %s", result.status, result.error);
    ck_assert_uint_eq(result.data_size, 0);
    ck_assert_uint_eq(result_of(group, 3).data_size, MIB / 2);
    finish(group);
}
END_TEST

START_TEST(more_arguments_than_fit_wait_for_room)
{
    mc_group *group = begin(MIB, 4 * MIB);
    uint8_t *bytes = pattern(MIB - 100);
    for (int i = 0; i < 50; i++)
        run(group, "sum", bytes, MIB - 100);
    wait_all(group);
    ck_assert_uint_eq(failures(group), 0);
    free(bytes);
    finish(group);
}
END_TEST

START_TEST(the_largest_arguments_fit_the_smallest_arena)
{
    static const size_t sizes[] = {MIB, MIB + 64, 1000000, 1300000};
    alarm(5); /* it must not wait for room that never comes */
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        mc_group *group = begin(sizes[i], sizes[i]);
        uint8_t *bytes = pattern(sizes[i]);
        run(group, "sum", bytes, sizes[i]);
        run(group, "sum", bytes, sizes[i]);
        wait_all(group);
        ck_assert_uint_eq(failures(group), 0);
        free(bytes);
        finish(group);
    }
}
END_TEST

START_TEST(the_largest_result_fits_the_smallest_arena)
{
    static const size_t sizes[] = {MIB, MIB + 64, 1000000, 1300000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        mc_group *group = begin(sizes[i], sizes[i]);
        run_number(group, "fill", (uint32_t)sizes[i]);
        wait_all(group);
        struct mc_result result = result_of(group, 0);
        ck_assert_msg(result.status == 0, "%zu: %s", sizes[i], result.error);
        finish(group);
    }
}
END_TEST

START_TEST(results_that_nobody_takes_do_not_fill_the_arena)
{
    mc_group_close(begin(MIB, 4 * MIB));
    for (uint32_t round = 0; round < 20; round++) {
        atomic_store(&board->gate, 0);
        mc_group *group = open_unhelped(pool);
        run_number(group, "blocked-fill", MIB - 100);
        ck_assert(board_await(&board->started, round + 1, BOUND_MS));
        mc_group_close(group);
        gate_open();
        ck_assert(board_await(&board->ended, round + 1, BOUND_MS));
    }
    expect_quiet(pool);
    /* Room for four of one worker, once the group has collected what the rounds left. */
    mc_group *last = open_unhelped(pool);
    for (int i = 0; i < 4; i++)
        run_number(last, "fill", MIB - 100);
    wait_all(last);
    for (size_t i = 0; i < 4; i++) {
        struct mc_result result = result_of(last, i);
        ck_assert_msg(result.status == 0, "%s", result.error);
    }
    finish(last);
}
END_TEST

TEST_MAIN(payload, arguments_and_results_of_every_size_come_back,
          sizes_of_all_kinds_can_be_in_flight_together, arguments_are_copied_before_run_returns,
          arguments_above_the_limit_are_refused_with_it,
          a_result_above_the_limit_fails_its_task_with_it,
          a_message_above_the_limit_is_not_longer_than_it_was,
          a_refused_reply_leaves_the_one_before, the_last_reply_counts,
          released_results_make_room_for_others,
          results_that_are_never_released_fill_the_arena_with_an_error,
          a_reply_without_room_leaves_none, more_arguments_than_fit_wait_for_room,
          the_largest_arguments_fit_the_smallest_arena, the_largest_result_fits_the_smallest_arena,
          results_that_nobody_takes_do_not_fill_the_arena)
