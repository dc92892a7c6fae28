/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Structured arguments and results: the handlers do not know which of the
 * formats their caller chose.
 */
#include "tests/system/support.h"

/* {"name": text, "numbers": [...]} -> {"greeting": text, "sum": n, "mean": x,
 * "inline": bool, "range": [start, end]} */
static int greet(mc_task *task)
{
    mc_value args, name, numbers, number;
    const char *text;
    size_t size;
    int64_t sum = 0, one;
    int result = mc_task_value(task, &args);
    if (result < 0 || (result = mc_value_get(args, "name", &name)) < 0 ||
        (result = mc_value_get(args, "numbers", &numbers)) < 0 ||
        (result = mc_value_string(name, &text, &size)) < 0)
        return result;
    size_t count = mc_value_count(numbers);
    for (size_t i = 0; i < count; i++) {
        if ((result = mc_value_at(numbers, i, &number)) < 0 ||
            (result = mc_value_int(number, &one)) < 0)
            return result;
        sum += one;
    }
    char greeting[64];
    int length = snprintf(greeting, sizeof(greeting), "hello %.*s", (int)size, text);
    mc_writer *writer;
    if ((result = mc_task_writer(task, &writer)) < 0)
        return result;
    mc_write_map(writer, 5);
    mc_write_string(writer, "greeting");
    mc_write_text(writer, greeting, (size_t)length);
    mc_write_string(writer, "sum");
    mc_write_int(writer, sum);
    mc_write_string(writer, "mean");
    mc_write_double(writer, count == 0 ? 0.0 : (double)sum / (double)count);
    mc_write_string(writer, "inline");
    mc_write_bool(writer, mc_task_inline(task));
    mc_write_string(writer, "range");
    mc_write_array(writer, 2);
    mc_write_uint(writer, mc_task_start(task));
    return mc_write_uint(writer, mc_task_end(task));
}

/* An array of as many numbers as the argument says. */
static int count_up(mc_task *task)
{
    mc_value args;
    int64_t count;
    mc_writer *writer;
    int result = mc_task_value(task, &args);
    if (result < 0 || (result = mc_value_int(args, &count)) < 0 ||
        (result = mc_task_writer(task, &writer)) < 0)
        return result;
    result = mc_write_array(writer, (size_t)count);
    for (int64_t i = 0; i < count && result == 0; i++)
        result = mc_write_int(writer, i);
    return result;
}

static int unfinished(mc_task *task)
{
    mc_writer *writer;
    int result = mc_task_writer(task, &writer);
    return result < 0 ? result : mc_write_array(writer, 3);
}

/* What the type of the argument is, as raw bytes. */
static int type_of(mc_task *task)
{
    mc_value args;
    int result = mc_task_value(task, &args);
    uint32_t type = result < 0 ? 0 : mc_value_type(args);
    return result < 0 ? result : mc_task_reply(task, &type, sizeof(type));
}

/* Fails after having begun a result, then thinks better of it. */
static int second_thoughts(mc_task *task)
{
    mc_writer *writer;
    (void)mc_task_writer(task, &writer);
    (void)mc_write_array(writer, 1000);
    (void)mc_task_fail(task, -EIO, "not that way");
    (void)mc_task_writer(task, &writer);
    return mc_write_string(writer, "fine");
}

static const struct mc_handler handlers[] = {
    {.name = "greet", .run = greet},
    {.name = "count-up", .run = count_up},
    {.name = "unfinished", .run = unfinished},
    {.name = "type-of", .run = type_of},
    {.name = "second-thoughts", .run = second_thoughts},
};

static const enum mc_format formats[] = {MC_JSON, MC_MSGPACK};
static mc_pool *pool;

static mc_group *begin(void)
{
    board_open();
    pool = open_simple(HANDLERS(handlers));
    return open_unhelped(pool);
}

static void finish(mc_group *group)
{
    mc_group_close(group);
    mc_pool_close(pool);
}

static mc_writer *writer_of(mc_group *group, enum mc_format format)
{
    mc_writer *writer = NULL;
    ck_assert_int_eq(mc_group_writer(group, format, &writer), 0);
    return writer;
}

