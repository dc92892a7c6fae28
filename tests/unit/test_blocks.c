/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A worker's arena: giving out, collecting, growing, giving back.
 */
#include "tests/unit/arena.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

/* Everything but the header and the unit that is never used. */
static const uint64_t LARGEST = ARENA_SIZE - 2 * UNIT;

START_TEST(a_payload_is_aligned_and_inside)
{
    begin();
    for (uint64_t size = 0; size < 3000; size += 97) {
        uint32_t unit;
        void *data;
        ck_assert_int_eq(blocks_alloc(&blocks, size, &unit, &data), 0);
        ck_assert_ptr_eq(data, at(unit) + 1);
        ck_assert_uint_eq((uintptr_t)data % UNIT, 0);
        ck_assert_uint_gt(unit, FIRST_UNIT);
        ck_assert_uint_le((uint64_t)unit * UNIT + UNIT + size, ARENA_OFFSET + ARENA_SIZE);
        ck_assert_uint_eq(at(unit)->magic, BLOCK_MAGIC);
        ck_assert_uint_ge(at(unit)->units * UNIT, UNIT + size);
        block_release(at(unit));
    }
    finish();
}
END_TEST

START_TEST(a_new_block_is_pending_until_the_worker_clears_that)
{
    begin();
    uint32_t unit;
    void *data;
    ck_assert_int_eq(blocks_alloc(&blocks, 100, &unit, &data), 0);
    ck_assert_uint_eq(atomic_load(&shared->pending), unit);
    ck_assert_uint_eq(atomic_load(&shared->newest), unit);
    ck_assert_uint_eq(atomic_load(&at(unit)->released), 0);
    finish();
}
END_TEST

START_TEST(blocks_are_chained_newest_first)
{
    begin();
    uint32_t first = keep(10), second = keep(2000), third = keep(10);
    ck_assert_uint_eq(atomic_load(&shared->newest), third);
    ck_assert_uint_eq(atomic_load(&at(third)->next), second);
    ck_assert_uint_eq(atomic_load(&at(second)->next), first);
    ck_assert_uint_eq(atomic_load(&at(first)->next), 0);
    finish();
}
END_TEST

START_TEST(a_released_block_is_used_again_at_once)
{
    begin();
    uint32_t unit = keep(1000);
    for (int i = 0; i < 100; i++) {
        block_release(at(unit));
        ck_assert_uint_eq(keep(1000), unit);
    }
    finish();
}
END_TEST

START_TEST(blocks_in_the_middle_of_the_chain_come_back_too)
{
    begin();
    uint32_t units[12];
    for (int i = 0; i < 12; i++)
        units[i] = keep(4000); /* 64 units each, 768 of 1023 */
    for (int i = 1; i < 12; i += 2)
        block_release(at(units[i]));
    for (int i = 0; i < 6; i++)
        (void)keep(4000);
    for (int i = 0; i < 12; i += 2)
        ck_assert_uint_eq(atomic_load(&at(units[i])->released), 0);
    ck_assert_uint_eq(blocks.use_count, 12);
    ck_assert(extents_check(&blocks.extents));
    finish();
}
END_TEST

START_TEST(a_full_arena_says_so_and_has_room_again_after_a_release)
{
    begin();
    uint32_t unit, other, units[ARENA_UNITS];
    int count = 0;
    void *data;
    while (blocks_alloc(&blocks, 5000, &unit, &data) == 0)
        units[count++] = unit;
    ck_assert_int_ge(count, 10);
    ck_assert_int_eq(blocks_alloc(&blocks, 5000, &other, &data), -ENOSPC);
    block_release(at(units[count / 2]));
    ck_assert_int_eq(blocks_alloc(&blocks, 5000, &other, &data), 0);
    ck_assert_uint_eq(other, units[count / 2]);
    ck_assert_int_eq(blocks_alloc(&blocks, 5000, &other, &data), -ENOSPC);
    finish();
}
END_TEST

START_TEST(everything_that_was_released_is_found_when_room_is_short)
{
    begin();
    uint32_t units[200];
    for (int i = 0; i < 200; i++)
        units[i] = keep(200); /* 5 units each: nearly all */
    for (int i = 0; i < 200; i++)
        block_release(at(units[i]));
    (void)keep(ARENA_SIZE / 2);
    ck_assert_uint_eq(blocks.use_count, 1);
    finish();
}
END_TEST

START_TEST(the_largest_payload_fits_an_empty_arena_and_no_larger_one)
{
    uint32_t unit;
    void *data;
    begin();
    ck_assert_int_eq(blocks_alloc(&blocks, LARGEST + 1, &unit, &data), -ENOSPC);
    ck_assert_int_eq(blocks_alloc(&blocks, UINT64_C(1) << 40, &unit, &data), -ENOSPC);
    ck_assert_uint_eq(atomic_load(&shared->newest), 0);
    ck_assert_msg(blocks_alloc(&blocks, LARGEST, &unit, &data) == 0,
                  "no room for %llu bytes in an empty arena of %d", (unsigned long long)LARGEST,
                  ARENA_SIZE);
    finish();
}
END_TEST

