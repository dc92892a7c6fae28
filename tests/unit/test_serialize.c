/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What is written is read back.
 */
#include "serialize/codec.h"
#include "tests/test.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const enum mc_format structured[] = {MC_JSON, MC_MSGPACK};
enum { STRUCTURED = 2 };

/* Always moves, and never gives more than was asked for, so that a sanitizer
 * sees every use of the old place and every byte too many. */
static int grow(struct sink *sink, size_t capacity)
{
    uint8_t *moved = malloc(capacity);
    if (sink->size != 0)
        memcpy(moved, sink->data, sink->size);
    free(sink->data);
    sink->data = moved;
    sink->capacity = capacity;
    return 0;
}

struct trip {
    struct sink sink;
    struct mc_writer writer;
    struct document *document;
};

static mc_writer *begin(struct trip *trip, enum mc_format format)
{
    *trip = (struct trip){.sink = {.limit = 1 << 20, .grow = grow}};
    ck_assert_int_eq(writer_init(&trip->writer, format, &trip->sink), 0);
    return &trip->writer;
}

static mc_value read_back(struct trip *trip, enum mc_format format)
{
    int error = writer_finish(&trip->writer);
    ck_assert_msg(error == 0, "%s", error_message());
    error = document_open(format, trip->sink.data, trip->sink.size, &trip->document);
    ck_assert_msg(error == 0, "%s", error_message());
    return document_root(trip->document);
}

static void end(struct trip *trip)
{
    document_close(trip->document);
    free(trip->sink.data);
}

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

static void assert_string(mc_value value, const char *expected, size_t size)
{
    const char *text;
    size_t found;
    ck_assert_int_eq(mc_value_string(value, &text, &found), 0);
    ck_assert_uint_eq(found, size);
    ck_assert_mem_eq(text, expected, size);
}

START_TEST(nil_and_booleans_round_trip)
{
    for (int i = 0; i < STRUCTURED; i++) {
        struct trip trip;
        mc_writer *writer = begin(&trip, structured[i]);
        mc_write_array(writer, 3);
        mc_write_nil(writer);
        mc_write_bool(writer, true);
        mc_write_bool(writer, false);
        mc_value root = read_back(&trip, structured[i]);
        bool yes = false, no = true;
        ck_assert_int_eq(mc_value_type(at(root, 0)), MC_NIL);
        ck_assert_int_eq(mc_value_bool(at(root, 1), &yes), 0);
        ck_assert_int_eq(mc_value_bool(at(root, 2), &no), 0);
        ck_assert(yes && !no);
        end(&trip);
    }
}
END_TEST

START_TEST(integers_round_trip_from_int64_min_to_int64_max)
{
    static const int64_t integers[] = {
        0,         1,         -1,         31,        -32,       -33,          127,   128,
        -128,      -129,      255,        256,       32767,     -32768,       65535, 65536,
        INT32_MAX, INT32_MIN, UINT32_MAX, INT64_MAX, INT64_MIN, INT64_MIN + 1};
    enum { COUNT = sizeof(integers) / sizeof(integers[0]) };
    for (int i = 0; i < STRUCTURED; i++) {
        struct trip trip;
        mc_writer *writer = begin(&trip, structured[i]);
        mc_write_array(writer, COUNT);
        for (int k = 0; k < COUNT; k++)
            mc_write_int(writer, integers[k]);
        mc_value root = read_back(&trip, structured[i]);
        for (int k = 0; k < COUNT; k++) {
            int64_t found;
            ck_assert_int_eq(mc_value_type(at(root, k)), MC_INT);
            ck_assert_int_eq(mc_value_int(at(root, k), &found), 0);
            ck_assert_int_eq(found, integers[k]);
        }
        end(&trip);
    }
}
END_TEST

START_TEST(unsigned_integers_above_int64_max_round_trip_in_messagepack)
{
    struct trip trip;
    mc_writer *writer = begin(&trip, MC_MSGPACK);
    mc_write_array(writer, 3);
    mc_write_uint(writer, UINT64_MAX);
    mc_write_uint(writer, (uint64_t)INT64_MAX + 1);
    mc_write_uint(writer, INT64_MAX);
    mc_value root = read_back(&trip, MC_MSGPACK);
    uint64_t found;
    ck_assert_int_eq(mc_value_type(at(root, 0)), MC_UINT);
    ck_assert_int_eq(mc_value_uint(at(root, 0), &found), 0);
    ck_assert_uint_eq(found, UINT64_MAX);
    ck_assert_int_eq(mc_value_type(at(root, 1)), MC_UINT);
    ck_assert_int_eq(mc_value_type(at(root, 2)), MC_INT);
    end(&trip);
}
END_TEST