static mc_writer *write_person(mc_group *group, enum mc_format format, const char *name,
                               int numbers)
{
    mc_writer *writer = writer_of(group, format);
    mc_write_map(writer, 2);
    mc_write_string(writer, "name");
    mc_write_string(writer, name);
    mc_write_string(writer, "numbers");
    mc_write_array(writer, (size_t)numbers);
    for (int i = 0; i < numbers; i++)
        mc_write_int(writer, i);
    return writer;
}

static mc_value member(mc_value map, const char *key)
{
    mc_value value = {0};
    ck_assert_msg(mc_value_get(map, key, &value) == 0, "%s", mc_error_message());
    return value;
}

static void expect_greeting(mc_group *group, size_t index, const char *greeting, int64_t sum)
{
    mc_value value;
    const char *text;
    size_t size;
    int64_t number;
    bool is_inline;
    struct mc_result result = result_of(group, index);
    ck_assert_msg(result.status == 0, "%s", result.error);
    ck_assert_int_eq(mc_group_value(group, index, &value), 0);
    ck_assert_int_eq(mc_value_type(value), MC_MAP);
    ck_assert_uint_eq(mc_value_count(value), 5);
    ck_assert_int_eq(mc_value_string(member(value, "greeting"), &text, &size), 0);
    ck_assert_uint_eq(size, strlen(greeting));
    ck_assert_mem_eq(text, greeting, size);
    ck_assert_int_eq(mc_value_int(member(value, "sum"), &number), 0);
    ck_assert_int_eq(number, sum);
    ck_assert_int_eq(mc_value_bool(member(value, "inline"), &is_inline), 0);
    ck_assert(!is_inline);
}

START_TEST(a_value_makes_the_round_trip_in_either_format)
{
    mc_group *group = begin();
    for (size_t i = 0; i < 2; i++) {
        mc_writer *writer = write_person(group, formats[i], "World \xc3\xa9\"\n", 10);
        ck_assert_int_eq(mc_group_run_value(group, "greet", writer), 0);
    }
    wait_all(group);
    for (size_t i = 0; i < 2; i++) {
        expect_greeting(group, i, "hello World \xc3\xa9\"\n", 45);
        ck_assert_int_eq(result_of(group, i).format, formats[i]);
        expect_greeting(group, i, "hello World \xc3\xa9\"\n", 45); /* decoded once, asked twice */
    }
    finish(group);
}
END_TEST

START_TEST(every_chunk_of_a_map_has_the_value)
{
    mc_group *group = begin();
    for (size_t i = 0; i < 2; i++) {
        mc_writer *writer = write_person(group, formats[i], "all", 100);
        ck_assert_int_eq(mc_group_map_value(group, "greet", 50, NULL, writer), 0);
    }
    wait_all(group);
    for (size_t index = 0; index < mc_group_size(group); index++)
        expect_greeting(group, index, "hello all", 4950);
    finish(group);
}
END_TEST

START_TEST(large_values_make_the_round_trip)
{
    static const int64_t counts[] = {0, 1, 7, 10, 100, 10000, 1000000};
    mc_group *group = begin();
    for (size_t i = 0; i < 14; i++) {
        mc_writer *writer = writer_of(group, formats[i % 2]);
        ck_assert_int_eq(mc_write_int(writer, counts[i / 2]), 0);
        ck_assert_int_eq(mc_group_run_value(group, "count-up", writer), 0);
    }
    wait_all(group);
    for (size_t i = 0; i < 14; i++) {
        mc_value value, element;
        int64_t number, count = counts[i / 2];
        int result = mc_group_value(group, i, &value);
        ck_assert_msg(result == 0, "%lld: %s %s", (long long)count, mc_error_message(),
                      result_of(group, i).error);
        ck_assert_uint_eq(mc_value_count(value), (size_t)count);
        for (int64_t at = 0; at < count; at += 1 + count / 100)
            if (mc_value_at(value, (size_t)at, &element) < 0 ||
                mc_value_int(element, &number) < 0 || number != at)
                ck_abort_msg("element %lld of %lld", (long long)at, (long long)count);
        mc_group_release(group, i);
        ck_assert_int_lt(mc_group_value(group, i, &value), 0);
    }
    finish(group);
}
END_TEST

