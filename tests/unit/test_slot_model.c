/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The table of slot states against models/slot.inc, by which the models in models/
 * take their steps: what they prove holds for slot_next().
 */
#include "ipc/slot.h"
#include "tests/test.h"

#define ROW(from, event, to) {SLOT_##from, EVENT_##event, SLOT_##to},

static const struct row {
    enum slot_state from;
    enum slot_event event;
    enum slot_state to;
} rows[] = {
#include "models/slot.inc"
};

enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

static int model_next(enum slot_state state, enum slot_event event)
{
    for (int i = 0; i < ROWS; i++)
        if (rows[i].from == state && rows[i].event == event)
            return (int)rows[i].to;
    return -1;
}

START_TEST(every_event_in_every_state_leads_where_the_models_say)
{
    for (int state = 0; state < SLOT_STATES; state++)
        for (int event = 0; event < EVENTS; event++)
            ck_assert_msg(slot_next(state, event) == model_next(state, event),
                          "state %d, event %d leads to %d, in the models to %d", state, event,
                          slot_next(state, event), model_next(state, event));
}
END_TEST

START_TEST(no_step_of_the_models_stands_there_twice)
{
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < i; j++)
            ck_assert(rows[i].from != rows[j].from || rows[i].event != rows[j].event);
}
END_TEST

TEST_MAIN(slot_model, every_event_in_every_state_leads_where_the_models_say,
          no_step_of_the_models_stands_there_twice)
