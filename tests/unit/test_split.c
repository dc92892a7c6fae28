/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Ranges: mc_ranges() and the chunks of mc_group_map().
 */
#include "multicore.h"
#include "pool/split.h"
#include "tests/test.h"

#include <limits.h>
#include <stdio.h>
#include <time.h>

enum { CHUNKS_MAX = 100000 };

static void expect_ranges(uint64_t items, unsigned parts, uint64_t min_chunk,
                          const struct mc_range *expected, size_t count)
{
    struct mc_range ranges[16];
    ck_assert_uint_eq(mc_ranges(items, parts, min_chunk, ranges, 16), count);
    for (size_t i = 0; i < count; i++) {
        ck_assert_uint_eq(ranges[i].start, expected[i].start);
        ck_assert_uint_eq(ranges[i].end, expected[i].end);
    }
}

START_TEST(equal_parts)
{
    expect_ranges(80, 4, 0, (struct mc_range[]){{0, 20}, {20, 40}, {40, 60}, {60, 80}}, 4);
    expect_ranges(10, 4, 1, (struct mc_range[]){{0, 3}, {3, 6}, {6, 8}, {8, 10}}, 4);
}
END_TEST

START_TEST(minimum_makes_fewer_parts)
{
    expect_ranges(80, 4, 30, (struct mc_range[]){{0, 30}, {30, 60}, {60, 80}}, 3);
    expect_ranges(80, 4, 100, (struct mc_range[]){{0, 80}}, 1);
    expect_ranges(80, 4, UINT64_MAX, (struct mc_range[]){{0, 80}}, 1);
}
END_TEST

START_TEST(fewer_items_than_parts)
{
    expect_ranges(3, 8, 0, (struct mc_range[]){{0, 1}, {1, 2}, {2, 3}}, 3);
    expect_ranges(1, 256, 0, (struct mc_range[]){{0, 1}}, 1);
}
END_TEST

START_TEST(no_items_have_no_ranges)
{
    expect_ranges(0, 4, 0, NULL, 0);
    expect_ranges(0, 0, 10, NULL, 0);
}
END_TEST

START_TEST(zero_parts_are_one)
{
    expect_ranges(7, 0, 0, (struct mc_range[]){{0, 7}}, 1);
}
END_TEST

START_TEST(ranges_fills_no_more_than_there_is_room_for)
{
    struct mc_range ranges[3] = {{7, 7}, {7, 7}, {7, 7}};
    ck_assert_uint_eq(mc_ranges(80, 4, 0, ranges, 2), 4);
    ck_assert_uint_eq(ranges[1].end, 40);
    ck_assert_uint_eq(ranges[2].start, 7);
    ck_assert_uint_eq(mc_ranges(80, 4, 0, NULL, 0), 4);
}
END_TEST

START_TEST(ranges_do_not_overflow)
{
    uint64_t half = UINT64_MAX / 2;
    expect_ranges(UINT64_MAX, 2, 0, (struct mc_range[]){{0, half + 1}, {half + 1, UINT64_MAX}}, 2);
    expect_ranges(UINT64_MAX, 2, UINT64_MAX - 1,
                  (struct mc_range[]){{0, UINT64_MAX - 1}, {UINT64_MAX - 1, UINT64_MAX}}, 2);
}
END_TEST

/* Walks a split and checks what is true of all: chunks are contiguous, cover
 * [0, items) exactly, and keep the limits. Returns their number. One assertion
 * for all, as each is a system call. */
static size_t walk(uint64_t items, unsigned workers, enum mc_split how, uint64_t min_chunk,
                   uint64_t max_chunk)
{
    struct split split;
    struct mc_range range;
    uint64_t at = 0;
    size_t count = 0;
    uint64_t most = max_chunk > 0 ? max_chunk : UINT64_MAX;
    uint64_t least = min_chunk > 0 ? min_chunk : 1;
    if (least > most)
        least = most;
    bool good = true;
    split_init(&split, items, workers, how, min_chunk, max_chunk);
    while (good && split_next(&split, &range)) {
        uint64_t size = range.end - range.start;
        good = range.start == at && range.end > range.start && range.end <= items && size <= most &&
               (size >= least || range.end == items) && ++count <= CHUNKS_MAX;
        at = range.end;
    }
    ck_assert_msg(good && at == items && !split_next(&split, &range),
                  "%llu items, %u workers, %s, chunks of %llu to %llu: wrong at %llu",
                  (unsigned long long)items, workers, how == MC_SPLIT_GUIDED ? "guided" : "static",
                  (unsigned long long)min_chunk, (unsigned long long)max_chunk,
                  (unsigned long long)at);
    return count;
}

/* A number whose magnitude is evenly spread. */
static uint64_t any_number(unsigned bits_max)
{
    uint64_t wide = (uint64_t)random() << 33 ^ (uint64_t)random() << 11 ^ (uint64_t)random();
    unsigned bits = (unsigned)random() % (bits_max + 1);
    return bits == 0 ? 0 : wide >> (64 - bits);
}

START_TEST(any_split_covers_and_keeps_the_limits)
{
    const char *chosen = getenv("TEST_SEED");
    unsigned seed = chosen != NULL ? (unsigned)strtoul(chosen, NULL, 0) : (unsigned)time(NULL);
    printf("TEST_SEED=%u\n", seed);
    srandom(seed);
    for (int i = 0; i < 5000; i++) {
        uint64_t items = any_number(64);
        unsigned workers = (unsigned)any_number(6);
        uint64_t min_chunk = random() % 2 ? 0 : any_number(64);
        uint64_t max_chunk = random() % 2 ? 0 : any_number(64);
        if (max_chunk != 0 && items / max_chunk > 1000)
            max_chunk = items / 1000;
        walk(items, workers, MC_SPLIT_GUIDED, min_chunk, max_chunk);
        walk(items, workers, MC_SPLIT_STATIC, min_chunk, max_chunk);
    }
}
END_TEST

