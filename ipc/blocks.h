/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A worker's arena in one lane: blocks that carry results. The worker alone
 * allocates; the client says that it is done with a block by one store to its
 * `released` word; the worker collects such blocks when it needs room.
 *
 * Each block in use is chained from the lane's newest_block[seat], newest first.
 * A link or unlink is one store, so that a successor of a killed worker finds a
 * proper chain, whatever the instruction at which it died; it takes every block
 * that is chained and not released as still in use.
 *
 * Pairs
 *   B1 the client releases its last use of the bytes, B2 the worker acquires it
 *   B3 the worker sets `holding`, then looks at `released`; the client stores
 *      `released`, then looks at `holding`; a sequentially consistent fence between
 *      the two on both sides, so at least one sees the other (see pool/tidy.h)
 */
#ifndef IPC_BLOCKS_H
#define IPC_BLOCKS_H

#include "ipc/extents.h"
#include "ipc/layout.h"

struct block_use { /* a block that was not seen released yet, by its number in the books */
    uint32_t unit;
    uint32_t newer, older; /* 0: none */
};

struct blocks {
    struct extents extents;
    uint8_t *memory;           /* of the arena */
    uint32_t first_unit;       /* of the arena, in units of the lane */
    _Atomic uint32_t *newest;  /* in the lane */
    _Atomic uint32_t *touched; /* in the lane */
    _Atomic uint32_t *pending; /* in the worker's row: the block in the making */
    struct block_use *uses;    /* indexed by number */
    uint32_t capacity;
    uint32_t use_count;
    uint32_t newest_use, oldest_use; /* numbers; 0: none */
    uint32_t hand;                   /* where the next look for released blocks begins */
};

/* Begins, or takes over what the chain says is in use. -ENOMEM, or -EFAULT when
 * the chain is damaged. */
int blocks_init(struct blocks *blocks, uint8_t *lane, uint64_t arena_offset, uint64_t arena_size,
                _Atomic uint32_t *newest, _Atomic uint32_t *touched, _Atomic uint32_t *pending);
void blocks_fini(struct blocks *blocks);

/* A block for size bytes of payload; *unit is its header's place in the lane,
 * *data the payload. It is `pending` until the caller clears that: should the
 * worker die before, the supervisor releases it. -ENOSPC when the arena is full,
 * -ENOMEM. */
int blocks_alloc(struct blocks *blocks, uint64_t size, uint32_t *unit, void **data);
/* The same, in place of the newest block, of whose payload `keep` bytes are
 * copied over. On failure that block is as before. */
int blocks_regrow(struct blocks *blocks, uint64_t size, uint64_t keep, uint32_t *unit, void **data);
/* Gives back the newest block, which nobody was told about. */
void blocks_undo(struct blocks *blocks);

/* Collects all that was released. Linear in the blocks in use. */
void blocks_collect(struct blocks *blocks);
/* Gives free memory back until at most `keep` units of it are left warm. */
void blocks_trim(struct blocks *blocks, uint32_t keep);

/* The client's side (and the supervisor's, for a dead worker). */
static inline void block_release(struct block *block)
{
    atomic_store_explicit(&block->released, 1, memory_order_release); /* B1 */
}

#endif
