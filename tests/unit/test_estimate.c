/* SPDX-License-Identifier: BSD-3-Clause
 *
 * When a waiting client looks for the end of a short task.
 */
#include "pool/estimate.h"
#include "tests/test.h"

enum { SETTLING = 200, LOOKS = 1000 };

/* Looks for tasks that end after so many pauses; returns how many looks were too early. */
static uint32_t too_early(uint32_t *steps, uint32_t end, uint32_t looks)
{
    uint32_t early = 0;
    for (uint32_t i = 0; i < looks; i++) {
        bool ended = *steps / DUE_STEPS >= end;
        early += !ended;
        estimate_due(steps, ended);
    }
    return early;
}

START_TEST(a_look_is_rarely_too_early_and_never_late)
{
    uint32_t steps = 0;
    for (uint32_t end = 0; end < DUE_MOST / DUE_STEPS; end++) {
        (void)too_early(&steps, end, SETTLING);
        ck_assert_uint_le(too_early(&steps, end, LOOKS), LOOKS / (DUE_STEPS + 1) + 1);
        ck_assert_uint_le(steps / DUE_STEPS, end + 1);
        ck_assert_uint_ge(steps / DUE_STEPS + 1, end);
    }
}
END_TEST

START_TEST(what_is_due_comes_back_when_tasks_become_short_again)
{
    uint32_t steps = 0;
    (void)too_early(&steps, UINT32_MAX, LOOKS);
    ck_assert_uint_eq(steps, DUE_MOST);
    ck_assert_uint_eq(too_early(&steps, 0, LOOKS), 0);
    ck_assert_uint_eq(steps, 0);
}
END_TEST

TEST_MAIN(estimate, a_look_is_rarely_too_early_and_never_late,
          what_is_due_comes_back_when_tasks_become_short_again)
