/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Where a writer puts its bytes, and what happens when there is no room for them
 * or no memory for the tree.
 */
#include "serialize/codec.h"
#include "tests/test.h"

#include <jansson.h>
#include <string.h>

static const enum mc_format structured[] = {MC_JSON, MC_MSGPACK};
enum { STRUCTURED = 2, LIMIT = 1000 };

static uint8_t memory[LIMIT];
static size_t largest_request;

static int grow(struct sink *sink, size_t capacity)
{
    largest_request = capacity > largest_request ? capacity : largest_request;
    ck_assert_uint_le(capacity, sink->limit);
    sink->data = memory;
    sink->capacity = capacity;
    return 0;
}

static int refuse_to_grow(struct sink *sink, size_t capacity)
{
    (void)sink;
    return error_set(-ENOSPC, "no room for %zu bytes", capacity);
}

static struct sink sink;
static struct mc_writer writer;

static void begin(enum mc_format format)
{
    largest_request = 0;
    sink = (struct sink){.limit = LIMIT, .grow = grow};
    ck_assert_int_eq(writer_init(&writer, format, &sink), 0);
}

static void finish_says(int error, const char *words)
{
    ck_assert_int_eq(writer_finish(&writer), error);
    ck_assert_msg(strstr(error_message(), words) != NULL, "\"%s\" is not in \"%s\"", words,
                  error_message());
    ck_assert_uint_eq(sink.size, 0);
}

START_TEST(a_value_above_the_limit_names_the_limit)
{
    static const char text[LIMIT];
    for (int i = 0; i < STRUCTURED; i++) {
        begin(structured[i]);
        ck_assert_int_eq(mc_write_text(&writer, text, sizeof(text)), -EMSGSIZE);
        finish_says(-EMSGSIZE, "the limit is 1000");
        begin(structured[i]);
        ck_assert_int_eq(mc_write_array(&writer, LIMIT + 1), -EMSGSIZE);
        finish_says(-EMSGSIZE, "the limit is 1000");
        begin(structured[i]);
        ck_assert_int_eq(mc_write_map(&writer, SIZE_MAX), -EMSGSIZE);
        finish_says(-EMSGSIZE, "the limit is 4294967295");
        begin(structured[i]);
        mc_write_array(&writer, 500);
        int error = 0;
        for (int k = 0; k < 500 && error == 0; k++)
            error = mc_write_string(&writer, "abc");
        ck_assert_int_eq(error, -EMSGSIZE);
        finish_says(-EMSGSIZE, "the limit is 1000");
    }
}
END_TEST

START_TEST(a_value_of_exactly_the_limit_fits)
{
    static char text[LIMIT];
    memset(text, 'x', sizeof(text));
    static const size_t head[] = {2, 3}; /* two quotes; the head of str 16 */
    for (int i = 0; i < STRUCTURED; i++) {
        begin(structured[i]);
        mc_write_text(&writer, text, LIMIT - head[i]);
        ck_assert_int_eq(writer_finish(&writer), 0);
        ck_assert_uint_eq(sink.size, LIMIT);
        begin(structured[i]);
        mc_write_text(&writer, text, LIMIT - head[i] + 1);
        finish_says(-EMSGSIZE, "the limit is 1000");
    }
    begin(MC_RAW);
    mc_write_text(&writer, text, LIMIT);
    ck_assert_int_eq(writer_finish(&writer), 0);
    ck_assert_uint_eq(sink.size, LIMIT);
}
END_TEST

START_TEST(json_and_raw_reserve_exactly_what_they_need)
{
    begin(MC_JSON);
    mc_write_array(&writer, 2);
    mc_write_int(&writer, 12);
    mc_write_double(&writer, 0.5);
    ck_assert_int_eq(writer_finish(&writer), 0);
    ck_assert_uint_eq(sink.size, strlen("[12,0.5]"));
    ck_assert_mem_eq(sink.data, "[12,0.5]", sink.size);
    ck_assert_uint_eq(largest_request, sink.size);
    begin(MC_RAW);
    mc_write_bytes(&writer, "12345", 5);
    ck_assert_int_eq(writer_finish(&writer), 0);
    ck_assert_uint_eq(largest_request, 5);
}
END_TEST