START_TEST(every_small_split_covers_and_keeps_the_limits)
{
    for (uint64_t items = 0; items <= 40; items++)
        for (unsigned workers = 0; workers <= 5; workers++)
            for (uint64_t min_chunk = 0; min_chunk <= 12; min_chunk++)
                for (uint64_t max_chunk = 0; max_chunk <= 12; max_chunk++) {
                    walk(items, workers, MC_SPLIT_GUIDED, min_chunk, max_chunk);
                    walk(items, workers, MC_SPLIT_STATIC, min_chunk, max_chunk);
                }
}
END_TEST

START_TEST(static_split_is_one_equal_chunk_per_worker)
{
    struct split split;
    struct mc_range range;
    ck_assert_uint_eq(walk(1000, 7, MC_SPLIT_STATIC, 0, 0), 7);
    split_init(&split, 1000, 7, MC_SPLIT_STATIC, 0, 0);
    while (split_next(&split, &range)) {
        ck_assert_uint_ge(range.end - range.start, 142);
        ck_assert_uint_le(range.end - range.start, 143);
    }
}
END_TEST

START_TEST(static_split_with_a_maximum_makes_more_chunks)
{
    ck_assert_uint_eq(walk(1000, 2, MC_SPLIT_STATIC, 0, 100), 10);
    ck_assert_uint_eq(walk(1001, 2, MC_SPLIT_STATIC, 0, 100), 11);
}
END_TEST

START_TEST(guided_chunks_never_grow)
{
    struct split split;
    struct mc_range range;
    uint64_t before = UINT64_MAX;
    split_init(&split, 123457, 5, MC_SPLIT_GUIDED, 3, 0);
    while (split_next(&split, &range)) {
        ck_assert_uint_le(range.end - range.start, before);
        before = range.end - range.start;
    }
}
END_TEST

START_TEST(guided_chunks_begin_with_a_sixteenth_of_a_share)
{
    struct split split;
    struct mc_range range;
    split_init(&split, 3200, 2, MC_SPLIT_GUIDED, 0, 0);
    ck_assert(split_next(&split, &range));
    ck_assert_uint_eq(range.end - range.start, 100);
}
END_TEST

START_TEST(guided_chunks_are_few)
{
    ck_assert_uint_eq(walk(1080, 2, MC_SPLIT_GUIDED, 0, 0), 43);
    ck_assert_uint_le(walk(UINT64_C(1) << 40, 2, MC_SPLIT_GUIDED, 1, 0), 140);
    ck_assert_uint_le(walk(UINT64_MAX, 2, MC_SPLIT_GUIDED, 1, 0), 200);
    ck_assert_uint_le(walk(UINT64_MAX, 256, MC_SPLIT_GUIDED, 1, 0), 256 * 100);
    ck_assert_uint_le(walk(1000000, 64, MC_SPLIT_GUIDED, 1, 0), 64 * 32);
}
END_TEST

START_TEST(ranges_beyond_the_room_are_counted_not_made)
{
    struct mc_range ranges[2];
    ck_assert_uint_eq(mc_ranges(UINT64_MAX, UINT_MAX, 0, ranges, 2), UINT_MAX);
    ck_assert_uint_eq(ranges[1].start, ranges[0].end);
    ck_assert_uint_eq(mc_ranges(UINT64_MAX, UINT_MAX, UINT64_MAX, NULL, 0), 1);
    ck_assert_uint_eq(mc_ranges(UINT64_C(1) << 40, UINT_MAX, 1000, NULL, 0), 1099511628);
    for (uint64_t items = 0; items < 60; items++)
        for (unsigned parts = 1; parts < 20; parts++)
            for (uint64_t least = 0; least < 12; least++) {
                struct mc_range all[64];
                size_t made = mc_ranges(items, parts, least, all, 64);
                for (size_t room = 0; room < 5; room++)
                    ck_assert_uint_eq(mc_ranges(items, parts, least, all, room), made);
            }
}
END_TEST

START_TEST(guided_chunks_of_an_expensive_beginning_are_even)
{
    /* Half of the cost lies in the first tenth of the items; no chunk may have
     * more than a third of what one of two workers should get. */
    struct split split;
    struct mc_range range;
    double largest = 0;
    split_init(&split, 1000, 2, MC_SPLIT_GUIDED, 0, 0);
    while (split_next(&split, &range)) {
        double cost = 0;
        for (uint64_t i = range.start; i < range.end; i++)
            cost += i < 100 ? 0.5 / 100 : 0.5 / 900;
        largest = cost > largest ? cost : largest;
    }
    ck_assert_double_lt(largest, 0.17);
}
END_TEST

TEST_MAIN(split, equal_parts, minimum_makes_fewer_parts, fewer_items_than_parts,
          no_items_have_no_ranges, zero_parts_are_one, ranges_fills_no_more_than_there_is_room_for,
          ranges_do_not_overflow, ranges_beyond_the_room_are_counted_not_made,
          any_split_covers_and_keeps_the_limits, every_small_split_covers_and_keeps_the_limits,
          static_split_is_one_equal_chunk_per_worker, static_split_with_a_maximum_makes_more_chunks,
          guided_chunks_never_grow, guided_chunks_begin_with_a_sixteenth_of_a_share,
          guided_chunks_are_few, guided_chunks_of_an_expensive_beginning_are_even)
