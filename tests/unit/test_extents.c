/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The books of an arena. Every step is followed by the validator; random steps
 * are followed by a map of the units besides, which knows nothing of extents.
 */
#include "ipc/extents.h"
#include "tests/test.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { MAP_UNITS = 4096, LIVE_MOST = 200 };

static struct extents books;

static void begin(uint32_t units)
{
    ck_assert_int_eq(extents_init(&books, units), 0);
    ck_assert(extents_check(&books));
}

static uint32_t take(uint32_t units, uint32_t *start)
{
    uint32_t number = extents_alloc(&books, units, start);
    ck_assert(extents_check(&books));
    return number;
}

static void give(uint32_t number)
{
    extents_free(&books, number);
    ck_assert(extents_check(&books));
}

/* Random numbers that do not depend on the C library. */
static uint64_t seed;

static uint32_t draw(uint32_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 33) % below;
}

/* TEST_SEED repeats a run. */
static void choose_seed(void)
{
    const char *given = getenv("TEST_SEED");
    seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL) * 2654435761u + 1;
    printf("TEST_SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout);
}

START_TEST(unit_0_is_never_given_out)
{
    uint32_t start;
    begin(9);
    for (uint32_t expected = 1; expected < 9; expected++) {
        ck_assert_uint_ne(take(1, &start), 0);
        ck_assert_uint_eq(start, expected);
    }
    ck_assert_uint_eq(take(1, &start), 0);
    ck_assert_uint_eq(books.taken_units, 8);
    extents_fini(&books);
}
END_TEST

START_TEST(nothing_and_too_much_are_refused)
{
    const uint32_t sizes[] = {0, 100, 101, 1u << 31, UINT32_MAX};
    uint32_t start = 77;
    begin(100);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        ck_assert_uint_eq(take(sizes[i], &start), 0);
    ck_assert_uint_eq(start, 77);
    extents_fini(&books);
}
END_TEST

START_TEST(an_empty_arena_gives_out_all_that_it_holds)
{
    for (uint32_t units = 2; units < 300; units++) {
        uint32_t start;
        begin(units);
        uint32_t number = take(units - 1, &start);
        ck_assert_msg(number != 0, "%u free units, and no room for %u", units - 1, units - 1);
        extents_fini(&books);
    }
}
END_TEST

START_TEST(a_hole_is_found_by_what_fits_exactly)
{
    for (uint32_t units = 1; units < 100; units++) {
        uint32_t hole, wall, start, at;
        begin(units + 2);
        hole = extents_claim(&books, 1, units);
        wall = extents_claim(&books, units + 1, 1);
        ck_assert(hole != 0 && wall != 0);
        at = 1;
        give(hole);
        ck_assert_msg(take(units, &start) != 0, "a hole of %u units was not found", units);
        ck_assert_uint_eq(start, at);
        extents_fini(&books);
    }
}
END_TEST

START_TEST(neighbours_merge_in_whatever_order_they_are_freed)
{
    static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                     {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (int i = 0; i < 6; i++) {
        uint32_t numbers[3], wall, start;
        begin(64);
        for (uint32_t k = 0; k < 3; k++)
            numbers[k] = extents_claim(&books, 1 + 16 * k, 16);
        wall = extents_claim(&books, 49, 15);
        for (int k = 0; k < 3; k++)
            give(numbers[orders[i][k]]);
        ck_assert_uint_eq(books.taken_units, 15);
        ck_assert_uint_ne(take(48, &start), 0);
        ck_assert_uint_eq(start, 1);
        give(wall);
        extents_fini(&books);
    }
}
END_TEST

START_TEST(what_was_freed_last_is_used_first)
{
    uint32_t numbers[8], starts[8], start;
    begin(1024);
    for (int i = 0; i < 8; i++)
        numbers[i] = take(9, &starts[i]);
    give(numbers[2]);
    give(numbers[6]);
    give(numbers[4]);
    ck_assert_uint_ne(take(9, &start), 0);
    ck_assert_uint_eq(start, starts[4]);
    ck_assert_uint_ne(take(9, &start), 0);
    ck_assert_uint_eq(start, starts[6]);
    ck_assert_uint_ne(take(9, &start), 0);
    ck_assert_uint_eq(start, starts[2]);
    extents_fini(&books);
}
END_TEST

START_TEST(a_small_hole_is_preferred_to_fresh_memory)
{
    uint32_t hole, wall, at, start;
    begin(1024);
    hole = take(4, &at);
    wall = take(1, &start);
    give(hole);
    ck_assert_uint_ne(take(3, &start), 0);
    ck_assert_uint_eq(start, at);
    give(wall);
    extents_fini(&books);
}
END_TEST

START_TEST(the_table_grows_as_it_must)
{
    uint32_t start;
    begin(1001);
    for (uint32_t i = 0; i < 1000; i++)
        ck_assert_uint_ne(extents_alloc(&books, 1, &start), 0);
    ck_assert(extents_check(&books));
    ck_assert_uint_eq(extents_alloc(&books, 1, &start), 0);
    ck_assert_uint_eq(books.taken_units, 1000);
    extents_fini(&books);
}
END_TEST

START_TEST(claim_takes_exactly_what_is_named)
{
    uint32_t middle, start;
    begin(100);
    middle = extents_claim(&books, 40, 20);
    ck_assert_uint_ne(middle, 0);
    ck_assert(extents_check(&books));
    ck_assert_uint_eq(books.taken_units, 20);
    ck_assert_uint_ne(extents_claim(&books, 1, 39), 0);
    ck_assert_uint_ne(extents_claim(&books, 60, 40), 0);
    ck_assert(extents_check(&books));
    ck_assert_uint_eq(take(1, &start), 0);
    give(middle);
    ck_assert_uint_ne(take(20, &start), 0);
    ck_assert_uint_eq(start, 40);
    extents_fini(&books);
}
END_TEST

START_TEST(claim_refuses_what_is_taken_or_outside)
{
    const struct {
        uint32_t start, units;
    } wrong[] = {
        {0, 1},
        {0, 100},
        {1, 0},
        {40, 20},
        {39, 2},
        {59, 1},
        {59, 2},
        {30, 40},
        {100, 1},
        {99, 2},
        {1, 40},
        {60, 41},
        {60, 0},
        {60, 1u << 31},
        {60, UINT32_MAX},
        {UINT32_MAX, 1},
        {UINT32_MAX, UINT32_MAX},
    };
    begin(100);
    ck_assert_uint_ne(extents_claim(&books, 40, 20), 0);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        ck_assert_msg(extents_claim(&books, wrong[i].start, wrong[i].units) == 0,
                      "[%u, +%u) was given out", wrong[i].start, wrong[i].units);
        ck_assert(extents_check(&books));
        ck_assert_uint_eq(books.taken_units, 20);
    }
    extents_fini(&books);
}
END_TEST

