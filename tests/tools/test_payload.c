/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the commands print of arguments and results, and the memory limit that the
 * doctor reads.
 */
#include "base/error.h"
#include "tests/test.h"
#include "tools/cgroup_memory.h"
#include "tools/payload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *text;
static size_t text_size;

static FILE *begin(void)
{
    FILE *out = open_memstream(&text, &text_size);
    ck_assert_ptr_nonnull(out);
    return out;
}

static void expect(FILE *out, const char *wanted)
{
    fclose(out);
    ck_assert_str_eq(text, wanted);
    free(text);
}

static void expect_value(enum mc_format format, const void *data, size_t size, const char *wanted)
{
    FILE *out = begin();
    ck_assert_msg(payload_print_value(out, format, data, size, false) == 0, "%s", error_message());
    expect(out, wanted);
}

#define EXPECT_MSGPACK(bytes, wanted) expect_value(MC_MSGPACK, bytes, sizeof(bytes) - 1, wanted)

START_TEST(what_json_lacks_becomes_a_string)
{
    EXPECT_MSGPACK("\xc4\x03\x00\xab\xff", "\"00abff\"");
    EXPECT_MSGPACK("\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "\"18446744073709551615\"");
    EXPECT_MSGPACK("\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", "\"infinity\"");
    EXPECT_MSGPACK("\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", "\"NaN\"");
}
END_TEST

START_TEST(values_of_both_formats_look_alike)
{
    static const char json[] = "{\"a\": [1, -2.5, null, true, \"\\u00e9\"]}";
    static const char wanted[] = "{\"a\":[1,-2.5,null,true,\"\xc3\xa9\"]}";
    expect_value(MC_JSON, json, sizeof(json) - 1, wanted);
    EXPECT_MSGPACK("\x81\xa1"
                   "a\x95\x01\xcb\xc0\x04\x00\x00\x00\x00\x00\x00\xc0\xc3\xa2\xc3\xa9",
                   wanted);
}
END_TEST

START_TEST(what_is_no_value_prints_nothing)
{
    FILE *out = begin();
    ck_assert_int_eq(payload_print_value(out, MC_JSON, "{", 1, true), -EBADMSG);
    ck_assert_int_eq(payload_print_value(out, MC_MSGPACK, "\xdd\x01\x00\x00\x00", 5, true),
                     -EBADMSG);
    expect(out, "");
}
END_TEST

START_TEST(bytes_on_a_line_say_nothing_to_a_terminal)
{
    FILE *out = begin();
    payload_print_escaped(out, "a\n\\\x1b[0m\x7f\0", 9, false);
    expect(out, "a\\n\\\\\\x1b[0m\\x7f\\x00");
    out = begin();
    payload_print_escaped(out, "\xc3\xa9 \xc2\x9b", 5, false);
    expect(out, "\xc3\xa9 \xc2\x9b");
    out = begin();
    payload_print_escaped(out, "\xc3\xa9 \xc2\x9b", 5, true);
    expect(out, "\\xc3\\xa9 \\xc2\\x9b");
}
END_TEST

START_TEST(values_of_others_are_printed_in_plain_ascii)
{
    FILE *out = begin();
    json_t *json = json_pack("{s:s}", "\x7f\xc3\xa9", "\x1b[2J\xc2\x9b");
    payload_print_plain(out, json);
    json_decref(json);
    expect(out, "{\n  \"\\u007f\\u00E9\": \"\\u001B[2J\\u009B\"\n}");
}
END_TEST

START_TEST(a_dump_has_a_line_for_each_16_bytes)
{
    FILE *out = begin();
    payload_dump(out, "0123456789abcdef\n", 17, 0);
    expect(out, "00000000  30 31 32 33 34 35 36 37  38 39 61 62 63 64 65 66  |0123456789abcdef|\n"
                "00000010  0a                                                |.|\n");
}
END_TEST

START_TEST(the_smallest_memory_limit_of_all_groups_counts)
{
    ck_assert_uint_eq(cgroup_memory_limit(TEST_DATA "/proc/v2-memory"), UINT64_C(268435456));
    ck_assert_uint_eq(cgroup_memory_limit(TEST_DATA "/proc/v1-memory"), UINT64_C(134217728));
    ck_assert_uint_eq(cgroup_memory_limit(TEST_DATA "/proc/v2-unlimited"), UINT64_MAX);
    ck_assert_uint_eq(cgroup_memory_limit("/nowhere"), UINT64_MAX);
}
END_TEST

TEST_MAIN(payload, what_json_lacks_becomes_a_string, values_of_both_formats_look_alike,
          what_is_no_value_prints_nothing, bytes_on_a_line_say_nothing_to_a_terminal,
          values_of_others_are_printed_in_plain_ascii, a_dump_has_a_line_for_each_16_bytes,
          the_smallest_memory_limit_of_all_groups_counts)
