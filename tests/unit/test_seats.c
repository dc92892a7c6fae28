/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The life of a seat: the whole table, and how long a seat rests.
 */
#include "pool/seats.h"
#include "tests/test.h"

/* Every event in every life; one that has no place changes nothing. */
static const struct {
    enum seat_life life;
    enum seat_happening happening;
    struct seat_step step;
} expected[] = {
    {LIFE_EMPTY, HAPPENS_SPAWN, {ACT_ASK, LIFE_ASKED}},
    {LIFE_EMPTY, HAPPENS_HELLO, {ACT_NOTHING, LIFE_EMPTY}},
    {LIFE_EMPTY, HAPPENS_READY, {ACT_NOTHING, LIFE_EMPTY}},
    {LIFE_EMPTY, HAPPENS_INIT_FAILED, {ACT_NOTHING, LIFE_EMPTY}},
    {LIFE_EMPTY, HAPPENS_DEATH, {ACT_NOTHING, LIFE_EMPTY}},
    {LIFE_EMPTY, HAPPENS_DUE, {ACT_ASK, LIFE_ASKED}},
    {LIFE_ASKED, HAPPENS_SPAWN, {ACT_NOTHING, LIFE_ASKED}},
    {LIFE_ASKED, HAPPENS_HELLO, {ACT_GO, LIFE_STARTING}},
    {LIFE_ASKED, HAPPENS_READY, {ACT_KILL, LIFE_ASKED}},
    {LIFE_ASKED, HAPPENS_INIT_FAILED, {ACT_NOTHING, LIFE_ASKED}},
    {LIFE_ASKED, HAPPENS_DEATH, {ACT_SWEEP, LIFE_EMPTY}},
    {LIFE_ASKED, HAPPENS_DUE, {ACT_NOTHING, LIFE_ASKED}},
    {LIFE_STARTING, HAPPENS_SPAWN, {ACT_NOTHING, LIFE_STARTING}},
    {LIFE_STARTING, HAPPENS_HELLO, {ACT_KILL, LIFE_STARTING}},
    {LIFE_STARTING, HAPPENS_READY, {ACT_OPEN, LIFE_UP}},
    {LIFE_STARTING, HAPPENS_INIT_FAILED, {ACT_REPORT, LIFE_STARTING}},
    {LIFE_STARTING, HAPPENS_DEATH, {ACT_SWEEP, LIFE_EMPTY}},
    {LIFE_STARTING, HAPPENS_DUE, {ACT_NOTHING, LIFE_STARTING}},
    {LIFE_UP, HAPPENS_SPAWN, {ACT_NOTHING, LIFE_UP}},
    {LIFE_UP, HAPPENS_HELLO, {ACT_KILL, LIFE_UP}},
    {LIFE_UP, HAPPENS_READY, {ACT_KILL, LIFE_UP}},
    {LIFE_UP, HAPPENS_INIT_FAILED, {ACT_KILL, LIFE_UP}},
    {LIFE_UP, HAPPENS_DEATH, {ACT_SWEEP, LIFE_EMPTY}},
    {LIFE_UP, HAPPENS_DUE, {ACT_NOTHING, LIFE_UP}},
    {LIFE_RESTING, HAPPENS_SPAWN, {ACT_NOTHING, LIFE_RESTING}},
    {LIFE_RESTING, HAPPENS_HELLO, {ACT_NOTHING, LIFE_RESTING}},
    {LIFE_RESTING, HAPPENS_READY, {ACT_NOTHING, LIFE_RESTING}},
    {LIFE_RESTING, HAPPENS_INIT_FAILED, {ACT_NOTHING, LIFE_RESTING}},
    {LIFE_RESTING, HAPPENS_DEATH, {ACT_NOTHING, LIFE_RESTING}},
    {LIFE_RESTING, HAPPENS_DUE, {ACT_ASK, LIFE_ASKED}},
};

START_TEST(every_event_in_every_life_does_what_the_table_says)
{
    size_t count = sizeof(expected) / sizeof(expected[0]);
    ck_assert_uint_eq(count, LIVES * HAPPENINGS);
    for (size_t i = 0; i < count; i++) {
        struct seat_step step = seat_step(expected[i].life, expected[i].happening);
        ck_assert_msg(step.action == expected[i].step.action && step.next == expected[i].step.next,
                      "life %d, event %d: action %d, then life %d", expected[i].life,
                      expected[i].happening, step.action, step.next);
    }
}
END_TEST

