/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The decision and its packed form.
 */
#include "loadavg/admission.h"
#include "loadavg/average.h"
#include "tests/test.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static const struct admission_policy LIMIT_85 = {.enabled = true, .limit_milli = 850};
static const struct admission CALM = {.busy = false, .cause = ADMISSION_LOAD};
static const struct admission BUSY = {.busy = true, .cause = ADMISSION_LOAD};

/* Four cores, nothing of ours, pressure unknown. */
static struct load_sample sample_with_load(uint32_t load1_milli)
{
    return (struct load_sample){
        .taken_ms = 5000,
        .load1_milli = load1_milli,
        .psi_some_avg10_centi = UINT32_MAX,
        .runnable = 1,
        .usable_cores = 4,
    };
}

START_TEST(without_a_limit_everything_is_parallel)
{
    struct admission_policy policy = {.enabled = false};
    struct load_sample sample = sample_with_load(400000);
    struct admission decision = admission_decide(&policy, &sample, BUSY);
    ck_assert(!decision.busy);
    ck_assert_int_eq(decision.cause, ADMISSION_NO_LIMIT);
}
END_TEST

START_TEST(load_may_reach_limit_times_cores)
{
    struct load_sample sample = sample_with_load(3400);
    ck_assert(!admission_decide(&LIMIT_85, &sample, CALM).busy);
    sample = sample_with_load(3401);
    struct admission decision = admission_decide(&LIMIT_85, &sample, CALM);
    ck_assert(decision.busy);
    ck_assert(!decision.held);
    ck_assert_int_eq(decision.cause, ADMISSION_LOAD);
    ck_assert_uint_eq(decision.measured_milli, 851);
    ck_assert_uint_eq(decision.taken_ms, 5000);
}
END_TEST

START_TEST(load_that_the_pool_causes_does_not_count)
{
    struct load_sample sample = sample_with_load(7000);
    sample.own_busy_milli = 3800;
    struct admission decision = admission_decide(&LIMIT_85, &sample, CALM);
    ck_assert(!decision.busy);
    ck_assert_uint_eq(decision.measured_milli, 800);
    sample.own_busy_milli = 9000;
    ck_assert_uint_eq(admission_decide(&LIMIT_85, &sample, CALM).measured_milli, 0);
}
END_TEST

START_TEST(busy_holds_until_load_is_below_nine_tenths)
{
    struct load_sample sample = sample_with_load(3060);
    struct admission decision = admission_decide(&LIMIT_85, &sample, BUSY);
    ck_assert(decision.busy);
    ck_assert(decision.held);
    sample = sample_with_load(3059);
    ck_assert(!admission_decide(&LIMIT_85, &sample, BUSY).busy);
    sample = sample_with_load(3060);
    ck_assert(!admission_decide(&LIMIT_85, &sample, CALM).busy);
}
END_TEST

START_TEST(pressure_alone_does_not_decide)
{
    struct load_sample sample = sample_with_load(100);
    sample.psi_some_avg10_centi = 10000;
    sample.runnable = 3;
    ck_assert(!admission_decide(&LIMIT_85, &sample, CALM).busy);
}
END_TEST

START_TEST(run_queue_alone_does_not_decide)
{
    struct load_sample sample = sample_with_load(100);
    sample.runnable = 1000;
    ck_assert(!admission_decide(&LIMIT_85, &sample, CALM).busy);
    sample.psi_some_avg10_centi = 0;
    ck_assert(!admission_decide(&LIMIT_85, &sample, CALM).busy);
    sample.psi_some_avg10_centi = 4999;
    ck_assert(!admission_decide(&LIMIT_85, &sample, CALM).busy);
}
END_TEST

START_TEST(run_queue_with_pressure_is_busy_before_the_average)
{
    struct load_sample sample = sample_with_load(100);
    sample.psi_some_avg10_centi = 5000;
    sample.runnable = 1 + 7; /* the reader, and 1.75 per core */
    struct admission decision = admission_decide(&LIMIT_85, &sample, CALM);
    ck_assert(decision.busy);
    ck_assert_int_eq(decision.cause, ADMISSION_QUEUE);
    ck_assert_uint_eq(decision.measured_milli, 1750);
    sample.runnable = 1 + 6;
    ck_assert(!admission_decide(&LIMIT_85, &sample, CALM).busy);
}
END_TEST

