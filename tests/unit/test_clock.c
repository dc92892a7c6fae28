/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The rate of the machine's counter, measured by somebody who is interrupted.
 */
#include "base/clock.h"
#include "base/fault.h"
#include "tests/test.h"

#include <signal.h>
#include <time.h>

enum { INTERRUPTION_MS = 5, SPAN_MS = 20 };

static void stay(long ms)
{
    uint64_t until = clock_ns() + (uint64_t)ms * 1000000;
    while (clock_ns() < until) {
    }
}

static void interrupt(int signal)
{
    (void)signal;
    stay(INTERRUPTION_MS);
}

/* A difference by the counter agrees with the system's clock to 1 in 1,000. Who is
 * interrupted here is only less sure. */
static void expect_rate(void)
{
    uint64_t ticks[4], ns[2];
    for (int i = 0; i < 2; i++) {
        ticks[2 * i] = clock_ticks();
        ns[i] = clock_ns();
        ticks[2 * i + 1] = clock_ticks();
        stay(SPAN_MS);
    }
    uint64_t real = ns[1] - ns[0], error = real / 1000;
    ck_assert_uint_le(clock_ticks_ns(ticks[2] - ticks[1]), real + error);
    ck_assert_uint_ge(clock_ticks_ns(ticks[3] - ticks[0]), real - error);
}

static void arm(void)
{
    struct sigaction action = {.sa_handler = interrupt};
    sigaction(SIGUSR1, &action, NULL);
    fault_arm("clock_reading", SIGUSR1, 1);
}

START_TEST(an_interruption_at_the_first_reading_does_not_count)
{
    arm();
    clock_calibrate_begin();
    stay(SPAN_MS);
    clock_calibrate_end();
    ck_assert(fault_struck());
    expect_rate();
}
END_TEST

START_TEST(an_interruption_at_the_last_reading_does_not_count)
{
    clock_calibrate_begin();
    stay(SPAN_MS);
    arm();
    clock_calibrate_end();
    ck_assert(fault_struck());
    expect_rate();
}
END_TEST

START_TEST(a_longer_span_is_measured_again)
{
    clock_calibrate_begin();
    stay(1);
    clock_calibrate_end();
    uint64_t span = clock_machine.span;
    clock_calibrate_again();
    stay(SPAN_MS);
    clock_calibrate_again();
    if (clock_machine.counter)
        ck_assert_uint_gt(clock_machine.span, 2 * span);
    expect_rate();
}
END_TEST

START_TEST(a_rate_that_was_measured_stays_when_another_pool_is_opened)
{
    clock_calibrate_begin();
    stay(1);
    clock_calibrate_end();
    uint64_t scale = clock_machine.scale, before = clock_quick_ns();
    stay(SPAN_MS);
    clock_calibrate_begin();
    clock_calibrate_end();
    ck_assert_uint_eq(clock_machine.scale, scale);
    ck_assert_uint_ge(clock_quick_ns(), before);
}
END_TEST

/* ---- suspension ---- */

static const uint64_t minute = UINT64_C(60000000000), hour = 60 * minute;

/* A counter of two ticks in a nanosecond, measured over a minute. */
static struct clock_reading after_a_minute(void)
{
    struct clock_reading begin = {.ticks = 10 * hour, .ns = hour}, now = begin;
    clock_machine = (struct clock_machine){.counter = true, .base = begin};
    now.ticks += 2 * minute;
    now.ns += minute;
    clock_calibrate_at(&now);
    ck_assert_uint_eq(clock_machine.scale, UINT64_C(1) << 31);
    return now;
}

static void expect_the_same_rate_from(struct clock_reading base)
{
    ck_assert_uint_eq(clock_machine.scale, UINT64_C(1) << 31);
    ck_assert_mem_eq(&clock_machine.base, &base, sizeof(base));
    base.ticks += 4 * minute;
    base.ns += 2 * minute;
    clock_calibrate_at(&base);
    ck_assert_uint_eq(clock_machine.scale, UINT64_C(1) << 31);
    ck_assert_uint_eq(clock_machine.span, 4 * minute);
}

START_TEST(ticks_of_a_suspended_machine_do_not_count)
{
    struct clock_reading now = after_a_minute();
    now.ticks += 16 * hour;
    now.suspended_ns += 8 * hour;
    clock_calibrate_at(&now);
    expect_the_same_rate_from(now);
}
END_TEST

START_TEST(a_counter_that_began_anew_is_measured_from_there)
{
    struct clock_reading now = after_a_minute();
    now.ticks = 5;
    now.suspended_ns += 8 * hour;
    clock_calibrate_at(&now);
    expect_the_same_rate_from(now);
}
END_TEST

START_TEST(a_suspension_before_the_first_measurement_does_not_count)
{
    clock_calibrate_begin();
    clock_machine.base.suspended_ns -= hour;
    clock_machine.base.ticks -= hour;
    clock_calibrate_end();
    expect_rate();
}
END_TEST

TEST_MAIN(clock, an_interruption_at_the_first_reading_does_not_count,
          an_interruption_at_the_last_reading_does_not_count, a_longer_span_is_measured_again,
          a_rate_that_was_measured_stays_when_another_pool_is_opened,
          ticks_of_a_suspended_machine_do_not_count,
          a_counter_that_began_anew_is_measured_from_there,
          a_suspension_before_the_first_measurement_does_not_count)