START_TEST(raw_arguments_are_one_value_of_bytes_and_answered_in_msgpack)
{
    mc_group *group = begin();
    uint32_t type;
    run(group, "type-of", "abc", 3);
    run(group, "second-thoughts", NULL, 0);
    wait_all(group);
    ck_assert_int_eq(result_of(group, 0).status, 0);
    memcpy(&type, result_of(group, 0).data, sizeof(type));
    ck_assert_uint_eq(type, MC_BYTES);
    ck_assert_int_eq(result_of(group, 1).status, 0);
    ck_assert_int_eq(result_of(group, 1).format, MC_MSGPACK);
    finish(group);
}
END_TEST

START_TEST(encoded_arguments_are_read_like_written_ones)
{
    static const char person[] = "{\"numbers\": [1, 2, 3], \"name\": \"you\"}";
    mc_group *group = begin();
    ck_assert_int_eq(mc_group_run_encoded(group, "greet", MC_JSON, person, strlen(person)), 0);
    wait_all(group);
    expect_greeting(group, 0, "hello you", 6);
    finish(group);
}
END_TEST

START_TEST(malformed_arguments_fail_their_task_with_the_offset)
{
    mc_group *group = begin();
    ck_assert_int_eq(mc_group_run_encoded(group, "greet", MC_JSON, "{\"name\": tru}", 13), 0);
    ck_assert_int_eq(mc_group_run_encoded(group, "greet", MC_MSGPACK, "\x82\xa4name", 6), 0);
    ck_assert_int_eq(mc_group_run_encoded(group, "greet", MC_JSON, "", 0), 0);
    wait_all(group);
    for (size_t index = 0; index < 3; index++) {
        struct mc_result result = result_of(group, index);
        ck_assert_int_eq(result.status, -EBADMSG);
        ck_assert_msg(strpbrk(result.error, "0123456789") != NULL, "%s", result.error);
    }
    finish(group);
}
END_TEST

START_TEST(what_is_missing_is_named_in_the_tasks_error)
{
    mc_group *group = begin();
    ck_assert_int_eq(mc_group_run_encoded(group, "greet", MC_JSON, "{\"numbers\": []}", 15), 0);
    wait_all(group);
    ck_assert_int_eq(result_of(group, 0).status, -ENOENT);
    ck_assert_ptr_nonnull(strstr(result_of(group, 0).error, "name"));
    finish(group);
}
END_TEST

START_TEST(an_incomplete_result_fails_its_task)
{
    mc_group *group = begin();
    for (size_t i = 0; i < 2; i++) {
        mc_writer *writer = writer_of(group, formats[i]);
        mc_write_nil(writer);
        ck_assert_int_eq(mc_group_run_value(group, "unfinished", writer), 0);
    }
    wait_all(group);
    for (size_t i = 0; i < 2; i++) {
        ck_assert_int_eq(result_of(group, i).status, -EINVAL);
        ck_assert_str_ne(result_of(group, i).error, "");
        ck_assert_ptr_null(result_of(group, i).data);
    }
    finish(group);
}
END_TEST

START_TEST(incomplete_arguments_are_refused_and_their_writer_ends)
{
    mc_group *group = begin();
    for (size_t i = 0; i < 2; i++) {
        mc_writer *writer = writer_of(group, formats[i]);
        mc_write_array(writer, 2);
        mc_write_nil(writer);
        ck_assert_int_eq(mc_group_run_value(group, "type-of", writer), -EINVAL);
        expect_error(mc_group_run_value(group, "type-of", writer), -EINVAL, "mc_group_writer()");
    }
    ck_assert_uint_eq(mc_group_size(group), 0);
    finish(group);
}
END_TEST

START_TEST(a_new_writer_drops_an_unused_one)
{
    mc_group *group = begin();
    (void)write_person(group, MC_JSON, "nobody", 1000);
    mc_writer *writer = write_person(group, MC_MSGPACK, "you", 3);
    ck_assert_int_eq(mc_group_run_value(group, "greet", writer), 0);
    (void)write_person(group, MC_JSON, "nobody", 1000); /* closing drops it */
    wait_all(group);
    ck_assert_uint_eq(mc_group_size(group), 1);
    expect_greeting(group, 0, "hello you", 3);
    finish(group);
}
END_TEST