/* ---- random steps ---- */

struct live {
    uint32_t number, start, units;
};

static uint8_t map[MAP_UNITS];
static struct live live[LIVE_MOST];
static uint32_t live_count;

static void mark(const struct live *one, uint8_t from, uint8_t to)
{
    for (uint32_t unit = one->start; unit < one->start + one->units; unit++) {
        if (unit >= MAP_UNITS || map[unit] != from)
            ck_abort_msg("unit %u is not ours to take or give", unit);
        map[unit] = to;
    }
}

static void random_free(void)
{
    uint32_t which = draw(live_count);
    give(live[which].number);
    mark(&live[which], 1, 0);
    live[which] = live[--live_count];
}

static void random_take(void)
{
    struct live one = {.units = 1 + draw(draw(4) == 0 ? 300 : 20)};
    one.number = take(one.units, &one.start);
    if (one.number == 0)
        return;
    mark(&one, 0, 1);
    live[live_count++] = one;
}

static uint32_t live_units(void)
{
    uint32_t units = 0;
    for (uint32_t i = 0; i < live_count; i++)
        units += live[i].units;
    return units;
}

START_TEST(random_use_never_overlaps_and_loses_nothing)
{
    choose_seed();
    begin(MAP_UNITS);
    map[0] = 1;
    for (int step = 0; step < 8000; step++) {
        if (live_count == LIVE_MOST || (live_count > 0 && draw(2) == 0))
            random_free();
        else
            random_take();
        ck_assert_uint_eq(books.taken_units, live_units());
    }
    while (live_count > 0)
        random_free();
    uint32_t start;
    ck_assert_uint_ne(take(MAP_UNITS / 2, &start), 0);
    extents_fini(&books);
}
END_TEST

START_TEST(a_successor_can_rebuild_any_books)
{
    choose_seed();
    for (int round = 0; round < 20; round++) {
        begin(MAP_UNITS);
        memset(map, 0, sizeof(map));
        map[0] = 1;
        live_count = 0;
        for (int step = 0; step < 300; step++) {
            if (live_count == LIVE_MOST || (live_count > 0 && draw(3) == 0))
                random_free();
            else
                random_take();
        }
        extents_fini(&books);
        begin(MAP_UNITS);
        for (uint32_t i = 0; i < live_count; i++) {
            live[i].number = extents_claim(&books, live[i].start, live[i].units);
            ck_assert_uint_ne(live[i].number, 0);
            ck_assert(extents_check(&books));
        }
        ck_assert_uint_eq(books.taken_units, live_units());
        for (int step = 0; step < 300 && live_count < LIVE_MOST; step++)
            random_take();
        while (live_count > 0)
            random_free();
        extents_fini(&books);
    }
}
END_TEST

TEST_MAIN(extents, unit_0_is_never_given_out, nothing_and_too_much_are_refused,
          an_empty_arena_gives_out_all_that_it_holds, a_hole_is_found_by_what_fits_exactly,
          neighbours_merge_in_whatever_order_they_are_freed, what_was_freed_last_is_used_first,
          a_small_hole_is_preferred_to_fresh_memory, the_table_grows_as_it_must,
          claim_takes_exactly_what_is_named, claim_refuses_what_is_taken_or_outside,
          random_use_never_overlaps_and_loses_nothing, a_successor_can_rebuild_any_books)
