/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the successor of a worker finds in its arena: after an orderly end, after
 * a death at any step, and when somebody damaged the chain.
 */
#include "base/clock.h"
#include "base/fault.h"
#include "tests/unit/arena.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* A payload for which nearly all of the arena must be free. */
enum { MOST = 895 * UNIT };

/* ---- successors ---- */

START_TEST(a_successor_leaves_alone_what_was_not_released)
{
    begin();
    uint32_t units[50];
    for (int i = 0; i < 50; i++)
        units[i] = keep(300);
    for (int i = 0; i < 50; i += 3)
        block_release(at(units[i]));
    blocks_fini(&blocks);
    ck_assert_int_eq(init(), 0);
    ck_assert_uint_eq(blocks.use_count, 50);
    for (int i = 0; i < 300; i++)
        block_release(at(keep(700)));
    for (int i = 0; i < 50; i++) {
        if (i % 3 == 0)
            continue;
        for (int byte = 0; byte < 300; byte++)
            if (((uint8_t *)(at(units[i]) + 1))[byte] != (units[i] & 0xff))
                ck_abort_msg("byte %d of block %d was overwritten", byte, i);
        block_release(at(units[i]));
    }
    (void)keep(MOST);
    ck_assert_uint_eq(blocks.use_count, 1);
    finish();
}
END_TEST

START_TEST(a_successor_keeps_the_order_of_the_chain)
{
    begin();
    uint32_t older = keep(10), newer = keep(10);
    blocks_fini(&blocks);
    ck_assert_int_eq(init(), 0);
    uint32_t newest = keep(10);
    block_release(at(newer));   /* in the middle */
    for (int i = 0; i < 4; i++) /* each looks at some */
        block_release(at(keep(10)));
    ck_assert_uint_eq(atomic_load(&at(newest)->next), older);
    finish();
}
END_TEST

START_TEST(a_long_chain_is_taken_over_quickly)
{
    enum { MANY = 100000, LARGE = (2 * MANY + 2) * UNIT };
    static _Atomic uint32_t newest, touched, pending;
    uint8_t *lane = mmap(NULL, ARENA_OFFSET + LARGE, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(lane, MAP_FAILED);
    /* The newest lies lowest: the order that takes longest to find one by one. */
    for (uint32_t i = 0; i < MANY; i++) {
        uint32_t unit = FIRST_UNIT + 1 + 2 * i;
        struct block *block = (struct block *)(void *)(lane + (uint64_t)unit * UNIT);
        *block = (struct block){.magic = BLOCK_MAGIC, .units = 2};
        atomic_store(&block->next, i + 1 < MANY ? unit + 2 : 0);
    }
    atomic_store(&newest, FIRST_UNIT + 1);
    uint64_t began = clock_ns();
    ck_assert_int_eq(blocks_init(&blocks, lane, ARENA_OFFSET, LARGE, &newest, &touched, &pending),
                     0);
    ck_assert_msg(clock_ns() - began < UINT64_C(2000000000), "it took %.1f s",
                  (double)(clock_ns() - began) / 1e9);
    ck_assert_uint_eq(blocks.use_count, MANY);
    ck_assert(extents_check(&blocks.extents));
    blocks_fini(&blocks);
    munmap(lane, ARENA_OFFSET + LARGE);
}
END_TEST

/* What a worker does until it is killed. */
static void use_arena(void)
{
    uint32_t held[3] = {0}, unit;
    void *data;
    for (int i = 0; i < 100; i++) {
        if (blocks_alloc(&blocks, 100, &unit, &data) < 0 ||
            blocks_regrow(&blocks, 900, 100, &unit, &data) < 0)
            return;
        if (i % 4 == 3) {
            blocks_undo(&blocks);
            continue;
        }
        atomic_store(&shared->pending, 0);
        if (held[i % 3] != 0)
            block_release(at(held[i % 3]));
        held[i % 3] = unit;
    }
}

/* Kills a worker at the name's `count`-th passing and takes its arena over;
 * false when it did not come to that. */
static bool survive(const char *name, int count)
{
    begin();
    fault_arm(name, SIGKILL, count);
    pid_t worker = fork();
    if (worker == 0) {
        use_arena();
        _exit(0);
    }
    int status;
    ck_assert_int_eq(waitpid(worker, &status, 0), worker);
    bool struck = fault_struck();
    fault_arm(NULL, 0, 0);
    blocks_fini(&blocks);
    uint32_t pending = atomic_load(&shared->pending);
    if (pending != 0) /* the supervisor's part */
        block_release(at(pending));
    ck_assert_msg(init() == 0, "after death %d at %s the chain is damaged", count, name);
    ck_assert(extents_check(&blocks.extents));
    for (uint32_t unit = atomic_load(&shared->newest); unit != 0;
         unit = atomic_load(&at(unit)->next))
        block_release(at(unit)); /* the client's part */
    uint32_t unit;
    void *data;
    ck_assert_msg(blocks_alloc(&blocks, MOST, &unit, &data) == 0,
                  "after death %d at %s memory is lost", count, name);
    block_release(at(unit));
    for (int i = 0; i < 20; i++) /* each looks at some */
        block_release(at(keep(10)));
    ck_assert_uint_eq(blocks.use_count, 1);
    finish();
    return struck;
}

START_TEST(a_death_at_any_link_or_unlink_loses_no_memory)
{
    const char *const names[] = {"blocks_link", "blocks_unlink"};
    for (int i = 0; i < 2; i++) {
        int count = 1;
        while (survive(names[i], count))
            count += count < 20 ? 1 : 17;
        ck_assert_int_gt(count, 20);
    }
}
END_TEST

/* ---- damage ---- */

/* Three blocks, of which the middle one is damaged by the caller. */
static struct block *begin_damage(void)
{
    begin();
    (void)keep(500);
    uint32_t middle = keep(500);
    (void)keep(500);
    blocks_fini(&blocks);
    return at(middle);
}

static void expect_fault(const char *what)
{
    int result = init();
    ck_assert_msg(result == -EFAULT, "%s: %d", what, result);
    munmap(shared, sizeof(*shared));
}

START_TEST(a_block_that_is_none_is_refused)
{
    begin_damage()->magic = 0;
    expect_fault("magic");
}
END_TEST

START_TEST(a_block_of_impossible_length_is_refused)
{
    const uint32_t lengths[] = {0, ARENA_UNITS, 1u << 31, UINT32_MAX};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        begin_damage()->units = lengths[i];
        expect_fault("units");
    }
}
END_TEST