START_TEST(undo_gives_the_newest_block_back)
{
    begin();
    uint32_t older = keep(500), unit, again;
    void *data;
    ck_assert_int_eq(blocks_alloc(&blocks, 500, &unit, &data), 0);
    blocks_undo(&blocks);
    ck_assert_uint_eq(atomic_load(&shared->pending), 0);
    ck_assert_uint_eq(atomic_load(&shared->newest), older);
    ck_assert_uint_eq(blocks.use_count, 1);
    ck_assert_int_eq(blocks_alloc(&blocks, 500, &again, &data), 0);
    ck_assert_uint_eq(again, unit);
    finish();
}
END_TEST

START_TEST(regrow_keeps_the_bytes_and_lets_the_old_block_go)
{
    begin();
    uint32_t unit;
    void *data;
    ck_assert_int_eq(blocks_alloc(&blocks, 64, &unit, &data), 0);
    memset(data, 'a', 64);
    for (uint64_t size = 128; size <= 16384; size *= 2) {
        ck_assert_int_eq(blocks_regrow(&blocks, size, size / 2, &unit, &data), 0);
        ck_assert_uint_eq(atomic_load(&shared->pending), unit);
        for (uint64_t i = 0; i < size / 2; i++)
            if (((char *)data)[i] != 'a')
                ck_abort_msg("byte %llu of %llu was lost", (unsigned long long)i,
                             (unsigned long long)size);
        memset(data, 'a', size);
    }
    atomic_store(&shared->pending, 0);
    (void)keep(100);
    (void)keep(100);
    ck_assert_uint_eq(blocks.use_count, 3);
    finish();
}
END_TEST

START_TEST(a_regrow_without_room_leaves_the_block_as_it_was)
{
    begin();
    uint32_t unit, other;
    void *data, *moved;
    ck_assert_int_eq(blocks_regrow(&blocks, 10, 0, &unit, &data), -ENOSPC); /* nothing yet */
    ck_assert_int_eq(blocks_alloc(&blocks, 1000, &unit, &data), 0);
    memset(data, 'b', 1000);
    ck_assert_int_eq(blocks_regrow(&blocks, LARGEST, 1000, &other, &moved), -ENOSPC);
    ck_assert_int_eq(blocks_regrow(&blocks, UINT64_C(1) << 40, 1000, &other, &moved), -ENOSPC);
    ck_assert_uint_eq(atomic_load(&at(unit)->released), 0);
    ck_assert_uint_eq(atomic_load(&shared->newest), unit);
    ck_assert_uint_eq(atomic_load(&shared->pending), unit);
    ck_assert_int_eq(((char *)data)[999], 'b');
    finish();
}
END_TEST

/* ---- random use ---- */

enum { HELD_MOST = 40, PAYLOAD_MOST = 4000 };

static uint64_t seed;

static uint32_t draw(uint32_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 33) % below;
}

START_TEST(random_use_with_changing_workers_keeps_every_payload)
{
    struct {
        uint32_t unit, size;
        uint8_t fill;
    } held[HELD_MOST];
    uint32_t count = 0;
    const char *given = getenv("TEST_SEED");
    seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL) * 2654435761u + 1;
    printf("TEST_SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout);
    begin();
    for (int step = 0; step < 8000; step++) {
        uint32_t size = draw(draw(3) == 0 ? PAYLOAD_MOST : 300), unit, which = draw(HELD_MOST);
        void *data;
        if (which < count) {
            for (uint32_t i = 0; i < held[which].size; i++)
                if (((uint8_t *)(at(held[which].unit) + 1))[i] != held[which].fill)
                    ck_abort_msg("step %d: byte %u was overwritten", step, i);
            block_release(at(held[which].unit));
            held[which] = held[--count];
        } else if (blocks_alloc(&blocks, size, &unit, &data) == 0) {
            if (draw(4) == 0)
                (void)blocks_regrow(&blocks, size, size / 2, &unit, &data);
            if (draw(8) == 0) {
                blocks_undo(&blocks);
            } else {
                held[count].unit = unit;
                held[count].size = size;
                held[count].fill = (uint8_t)draw(256);
                memset(data, held[count++].fill, size);
                atomic_store(&shared->pending, 0);
            }
        }
        if (draw(500) == 0) {
            blocks_fini(&blocks);
            if (init() != 0)
                ck_abort_msg("step %d: no takeover", step);
        }
        if (!extents_check(&blocks.extents))
            ck_abort_msg("step %d: the books are wrong", step);
    }
    finish();
}
END_TEST

TEST_MAIN(blocks, a_payload_is_aligned_and_inside,
          a_new_block_is_pending_until_the_worker_clears_that, blocks_are_chained_newest_first,
          a_released_block_is_used_again_at_once, blocks_in_the_middle_of_the_chain_come_back_too,
          a_full_arena_says_so_and_has_room_again_after_a_release,
          everything_that_was_released_is_found_when_room_is_short,
          the_largest_payload_fits_an_empty_arena_and_no_larger_one,
          undo_gives_the_newest_block_back, regrow_keeps_the_bytes_and_lets_the_old_block_go,
          a_regrow_without_room_leaves_the_block_as_it_was,
          random_use_with_changing_workers_keeps_every_payload)
