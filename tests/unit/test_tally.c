/* SPDX-License-Identifier: BSD-3-Clause */
#include "ipc/tally.h"
#include "tests/test.h"

START_TEST(spans_have_no_gaps_and_no_overlaps)
{
    ck_assert_uint_eq(tally_span(0), 0);
    for (uint32_t span = 1; span < SPANS; span++) {
        ck_assert_uint_eq(tally_span(tally_span_begin(span)), span);
        ck_assert_uint_eq(tally_span(tally_span_begin(span) - 1), span - 1);
    }
    ck_assert_uint_eq(tally_span(UINT64_MAX), SPANS - 1);
}
END_TEST

START_TEST(a_span_is_narrow)
{
    for (uint32_t span = 1; span < SPANS - 1; span++) {
        uint64_t begin = tally_span_begin(span), end = tally_span_begin(span + 1);
        ck_assert_uint_gt(end, begin);
        ck_assert_uint_le((end - begin) * 4, begin); /* a quarter, and less further up */
    }
}
END_TEST

START_TEST(quantiles_are_ends_of_spans)
{
    uint64_t counts[SPANS] = {0};
    ck_assert_uint_eq(tally_quantile(counts, 500), 0);
    counts[tally_span(1000)] = 990;
    counts[tally_span(100000)] = 10;
    ck_assert_uint_gt(tally_quantile(counts, 500), 1000);
    ck_assert_uint_le(tally_quantile(counts, 500), 1250);
    ck_assert_uint_gt(tally_quantile(counts, 990), 100000);
    ck_assert_uint_gt(tally_quantile(counts, 1000), 0);
    counts[SPANS - 1] = UINT32_MAX;
    ck_assert_uint_eq(tally_quantile(counts, 999), UINT64_MAX);
    counts[SPANS - 2] = UINT64_MAX / 2;
    ck_assert_uint_eq(tally_quantile(counts, 999), tally_span_begin(SPANS - 1));
}
END_TEST

START_TEST(all_tasks_of_a_group_are_counted_few_are_timed)
{
    uint64_t counted = 0, timed = 0;
    for (size_t index = 0; index < 100000; index++) {
        uint64_t stamp = tally_is_timed(index) ? tally_stamp(index, 1000 + index) : 0;
        ck_assert(stamp == 0 || stamp / 2 == (1000 + index) / 2);
        counted += tally_weight(stamp);
        timed += stamp != 0;
        if (index < TALLY_EACH)
            ck_assert_uint_eq(counted, index + 1);
        ck_assert_uint_lt(counted + TALLY_SAMPLE - (index + 1), 2 * TALLY_SAMPLE);
    }
    ck_assert_uint_lt(timed, 100000 / TALLY_SAMPLE + TALLY_EACH);
}
END_TEST

TEST_MAIN(tally, spans_have_no_gaps_and_no_overlaps, a_span_is_narrow, quantiles_are_ends_of_spans,
          all_tasks_of_a_group_are_counted_few_are_timed)
