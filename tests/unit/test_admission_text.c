/* SPDX-License-Identifier: BSD-3-Clause
 *
 * max_load_average as text, and decisions as sentences.
 */
#include "base/error.h"
#include "loadavg/admission.h"
#include "tests/test.h"

#include <locale.h>
#include <stdio.h>
#include <string.h>

static const struct admission_policy LIMIT_85 = {.enabled = true, .limit_milli = 850};

static uint32_t parsed(const char *text)
{
    struct admission_policy policy = {.enabled = false};
    const char *warning = "unset";
    int result = admission_parse(text, &policy, &warning);
    ck_assert_msg(result == 0, "\"%s\": %s", text, error_message());
    ck_assert(policy.enabled);
    ck_assert_ptr_null(warning);
    return policy.limit_milli;
}

START_TEST(no_text_is_no_limit)
{
    struct admission_policy policy = {.enabled = true};
    const char *warning = "unset";
    ck_assert_int_eq(admission_parse(NULL, &policy, &warning), 0);
    ck_assert(!policy.enabled);
    ck_assert_ptr_null(warning);
}
END_TEST

START_TEST(numbers_and_percentages_mean_the_same)
{
    ck_assert_uint_eq(parsed("0.85"), 850);
    ck_assert_uint_eq(parsed(".85"), 850);
    ck_assert_uint_eq(parsed("85%"), 850);
    ck_assert_uint_eq(parsed("85.0%"), 850);
    ck_assert_uint_eq(parsed("1"), 1000);
    ck_assert_uint_eq(parsed("100%"), 1000);
    ck_assert_uint_eq(parsed("0.8559"), 855);
}
END_TEST

START_TEST(limits_of_the_option_are_inclusive)
{
    ck_assert_uint_eq(parsed("0.01"), 10);
    ck_assert_uint_eq(parsed("1%"), 10);
    ck_assert_uint_eq(parsed("10"), 10000);
    ck_assert_uint_eq(parsed("10000%"), 100000);
}
END_TEST

START_TEST(bare_number_above_ten_is_a_percentage_with_a_warning)
{
    struct admission_policy policy;
    const char *warning = NULL;
    ck_assert_int_eq(admission_parse("85", &policy, &warning), 0);
    ck_assert_uint_eq(policy.limit_milli, 850);
    ck_assert_ptr_nonnull(warning);
    ck_assert_ptr_nonnull(strstr(warning, "percentage"));
    ck_assert_int_eq(admission_parse("10.5", &policy, &warning), 0);
    ck_assert_uint_eq(policy.limit_milli, 105);
    ck_assert_ptr_nonnull(warning);
}
END_TEST

START_TEST(nonsense_is_refused_and_leaves_outputs_alone)
{
    static const char *const texts[] = {
        "",        " ",          "abc",
        "-0.85",   "-1",         "+1",
        "nan",     "inf",        "0",
        "0%",      "0.001",      "0.85x",
        "85%%",    "85% ",       " 85",
        "1e1",     "0x1",        "1.",
        "1.2.3",   ".",          "%",
        "10001",   "10000.1%",   "100001",
        "0,85",    "85 %",       "99999999999999999999999999999999999",
        "4294968", "4294967.296"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct admission_policy policy = {.enabled = true, .limit_milli = 7};
        const char *warning = "unset";
        int result = admission_parse(texts[i], &policy, &warning);
        ck_assert_msg(result == -EINVAL, "\"%s\" gave %d", texts[i], result);
        ck_assert_uint_eq(policy.limit_milli, 7);
        ck_assert_str_eq(warning, "unset");
    }
}
END_TEST

START_TEST(error_names_value_limits_and_way_out_in_one_line)
{
    struct admission_policy policy;
    const char *warning;
    ck_assert_int_eq(admission_parse("fast\nplease", &policy, &warning), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error_message(), "max_load_average is \"fast?please\""));
    ck_assert_ptr_nonnull(strstr(error_message(), "0.01 to 10"));
    ck_assert_ptr_nonnull(strstr(error_message(), "NULL"));
    ck_assert_ptr_null(strchr(error_message(), '\n'));
}
END_TEST

START_TEST(parsing_does_not_ask_the_locale)
{
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (setlocale(LC_ALL, names[i]) != NULL)
            break;
    ck_assert_uint_eq(parsed("0.85"), 850);
    setlocale(LC_ALL, "C");
}
END_TEST

static void expect_reason(struct admission decision, enum mc_mode mode, const char *expected)
{
    char buffer[256];
    ck_assert_str_eq(admission_reason(decision, &LIMIT_85, mode, buffer, sizeof(buffer)), expected);
}

START_TEST(reasons_say_value_limit_and_mode)
{
    struct admission load = {.busy = true, .cause = ADMISSION_LOAD, .measured_milli = 1920};
    expect_reason(load, MC_INLINE,
                  "load average 1.92 per core is above max_load_average 0.85: running inline");
    load.measured_milli = 852;
    expect_reason(load, MC_NARROW,
                  "load average 0.852 per core is above max_load_average 0.85: "
                  "running on one worker at a time");
    load.held = true;
    load.measured_milli = 800;
    expect_reason(load, MC_INLINE,
                  "load average 0.80 per core is not yet below 90 % of max_load_average 0.85: "
                  "running inline");
    load = (struct admission){.cause = ADMISSION_LOAD, .measured_milli = 50};
    expect_reason(load, MC_PARALLEL,
                  "load average 0.05 per core is within max_load_average 0.85: "
                  "running in parallel");
    struct admission queue = {.busy = true, .cause = ADMISSION_QUEUE, .measured_milli = 2500};
    expect_reason(queue, MC_INLINE,
                  "2.50 tasks per core wait for a CPU, more than twice max_load_average 0.85: "
                  "running inline");
    struct admission pressure = {.busy = true, .cause = ADMISSION_PRESSURE, .measured_milli = 620};
    expect_reason(pressure, MC_INLINE,
                  "CPU pressure within the CPU quota is 62 %, at least 50 %: running inline");
}
END_TEST

START_TEST(every_decision_has_a_reason_that_fits)
{
    char buffer[160];
    char tiny[8];
    for (uint64_t word = 0; word < 64; word++) {
        struct admission decision = admission_unpack(word | UINT64_C(0x3ffffff) << 6);
        admission_reason(decision, &LIMIT_85, MC_NARROW, buffer, sizeof(buffer));
        ck_assert_ptr_nonnull(strstr(buffer, "one worker"));
        admission_reason(decision, &LIMIT_85, MC_NARROW, tiny, sizeof(tiny));
        ck_assert_uint_eq(strlen(tiny), sizeof(tiny) - 1);
    }
}
END_TEST

TEST_MAIN(admission_text, no_text_is_no_limit, numbers_and_percentages_mean_the_same,
          limits_of_the_option_are_inclusive, bare_number_above_ten_is_a_percentage_with_a_warning,
          nonsense_is_refused_and_leaves_outputs_alone,
          error_names_value_limits_and_way_out_in_one_line, parsing_does_not_ask_the_locale,
          reasons_say_value_limit_and_mode, every_decision_has_a_reason_that_fits)
