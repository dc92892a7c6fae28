/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The word of a slot: its fields, the table of its states, and the four steps
 * by compare-and-swap, each tried from every state.
 */
#include "ipc/slot.h"
#include "tests/test.h"

enum { SEAT = 7, OTHER_SEAT = 8, SLOT = 5, HANDLER = 3, GENERATION = 0x12345, ATTEMPT = 2 };

static const struct {
    enum slot_state from;
    enum slot_event event;
    enum slot_state to;
} arrows[] = {
    {SLOT_FREE, EVENT_SUBMIT, SLOT_SUBMITTED},      {SLOT_SUBMITTED, EVENT_CLAIM, SLOT_RUNNING},
    {SLOT_SUBMITTED, EVENT_CANCEL, SLOT_CANCELLED}, {SLOT_RUNNING, EVENT_FINISH, SLOT_DONE},
    {SLOT_RUNNING, EVENT_FAIL, SLOT_FAILED},        {SLOT_RUNNING, EVENT_TIME_OUT, SLOT_TIMED_OUT},
    {SLOT_RUNNING, EVENT_CRASH, SLOT_CRASHED},      {SLOT_RUNNING, EVENT_RETRY, SLOT_SUBMITTED},
    {SLOT_RUNNING, EVENT_KILL, SLOT_CANCELLED},     {SLOT_DONE, EVENT_SUBMIT, SLOT_SUBMITTED},
    {SLOT_FAILED, EVENT_SUBMIT, SLOT_SUBMITTED},    {SLOT_TIMED_OUT, EVENT_SUBMIT, SLOT_SUBMITTED},
    {SLOT_CRASHED, EVENT_SUBMIT, SLOT_SUBMITTED},   {SLOT_CANCELLED, EVENT_SUBMIT, SLOT_SUBMITTED},
};

static int expected_next(enum slot_state from, enum slot_event event)
{
    for (size_t i = 0; i < sizeof(arrows) / sizeof(arrows[0]); i++)
        if (arrows[i].from == from && arrows[i].event == event)
            return (int)arrows[i].to;
    return -1;
}

static name_t name(void)
{
    return name_make(HANDLER, GENERATION, SLOT);
}

/* A word with every field in use. */
static uint64_t word_in(enum slot_state state, uint32_t flags)
{
    return slot_word(state, flags, state == SLOT_SUBMITTED ? 0 : SEAT, ATTEMPT, GENERATION);
}

START_TEST(every_event_in_every_state_leads_where_the_diagram_says)
{
    for (int state = 0; state < SLOT_STATES; state++)
        for (int event = 0; event < EVENTS; event++)
            ck_assert_msg(slot_next(state, event) == expected_next(state, event),
                          "state %d, event %d leads to %d, not to %d", state, event,
                          slot_next(state, event), expected_next(state, event));
}
END_TEST

START_TEST(what_is_no_state_or_no_event_leads_nowhere)
{
    for (int state = SLOT_STATES; state < 16; state++)
        for (int event = 0; event < EVENTS; event++)
            ck_assert_int_eq(slot_next(state, event), -1);
    for (int state = 0; state < SLOT_STATES; state++)
        ck_assert_int_eq(slot_next(state, EVENTS), -1);
    ck_assert_int_eq(slot_next((enum slot_state) - 1, EVENT_SUBMIT), -1);
    ck_assert_int_eq(slot_next(SLOT_FREE, (enum slot_event) - 1), -1);
}
END_TEST

START_TEST(an_ended_slot_is_left_by_its_next_task_only)
{
    for (int state = 0; state < SLOT_STATES; state++) {
        bool ended = slot_ended(slot_word(state, 0xff, 0xfff, 0xff, UINT32_MAX));
        ck_assert_int_eq(ended,
                         state != SLOT_FREE && state != SLOT_SUBMITTED && state != SLOT_RUNNING);
        for (int event = 0; ended && event < EVENTS; event++)
            ck_assert_int_eq(slot_next(state, event), event == EVENT_SUBMIT ? SLOT_SUBMITTED : -1);
    }
}
END_TEST