START_TEST(values_above_the_limit_are_refused_with_it)
{
    board_open();
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    options.max_payload = 10000;
    pool = open_pool(&options);
    mc_group *group = open_unhelped(pool);
    for (size_t i = 0; i < 2; i++) {
        mc_writer *writer = write_person(group, formats[i], "you", 20000);
        ck_assert_int_eq(mc_group_run_value(group, "greet", writer), -EMSGSIZE);
        writer = writer_of(group, formats[i]);
        mc_write_int(writer, 20000);
        ck_assert_int_eq(mc_group_run_value(group, "count-up", writer), 0);
    }
    wait_all(group);
    for (size_t i = 0; i < 2; i++)
        ck_assert_int_eq(result_of(group, i).status, -EMSGSIZE);
    finish(group);
}
END_TEST

/* As many numbers as the task is asked for. */
static void expect_count(mc_group *group, size_t index, size_t count)
{
    mc_value value, item;
    int64_t number;
    struct mc_result result = result_of(group, index);
    ck_assert_msg(result.status == 0, "%s", result.error);
    ck_assert_int_eq(mc_group_value(group, index, &value), 0);
    ck_assert_uint_eq(mc_value_count(value), count);
    for (size_t i = 0; i < count; i++) {
        ck_assert_int_eq(mc_value_at(value, i, &item), 0);
        ck_assert_int_eq(mc_value_int(item, &number), 0);
        ck_assert_int_eq(number, (int64_t)i);
    }
}

static void ask_count(mc_group *group, enum mc_format format, int64_t count)
{
    mc_writer *writer = writer_of(group, format);
    mc_write_int(writer, count);
    ck_assert_int_eq(mc_group_run_value(group, "count-up", writer), 0);
}

START_TEST(results_come_whole_whether_they_fit_the_slot_or_outgrow_it)
{
    enum { MOST = 300 };
    mc_group *group = begin();
    for (size_t count = 0; count < MOST; count++)
        for (size_t i = 0; i < 2; i++)
            ask_count(group, formats[i], (int64_t)count);
    wait_all(group);
    for (size_t count = 0; count < MOST; count++)
        for (size_t i = 0; i < 2; i++)
            expect_count(group, 2 * count + i, count);
    finish(group);
}
END_TEST

START_TEST(a_small_result_comes_though_the_arena_is_full)
{
    board_open();
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    options.workers = 1;
    options.max_payload = options.arena_size = 1 << 20;
    pool = open_pool(&options);
    mc_group *group = open_unhelped(pool);
    size_t count = 0;
    int status = 0;
    /* Until there is no room for the smallest that does not fit the slot, more or less. */
    for (int64_t size = 100000; size > 100; size -= status == 0 ? 0 : size / 4) {
        ask_count(group, MC_MSGPACK, size); /* and the result is kept */
        wait_all(group);
        status = result_of(group, count++).status;
    }
    ck_assert_int_eq(status, -ENOSPC);
    for (size_t i = 0; i < 2; i++)
        ask_count(group, formats[i], 10);
    run(group, "second-thoughts", NULL, 0);
    wait_all(group);
    expect_count(group, count, 10);
    expect_count(group, count + 1, 10);
    ck_assert_int_eq(result_of(group, count + 2).status, 0);
    finish(group);
}
END_TEST

TEST_MAIN(values, a_value_makes_the_round_trip_in_either_format, every_chunk_of_a_map_has_the_value,
          large_values_make_the_round_trip,
          raw_arguments_are_one_value_of_bytes_and_answered_in_msgpack,
          encoded_arguments_are_read_like_written_ones,
          malformed_arguments_fail_their_task_with_the_offset,
          what_is_missing_is_named_in_the_tasks_error, an_incomplete_result_fails_its_task,
          incomplete_arguments_are_refused_and_their_writer_ends, a_new_writer_drops_an_unused_one,
          values_above_the_limit_are_refused_with_it,
          results_come_whole_whether_they_fit_the_slot_or_outgrow_it,
          a_small_result_comes_though_the_arena_is_full)