START_TEST(doubles_round_trip_to_the_last_bit_and_stay_doubles)
{
    static const double doubles[] = {0.0,
                                     -0.0,
                                     1.0,
                                     -2.5,
                                     0.1,
                                     1e300,
                                     5e-324,
                                     1.0 / 3.0,
                                     1e15 + 1,
                                     1e17,
                                     2.2250738585072014e-308,
                                     1.7976931348623157e308};
    enum { COUNT = sizeof(doubles) / sizeof(doubles[0]) };
    for (int i = 0; i < STRUCTURED; i++) {
        struct trip trip;
        mc_writer *writer = begin(&trip, structured[i]);
        mc_write_array(writer, COUNT);
        for (int k = 0; k < COUNT; k++)
            mc_write_double(writer, doubles[k]);
        mc_value root = read_back(&trip, structured[i]);
        for (int k = 0; k < COUNT; k++) {
            double found;
            ck_assert_int_eq(mc_value_type(at(root, k)), MC_DOUBLE);
            ck_assert_int_eq(mc_value_double(at(root, k), &found), 0);
            ck_assert_mem_eq(&found, &doubles[k], sizeof(found));
        }
        end(&trip);
    }
}
END_TEST

START_TEST(nan_and_infinity_round_trip_in_messagepack)
{
    struct trip trip;
    mc_writer *writer = begin(&trip, MC_MSGPACK);
    mc_write_array(writer, 2);
    mc_write_double(writer, NAN);
    mc_write_double(writer, -INFINITY);
    mc_value root = read_back(&trip, MC_MSGPACK);
    double found;
    ck_assert_int_eq(mc_value_double(at(root, 0), &found), 0);
    ck_assert(isnan(found));
    ck_assert_int_eq(mc_value_double(at(root, 1), &found), 0);
    ck_assert(found == -INFINITY);
    end(&trip);
}
END_TEST

START_TEST(strings_round_trip_with_any_unicode_and_zero_bytes)
{
    static const char mixed[] =
        "a\0b\"\\/\n\x7f\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf";
    char lengthy[70000];
    memset(lengthy, 'x', sizeof(lengthy));
    for (int i = 0; i < STRUCTURED; i++) {
        struct trip trip;
        mc_writer *writer = begin(&trip, structured[i]);
        mc_write_array(writer, 4);
        mc_write_string(writer, "");
        mc_write_text(writer, NULL, 0);
        mc_write_text(writer, mixed, sizeof(mixed) - 1);
        mc_write_text(writer, lengthy, sizeof(lengthy));
        mc_value root = read_back(&trip, structured[i]);
        assert_string(at(root, 0), "", 0);
        assert_string(at(root, 1), "", 0);
        assert_string(at(root, 2), mixed, sizeof(mixed) - 1);
        assert_string(at(root, 3), lengthy, sizeof(lengthy));
        end(&trip);
    }
}
END_TEST

START_TEST(bytes_round_trip_in_messagepack_and_are_read_in_place)
{
    static const char bytes[] = "\xff\x00\xc1 not UTF-8";
    struct trip trip;
    mc_writer *writer = begin(&trip, MC_MSGPACK);
    mc_write_array(writer, 2);
    mc_write_bytes(writer, bytes, sizeof(bytes));
    mc_write_bytes(writer, NULL, 0);
    mc_value root = read_back(&trip, MC_MSGPACK);
    const void *found;
    size_t size;
    ck_assert_int_eq(mc_value_bytes(at(root, 0), &found, &size), 0);
    ck_assert_uint_eq(size, sizeof(bytes));
    ck_assert_mem_eq(found, bytes, sizeof(bytes));
    ck_assert((const uint8_t *)found > trip.sink.data);
    ck_assert((const uint8_t *)found < trip.sink.data + trip.sink.size);
    ck_assert_int_eq(mc_value_bytes(at(root, 1), &found, &size), 0);
    ck_assert_uint_eq(size, 0);
    end(&trip);
}
END_TEST

