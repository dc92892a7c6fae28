/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool/due.h"
#include "tests/test.h"

enum { ENTRIES = 100, STEPS = 20000 };

static struct due_entry entries[ENTRIES];
static struct due_entry *heap[ENTRIES + 1];
static struct due due;

static uint32_t draw(uint32_t below)
{
    static uint64_t state = 1;
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(state >> 33) % below;
}

static uint64_t earliest(void)
{
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < ENTRIES; i++)
        if (entries[i].place != 0 && entries[i].at_ns < least)
            least = entries[i].at_ns;
    return least;
}

START_TEST(the_earliest_is_always_first)
{
    due = (struct due){.heap = heap};
    ck_assert_uint_eq(due_next(&due), UINT64_MAX);
    for (int step = 0; step < STEPS; step++) {
        struct due_entry *entry = &entries[draw(ENTRIES)];
        if (draw(3) == 0)
            due_clear(&due, entry);
        else
            due_set(&due, entry, draw(50));
        ck_assert_uint_eq(due_next(&due), earliest());
        for (uint32_t place = 1; place <= due.count; place++)
            ck_assert_uint_eq(heap[place]->place, place);
    }
    for (int i = 0; i < ENTRIES; i++)
        due_clear(&due, &entries[i]);
    ck_assert_uint_eq(due.count, 0);
}
END_TEST

START_TEST(what_is_not_there_can_be_cleared)
{
    due = (struct due){.heap = heap};
    due_clear(&due, &entries[0]);
    due_set(&due, &entries[1], 5);
    due_clear(&due, &entries[0]);
    ck_assert_uint_eq(due_next(&due), 5);
    due_clear(&due, &entries[1]);
    due_clear(&due, &entries[1]);
    ck_assert_uint_eq(due_next(&due), UINT64_MAX);
}
END_TEST

TEST_MAIN(due, the_earliest_is_always_first, what_is_not_there_can_be_cleared)
