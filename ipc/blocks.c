/* SPDX-License-Identifier: BSD-3-Clause */
#include "ipc/blocks.h"

#include "base/check.h"
#include "base/fault.h"
#include "ipc/segment.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { LOOKS_PER_ALLOC = 4 };

static struct block *block_at(const struct blocks *blocks, uint32_t unit)
{
    return (struct block *)(void *)(blocks->memory + (uint64_t)(unit - blocks->first_unit) * UNIT);
}

/* Makes number the newest block in use. */
static int remember(struct blocks *blocks, uint32_t number, uint32_t unit)
{
    if (number >= blocks->capacity) {
        uint32_t capacity = blocks->extents.capacity;
        struct block_use *uses = realloc(blocks->uses, capacity * sizeof(*uses));
        if (uses == NULL)
            return -ENOMEM;
        blocks->uses = uses;
        blocks->capacity = capacity;
    }
    blocks->uses[number] = (struct block_use){.unit = unit, .older = blocks->newest_use};
    if (blocks->newest_use != 0)
        blocks->uses[blocks->newest_use].newer = number;
    else
        blocks->oldest_use = number;
    blocks->newest_use = number;
    blocks->use_count++;
    return 0;
}

/* Unchains a block and returns its memory to the books. */
static void forget(struct blocks *blocks, uint32_t number)
{
    struct block_use use = blocks->uses[number];
    _Atomic uint32_t *link =
        use.newer == 0 ? blocks->newest : &block_at(blocks, blocks->uses[use.newer].unit)->next;
    uint32_t next = use.older == 0 ? 0 : blocks->uses[use.older].unit;
    FAULT_POINT("blocks_unlink");
    atomic_store_explicit(link, next, memory_order_release);
    *(use.newer != 0 ? &blocks->uses[use.newer].older : &blocks->newest_use) = use.older;
    *(use.older != 0 ? &blocks->uses[use.older].newer : &blocks->oldest_use) = use.newer;
    if (blocks->hand == number)
        blocks->hand = use.newer;
    blocks->use_count--;
    (void)extents_free(&blocks->extents, number);
}

static bool released(const struct blocks *blocks, uint32_t number)
{
    /* B2 pairs with B1. */
    return atomic_load_explicit(&block_at(blocks, blocks->uses[number].unit)->released,
                                memory_order_acquire) != 0;
}

/* Looks at a few blocks and collects those that were released: the newest, which
 * is warm and the likeliest, then on from where the last look stopped. */
static void collect(struct blocks *blocks, uint32_t looks)
{
    if (blocks->newest_use != 0 && released(blocks, blocks->newest_use))
        forget(blocks, blocks->newest_use);
    while (looks-- != 0 && blocks->use_count != 0) {
        if (blocks->hand == 0)
            blocks->hand = blocks->oldest_use;
        uint32_t looked_at = blocks->hand;
        blocks->hand = blocks->uses[looked_at].newer;
        if (released(blocks, looked_at))
            forget(blocks, looked_at);
    }
}

void blocks_collect(struct blocks *blocks)
{
    collect(blocks, 2 * blocks->use_count);
}

/* ---- taking over ---- */

/* A block of the chain that a predecessor left. */
struct link {
    uint32_t unit, units;
    uint32_t place;  /* in the chain, newest first */
    uint32_t number; /* in the books */
};

struct chain {
    struct link *links;
    uint32_t count, capacity;
};

static int add_link(struct chain *chain, uint32_t unit, uint32_t units)
{
    if (chain->count == chain->capacity) {
        uint32_t capacity = chain->capacity == 0 ? 64 : chain->capacity * 2;
        struct link *links = realloc(chain->links, capacity * sizeof(*links));
        if (links == NULL)
            return -ENOMEM;
        chain->links = links;
        chain->capacity = capacity;
    }
    chain->links[chain->count] = (struct link){.unit = unit, .units = units, .place = chain->count};
    chain->count++;
    return 0;
}

/* More results than that no client keeps of one worker; whose chain says so wants to
 * keep us busy. */
enum { LINKS_MOST = 1 << 20 };

/* Walks the chain, which may be damaged: into a loop as well. */
static int read_chain(const struct blocks *blocks, struct chain *chain)
{
    uint32_t unit = atomic_load_explicit(blocks->newest, memory_order_acquire);
    uint32_t seen = 0; /* of the blocks passed, one is kept, ever farther apart: a loop meets it */
    while (unit != 0) {
        uint32_t start = unit - blocks->first_unit;
        if (start == 0 || start >= blocks->extents.units || unit == seen ||
            chain->count == LINKS_MOST)
            return -EFAULT;
        const struct block *block = block_at(blocks, unit);
        if (LOAD_ONCE(block->magic) != BLOCK_MAGIC)
            return -EFAULT;
        int result = add_link(chain, unit, LOAD_ONCE(block->units));
        if (result < 0)
            return result;
        if ((chain->count & (chain->count - 1)) == 0)
            seen = unit;
        unit = atomic_load_explicit(&block->next, memory_order_acquire);
    }
    return 0;
}

static int by_unit(const void *left, const void *right)
{
    uint32_t a = ((const struct link *)left)->unit, b = ((const struct link *)right)->unit;
    return a < b ? -1 : a > b;
}

static int by_place(const void *left, const void *right)
{
    uint32_t a = ((const struct link *)left)->place, b = ((const struct link *)right)->place;
    return a < b ? -1 : a > b;
}

