/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What mc_value_* says about a decoded tree, and about what is not in it.
 */
#include "serialize/codec.h"
#include "tests/test.h"

#include <string.h>

static mc_value at(mc_value array, size_t index)
{
    mc_value element;
    ck_assert_int_eq(mc_value_at(array, index, &element), 0);
    return element;
}

static mc_value get(mc_value map, const char *key)
{
    mc_value found;
    ck_assert_int_eq(mc_value_get(map, key, &found), 0);
    return found;
}

START_TEST(a_zeroed_value_reads_as_nil)
{
    mc_value value = {0}, out;
    double number;
    ck_assert_int_eq(mc_value_type(value), MC_NIL);
    ck_assert_uint_eq(mc_value_count(value), 0);
    ck_assert_int_eq(mc_value_double(value, &number), -EINVAL);
    ck_assert_int_eq(mc_value_at(value, 0, &out), -EINVAL);
    ck_assert_int_eq(mc_value_entry(value, 0, &out, &out), -EINVAL);
    ck_assert_int_eq(mc_value_get(value, "key", &out), -EINVAL);
    ck_assert_str_eq(error_message(), "a map was asked for, but the value is nil");
}
END_TEST

START_TEST(asking_for_another_type_says_what_was_found)
{
    struct document *document;
    ck_assert_int_eq(document_open(MC_JSON, "[\"text\", 1.5]", 13, &document), 0);
    mc_value root = document_root(document), out;
    int64_t integer = 7;
    uint64_t positive;
    bool yes;
    const char *text;
    const void *bytes;
    size_t size;
    ck_assert_int_eq(mc_value_int(at(root, 0), &integer), -EINVAL);
    ck_assert_str_eq(error_message(),
                     "an integer was asked for, but the value is a string (decoded as JSON)");
    ck_assert_int_eq(integer, 7);
    ck_assert_int_eq(mc_value_int(at(root, 1), &integer), -EINVAL);
    ck_assert_int_eq(mc_value_uint(at(root, 1), &positive), -EINVAL);
    ck_assert_int_eq(mc_value_bool(at(root, 1), &yes), -EINVAL);
    ck_assert_int_eq(mc_value_string(root, &text, &size), -EINVAL);
    ck_assert_int_eq(mc_value_bytes(at(root, 0), &bytes, &size), -EINVAL);
    ck_assert_int_eq(mc_value_entry(root, 0, &out, &out), -EINVAL);
    ck_assert_int_eq(mc_value_at(at(root, 0), 0, &out), -EINVAL);
    ck_assert_uint_eq(mc_value_count(at(root, 0)), 0);
    document_close(document);
}
END_TEST

START_TEST(integers_convert_where_their_value_allows_it)
{
    static const char bytes[] = "\x93\xff\x05\xcf\x80\0\0\0\0\0\0\0"; /* [-1, 5, 2^63] */
    struct document *document;
    ck_assert_int_eq(document_open(MC_MSGPACK, bytes, sizeof(bytes) - 1, &document), 0);
    mc_value root = document_root(document);
    uint64_t positive = 7;
    int64_t integer = 7;
    double number;
    ck_assert_int_eq(mc_value_uint(at(root, 0), &positive), -ERANGE);
    ck_assert_int_eq(mc_value_int(at(root, 2), &integer), -ERANGE);
    ck_assert_ptr_nonnull(strstr(error_message(), "9223372036854775808"));
    ck_assert(positive == 7 && integer == 7);
    ck_assert_int_eq(mc_value_uint(at(root, 1), &positive), 0);
    ck_assert_uint_eq(positive, 5);
    ck_assert_int_eq(mc_value_double(at(root, 0), &number), 0);
    ck_assert(number == -1.0);
    ck_assert_int_eq(mc_value_double(at(root, 2), &number), 0);
    ck_assert(number == 9223372036854775808.0);
    document_close(document);
}
END_TEST

