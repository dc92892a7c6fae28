/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a writer refuses, and how it keeps its first error.
 */
#include "serialize/codec.h"
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const enum mc_format structured[] = {MC_JSON, MC_MSGPACK};
enum { STRUCTURED = 2, LIMIT = 1000 };

static uint8_t memory[LIMIT];

static int grow(struct sink *sink, size_t capacity)
{
    ck_assert_uint_le(capacity, sink->limit);
    sink->data = memory;
    sink->capacity = capacity;
    return 0;
}

static struct sink sink;
static struct mc_writer writer;

static void begin(enum mc_format format)
{
    sink = (struct sink){.limit = LIMIT, .grow = grow};
    ck_assert_int_eq(writer_init(&writer, format, &sink), 0);
}

/* Ends a writer that failed: same error, same words, nothing left behind. */
static void ends_with(int error, const char *words)
{
    ck_assert_msg(strstr(error_message(), words) != NULL, "\"%s\" is not in \"%s\"", words,
                  error_message());
    char first[ERROR_MESSAGE_SIZE];
    snprintf(first, sizeof(first), "%s", error_message());
    error_set(-EIO, "something else went wrong meanwhile");
    ck_assert_int_eq(mc_write_nil(&writer), error);
    ck_assert_str_eq(error_message(), first);
    error_set(-EIO, "something else went wrong meanwhile");
    ck_assert_int_eq(writer_finish(&writer), error);
    ck_assert_str_eq(error_message(), first);
    ck_assert_uint_eq(sink.size, 0);
    writer_fini(&writer);
}

static void finish_says(int error, const char *words)
{
    ck_assert_int_eq(writer_finish(&writer), error);
    ck_assert_msg(strstr(error_message(), words) != NULL, "\"%s\" is not in \"%s\"", words,
                  error_message());
    ck_assert_uint_eq(sink.size, 0);
}

START_TEST(the_first_error_is_kept_whatever_follows)
{
    for (int i = 0; i < STRUCTURED; i++) {
        begin(structured[i]);
        mc_write_map(&writer, 1);
        ck_assert_int_eq(mc_write_int(&writer, 1), -EINVAL);
        ck_assert_int_eq(mc_write_string(&writer, "\xff"), -EINVAL);
        ck_assert_int_eq(mc_write_array(&writer, SIZE_MAX), -EINVAL);
        ends_with(-EINVAL, "an integer was written where a key of a map goes");
    }
}
END_TEST

START_TEST(level_sixty_five_is_refused)
{
    for (int i = 0; i < STRUCTURED; i++) {
        begin(structured[i]);
        for (int level = 0; level < DEPTH_LIMIT; level++)
            ck_assert_int_eq(mc_write_array(&writer, 1), 0);
        ck_assert_int_eq(mc_write_array(&writer, 0), -EMSGSIZE);
        ends_with(-EMSGSIZE, "the limit is 64 levels");
    }
}
END_TEST

START_TEST(keys_must_be_strings)
{
    for (int i = 0; i < STRUCTURED; i++) {
        for (int kind = 0; kind < 3; kind++) {
            begin(structured[i]);
            mc_write_map(&writer, 2);
            mc_write_string(&writer, "first");
            mc_write_string(&writer, "its value");
            ck_assert_int_eq(kind == 0   ? mc_write_nil(&writer)
                             : kind == 1 ? mc_write_map(&writer, 0)
                                         : mc_write_bytes(&writer, "key", 3),
                             -EINVAL);
            ends_with(-EINVAL, "keys are strings");
        }
    }
}
END_TEST

START_TEST(keys_have_no_zero_byte)
{
    for (int i = 0; i < STRUCTURED; i++) {
        begin(structured[i]);
        mc_write_map(&writer, 1);
        ck_assert_int_eq(mc_write_text(&writer, "a\0b", 3), -EINVAL);
        ends_with(-EINVAL, "the key \"a?b\" has a zero byte");
    }
}
END_TEST

START_TEST(json_keys_are_written_once)
{
    begin(MC_JSON);
    mc_write_map(&writer, 2);
    mc_write_string(&writer, "same");
    mc_write_nil(&writer);
    ck_assert_int_eq(mc_write_string(&writer, "same"), -EINVAL);
    ends_with(-EINVAL, "the key \"same\" was written twice");
}
END_TEST

START_TEST(strings_must_be_utf8)
{
    static const char *const wrong[] = {
        "\xff", "\x80", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "12345678\xfe"};
    for (int i = 0; i < STRUCTURED; i++) {
        for (size_t k = 0; k < sizeof(wrong) / sizeof(wrong[0]); k++) {
            begin(structured[i]);
            ck_assert_int_eq(mc_write_string(&writer, wrong[k]), -EINVAL);
            ends_with(-EINVAL, "is not UTF-8: byte 0x");
        }
    }
}
END_TEST

