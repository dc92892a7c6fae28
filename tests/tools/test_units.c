/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sizes, durations, and the nearest name.
 */
#include "tests/test.h"
#include "tools/nearest.h"
#include "tools/units.h"

#include <errno.h>
#include <string.h>

#define UNTOUCHED UINT64_C(123456789)

static void size_is(const char *text, int result, uint64_t expected)
{
    uint64_t value = UNTOUCHED;
    ck_assert_msg(units_size(text, &value) == result, "'%s'", text);
    ck_assert_msg(value == (result == 0 ? expected : UNTOUCHED), "'%s'", text);
}

static void duration_is(const char *text, int result, uint64_t expected)
{
    uint64_t value = UNTOUCHED;
    ck_assert_msg(units_duration(text, &value) == result, "'%s'", text);
    ck_assert_msg(value == (result == 0 ? expected : UNTOUCHED), "'%s'", text);
}

START_TEST(sizes_are_bytes_or_powers_of_1024)
{
    size_is("0", 0, 0);
    size_is("4096", 0, 4096);
    size_is("1K", 0, 1024);
    size_is("64M", 0, UINT64_C(64) << 20);
    size_is("3G", 0, UINT64_C(3) << 30);
    size_is("16777215T", 0, UINT64_C(16777215) << 40);
    size_is("18446744073709551615", 0, UINT64_MAX);
}
END_TEST

START_TEST(sizes_that_are_none_are_refused)
{
    const char *const texts[] = {"",   "M",  "-1",  "+1",   " 1",   "1 ",  "1 M", "1k",
                                 "1m", "1X", "1MB", "1.5M", "0x10", "1MM", "1,0", "\xff"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        size_is(texts[i], -EINVAL, 0);
}
END_TEST

START_TEST(sizes_that_do_not_fit_are_out_of_range)
{
    size_is("18446744073709551616", -ERANGE, 0);
    size_is("16777216T", -ERANGE, 0);
    size_is("99999999999999999999999999999G", -ERANGE, 0);
}
END_TEST

START_TEST(durations_have_a_unit)
{
    duration_is("500ms", 0, 500);
    duration_is("0ms", 0, 0);
    duration_is("5s", 0, 5000);
    duration_is("2m", 0, 120000);
    duration_is("1h", 0, 3600000);
    duration_is("7d", 0, UINT64_C(604800000));
    duration_is("5", -EINVAL, 0);
    duration_is("", -EINVAL, 0);
    duration_is("s", -EINVAL, 0);
    duration_is("5S", -EINVAL, 0);
    duration_is("1h30m", -EINVAL, 0);
    duration_is("5 s", -EINVAL, 0);
    duration_is("1.5s", -EINVAL, 0);
    duration_is("999999999999999999d", -ERANGE, 0);
}
END_TEST

START_TEST(what_is_written_reads_the_same)
{
    const uint64_t values[] = {0,
                               1,
                               999,
                               1000,
                               1024,
                               1025,
                               60000,
                               90000,
                               3600000,
                               86400000,
                               UINT64_C(1) << 20,
                               UINT64_C(3) << 30,
                               UINT64_C(1) << 40,
                               UINT64_MAX};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        char text[UNITS_TEXT_SIZE];
        size_is(units_of_size(values[i], text), 0, values[i]);
        duration_is(units_of_duration(values[i], text), 0, values[i]);
    }
    char text[UNITS_TEXT_SIZE];
    ck_assert_str_eq(units_of_size(UINT64_C(256) << 20, text), "256M");
    ck_assert_str_eq(units_of_size(0, text), "0");
    ck_assert_str_eq(units_of_duration(90000, text), "90s");
    ck_assert_str_eq(units_of_duration(86400000, text), "1d");
}
END_TEST

static const char *nearest(const char *given)
{
    static const char *const names[] = {"workers", "max-payload", "max-clients", "socket"};
    struct nearest found = nearest_to(given);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        nearest_try(&found, names[i]);
    return found.best != NULL ? found.best : "";
}

START_TEST(the_nearest_name_is_found_if_it_is_near)
{
    char longest[200];
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    ck_assert_str_eq(nearest("workers"), "workers");
    ck_assert_str_eq(nearest("wrokers"), "workers");
    ck_assert_str_eq(nearest("worker"), "workers");
    ck_assert_str_eq(nearest("max_payload"), "max-payload");
    ck_assert_str_eq(nearest("maxclients"), "max-clients");
    ck_assert_str_eq(nearest("colour"), "");
    ck_assert_str_eq(nearest(""), "");
    ck_assert_str_eq(nearest(longest), "");
}
END_TEST

static void time_is(uint64_t ns, const char *expected)
{
    char text[UNITS_TEXT_SIZE];
    ck_assert_str_eq(units_short_time(ns, text), expected);
}

static void memory_is(uint64_t bytes, const char *expected)
{
    char text[UNITS_TEXT_SIZE];
    ck_assert_str_eq(units_short_size(bytes, text), expected);
}

START_TEST(times_and_sizes_for_people_are_short)
{
    const uint64_t second = 1000000000;
    time_is(0, "0ns");
    time_is(999, "999ns");
    time_is(1000, "1.00us");
    time_is(12345, "12.3us");
    time_is(999499, "999us");
    time_is(999500, "1.00ms");
    time_is(1500000000, "1.50s");
    time_is(59 * second, "59.0s");
    time_is(125 * second, "2m05s");
    time_is(11520 * second, "3h12m");
    time_is(454000 * second, "5d06h");
    time_is(UINT64_MAX, "213503d23h");
    memory_is(0, "0");
    memory_is(1023, "1023");
    memory_is(12600, "12.3K");
    memory_is(UINT64_C(3) << 29, "1.50G");
    memory_is(UINT64_MAX, "16777216T");
}
END_TEST

TEST_MAIN(units, sizes_are_bytes_or_powers_of_1024, sizes_that_are_none_are_refused,
          sizes_that_do_not_fit_are_out_of_range, durations_have_a_unit,
          what_is_written_reads_the_same, the_nearest_name_is_found_if_it_is_near,
          times_and_sizes_for_people_are_short)