/* Enters the blocks into the books: by address, which is quick, then in the order
 * of the chain. */
static int adopt(struct blocks *blocks, struct chain *chain)
{
    if (extents_reserve(&blocks->extents, chain->count) < 0)
        return -ENOMEM;
    qsort(chain->links, chain->count, sizeof(*chain->links), by_unit);
    for (uint32_t i = 0; i < chain->count; i++) {
        struct link *link = &chain->links[i];
        link->number =
            extents_claim(&blocks->extents, link->unit - blocks->first_unit, link->units);
        if (link->number == 0)
            return -EFAULT;
    }
    qsort(chain->links, chain->count, sizeof(*chain->links), by_place);
    for (uint32_t i = chain->count; i-- > 0;) {
        int result = remember(blocks, chain->links[i].number, chain->links[i].unit);
        if (result < 0)
            return result;
    }
    return 0;
}

static int take_over(struct blocks *blocks)
{
    struct chain chain = {0};
    int result = read_chain(blocks, &chain);
    if (result == 0 && chain.count != 0)
        result = adopt(blocks, &chain);
    free(chain.links);
    return result;
}

int blocks_init(struct blocks *blocks, uint8_t *lane, uint64_t arena_offset, uint64_t arena_size,
                _Atomic uint32_t *newest, _Atomic uint32_t *touched, _Atomic uint32_t *pending)
{
    memset(blocks, 0, sizeof(*blocks));
    blocks->memory = lane + arena_offset;
    blocks->first_unit = (uint32_t)(arena_offset / UNIT);
    blocks->newest = newest;
    blocks->touched = touched;
    blocks->pending = pending;
    int result = extents_init(&blocks->extents, (uint32_t)(arena_size / UNIT));
    if (result < 0)
        return result;
    extents_assume_warm(&blocks->extents, atomic_load_explicit(touched, memory_order_acquire));
    result = take_over(blocks);
    if (result < 0) {
        blocks_fini(blocks);
        return result;
    }
    return 0;
}

void blocks_fini(struct blocks *blocks)
{
    extents_fini(&blocks->extents);
    free(blocks->uses);
    blocks->uses = NULL;
}

/* Takes units out of the books and chains the new block; 0 when nothing fits. */
static uint32_t take(struct blocks *blocks, uint64_t units)
{
    uint32_t start;
    uint32_t number = extents_alloc(&blocks->extents, (uint32_t)units, &start);
    if (number == 0)
        return 0;
    uint32_t at = blocks->first_unit + start;
    if (remember(blocks, number, at) < 0) {
        (void)extents_free(&blocks->extents, number);
        return 0;
    }
    uint32_t end = start + (uint32_t)units;
    if (end > atomic_load_explicit(blocks->touched, memory_order_relaxed))
        atomic_store_explicit(blocks->touched, end, memory_order_release);
    struct block *block = block_at(blocks, at);
    block->magic = BLOCK_MAGIC;
    block->units = (uint32_t)units;
    atomic_store_explicit(&block->released, 0, memory_order_relaxed);
    atomic_store_explicit(&block->next, atomic_load_explicit(blocks->newest, memory_order_relaxed),
                          memory_order_relaxed);
    atomic_store_explicit(blocks->pending, at, memory_order_release);
    FAULT_POINT("blocks_link");
    atomic_store_explicit(blocks->newest, at, memory_order_release);
    return at;
}

static uint64_t units_for(uint64_t size)
{
    return 1 + (size + UNIT - 1) / UNIT;
}

int blocks_alloc(struct blocks *blocks, uint64_t size, uint32_t *unit, void **data)
{
    uint64_t units = units_for(size);
    if (units > blocks->extents.units)
        return -ENOSPC;
    collect(blocks, LOOKS_PER_ALLOC);
    uint32_t at = take(blocks, units);
    if (at == 0) {
        blocks_collect(blocks);
        at = take(blocks, units);
        if (at == 0)
            return -ENOSPC;
    }
    *unit = at;
    *data = block_at(blocks, at) + 1;
    return 0;
}

int blocks_regrow(struct blocks *blocks, uint64_t size, uint64_t keep, uint32_t *unit, void **data)
{
    uint64_t units = units_for(size);
    if (blocks->newest_use == 0 || units > blocks->extents.units)
        return -ENOSPC;
    struct block *old = block_at(blocks, blocks->uses[blocks->newest_use].unit);
    /* Released before it is copied: nobody but us collects, and not yet; so
     * whenever we die, one of the two blocks is pending and the other released. */
    block_release(old);
    uint32_t at = take(blocks, units);
    if (at == 0) {
        atomic_store_explicit(&old->released, 0, memory_order_relaxed);
        return -ENOSPC;
    }
    memcpy(block_at(blocks, at) + 1, old + 1, keep);
    *unit = at;
    *data = block_at(blocks, at) + 1;
    return 0;
}

void blocks_undo(struct blocks *blocks)
{
    CHECK(blocks->use_count != 0);
    forget(blocks, blocks->newest_use);
    atomic_store_explicit(blocks->pending, 0, memory_order_release);
}

static void give_back(void *context, uint32_t start, uint32_t units)
{
    const struct blocks *blocks = context;
    FAULT_POINT("blocks_give_back");
    segment_give_back(blocks->memory + (uint64_t)start * UNIT, (uint64_t)units * UNIT);
}

void blocks_trim(struct blocks *blocks, uint32_t keep)
{
    (void)extents_trim(&blocks->extents, keep, give_back, blocks);
}
