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
 *
 * Memory that was given out is warm: the system has put pages there. It stays so
 * when it is freed, until extents_trim() has it given back. A bit for each granule
 * says so; it may be set where only a part of the granule was ever touched.
 */
#ifndef IPC_EXTENTS_H
#define IPC_EXTENTS_H

#include <stdbool.h>
#include <stdint.h>

enum {
    EXTENT_LEVELS = 31,
    EXTENT_STEPS = 8,     /* classes per power of two: at most 1/8 of slack */
    GRANULE_UNITS = 1024, /* given back together: 64 KiB, since each call costs microseconds */
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
    uint32_t claimed;     /* last; 0: none, or something was freed since */
    uint64_t *warm;       /* a bit for each granule */
    uint32_t warm_count;  /* granules that are warm, */
    uint32_t spare;       /* and of them those without a taken unit: to be given back */
    uint32_t least_spare; /* since extents_watch() */
    uint32_t levels;      /* bit: some class of that level has an extent */
    uint8_t steps[EXTENT_LEVELS];
    uint32_t heads[EXTENT_LEVELS][EXTENT_STEPS];
};

/* -ENOMEM. */
int extents_init(struct extents *extents, uint32_t units);
void extents_fini(struct extents *extents);

/* On success *start is the first unit, and the return value the number by which
 * extents_free() knows it. 0 when nothing fits, or the books cannot grow. */
uint32_t extents_alloc(struct extents *extents, uint32_t units, uint32_t *start);
/* Returns how many units these were. */
uint32_t extents_free(struct extents *extents, uint32_t number);

/* Room in new books for so many claims, which then need no more memory. -ENOMEM. */
int extents_reserve(struct extents *extents, uint32_t claims);
/* Takes exactly [start, start + units) out of free space, for a successor that
 * rebuilds the books; 0 when any of it is taken or out of bounds. Linear, but in
 * constant time for what lies right behind the one claimed before: claim in the
 * order of addresses. */
uint32_t extents_claim(struct extents *extents, uint32_t start, uint32_t units);

/* All of [0, units) is taken for warm: somebody else has used it. Before anything
 * is given out or claimed. */
void extents_assume_warm(struct extents *extents, uint32_t units);

/* Warm units, taken or free, and those that could be given back; both are counted
 * by granules. */
static inline uint32_t extents_warm(const struct extents *extents)
{
    return extents->warm_count * GRANULE_UNITS;
}
static inline uint32_t extents_spare(const struct extents *extents)
{
    return extents->spare * GRANULE_UNITS;
}
/* How much of what is spare was so all the time since extents_watch(). */
static inline uint32_t extents_unused(const struct extents *extents)
{
    return extents->least_spare * GRANULE_UNITS;
}
static inline void extents_watch(struct extents *extents)
{
    extents->least_spare = extents->spare;
}

/* Has warm free memory given back until at most `keep` units of it are left; all
 * that give_back() was called for counts as fresh afterwards. What would be used
 * again last goes first: the largest extents, of one class the oldest, and of each
 * extent the end. Returns how many units were given back. */
typedef void give_back_fn(void *context, uint32_t start, uint32_t units);
uint32_t extents_trim(struct extents *extents, uint32_t keep, give_back_fn *give_back,
                      void *context);

/* Validator: neighbours meet, nothing overlaps, the lists hold all that is free
 * and nothing else; what is taken is warm, and the warm granules are counted. */
bool extents_check(const struct extents *extents);

#endif