START_TEST(null_is_no_string)
{
    for (int i = 0; i < STRUCTURED; i++) {
        begin(structured[i]);
        ck_assert_int_eq(mc_write_string(&writer, NULL), -EINVAL);
        ends_with(-EINVAL, "a string was written from NULL");
    }
}
END_TEST

START_TEST(json_has_no_bytes)
{
    begin(MC_JSON);
    ck_assert_int_eq(mc_write_bytes(&writer, "b", 1), -EINVAL);
    ends_with(-EINVAL, "JSON has no bytes; use MessagePack, or write them as a string in base64");
}
END_TEST

START_TEST(json_has_no_nan_and_no_infinity)
{
    static const double wrong[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++) {
        begin(MC_JSON);
        ck_assert_int_eq(mc_write_double(&writer, wrong[i]), -EINVAL);
        ends_with(-EINVAL, "finite numbers only");
    }
}
END_TEST

START_TEST(json_has_no_integers_above_int64_max)
{
    begin(MC_JSON);
    mc_write_array(&writer, 2);
    ck_assert_int_eq(mc_write_uint(&writer, INT64_MAX), 0);
    ck_assert_int_eq(mc_write_uint(&writer, UINT64_MAX), -EINVAL);
    ends_with(-EINVAL, "18446744073709551615 cannot be written as JSON: the limit is INT64_MAX, "
                       "9223372036854775807");
}
END_TEST

START_TEST(raw_takes_one_piece_of_bytes_only)
{
    begin(MC_RAW);
    ck_assert_int_eq(mc_write_int(&writer, 1), -EINVAL);
    ends_with(-EINVAL, "an integer cannot be written as raw bytes");
    begin(MC_RAW);
    ck_assert_int_eq(mc_write_array(&writer, 1), -EINVAL);
    ends_with(-EINVAL, "an array cannot be written as raw bytes");
    begin(MC_RAW);
    ck_assert_int_eq(mc_write_string(&writer, "\xff is fine here"), 0);
    ck_assert_int_eq(mc_write_bytes(&writer, "more", 4), -EINVAL);
    ends_with(-EINVAL, "after a complete value");
}
END_TEST

START_TEST(an_incomplete_value_says_what_is_missing)
{
    begin(MC_RAW);
    finish_says(-EINVAL, "nothing was written");
    for (int i = 0; i < STRUCTURED; i++) {
        begin(structured[i]);
        finish_says(-EINVAL, "nothing was written");
        begin(structured[i]);
        mc_write_array(&writer, 3);
        mc_write_array(&writer, 0);
        finish_says(-EINVAL, "2 more elements are missing from an array at level 1");
        begin(structured[i]);
        mc_write_array(&writer, 1);
        mc_write_map(&writer, 2);
        mc_write_string(&writer, "key");
        finish_says(-EINVAL, "3 more keys and values are missing from a map at level 2");
    }
}
END_TEST

START_TEST(a_second_value_is_refused)
{
    for (int i = 0; i < STRUCTURED; i++) {
        begin(structured[i]);
        mc_write_array(&writer, 1);
        mc_write_map(&writer, 0);
        ck_assert_int_eq(mc_write_bool(&writer, true), -EINVAL);
        ends_with(-EINVAL, "a boolean was written after a complete value");
    }
}
END_TEST

START_TEST(a_writer_that_is_not_begun_says_so)
{
    struct mc_writer zeroed = {0};
    ck_assert_int_eq(mc_write_nil(NULL), -EINVAL);
    ck_assert_int_eq(mc_write_nil(&zeroed), -EINVAL);
    ck_assert_int_eq(writer_finish(&zeroed), -EINVAL);
    writer_fini(&zeroed);
    begin(MC_JSON);
    mc_write_nil(&writer);
    ck_assert_int_eq(writer_finish(&writer), 0);
    ck_assert_int_eq(mc_write_nil(&writer), -EINVAL);
    ck_assert_int_eq(writer_finish(&writer), -EINVAL);
    writer_fini(&writer);
    ck_assert_uint_eq(sink.size, strlen("null"));
}
END_TEST

TEST_MAIN(serialize_writer, the_first_error_is_kept_whatever_follows, level_sixty_five_is_refused,
          keys_must_be_strings, keys_have_no_zero_byte, json_keys_are_written_once,
          strings_must_be_utf8, null_is_no_string, json_has_no_bytes,
          json_has_no_nan_and_no_infinity, json_has_no_integers_above_int64_max,
          raw_takes_one_piece_of_bytes_only, an_incomplete_value_says_what_is_missing,
          a_second_value_is_refused, a_writer_that_is_not_begun_says_so)