START_TEST(fields_do_not_touch_each_other)
{
    const uint64_t words[] = {
        slot_word(SLOT_CANCELLED, 0, 0, 0, 0), slot_word(0, 0xff, 0, 0, 0),
        slot_word(0, 0, 0xfff, 0, 0),          slot_word(0, 0, 0, 0xff, 0),
        slot_word(0, 0, 0, 0, UINT32_MAX),
    };
    for (int field = 0; field < 5; field++) {
        ck_assert_uint_eq(slot_state(words[field]), field == 0 ? SLOT_CANCELLED : SLOT_FREE);
        ck_assert_uint_eq(slot_flags(words[field]), field == 1 ? 0xff : 0);
        ck_assert_uint_eq(slot_seat(words[field]), field == 2 ? 0xfff : 0);
        ck_assert_uint_eq(slot_attempt(words[field]), field == 3 ? 0xff : 0);
        ck_assert_uint_eq(slot_generation(words[field]), field == 4 ? UINT32_MAX : 0);
    }
}
END_TEST

START_TEST(a_name_holds_slot_handler_and_the_low_half_of_the_generation)
{
    name_t largest = name_make(MAX_HANDLERS - 1, 0xabcd1234, MAX_SLOTS - 1);
    ck_assert_uint_eq(name_slot(largest), MAX_SLOTS - 1);
    ck_assert_uint_eq(name_handler(largest), MAX_HANDLERS - 1);
    ck_assert(name_current(largest, slot_word(SLOT_SUBMITTED, 0, 0, 0, 0xabcd1234)));
    ck_assert(name_current(largest, slot_word(SLOT_SUBMITTED, 0, 0, 0, 0x00001234)));
    ck_assert(!name_current(largest, slot_word(SLOT_SUBMITTED, 0, 0, 0, 0xabcd1235)));
    ck_assert_uint_eq(largest >> 48, 0);
}
END_TEST

START_TEST(claim_takes_only_what_is_submitted)
{
    for (int state = 0; state < 16; state++) {
        uint64_t before = word_in(state, SLOT_WAITED | SLOT_NOTIFY);
        _Atomic uint64_t slot = before;
        uint64_t word = 0;
        bool claimed = slot_claim(&slot, name(), SEAT, CLAIM_ANY, &word);
        ck_assert_int_eq(claimed, slot_next(state, EVENT_CLAIM) == SLOT_RUNNING);
        ck_assert_uint_eq(word, slot_load(&slot));
        if (!claimed)
            ck_assert_uint_eq(slot_load(&slot), before);
    }
}
END_TEST

START_TEST(claim_sets_the_seat_and_keeps_the_rest)
{
    _Atomic uint64_t slot = word_in(SLOT_SUBMITTED, SLOT_WAITED_ANY | SLOT_CANCEL);
    uint64_t word;
    ck_assert(slot_claim(&slot, name(), SEAT, CLAIM_ANY, &word));
    ck_assert_uint_eq(
        word, slot_word(SLOT_RUNNING, SLOT_WAITED_ANY | SLOT_CANCEL, SEAT, ATTEMPT, GENERATION));
}
END_TEST

START_TEST(a_name_of_an_older_generation_claims_nothing)
{
    uint64_t before = word_in(SLOT_SUBMITTED, 0);
    _Atomic uint64_t slot = before;
    uint64_t word;
    for (uint32_t age = 1; age < 0x10000; age++)
        ck_assert(
            !slot_claim(&slot, name_make(HANDLER, GENERATION - age, SLOT), SEAT, CLAIM_ANY, &word));
    ck_assert_uint_eq(slot_load(&slot), before);
    ck_assert_uint_eq(word, before);
    ck_assert(slot_claim(&slot, name(), SEAT, CLAIM_ANY, &word));
    ck_assert_msg(!slot_claim(&slot, name(), OTHER_SEAT, CLAIM_ANY, &word), "claimed twice");
    ck_assert_uint_eq(slot_seat(word), SEAT);
}
END_TEST

