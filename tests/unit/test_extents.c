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
    uint32_t units = books.table[number].units;
    ck_assert_uint_eq(extents_free(&books, number), units);
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

START_TEST(claims_that_room_was_made_for_need_no_more)
{
    begin(MAP_UNITS);
    ck_assert_int_eq(extents_reserve(&books, 300), 0);
    uint32_t capacity = books.capacity;
    for (uint32_t i = 0; i < 300; i++) /* each leaves a hole */
        ck_assert_uint_ne(extents_claim(&books, 2 + 2 * i, 1), 0);
    ck_assert_uint_eq(books.capacity, capacity);
    ck_assert(extents_check(&books));
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

/* ---- giving back ---- */

enum { G = GRANULE_UNITS };

/* What was given back, call by call. */
static struct {
    uint32_t start, units;
} given[64];
static unsigned given_count;

static void note_given(void *context, uint32_t start, uint32_t units)
{
    ck_assert_ptr_eq(context, &books);
    ck_assert_uint_lt(given_count, 64);
    given[given_count].start = start;
    given[given_count++].units = units;
}

static uint32_t trim(uint32_t keep)
{
    given_count = 0;
    uint32_t units = extents_trim(&books, keep, note_given, &books);
    ck_assert(extents_check(&books));
    return units;
}

START_TEST(fresh_and_taken_memory_is_not_given_back)
{
    uint32_t start;
    begin(8 * G);
    ck_assert_uint_eq(trim(0), 0);
    ck_assert_uint_ne(take(6 * G, &start), 0);
    ck_assert_uint_eq(extents_spare(&books), 0);
    ck_assert_uint_eq(extents_warm(&books), 7 * G); /* begins at unit 1 */
    ck_assert_uint_eq(trim(0), 0);
    ck_assert_uint_eq(given_count, 0);
    extents_fini(&books);
}
END_TEST

START_TEST(all_that_was_used_and_freed_is_given_back_once)
{
    uint32_t start;
    begin(8 * G);
    for (int round = 0; round < 3; round++) {
        give(take(5 * G - 1, &start));
        ck_assert_uint_eq(extents_spare(&books), 5 * G);
        ck_assert_uint_eq(trim(0), 5 * G);
        ck_assert_uint_eq(given_count, 1);
        ck_assert_uint_eq(given[0].start, 0); /* unit 0 is nobody's: the whole first page */
        ck_assert_uint_eq(given[0].units, 5 * G);
        ck_assert_uint_eq(extents_warm(&books), 0);
        ck_assert_uint_eq(trim(0), 0);
    }
    extents_fini(&books);
}
END_TEST

START_TEST(the_short_end_of_an_arena_is_given_back_too)
{
    for (uint32_t units = 2; units < 3 * G; units += units < 20 ? 1 : 61) {
        uint32_t start;
        begin(units);
        give(take(units - 1, &start));
        ck_assert_uint_ge(trim(0), units);
        ck_assert_uint_eq(given_count, 1);
        ck_assert_uint_eq(given[0].start, 0);
        ck_assert_uint_eq(given[0].units, units);
        extents_fini(&books);
    }
}
END_TEST

START_TEST(a_granule_of_which_a_unit_is_taken_stays)
{
    uint32_t wall, before, after;
    begin(8 * G);
    before = extents_claim(&books, 1, 3 * G);
    wall = extents_claim(&books, 3 * G + 1, 1);
    after = extents_claim(&books, 3 * G + 2, 3 * G);
    give(before);
    give(after);
    ck_assert_uint_eq(trim(0), 6 * G);
    for (unsigned i = 0; i < given_count; i++)
        ck_assert(given[i].start + given[i].units <= 3 * G || given[i].start >= 4 * G);
    give(wall);
    ck_assert_uint_eq(trim(0), G);
    ck_assert_uint_eq(given[0].start, 3 * G);
    ck_assert_uint_eq(extents_warm(&books), 0);
    extents_fini(&books);
}
END_TEST

START_TEST(trimming_stops_at_what_is_to_be_kept_and_keeps_the_beginning)
{
    uint32_t start;
    begin(100 * G);
    give(take(50 * G - 1, &start));
    ck_assert_uint_eq(trim(60 * G), 0);
    ck_assert_uint_eq(trim(50 * G), 0);
    ck_assert_uint_eq(trim(20 * G), 30 * G);
    ck_assert_uint_eq(given_count, 1);
    ck_assert_uint_eq(given[0].start, 20 * G);
    ck_assert_uint_eq(given[0].units, 30 * G);
    ck_assert_uint_eq(trim(G - 1), 20 * G); /* at most so much */
    extents_fini(&books);
}
END_TEST

START_TEST(the_largest_goes_first_and_of_its_like_the_oldest)
{
    uint32_t holes[4], walls[4], at[4], start;
    const uint32_t sizes[4] = {4 * G, 4 * G, 4 * G, 16 * G};
    begin(256 * G);
    for (int i = 0; i < 4; i++) {
        holes[i] = take(sizes[i], &at[i]);
        walls[i] = take(G / 2, &start);
    }
    give(holes[3]);
    give(holes[1]);
    give(holes[0]);
    give(holes[2]);
    const int order[4] = {3, 1, 0, 2};
    int turn = 0;
    while (extents_spare(&books) > 0) {
        ck_assert_uint_eq(trim(extents_spare(&books) - G), G);
        uint32_t inside = given[0].start + G / 2 - at[order[turn]];
        if (inside >= sizes[order[turn]])
            inside = given[0].start + G / 2 - at[order[++turn]];
        ck_assert_uint_lt(inside, sizes[order[turn]]);
    }
    ck_assert_int_eq(turn, 3);
    for (int i = 0; i < 4; i++)
        give(walls[i]);
    extents_fini(&books);
}
END_TEST

START_TEST(what_was_used_in_between_is_not_unused)
{
    uint32_t start, small;
    begin(100 * G);
    give(take(50 * G - 1, &start));
    ck_assert_uint_eq(extents_unused(&books), 0); /* it was fresh until now */
    extents_watch(&books);
    ck_assert_uint_eq(extents_unused(&books), 50 * G);
    give(take(30 * G - 1, &start));
    small = take(1, &start);
    ck_assert_uint_eq(extents_unused(&books), 20 * G);
    extents_watch(&books);
    ck_assert_uint_eq(extents_unused(&books), 49 * G);
    give(small);
    ck_assert_uint_eq(extents_unused(&books), 49 * G);
    (void)trim(10 * G);
    ck_assert_uint_eq(extents_unused(&books), 9 * G); /* of these, 40 went */
    (void)trim(0);
    ck_assert_uint_eq(extents_unused(&books), 0);
    extents_fini(&books);
}
END_TEST

START_TEST(a_successor_gives_back_what_it_did_not_use_itself)
{
    uint32_t start, number;
    begin(100 * G);
    extents_assume_warm(&books, 10 * G + 1);
    ck_assert(extents_check(&books));
    ck_assert_uint_eq(extents_spare(&books), 11 * G);
    number = extents_claim(&books, 2 * G, 3 * G);
    ck_assert_uint_eq(extents_spare(&books), 8 * G);
    ck_assert_uint_eq(trim(0), 8 * G);
    ck_assert_uint_eq(extents_warm(&books), 3 * G);
    give(number);
    ck_assert_uint_eq(trim(0), 3 * G);
    extents_fini(&books);
    begin(100 * G);
    extents_assume_warm(&books, UINT32_MAX); /* the word may be damaged */
    ck_assert(extents_check(&books));
    ck_assert_uint_eq(trim(0), 100 * G);
    ck_assert_uint_ne(take(1, &start), 0);
    extents_fini(&books);
}
END_TEST

/* A map of the units, which knows of granules only where they begin: 1 for a unit
 * that was touched and not given back since. */
enum { LARGE_UNITS = 150 * G + 77, HELD_MOST = 60 };

static uint8_t taken_map[LARGE_UNITS], touched_map[LARGE_UNITS];

static void forget_units(void *context, uint32_t start, uint32_t units)
{
    if (start % G != 0 || (start + units != LARGE_UNITS && units % G != 0))
        ck_abort_msg("[%u, +%u) is not whole", start, units);
    for (uint32_t unit = start; unit < start + units; unit++) {
        if (unit >= LARGE_UNITS || taken_map[unit])
            ck_abort_msg("unit %u is not to be given back", unit);
        touched_map[unit] = 0;
    }
}

static uint32_t granules_that(bool are_touched, bool are_spare)
{
    uint32_t count = 0;
    for (uint32_t first = 0; first < LARGE_UNITS; first += G) {
        bool touched = false, taken = false;
        for (uint32_t unit = first; unit < first + G && unit < LARGE_UNITS; unit++) {
            touched = touched || touched_map[unit];
            taken = taken || taken_map[unit];
        }
        count += (touched || !are_touched) && (!taken || !are_spare);
    }
    return count;
}

START_TEST(random_use_and_trimming_agree_with_a_map_of_the_units)
{
    static struct live held[HELD_MOST];
    uint32_t count = 0;
    choose_seed();
    begin(LARGE_UNITS);
    for (int step = 0; step < 3000; step++) {
        uint32_t which = draw(HELD_MOST);
        if (which < count) {
            give(held[which].number);
            memset(taken_map + held[which].start, 0, held[which].units);
            held[which] = held[--count];
        } else {
            struct live one = {.units = 1 + draw(draw(3) == 0 ? 20 * G : 500)};
            one.number = take(one.units, &one.start);
            if (one.number != 0) {
                memset(taken_map + one.start, 1, one.units);
                memset(touched_map + one.start, 1, one.units);
                held[count++] = one;
            }
        }
        if (draw(20) == 0) {
            uint32_t keep = draw(3) == 0 ? 0 : draw(40 * G), before = extents_spare(&books);
            uint32_t units = extents_trim(&books, keep, forget_units, NULL);
            ck_assert(extents_check(&books));
            ck_assert_uint_eq(extents_spare(&books), before - units);
            if (before <= keep)
                ck_assert_uint_eq(units, 0);
            else
                ck_assert_uint_eq(extents_spare(&books), keep / G * G);
        }
        if (step % 10 == 0) {
            ck_assert_uint_eq(extents_warm(&books), granules_that(true, false) * G);
            ck_assert_uint_eq(extents_spare(&books), granules_that(true, true) * G);
        }
    }
    extents_fini(&books);
}
END_TEST

TEST_MAIN(extents, unit_0_is_never_given_out, nothing_and_too_much_are_refused,
          an_empty_arena_gives_out_all_that_it_holds, a_hole_is_found_by_what_fits_exactly,
          neighbours_merge_in_whatever_order_they_are_freed, what_was_freed_last_is_used_first,
          a_small_hole_is_preferred_to_fresh_memory, the_table_grows_as_it_must,
          claim_takes_exactly_what_is_named, claim_refuses_what_is_taken_or_outside,
          claims_that_room_was_made_for_need_no_more, random_use_never_overlaps_and_loses_nothing,
          a_successor_can_rebuild_any_books, fresh_and_taken_memory_is_not_given_back,
          all_that_was_used_and_freed_is_given_back_once,
          the_short_end_of_an_arena_is_given_back_too, a_granule_of_which_a_unit_is_taken_stays,
          trimming_stops_at_what_is_to_be_kept_and_keeps_the_beginning,
          the_largest_goes_first_and_of_its_like_the_oldest, what_was_used_in_between_is_not_unused,
          a_successor_gives_back_what_it_did_not_use_itself,
          random_use_and_trimming_agree_with_a_map_of_the_units)
