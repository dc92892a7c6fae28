/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Reading the load, and averaging the pool's own.
 */
#include "base/error.h"
#include "loadavg/average.h"
#include "loadavg/sample.h"
#include "loadavg/text.h"
#include "tests/test.h"

#include <dirent.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char GOOD_CALM[] = TEST_DATA "/proc/good-calm";
static const char GOOD_BUSY[] = TEST_DATA "/proc/good-busy";
static const char GOOD_WITHOUT_PRESSURE[] = TEST_DATA "/proc/good-without-pressure";

START_TEST(reads_load_run_queue_and_pressure)
{
    struct load_sample sample = {.usable_cores = 3, .own_busy_now = 2};
    ck_assert_int_eq(load_sample_read(GOOD_BUSY, NULL, &sample), 0);
    ck_assert_uint_eq(sample.load1_milli, 3840);
    ck_assert_uint_eq(sample.runnable, 7);
    ck_assert_uint_eq(sample.psi_some_avg10_centi, 8765);
    ck_assert_uint_ne(sample.taken_ms, 0);
    ck_assert_uint_eq(sample.usable_cores, 3);
    ck_assert_uint_eq(sample.own_busy_now, 2);
}
END_TEST

START_TEST(reads_the_machine_by_default)
{
    struct load_sample sample = {0};
    ck_assert_int_eq(load_sample_read(NULL, NULL, &sample), 0);
    ck_assert_uint_ge(sample.runnable, 1);
}
END_TEST

START_TEST(pressure_is_unknown_where_the_kernel_has_none)
{
    struct load_sample sample = {0};
    ck_assert_int_eq(load_sample_read(GOOD_WITHOUT_PRESSURE, NULL, &sample), 0);
    ck_assert_uint_eq(sample.load1_milli, 1700);
    ck_assert_uint_eq(sample.psi_some_avg10_centi, UINT32_MAX);
    ck_assert_int_eq(load_sample_read(TEST_DATA "/proc/bad-pressure", NULL, &sample), 0);
    ck_assert_uint_eq(sample.psi_some_avg10_centi, UINT32_MAX);
}
END_TEST

START_TEST(pressure_of_a_cgroup_replaces_that_of_the_host)
{
    struct load_sample sample = {0};
    const char *pressure = TEST_DATA "/proc/good-busy/pressure/cpu";
    ck_assert_int_eq(load_sample_read(GOOD_CALM, pressure, &sample), 0);
    ck_assert_uint_eq(sample.psi_some_avg10_centi, 8765);
    ck_assert_uint_eq(sample.load1_milli, 110);
    ck_assert_int_eq(load_sample_read(GOOD_CALM, "", &sample), 0);
    ck_assert_uint_eq(sample.psi_some_avg10_centi, 39);
}
END_TEST

START_TEST(under_a_quota_pressure_of_the_host_is_not_read)
{
    struct load_sample sample = {.quota = true};
    ck_assert_int_eq(load_sample_read(GOOD_BUSY, NULL, &sample), 0);
    ck_assert_uint_eq(sample.psi_some_avg10_centi, UINT32_MAX);
}
END_TEST

START_TEST(unreadable_load_is_an_error_that_names_the_file)
{
    struct load_sample sample = {.load1_milli = 7};
    ck_assert_int_eq(load_sample_read(TEST_DATA "/proc/nowhere", NULL, &sample), -ENOENT);
    ck_assert_ptr_nonnull(strstr(error_message(), "/proc/nowhere/loadavg"));
    ck_assert_uint_eq(sample.load1_milli, 7);
}
END_TEST

START_TEST(malformed_load_is_an_error)
{
    static const char *const names[] = {"bad-words", "bad-empty", "bad-short", "bad-comma"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[256];
        struct load_sample sample = {.load1_milli = 7};
        snprintf(path, sizeof(path), "%s/proc/%s", TEST_DATA, names[i]);
        int result = load_sample_read(path, NULL, &sample);
        ck_assert_msg(result == -EBADMSG, "%s gave %d", names[i], result);
        ck_assert_uint_eq(sample.load1_milli, 7);
    }
}
END_TEST

START_TEST(path_that_does_not_fit_is_an_error)
{
    static char path[2 * PATH_MAX];
    struct load_sample sample = {0};
    memset(path, 'a', sizeof(path) - 1);
    ck_assert_int_eq(load_sample_read(path, NULL, &sample), -ENAMETOOLONG);
}
END_TEST