START_TEST(a_worker_is_asked_for_only_where_there_is_none)
{
    for (int life = 0; life < LIVES; life++)
        for (int happening = 0; happening < HAPPENINGS; happening++)
            if (seat_step(life, happening).action == ACT_ASK)
                ck_assert(life == LIFE_EMPTY || life == LIFE_RESTING);
}
END_TEST

START_TEST(wherever_a_worker_may_be_its_death_is_settled)
{
    const enum seat_life alive[] = {LIFE_ASKED, LIFE_STARTING, LIFE_UP};
    for (size_t i = 0; i < sizeof(alive) / sizeof(alive[0]); i++)
        ck_assert_int_eq(seat_step(alive[i], HAPPENS_DEATH).action, ACT_SWEEP);
}
END_TEST

START_TEST(only_a_worker_that_initialised_is_counted_in)
{
    for (int life = 0; life < LIVES; life++)
        for (int happening = 0; happening < HAPPENINGS; happening++)
            if (seat_step(life, happening).action == ACT_OPEN)
                ck_assert(life == LIFE_STARTING && happening == HAPPENS_READY);
}
END_TEST

START_TEST(a_worker_that_dies_of_its_task_is_replaced_at_once)
{
    struct seat_record record = {0};
    uint64_t now = 1000;
    for (int i = 0; i < 100; i++, now += STORM_MS)
        ck_assert_uint_eq(seat_rest_ms(&record, true, now), 0);
}
END_TEST

START_TEST(failed_starts_double_the_rest_up_to_the_most)
{
    struct seat_record record = {0};
    uint32_t rest = BACKOFF_FIRST_MS;
    for (int i = 0; i < 100; i++) {
        ck_assert_uint_eq(seat_rest_ms(&record, false, 1000 * (uint64_t)(i + 1)), rest);
        rest = 2 * rest < BACKOFF_MOST_MS ? 2 * rest : BACKOFF_MOST_MS;
    }
    ck_assert_uint_eq(rest, BACKOFF_MOST_MS);
}
END_TEST

START_TEST(a_start_that_went_well_forgives_the_failed_ones)
{
    struct seat_record record = {0};
    for (uint64_t i = 1; i <= 5; i++)
        (void)seat_rest_ms(&record, false, 1000 * i);
    ck_assert_uint_eq(seat_rest_ms(&record, true, 6000), 0);
    ck_assert_uint_eq(seat_rest_ms(&record, false, 7000), BACKOFF_FIRST_MS);
}
END_TEST

START_TEST(a_storm_of_deaths_is_slowed_down)
{
    struct seat_record record = {0};
    uint64_t now = 1000;
    for (int i = 0; i < STORM_DEATHS; i++)
        ck_assert_uint_eq(seat_rest_ms(&record, true, now++), 0);
    uint32_t rest = BACKOFF_FIRST_MS;
    for (int i = 0; i < 20; i++) {
        ck_assert_uint_eq(seat_rest_ms(&record, true, now++), rest);
        rest = 2 * rest < BACKOFF_MOST_MS ? 2 * rest : BACKOFF_MOST_MS;
    }
}
END_TEST

START_TEST(a_pause_ends_the_storm)
{
    struct seat_record record = {0};
    uint64_t now = 1000;
    for (int i = 0; i < STORM_DEATHS + 3; i++)
        (void)seat_rest_ms(&record, true, now++);
    ck_assert_uint_gt(seat_rest_ms(&record, true, now++), 0);
    ck_assert_uint_eq(seat_rest_ms(&record, true, now + STORM_MS), 0);
    ck_assert_uint_eq(record.quick_deaths, 0);
}
END_TEST

START_TEST(deaths_are_quick_only_within_the_storm_time)
{
    struct seat_record record = {0};
    (void)seat_rest_ms(&record, true, 1000);
    (void)seat_rest_ms(&record, true, 1000 + STORM_MS - 1);
    ck_assert_uint_eq(record.quick_deaths, 1);
    (void)seat_rest_ms(&record, true, 1000 + 2 * STORM_MS - 1);
    ck_assert_uint_eq(record.quick_deaths, 0);
}
END_TEST

TEST_MAIN(seats, every_event_in_every_life_does_what_the_table_says,
          a_worker_is_asked_for_only_where_there_is_none,
          wherever_a_worker_may_be_its_death_is_settled,
          only_a_worker_that_initialised_is_counted_in,
          a_worker_that_dies_of_its_task_is_replaced_at_once,
          failed_starts_double_the_rest_up_to_the_most,
          a_start_that_went_well_forgives_the_failed_ones, a_storm_of_deaths_is_slowed_down,
          a_pause_ends_the_storm, deaths_are_quick_only_within_the_storm_time)