START_TEST(blocks_that_overlap_are_refused)
{
    struct block *middle = begin_damage();
    middle->units++;
    expect_fault("one unit into the next block");
    middle = begin_damage();
    struct block *inside = middle + 2;
    *inside = *middle;
    inside->units = 1;
    atomic_store(&inside->next, atomic_load(&middle->next));
    atomic_store(&middle->next, (uint32_t)(inside - (struct block *)(void *)shared->lane));
    expect_fault("a block inside of a block");
}
END_TEST

START_TEST(links_that_lead_out_of_the_arena_are_refused)
{
    const uint32_t targets[] = {1, FIRST_UNIT - 1, FIRST_UNIT, FIRST_UNIT + ARENA_UNITS,
                                UINT32_MAX};
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        atomic_store(&begin_damage()->next, targets[i]);
        expect_fault("next");
        begin();
        blocks_fini(&blocks);
        atomic_store(&shared->newest, targets[i]);
        expect_fault("newest");
    }
}
END_TEST

START_TEST(a_chain_that_loops_is_refused)
{
    struct block *middle = begin_damage();
    uint32_t newest = atomic_load(&shared->newest);
    uint32_t oldest = atomic_load(&middle->next);
    atomic_store(&middle->next, atomic_load(&at(newest)->next));
    expect_fault("a block that follows itself");
    (void)begin_damage();
    atomic_store(&at(oldest)->next, newest);
    expect_fault("the oldest before the newest");
}
END_TEST

TEST_MAIN(blocks_takeover, a_successor_leaves_alone_what_was_not_released,
          a_successor_keeps_the_order_of_the_chain, a_death_at_any_link_or_unlink_loses_no_memory,
          a_block_that_is_none_is_refused, a_block_of_impossible_length_is_refused,
          blocks_that_overlap_are_refused, links_that_lead_out_of_the_arena_are_refused,
          a_chain_that_loops_is_refused, a_long_chain_is_taken_over_quickly)