START_TEST(what_a_sink_held_before_stays)
{
    for (int i = 0; i < STRUCTURED; i++) {
        begin(structured[i]);
        sink_append(&sink, "head", 4);
        writer_fini(&writer);
        ck_assert_int_eq(writer_init(&writer, structured[i], &sink), 0);
        mc_write_string(&writer, "text");
        ck_assert_int_eq(writer_finish(&writer), 0);
        size_t size = sink.size;
        ck_assert_uint_gt(size, 4 + strlen("text"));
        ck_assert_int_eq(writer_init(&writer, structured[i], &sink), 0);
        mc_write_array(&writer, 2);
        mc_write_nil(&writer);
        ck_assert_int_eq(writer_finish(&writer), -EINVAL);
        ck_assert_uint_eq(sink.size, size);
        ck_assert_mem_eq(sink.data, "head", 4);
    }
}
END_TEST

START_TEST(a_sink_that_cannot_grow_decides_the_error)
{
    static const enum mc_format formats[] = {MC_RAW, MC_JSON, MC_MSGPACK};
    for (int i = 0; i < 3; i++) {
        begin(formats[i]);
        sink.grow = refuse_to_grow;
        mc_write_string(&writer, "text");
        finish_says(-ENOSPC, "no room for");
    }
}
END_TEST

/* ---- Memory that runs out ------------------------------------------------ */

static unsigned allocations_left;

static void *scarce_malloc(size_t size)
{
    return allocations_left-- == 0 ? NULL : malloc(size);
}

static int write_some_json(void)
{
    begin(MC_JSON);
    mc_write_map(&writer, 2);
    mc_write_string(&writer, "a");
    mc_write_array(&writer, 2);
    mc_write_string(&writer, "b");
    mc_write_double(&writer, 1.5);
    mc_write_string(&writer, "c");
    mc_write_map(&writer, 0);
    return writer_finish(&writer);
}

static int read_some_json(void)
{
    static const char text[] = "{\"a\": [\"b\", 1.5, 7], \"c\": {}}";
    struct document *document;
    int error = document_open(MC_JSON, text, strlen(text), &document);
    if (error == 0)
        document_close(document);
    return error;
}

/* Runs step with ever more memory, until it has enough; returns how often it
 * had not. */
static unsigned starve(int (*step)(void), int error, int or_error)
{
    json_set_alloc_funcs(scarce_malloc, free);
    for (unsigned failures = 0;; failures++) {
        allocations_left = failures;
        int found = step();
        /* The counter wraps around at the allocation that fails. */
        if (allocations_left <= failures) {
            ck_assert_int_eq(found, 0);
            return failures;
        }
        ck_assert_msg(found == error || found == or_error, "%d: %s", found, error_message());
    }
}

START_TEST(writing_json_without_memory_fails_at_any_point)
{
    ck_assert_uint_gt(starve(write_some_json, -ENOMEM, -ENOMEM), 5);
}
END_TEST

START_TEST(reading_json_without_memory_fails_at_any_point)
{
    /* jansson calls a string invalid for which it has no memory. */
    ck_assert_uint_gt(starve(read_some_json, -ENOMEM, -EBADMSG), 5);
}
END_TEST

TEST_MAIN(serialize_sink, a_value_above_the_limit_names_the_limit,
          a_value_of_exactly_the_limit_fits, json_and_raw_reserve_exactly_what_they_need,
          what_a_sink_held_before_stays, a_sink_that_cannot_grow_decides_the_error,
          writing_json_without_memory_fails_at_any_point,
          reading_json_without_memory_fails_at_any_point)