START_TEST(raw_payloads_are_one_value_of_bytes)
{
    struct trip trip;
    mc_writer *writer = begin(&trip, MC_RAW);
    mc_write_bytes(writer, "\xff\0raw", 5);
    mc_value root = read_back(&trip, MC_RAW);
    const void *found;
    size_t size;
    ck_assert_int_eq(mc_value_type(root), MC_BYTES);
    ck_assert_int_eq(mc_value_bytes(root, &found, &size), 0);
    ck_assert_uint_eq(size, 5);
    ck_assert_ptr_eq(found, trip.sink.data);
    ck_assert_mem_eq(found, "\xff\0raw", 5);
    end(&trip);

    struct document *empty;
    ck_assert_int_eq(document_open(MC_RAW, NULL, 0, &empty), 0);
    ck_assert_int_eq(mc_value_bytes(document_root(empty), &found, &size), 0);
    ck_assert_uint_eq(size, 0);
    ck_assert_ptr_nonnull(found);
    document_close(empty);
}
END_TEST

START_TEST(empty_containers_round_trip)
{
    for (int i = 0; i < STRUCTURED; i++) {
        struct trip trip;
        mc_writer *writer = begin(&trip, structured[i]);
        mc_write_map(writer, 2);
        mc_write_string(writer, "array");
        mc_write_array(writer, 0);
        mc_write_string(writer, "map");
        mc_write_map(writer, 0);
        mc_value root = read_back(&trip, structured[i]);
        ck_assert_int_eq(mc_value_type(get(root, "array")), MC_ARRAY);
        ck_assert_int_eq(mc_value_type(get(root, "map")), MC_MAP);
        ck_assert_uint_eq(mc_value_count(get(root, "array")), 0);
        ck_assert_uint_eq(mc_value_count(get(root, "map")), 0);
        end(&trip);
    }
}
END_TEST

START_TEST(entries_come_in_the_order_in_which_they_were_written)
{
    enum { COUNT = 300 };
    for (int i = 0; i < STRUCTURED; i++) {
        struct trip trip;
        mc_writer *writer = begin(&trip, structured[i]);
        mc_write_map(writer, COUNT);
        char name[16];
        for (int k = 0; k < COUNT; k++) {
            snprintf(name, sizeof(name), "key-%d", (k * 7919) % COUNT);
            mc_write_string(writer, name);
            mc_write_int(writer, k);
        }
        mc_value root = read_back(&trip, structured[i]);
        ck_assert_uint_eq(mc_value_count(root), COUNT);
        for (int k = 0; k < COUNT; k++) {
            mc_value key, value;
            int64_t found;
            snprintf(name, sizeof(name), "key-%d", (k * 7919) % COUNT);
            ck_assert_int_eq(mc_value_entry(root, k, &key, &value), 0);
            assert_string(key, name, strlen(name));
            ck_assert_int_eq(mc_value_int(value, &found), 0);
            ck_assert_int_eq(found, k);
            ck_assert_int_eq(mc_value_int(get(root, name), &found), 0);
            ck_assert_int_eq(found, k);
        }
        end(&trip);
    }
}
END_TEST

START_TEST(sixty_four_levels_round_trip)
{
    for (int i = 0; i < STRUCTURED; i++) {
        struct trip trip;
        mc_writer *writer = begin(&trip, structured[i]);
        for (int level = 1; level < DEPTH_LIMIT; level++) {
            if (level % 2 == 0) {
                mc_write_map(writer, 1);
                mc_write_string(writer, "in");
            } else {
                mc_write_array(writer, 1);
            }
        }
        mc_write_array(writer, 0);
        mc_value value = read_back(&trip, structured[i]);
        for (int level = 1; level < DEPTH_LIMIT; level++)
            value = level % 2 == 0 ? get(value, "in") : at(value, 0);
        ck_assert_int_eq(mc_value_type(value), MC_ARRAY);
        ck_assert_uint_eq(mc_value_count(value), 0);
        end(&trip);
    }
}
END_TEST

TEST_MAIN(serialize, nil_and_booleans_round_trip, integers_round_trip_from_int64_min_to_int64_max,
          unsigned_integers_above_int64_max_round_trip_in_messagepack,
          doubles_round_trip_to_the_last_bit_and_stay_doubles,
          nan_and_infinity_round_trip_in_messagepack,
          strings_round_trip_with_any_unicode_and_zero_bytes,
          bytes_round_trip_in_messagepack_and_are_read_in_place,
          raw_payloads_are_one_value_of_bytes, empty_containers_round_trip,
          entries_come_in_the_order_in_which_they_were_written, sixty_four_levels_round_trip)