START_TEST(busy_seats_do_not_count_as_run_queue)
{
    struct load_sample sample = sample_with_load(100);
    sample.psi_some_avg10_centi = 9900;
    sample.runnable = 1 + 4 + 6;
    sample.own_busy_now = 4;
    ck_assert(!admission_decide(&LIMIT_85, &sample, CALM).busy);
    sample.own_busy_now = 100;
    ck_assert(!admission_decide(&LIMIT_85, &sample, CALM).busy);
}
END_TEST

START_TEST(run_queue_holds_while_above_limit_under_pressure)
{
    struct load_sample sample = sample_with_load(100);
    sample.psi_some_avg10_centi = 4500;
    sample.runnable = 1 + 4;
    struct admission decision = admission_decide(&LIMIT_85, &sample, BUSY);
    ck_assert(decision.busy);
    ck_assert(decision.held);
    ck_assert_int_eq(decision.cause, ADMISSION_QUEUE);
    sample.runnable = 1 + 3;
    ck_assert(!admission_decide(&LIMIT_85, &sample, BUSY).busy);
    sample.runnable = 1 + 4;
    sample.psi_some_avg10_centi = 4499;
    ck_assert(!admission_decide(&LIMIT_85, &sample, BUSY).busy);
}
END_TEST

START_TEST(under_a_quota_the_load_of_the_host_does_not_count)
{
    struct load_sample sample = sample_with_load(400000);
    sample.quota = true;
    sample.runnable = 4000;
    struct admission decision = admission_decide(&LIMIT_85, &sample, CALM);
    ck_assert(!decision.busy);
    ck_assert_int_eq(decision.cause, ADMISSION_QUOTA);
    sample.psi_some_avg10_centi = 300;
    decision = admission_decide(&LIMIT_85, &sample, CALM);
    ck_assert(!decision.busy);
    ck_assert_int_eq(decision.cause, ADMISSION_PRESSURE);
    ck_assert_uint_eq(decision.measured_milli, 30);
}
END_TEST

START_TEST(under_a_quota_pressure_decides_with_hysteresis)
{
    struct load_sample sample = sample_with_load(0);
    sample.quota = true;
    sample.psi_some_avg10_centi = 5000;
    struct admission decision = admission_decide(&LIMIT_85, &sample, CALM);
    ck_assert(decision.busy);
    ck_assert(!decision.held);
    sample.psi_some_avg10_centi = 4500;
    decision = admission_decide(&LIMIT_85, &sample, decision);
    ck_assert(decision.busy);
    ck_assert(decision.held);
    sample.psi_some_avg10_centi = 4499;
    ck_assert(!admission_decide(&LIMIT_85, &sample, decision).busy);
    sample.psi_some_avg10_centi = 4500;
    ck_assert(!admission_decide(&LIMIT_85, &sample, CALM).busy);
}
END_TEST

START_TEST(under_a_quota_pressure_that_may_be_ours_does_not_count)
{
    struct load_sample sample = sample_with_load(0);
    sample.quota = true;
    sample.psi_some_avg10_centi = 9000;
    sample.own_busy_now = 1;
    ck_assert(!admission_decide(&LIMIT_85, &sample, CALM).busy);
    sample.own_busy_now = 0;
    sample.own_busy_milli = 1001;
    ck_assert(!admission_decide(&LIMIT_85, &sample, CALM).busy);
    sample.own_busy_milli = 1000;
    ck_assert(admission_decide(&LIMIT_85, &sample, CALM).busy);
}
END_TEST

/* A pool that is alone on the machine: its seats are all busy, sampled twice a
 * second for ten minutes, and the kernel sees the very same load. */
START_TEST(lone_job_stays_parallel)
{
    struct load_average kernel = {0};
    struct load_average own = {0};
    struct admission decision = {0};
    load_average_update(&kernel, 1000, 0);
    load_average_update(&own, 1000, 0);
    for (uint64_t now_ms = 1000; now_ms < 600000; now_ms += 500) {
        struct load_sample sample = sample_with_load(0);
        if (now_ms % 5000 == 0)
            load_average_update(&kernel, now_ms, 4);
        sample.load1_milli = (uint32_t)(kernel.seats * 1000);
        sample.own_busy_milli = load_average_update(&own, now_ms, 4);
        sample.own_busy_now = 4;
        sample.runnable = 1 + 4 + 1;
        sample.psi_some_avg10_centi = 6000;
        decision = admission_decide(&LIMIT_85, &sample, decision);
        ck_assert_msg(!decision.busy, "at %llu ms", (unsigned long long)now_ms);
    }
}
END_TEST

