/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A worker's arena gives memory back to the system: which, and what a successor
 * makes of it.
 */
#define ARENA_PAGES 256 /* 16 granules */
#include "tests/unit/arena.h"

#include "base/fault.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { GRANULE = GRANULE_UNITS * UNIT };

/* The arena's bytes for which there are pages. */
static uint64_t resident(void)
{
    unsigned char pages[ARENA_PAGES];
    ck_assert_int_eq(mincore(shared->lane + ARENA_OFFSET, ARENA_SIZE, pages), 0);
    uint64_t bytes = 0;
    for (int i = 0; i < ARENA_PAGES; i++)
        bytes += (pages[i] & 1) != 0 ? PAGE_SIZE_BYTES : 0;
    return bytes;
}

static void trim(uint32_t keep)
{
    blocks_collect(&blocks);
    blocks_trim(&blocks, keep);
    ck_assert(extents_check(&blocks.extents));
}

START_TEST(released_blocks_are_collected_and_their_pages_given_back)
{
    begin();
    uint32_t units[5];
    for (int i = 0; i < 5; i++)
        units[i] = keep(3 * GRANULE);
    ck_assert_uint_ge(resident(), 15 * GRANULE);
    for (int i = 0; i < 5; i++)
        block_release(at(units[i]));
    trim(4 * GRANULE_UNITS);
    ck_assert_uint_eq(resident(), 4 * GRANULE);
    trim(0);
    ck_assert_uint_eq(blocks.use_count, 0);
    ck_assert_uint_eq(resident(), 0);
    ck_assert_uint_eq(keep(1000), FIRST_UNIT + 1);
    finish();
}
END_TEST

START_TEST(a_block_in_use_keeps_its_header_and_all_its_bytes)
{
    begin();
    uint32_t first = keep(3 * GRANULE), used = keep(5 * GRANULE), last = keep(4 * GRANULE);
    block_release(at(first));
    block_release(at(last));
    trim(0);
    ck_assert_uint_lt(resident(), 7 * GRANULE);
    ck_assert_uint_eq(at(used)->magic, BLOCK_MAGIC);
    for (uint32_t i = 0; i < 5 * GRANULE; i++)
        if (((uint8_t *)(at(used) + 1))[i] != (used & 0xff))
            ck_abort_msg("byte %u is lost", i);
    ck_assert_uint_eq(atomic_load(&shared->newest), used);
    blocks_fini(&blocks);
    ck_assert_int_eq(init(), 0);
    ck_assert_uint_eq(blocks.use_count, 1);
    finish();
}
END_TEST

START_TEST(what_was_given_back_can_be_used_again)
{
    begin();
    for (int round = 0; round < 20; round++) {
        uint32_t unit = keep((uint64_t)(1 + round % 13) * GRANULE);
        block_release(at(unit));
        trim(0);
        ck_assert_uint_eq(resident(), 0);
    }
    finish();
}
END_TEST

START_TEST(a_successor_gives_back_what_its_predecessor_touched)
{
    begin();
    block_release(at(keep(10 * GRANULE)));
    blocks_collect(&blocks);
    uint32_t used = keep(GRANULE);
    blocks_fini(&blocks);
    ck_assert_int_eq(init(), 0);
    ck_assert_uint_gt(resident(), 10 * GRANULE);
    trim(0);
    ck_assert_uint_le(resident(), 2 * GRANULE);
    block_release(at(used));
    trim(0);
    ck_assert_uint_eq(resident(), 0);
    finish();
}
END_TEST

/* Leaves holes between blocks in use, and trims them. */
static void use_arena(void)
{
    uint32_t units[12];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 4; i++)
            units[i] = keep(3 * GRANULE);
        block_release(at(units[0]));
        block_release(at(units[2]));
        blocks_collect(&blocks);
        blocks_trim(&blocks, 0);
        block_release(at(units[1]));
        block_release(at(units[3]));
        blocks_collect(&blocks);
        blocks_trim(&blocks, GRANULE_UNITS);
    }
}

static bool survive(int count)
{
    begin();
    uint32_t held = keep(1000);
    fault_arm("blocks_give_back", SIGKILL, count);
    pid_t worker = fork();
    if (worker == 0) {
        use_arena();
        _exit(0);
    }
    int status;
    ck_assert_int_eq(waitpid(worker, &status, 0), worker);
    bool struck = fault_struck();
    ck_assert(struck || status == 0);
    fault_arm(NULL, 0, 0);
    blocks_fini(&blocks);
    ck_assert_int_eq(init(), 0);
    ck_assert(extents_check(&blocks.extents));
    for (uint32_t unit = atomic_load(&shared->newest); unit != 0;
         unit = atomic_load(&at(unit)->next))
        if (unit != held)
            block_release(at(unit));
    trim(0);
    ck_assert_uint_eq(blocks.use_count, 1);
    ck_assert_uint_le(resident(), GRANULE);
    for (int i = 0; i < 1000; i++)
        if (((uint8_t *)(at(held) + 1))[i] != (held & 0xff))
            ck_abort_msg("byte %d is lost", i);
    finish();
    return struck;
}

START_TEST(a_death_while_memory_is_given_back_costs_nothing)
{
    int count = 1;
    while (survive(count))
        count++;
    ck_assert_int_gt(count, 6);
}
END_TEST

TEST_MAIN(blocks_trim, released_blocks_are_collected_and_their_pages_given_back,
          a_block_in_use_keeps_its_header_and_all_its_bytes, what_was_given_back_can_be_used_again,
          a_successor_gives_back_what_its_predecessor_touched,
          a_death_while_memory_is_given_back_costs_nothing)