START_TEST(a_caller_claims_no_task_that_has_killed_a_worker)
{
    _Atomic uint64_t slot = slot_word(SLOT_SUBMITTED, 0, 0, 1, GENERATION);
    uint64_t word;
    ck_assert(!slot_claim(&slot, name(), 0, CLAIM_FIRST, &word));
    ck_assert_uint_eq(word, slot_load(&slot));
    ck_assert_uint_eq(slot_state(word), SLOT_SUBMITTED);
    ck_assert(slot_claim(&slot, name(), 0, CLAIM_ANY, &word));
    slot_submit(&slot, 0, GENERATION);
    ck_assert(slot_claim(&slot, name(), 0, CLAIM_FIRST, &word));
}
END_TEST

START_TEST(a_task_is_tried_again_unless_it_was_cancelled)
{
    for (int state = 0; state < 16; state++) {
        for (uint32_t flags = 0; flags <= SLOT_CANCEL; flags += SLOT_CANCEL) {
            uint64_t before = word_in(state, SLOT_WAITED | flags), word = 0;
            _Atomic uint64_t slot = before;
            bool again = slot_retry(&slot, SEAT, ATTEMPT + 1, &word);
            ck_assert_int_eq(again, state == SLOT_RUNNING && flags == 0);
            ck_assert_uint_eq(slot_load(&slot), again ? slot_word(SLOT_SUBMITTED, SLOT_WAITED, 0,
                                                                  ATTEMPT + 1, GENERATION)
                                                      : before);
            ck_assert_uint_eq(word, slot_load(&slot));
        }
    }
}
END_TEST

START_TEST(the_handler_in_a_name_is_only_a_hint)
{
    _Atomic uint64_t slot = word_in(SLOT_SUBMITTED, 0);
    uint64_t word;
    ck_assert(slot_claim(&slot, name_make(HANDLER + 1, GENERATION, SLOT), SEAT, CLAIM_ANY, &word));
}
END_TEST

START_TEST(end_is_made_only_by_the_seat_that_runs_it)
{
    for (int state = 0; state < 16; state++) {
        for (uint32_t seat = SEAT; seat <= OTHER_SEAT; seat++) {
            uint64_t before = word_in(state, 0), word = 0;
            _Atomic uint64_t slot = before;
            bool ended = slot_end(&slot, seat, SLOT_DONE, &word);
            ck_assert_int_eq(ended, state == SLOT_RUNNING && seat == SEAT);
            ck_assert_uint_eq(word, before);
            if (!ended)
                ck_assert_uint_eq(slot_load(&slot), before);
        }
    }
}
END_TEST

START_TEST(end_hands_the_waiting_flags_over_and_keeps_the_cancellation)
{
    const enum slot_state ends[] = {SLOT_DONE, SLOT_FAILED, SLOT_TIMED_OUT, SLOT_CRASHED};
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        _Atomic uint64_t slot = word_in(SLOT_RUNNING, 0xff);
        uint64_t word;
        ck_assert(slot_end(&slot, SEAT, ends[i], &word));
        ck_assert_uint_eq(slot_flags(word), 0xff);
        ck_assert_uint_eq(slot_load(&slot),
                          slot_word(ends[i], SLOT_CANCEL, SEAT, ATTEMPT, GENERATION));
    }
}
END_TEST

START_TEST(a_task_ends_once)
{
    _Atomic uint64_t slot = word_in(SLOT_RUNNING, 0);
    uint64_t word;
    ck_assert(slot_end(&slot, SEAT, SLOT_CRASHED, &word));
    ck_assert(!slot_end(&slot, SEAT, SLOT_DONE, &word));
    ck_assert_uint_eq(slot_state(slot_load(&slot)), SLOT_CRASHED);
}
END_TEST

START_TEST(cancel_reaches_only_what_has_not_begun)
{
    for (int state = 0; state < 16; state++) {
        uint64_t before = word_in(state, SLOT_WAITED), word = 0;
        _Atomic uint64_t slot = before;
        bool cancelled = slot_cancel(&slot, &word);
        ck_assert_int_eq(cancelled, slot_next(state, EVENT_CANCEL) == SLOT_CANCELLED);
        ck_assert_uint_eq(word, before);
        ck_assert_uint_eq(slot_load(&slot),
                          cancelled ? slot_word(SLOT_CANCELLED, 0, 0, ATTEMPT, GENERATION)
                                    : before);
    }
}
END_TEST

