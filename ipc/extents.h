/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The books of one arena: which units of [1, units) are taken. They lie in the
 * private memory of the one process that manages the arena; not a byte of them
 * is shared. Allocation takes the best-fitting class, newest first, so that warm
 * memory is used again before fresh memory; neighbours merge when freed. Both
 * take constant time (two-level segregated fit), but for the last look before an
 * allocation fails.
 *
 * Unit 0 is never given out, so that 0 can mean "none".
 */
#ifndef IPC_EXTENTS_H
#define IPC_EXTENTS_H

#include <stdbool.h>
#include <stdint.h>

enum {
    EXTENT_LEVELS = 31,
    EXTENT_STEPS = 8, /* classes per power of two: at most 1/8 of slack */
};

struct extent {
    uint32_t start;
    uint32_t units;
    uint32_t before, after; /* neighbours by address; 0: none */
    uint32_t newer, older;  /* neighbours in the class's list; 0: none */
    bool free;
};

struct extents {
    struct extent *table; /* entry 0 is unused */
    uint32_t capacity;
    uint32_t unused; /* chain through `after` of entries that describe nothing */
    uint32_t units;
    uint32_t taken_units;
    uint32_t claimed; /* last; 0: none, or something was freed since */
    uint32_t levels;  /* bit: some class of that level has an extent */
    uint8_t steps[EXTENT_LEVELS];
    uint32_t heads[EXTENT_LEVELS][EXTENT_STEPS];
};

/* -ENOMEM. */
int extents_init(struct extents *extents, uint32_t units);
void extents_fini(struct extents *extents);

/* On success *start is the first unit, and the return value the number by which
 * extents_free() knows it. 0 when nothing fits, or the books cannot grow. */
uint32_t extents_alloc(struct extents *extents, uint32_t units, uint32_t *start);
void extents_free(struct extents *extents, uint32_t number);

/* Takes exactly [start, start + units) out of free space, for a successor that
 * rebuilds the books; 0 when any of it is taken or out of bounds. Linear, but in
 * constant time for what lies right behind the one claimed before: claim in the
 * order of addresses. */
uint32_t extents_claim(struct extents *extents, uint32_t start, uint32_t units);

/* Validator: neighbours meet, nothing overlaps, the lists hold all that is free
 * and nothing else. */
bool extents_check(const struct extents *extents);

#endif