static unsigned open_descriptors(void)
{
    unsigned count = 0;
    DIR *directory = opendir("/proc/self/fd");
    ck_assert_ptr_nonnull(directory);
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

START_TEST(reading_keeps_no_descriptor)
{
    struct load_sample sample = {0};
    unsigned before = open_descriptors();
    for (int i = 0; i < 100; i++) {
        load_sample_read(NULL, NULL, &sample);
        load_sample_read(TEST_DATA "/proc/bad-words", NULL, &sample);
        load_sample_read(TEST_DATA "/proc", NULL, &sample);
    }
    ck_assert_uint_eq(open_descriptors(), before);
}
END_TEST

START_TEST(numbers_end_where_they_end)
{
    uint32_t milli = 7;
    uint64_t value = 7;
    ck_assert_str_eq(text_milli("1.25 rest", &milli), " rest");
    ck_assert_uint_eq(milli, 1250);
    ck_assert_str_eq(text_milli("0.0019", &milli), "");
    ck_assert_uint_eq(milli, 1);
    ck_assert_str_eq(text_milli("4294967.295", &milli), "");
    ck_assert_uint_eq(milli, UINT32_MAX);
    ck_assert_ptr_null(text_milli("4294967.296", &milli));
    ck_assert_ptr_null(text_milli("18446744073709551616", &milli));
    ck_assert_ptr_null(text_milli("", &milli));
    ck_assert_ptr_null(text_milli("1.", &milli));
    ck_assert_ptr_null(text_milli("-1", &milli));
    ck_assert_uint_eq(milli, UINT32_MAX);
    ck_assert_str_eq(text_integer("18446744073709551615/", &value), "/");
    ck_assert_uint_eq(value, UINT64_MAX);
    ck_assert_ptr_null(text_integer("18446744073709551616", &value));
    ck_assert_ptr_null(text_integer("99999999999999999999", &value));
    ck_assert_ptr_null(text_integer("-1", &value));
}
END_TEST

START_TEST(average_follows_an_exponential_of_one_minute)
{
    static const uint64_t elapsed_s[] = {1, 5, 60, 114, 300, 3600};
    for (size_t i = 0; i < sizeof(elapsed_s) / sizeof(elapsed_s[0]); i++) {
        struct load_average average = {0};
        load_average_update(&average, 1000, 2);
        uint32_t milli = load_average_update(&average, 1000 + elapsed_s[i] * 1000, 2);
        double expected = 2000.0 * (1.0 - exp(-(double)elapsed_s[i] / 60.0));
        ck_assert_double_eq_tol(milli, expected, 1.0);
    }
}
END_TEST

START_TEST(average_does_not_depend_on_the_steps)
{
    struct load_average fine = {0};
    struct load_average coarse = {0};
    load_average_update(&fine, 1000, 7);
    load_average_update(&coarse, 1000, 7);
    for (uint64_t now_ms = 1001; now_ms <= 91000; now_ms++)
        load_average_update(&fine, now_ms, 7);
    load_average_update(&coarse, 91000, 7);
    ck_assert_double_eq_tol(fine.seats, coarse.seats, 1e-6);
}
END_TEST

START_TEST(count_given_last_holds_until_the_next)
{
    struct load_average average = {0};
    ck_assert_uint_eq(load_average_update(&average, 1000, 4), 0);
    load_average_update(&average, 3601000, 0);
    ck_assert_double_eq_tol(average.seats, 4.0, 1e-6);
    ck_assert_uint_eq(load_average_update(&average, 3601000, 4), 4000);
    load_average_update(&average, 3602000, 0);
    ck_assert_uint_eq(load_average_update(&average, 7202000, 2), 0);
}
END_TEST

START_TEST(time_that_runs_backwards_counts_as_none)
{
    struct load_average average = {0};
    load_average_update(&average, 60000, 4);
    uint32_t before = load_average_update(&average, 120000, 4);
    ck_assert_uint_eq(load_average_update(&average, 100000, 4), before);
    ck_assert_uint_eq(load_average_update(&average, 120000, 4), before);
}
END_TEST

TEST_MAIN(load_sample, reads_load_run_queue_and_pressure, reads_the_machine_by_default,
          pressure_is_unknown_where_the_kernel_has_none,
          pressure_of_a_cgroup_replaces_that_of_the_host,
          under_a_quota_pressure_of_the_host_is_not_read,
          unreadable_load_is_an_error_that_names_the_file, malformed_load_is_an_error,
          path_that_does_not_fit_is_an_error, reading_keeps_no_descriptor,
          numbers_end_where_they_end, average_follows_an_exponential_of_one_minute,
          average_does_not_depend_on_the_steps, count_given_last_holds_until_the_next,
          time_that_runs_backwards_counts_as_none)