START_TEST(extreme_samples_are_harmless)
{
    struct load_sample sample;
    memset(&sample, 0xff, sizeof(sample));
    sample.quota = false;
    ck_assert(!admission_decide(&LIMIT_85, &sample, CALM).busy);
    sample.own_busy_now = sample.own_busy_milli = 0;
    sample.usable_cores = 0;
    ck_assert(admission_decide(&LIMIT_85, &sample, CALM).busy);
    sample.quota = true;
    ck_assert(!admission_decide(&LIMIT_85, &sample, BUSY).busy);
}
END_TEST

START_TEST(packed_decisions_come_back)
{
    const char *chosen = getenv("TEST_SEED");
    unsigned seed = chosen != NULL ? (unsigned)strtoul(chosen, NULL, 0) : (unsigned)time(NULL);
    printf("TEST_SEED=%u\n", seed);
    srandom(seed);
    for (int i = 0; i < 10000; i++) {
        struct admission in = {
            .busy = random() & 1,
            .held = random() & 1,
            .cause = (enum admission_cause)(random() % (ADMISSION_UNREADABLE + 1)),
            .measured_milli = (uint32_t)(random() & 0x3ffffff),
            .taken_ms = (uint32_t)random() << 1,
        };
        struct admission out = admission_unpack(admission_pack(in));
        ck_assert_msg(in.busy == out.busy && in.held == out.held && in.cause == out.cause &&
                          in.measured_milli == out.measured_milli && in.taken_ms == out.taken_ms,
                      "round %d", i);
    }
}
END_TEST

START_TEST(packing_cuts_to_the_largest_that_fits)
{
    struct admission in = {.measured_milli = UINT32_MAX, .cause = ADMISSION_LOAD};
    struct admission out = admission_unpack(admission_pack(in));
    ck_assert_uint_eq(out.measured_milli, (1u << 26) - 1);
    ck_assert(!out.busy);
    ck_assert_int_eq(out.cause, ADMISSION_LOAD);
    ck_assert_uint_eq(out.taken_ms, 0);
}
END_TEST

START_TEST(damaged_word_is_unreadable)
{
    ck_assert_int_eq(admission_unpack(UINT64_MAX).cause, ADMISSION_UNREADABLE);
}
END_TEST

START_TEST(zero_word_is_parallel)
{
    ck_assert(!admission_unpack(0).busy);
    ck_assert_int_eq(admission_unpack(0).cause, ADMISSION_NO_LIMIT);
}
END_TEST

START_TEST(decisions_are_stale_after_a_second)
{
    ck_assert(!admission_stale(5000, 5000));
    ck_assert(!admission_stale(5000, 6000));
    ck_assert(admission_stale(5000, 6001));
    ck_assert(!admission_stale(5000, 4996));
    ck_assert(admission_stale(0, 100000));
    uint64_t late = (UINT64_C(7) << 32) - 10;
    ck_assert(!admission_stale((uint32_t)late, late + 500));
    ck_assert(admission_stale((uint32_t)late, late + 1500));
}
END_TEST

TEST_MAIN(admission, without_a_limit_everything_is_parallel, load_may_reach_limit_times_cores,
          load_that_the_pool_causes_does_not_count, busy_holds_until_load_is_below_nine_tenths,
          pressure_alone_does_not_decide, run_queue_alone_does_not_decide,
          run_queue_with_pressure_is_busy_before_the_average, busy_seats_do_not_count_as_run_queue,
          run_queue_holds_while_above_limit_under_pressure,
          under_a_quota_the_load_of_the_host_does_not_count,
          under_a_quota_pressure_decides_with_hysteresis,
          under_a_quota_pressure_that_may_be_ours_does_not_count, lone_job_stays_parallel,
          extreme_samples_are_harmless, packed_decisions_come_back,
          packing_cuts_to_the_largest_that_fits, damaged_word_is_unreadable, zero_word_is_parallel,
          decisions_are_stale_after_a_second)