START_TEST(flags_are_added_until_the_end_and_never_after)
{
    for (int state = 0; state < 16; state++) {
        uint64_t before = word_in(state, SLOT_NOTIFY), word = 0;
        _Atomic uint64_t slot = before;
        bool flagged = slot_flag(&slot, SLOT_WAITED, &word);
        ck_assert_int_eq(flagged, !slot_ended(before));
        ck_assert_uint_eq(word, slot_load(&slot));
        ck_assert_uint_eq(word, flagged ? word_in(state, SLOT_NOTIFY | SLOT_WAITED) : before);
    }
}
END_TEST

START_TEST(only_the_very_task_that_a_seat_runs_is_marked)
{
    for (int state = 0; state < 16; state++) {
        uint64_t before = word_in(state, SLOT_NOTIFY);
        _Atomic uint64_t slot = before;
        ck_assert(!slot_mark(&slot, name(), SEAT + 1, SLOT_CANCEL));
        ck_assert(!slot_mark(&slot, name_make(0, GENERATION + 1, 0), SEAT, SLOT_CANCEL));
        ck_assert_uint_eq(slot_load(&slot), before);
        bool marked = slot_mark(&slot, name(), SEAT, SLOT_CANCEL);
        ck_assert_int_eq(marked, state == SLOT_RUNNING);
        ck_assert_uint_eq(slot_load(&slot),
                          marked ? word_in(state, SLOT_NOTIFY | SLOT_CANCEL) : before);
    }
}
END_TEST

START_TEST(submit_begins_with_no_seat_and_no_attempt)
{
    _Atomic uint64_t slot = slot_word(SLOT_FREE, 0, 0, 0, GENERATION);
    slot_submit(&slot, SLOT_NOTIFY, GENERATION);
    ck_assert_uint_eq(slot_load(&slot), slot_word(SLOT_SUBMITTED, SLOT_NOTIFY, 0, 0, GENERATION));
}
END_TEST

START_TEST(waiters_sleep_on_the_half_that_every_step_changes)
{
    _Atomic uint64_t slot = 0;
    _Atomic uint32_t *futex = slot_futex(&slot);
    uint64_t word;
    slot_submit(&slot, 0, GENERATION);
    uint32_t before = atomic_load(futex);
    ck_assert_uint_eq(before, (uint32_t)slot_load(&slot));
    ck_assert(slot_claim(&slot, name(), SEAT, CLAIM_ANY, &word));
    ck_assert_uint_ne(atomic_load(futex), before);
    before = atomic_load(futex);
    ck_assert(slot_end(&slot, SEAT, SLOT_DONE, &word));
    ck_assert_uint_ne(atomic_load(futex), before);
}
END_TEST

TEST_MAIN(slot, every_event_in_every_state_leads_where_the_diagram_says,
          what_is_no_state_or_no_event_leads_nowhere, an_ended_slot_is_left_by_its_next_task_only,
          fields_do_not_touch_each_other,
          a_name_holds_slot_handler_and_the_low_half_of_the_generation,
          claim_takes_only_what_is_submitted, claim_sets_the_seat_and_keeps_the_rest,
          a_name_of_an_older_generation_claims_nothing,
          a_caller_claims_no_task_that_has_killed_a_worker,
          a_task_is_tried_again_unless_it_was_cancelled, the_handler_in_a_name_is_only_a_hint,
          end_is_made_only_by_the_seat_that_runs_it,
          end_hands_the_waiting_flags_over_and_keeps_the_cancellation, a_task_ends_once,
          cancel_reaches_only_what_has_not_begun, flags_are_added_until_the_end_and_never_after,
          only_the_very_task_that_a_seat_runs_is_marked, submit_begins_with_no_seat_and_no_attempt,
          waiters_sleep_on_the_half_that_every_step_changes)