START_TEST(what_is_not_there_is_named)
{
    struct document *document;
    ck_assert_int_eq(document_open(MC_JSON, "{\"ab\": [1, 2]}", 14, &document), 0);
    mc_value root = document_root(document), out;
    ck_assert_int_eq(mc_value_get(root, "a", &out), -ENOENT);
    ck_assert_str_eq(error_message(), "the map has no key \"a\" among its 1");
    ck_assert_int_eq(mc_value_get(root, "abc", &out), -ENOENT);
    ck_assert_int_eq(mc_value_get(root, NULL, &out), -EINVAL);
    ck_assert_int_eq(
        mc_value_get(root, "a\nlengthy key is cut \xc3\xbc after sixty bytes, on one line", &out),
        -ENOENT);
    ck_assert_str_eq(error_message(),
                     "the map has no key \"a?lengthy key is cut \xc3\xbc after sixty "
                     "bytes, on one line\" among its 1");
    ck_assert_int_eq(
        mc_value_get(root, "0123456789012345678901234567890123456789012345678901234567890", &out),
        -ENOENT);
    ck_assert_str_eq(error_message(),
                     "the map has no key \"01234567890123456789012345678901234567890123456789"
                     "0123456789...\" among its 1");
    ck_assert_int_eq(mc_value_at(get(root, "ab"), 2, &out), -ERANGE);
    ck_assert_str_eq(error_message(), "index 2 is past the end: an array of 2 elements");
    ck_assert_int_eq(mc_value_entry(root, 1, &out, &out), -ERANGE);
    document_close(document);
}
END_TEST

START_TEST(keys_are_compared_as_a_whole)
{
    static const char bytes[] = "\x82\xa3"
                                "a\0b\x01\xa1"
                                "a\x02"; /* {"a\0b": 1, "a": 2} */
    struct document *document;
    int64_t integer;
    ck_assert_int_eq(document_open(MC_MSGPACK, bytes, sizeof(bytes) - 1, &document), 0);
    ck_assert_int_eq(mc_value_int(get(document_root(document), "a"), &integer), 0);
    ck_assert_int_eq(integer, 2);
    document_close(document);
}
END_TEST

START_TEST(json_is_copied_and_messagepack_is_read_in_place)
{
    char json[] = "\"text\"", msgpack[] = "\xa4text";
    struct document *document;
    ck_assert_int_eq(document_open(MC_JSON, json, 6, &document), 0);
    memset(json, 'x', sizeof(json));
    const char *text;
    size_t size;
    ck_assert_int_eq(mc_value_string(document_root(document), &text, &size), 0);
    ck_assert_mem_eq(text, "text", 4);
    document_close(document);

    ck_assert_int_eq(document_open(MC_MSGPACK, msgpack, 5, &document), 0);
    ck_assert_int_eq(mc_value_string(document_root(document), &text, &size), 0);
    ck_assert_ptr_eq(text, msgpack + 1);
    document_close(document);
}
END_TEST

START_TEST(four_gibibytes_are_refused_unread)
{
    struct document *document;
    ck_assert_int_eq(document_open(MC_MSGPACK, NULL, (size_t)UINT32_MAX + 1, &document), -EMSGSIZE);
    ck_assert_str_eq(error_message(),
                     "4294967296 bytes are too many for one MessagePack value; the "
                     "limit is 4294967295");
}
END_TEST

START_TEST(an_unknown_format_is_refused)
{
    struct document *document;
    struct mc_writer writer = {0};
    struct sink sink = {0};
    ck_assert_int_eq(document_open((enum mc_format)3, "", 0, &document), -EINVAL);
    ck_assert_int_eq(writer_init(&writer, (enum mc_format)3, &sink), -EINVAL);
    document_close(NULL);
}
END_TEST

TEST_MAIN(serialize_value, a_zeroed_value_reads_as_nil, asking_for_another_type_says_what_was_found,
          integers_convert_where_their_value_allows_it, what_is_not_there_is_named,
          keys_are_compared_as_a_whole, json_is_copied_and_messagepack_is_read_in_place,
          four_gibibytes_are_refused_unread, an_unknown_format_is_refused)
