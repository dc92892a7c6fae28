/* SPDX-License-Identifier: BSD-3-Clause
 *
 * An arena for the tests of blocks, in memory that survives the process that
 * manages it, with guards before and after.
 */
#ifndef TESTS_UNIT_ARENA_H
#define TESTS_UNIT_ARENA_H

#include "ipc/blocks.h"
#include "tests/test.h"

#include <string.h>
#include <sys/mman.h>

#ifndef ARENA_PAGES
#define ARENA_PAGES 16
#endif

enum {
    ARENA_OFFSET = 3 * PAGE_SIZE_BYTES,
    ARENA_SIZE = ARENA_PAGES * PAGE_SIZE_BYTES,
    ARENA_UNITS = ARENA_SIZE / UNIT,
    FIRST_UNIT = ARENA_OFFSET / UNIT,
};

/* What is shared: the lane's words for the newest block and for what was ever
 * touched, the row's for the block in the making, and the lane. */
struct shared {
    _Atomic uint32_t newest;
    _Atomic uint32_t touched;
    _Atomic uint32_t pending;
    alignas(PAGE_SIZE_BYTES) uint8_t lane[ARENA_OFFSET + ARENA_SIZE + PAGE_SIZE_BYTES];
};

static struct shared *shared;

static struct blocks blocks;

static int init(void)
{
    return blocks_init(&blocks, shared->lane, ARENA_OFFSET, ARENA_SIZE, &shared->newest,
                       &shared->touched, &shared->pending);
}

static void begin(void)
{
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(shared, MAP_FAILED);
    memset(shared->lane, 0xa5, ARENA_OFFSET);
    memset(shared->lane + ARENA_OFFSET + ARENA_SIZE, 0xa5, PAGE_SIZE_BYTES);
    ck_assert_int_eq(init(), 0);
}

static void finish(void)
{
    for (int i = 0; i < ARENA_OFFSET; i++)
        if (shared->lane[i] != 0xa5)
            ck_abort_msg("byte %d before the arena was written", i);
    for (int i = 0; i < PAGE_SIZE_BYTES; i++)
        if (shared->lane[ARENA_OFFSET + ARENA_SIZE + i] != 0xa5)
            ck_abort_msg("byte %d after the arena was written", i);
    blocks_fini(&blocks);
    munmap(shared, sizeof(*shared));
}

static struct block *at(uint32_t unit)
{
    return (struct block *)(void *)(shared->lane + (uint64_t)unit * UNIT);
}

/* As the worker does: allocates, fills, and stands by the result. */
static uint32_t keep(uint64_t size)
{
    uint32_t unit;
    void *data;
    ck_assert_int_eq(blocks_alloc(&blocks, size, &unit, &data), 0);
    memset(data, (int)(unit & 0xff), size);
    atomic_store(&shared->pending, 0);
    return unit;
}

#endif
