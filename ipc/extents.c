/* SPDX-License-Identifier: BSD-3-Clause */
#include "ipc/extents.h"

#include "base/check.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct class
{
    unsigned level, step;
};

/* The class that holds extents of this size; sizes below EXTENT_STEPS have a
 * class each, in level 0. */
static struct class class_of(uint32_t units)
{
    if (units < EXTENT_STEPS)
        return (struct class){0, units};
    unsigned top = 31u - (unsigned)__builtin_clz(units);
    return (struct class){top - 2, (units >> (top - 3)) & (EXTENT_STEPS - 1)};
}

/* The first class of which every extent is large enough. */
static struct class class_fitting(uint32_t units)
{
    if (units >= EXTENT_STEPS) {
        unsigned top = 31u - (unsigned)__builtin_clz(units);
        units += (1u << (top - 3)) - 1;
    }
    return class_of(units);
}

static void list_add(struct extents *extents, uint32_t number)
{
    struct extent *extent = &extents->table[number];
    struct class at = class_of(extent->units);
    uint32_t *head = &extents->heads[at.level][at.step];
    extent->free = true;
    extent->newer = 0;
    extent->older = *head;
    if (*head != 0)
        extents->table[*head].newer = number;
    *head = number;
    extents->steps[at.level] |= (uint8_t)(1u << at.step);
    extents->levels |= 1u << at.level;
}

static void list_remove(struct extents *extents, uint32_t number)
{
    struct extent *extent = &extents->table[number];
    struct class at = class_of(extent->units);
    extent->free = false;
    if (extent->older != 0)
        extents->table[extent->older].newer = extent->newer;
    if (extent->newer != 0) {
        extents->table[extent->newer].older = extent->older;
        return;
    }
    extents->heads[at.level][at.step] = extent->older;
    if (extent->older != 0)
        return;
    extents->steps[at.level] &= (uint8_t) ~(1u << at.step);
    if (extents->steps[at.level] == 0)
        extents->levels &= ~(1u << at.level);
}

/* ---- granules ---- */

struct granules {
    uint32_t first, end;
};

/* Those without a unit that lies outside of the free extent. Unit 0, and what is
 * missing in the last granule, are nobody's. */
static struct granules granules_inside(const struct extents *extents, uint32_t start,
                                       uint32_t units)
{
    uint32_t end = start + units;
    uint32_t first = start == 1 ? 0 : (start + GRANULE_UNITS - 1) / GRANULE_UNITS;
    uint32_t last = (end == extents->units ? end + GRANULE_UNITS - 1 : end) / GRANULE_UNITS;
    return (struct granules){first, last > first ? last : first};
}

static struct granules granules_touched(uint32_t start, uint32_t units)
{
    return (struct granules){start / GRANULE_UNITS,
                             (start + units + GRANULE_UNITS - 1) / GRANULE_UNITS};
}

static struct granules granules_common(struct granules one, struct granules other)
{
    uint32_t first = one.first > other.first ? one.first : other.first;
    uint32_t end = one.end < other.end ? one.end : other.end;
    return (struct granules){first, end > first ? end : first};
}

/* The bits of the range that lie in the given word. */
static uint64_t bits_in_word(struct granules range, uint32_t word)
{
    uint32_t from = word * 64;
    uint64_t bits = ~UINT64_C(0);
    if (range.first > from)
        bits &= ~UINT64_C(0) << (range.first - from);
    if (range.end - from < 64)
        bits &= ~(~UINT64_C(0) << (range.end - from));
    return bits;
}

static uint32_t granules_count(const struct extents *extents, struct granules range)
{
    uint32_t count = 0;
    for (uint32_t word = range.first / 64; word * 64 < range.end; word++)
        count += (uint32_t)__builtin_popcountll(extents->warm[word] & bits_in_word(range, word));
    return count;
}

static void granules_warm(struct extents *extents, struct granules range)
{
    for (uint32_t word = range.first / 64; word * 64 < range.end; word++) {
        uint64_t bits = bits_in_word(range, word);
        extents->warm_count += (uint32_t)__builtin_popcountll(bits & ~extents->warm[word]);
        extents->warm[word] |= bits;
    }
}

static bool granule_is_warm(const struct extents *extents, uint32_t granule)
{
    return extents->warm[granule / 64] >> (granule % 64) & 1;
}

/* [start, start + units) leaves the free extent `from`, and will be written. */
static void warm_up(struct extents *extents, struct extent from, uint32_t start, uint32_t units)
{
    struct granules touched = granules_touched(start, units);
    struct granules were_free = granules_inside(extents, from.start, from.units);
    extents->spare -= granules_count(extents, granules_common(touched, were_free));
    if (extents->spare < extents->least_spare)
        extents->least_spare = extents->spare;
    granules_warm(extents, touched);
}

/* ---- the table ---- */

static bool grow(struct extents *extents)
{
    uint32_t capacity = extents->capacity * 2;
    struct extent *old = extents->table, *table = malloc(capacity * sizeof(*table));
    if (table == NULL)
        return false;
    memcpy(table, old, extents->capacity * sizeof(*table));
    for (uint32_t number = capacity - 1; number >= extents->capacity; number--) {
        table[number].after = extents->unused;
        extents->unused = number;
    }
    extents->table = table;
    extents->capacity = capacity;
    /* Another thread may fork, and the child frees what it finds: not what is freed already. */
    atomic_thread_fence(memory_order_release);
    free(old);
    return true;
}

int extents_reserve(struct extents *extents, uint32_t claims)
{
    uint64_t most = 2 + UINT64_C(2) * claims; /* none, what is free, and two for each */
    while (extents->capacity < most)
        if (!grow(extents))
            return -ENOMEM;
    return 0;
}

static uint32_t entry_new(struct extents *extents)
{
    if (extents->unused == 0 && !grow(extents))
        return 0;
    uint32_t number = extents->unused;
    extents->unused = extents->table[number].after;
    return number;
}

static void entry_drop(struct extents *extents, uint32_t number)
{
    memset(&extents->table[number], 0, sizeof(struct extent));
    extents->table[number].after = extents->unused;
    extents->unused = number;
}

int extents_init(struct extents *extents, uint32_t units)
{
    memset(extents, 0, sizeof(*extents));
    extents->units = units;
    extents->capacity = 16;
    extents->table = calloc(extents->capacity, sizeof(struct extent));
    extents->warm = calloc(units / (64 * GRANULE_UNITS) + 1, sizeof(*extents->warm));
    if (extents->table == NULL || extents->warm == NULL) {
        extents_fini(extents);
        return -ENOMEM;
    }
    for (uint32_t number = extents->capacity - 1; number >= 1; number--) {
        extents->table[number].after = extents->unused;
        extents->unused = number;
    }
    uint32_t all = entry_new(extents);
    extents->table[all] = (struct extent){.start = 1, .units = units - 1};
    list_add(extents, all);
    return 0;
}

void extents_fini(struct extents *extents)
{
    free(extents->table);
    free(extents->warm);
    extents->table = NULL;
    extents->warm = NULL;
}

/* ---- giving out and taking back ---- */

/* Cuts the extent down to `units`; the rest becomes a free one after it. */
static bool split(struct extents *extents, uint32_t number, uint32_t units)
{
    if (extents->table[number].units == units)
        return true;
    uint32_t rest = entry_new(extents);
    if (rest == 0)
        return false;
    struct extent *extent = &extents->table[number];
    extents->table[rest] = (struct extent){.start = extent->start + units,
                                           .units = extent->units - units,
                                           .before = number,
                                           .after = extent->after};
    if (extent->after != 0)
        extents->table[extent->after].before = rest;
    extent->after = rest;
    extent->units = units;
    list_add(extents, rest);
    return true;
}

/* An extent of the very class that the size belongs to may be a little too
 * small. */
static uint32_t find_in_class(const struct extents *extents, uint32_t units, uint32_t looks)
{
    struct class at = class_of(units);
    uint32_t number = extents->heads[at.level][at.step];
    for (; number != 0 && looks != 0; looks--, number = extents->table[number].older)
        if (extents->table[number].units >= units)
            return number;
    return 0;
}

static uint32_t find_in_larger(const struct extents *extents, uint32_t units)
{
    struct class at = class_fitting(units);
    if (at.level >= EXTENT_LEVELS)
        return 0;
    unsigned steps = extents->steps[at.level] & (0xffu << at.step);
    if (steps == 0) {
        uint32_t levels = at.level + 1 < 32 ? extents->levels & (~0u << (at.level + 1)) : 0;
        if (levels == 0)
            return 0;
        at.level = (unsigned)__builtin_ctz(levels);
        steps = extents->steps[at.level];
    }
    return extents->heads[at.level][__builtin_ctz(steps)];
}

uint32_t extents_alloc(struct extents *extents, uint32_t units, uint32_t *start)
{
    if (units == 0 || units > extents->units)
        return 0;
    uint32_t number = find_in_class(extents, units, 1);
    if (number == 0)
        number = find_in_larger(extents, units);
    if (number == 0)
        number = find_in_class(extents, units, UINT32_MAX);
    if (number == 0)
        return 0;
    struct extent from = extents->table[number];
    list_remove(extents, number);
    if (!split(extents, number, units)) {
        list_add(extents, number);
        return 0;
    }
    extents->taken_units += units;
    warm_up(extents, from, from.start, units);
    *start = from.start;
    return number;
}

/* Merges `next` into `number`, which lies right before it. */
static void absorb(struct extents *extents, uint32_t number, uint32_t next)
{
    struct extent *extent = &extents->table[number];
    extent->units += extents->table[next].units;
    extent->after = extents->table[next].after;
    if (extent->after != 0)
        extents->table[extent->after].before = number;
    entry_drop(extents, next);
}

uint32_t extents_free(struct extents *extents, uint32_t number)
{
    CHECK(number != 0 && number < extents->capacity && !extents->table[number].free);
    struct extent freed = extents->table[number];
    extents->taken_units -= freed.units;
    extents->claimed = 0;
    uint32_t after = extents->table[number].after;
    if (after != 0 && extents->table[after].free) {
        list_remove(extents, after);
        absorb(extents, number, after);
    }
    uint32_t before = extents->table[number].before;
    if (before != 0 && extents->table[before].free) {
        list_remove(extents, before);
        absorb(extents, before, number);
        number = before;
    }
    list_add(extents, number);
    struct extent whole = extents->table[number];
    struct granules spare = granules_common(granules_touched(freed.start, freed.units),
                                            granules_inside(extents, whole.start, whole.units));
    extents->spare += spare.end - spare.first;
    return freed.units;
}

static uint32_t find_containing(const struct extents *extents, uint32_t start)
{
    bool behind = extents->claimed != 0 && extents->table[extents->claimed].start <= start;
    for (uint32_t number = behind ? extents->claimed : 1; number != 0;
         number = extents->table[number].after) {
        const struct extent *extent = &extents->table[number];
        if (start - extent->start < extent->units)
            return extent->free ? number : 0;
    }
    return 0;
}

uint32_t extents_claim(struct extents *extents, uint32_t start, uint32_t units)
{
    if (units == 0 || start == 0)
        return 0;
    uint32_t number = find_containing(extents, start);
    if (number == 0)
        return 0;
    struct extent from = extents->table[number];
    uint32_t skipped = start - from.start;
    if (from.units - skipped < units)
        return 0;
    list_remove(extents, number);
    if (skipped != 0) {
        if (!split(extents, number, skipped)) {
            list_add(extents, number);
            return 0;
        }
        uint32_t rest = extents->table[number].after;
        list_add(extents, number);
        list_remove(extents, rest);
        number = rest;
    }
    if (!split(extents, number, units)) {
        list_add(extents, number);
        return 0;
    }
    extents->taken_units += units;
    warm_up(extents, from, start, units);
    extents->claimed = number;
    return number;
}

/* ---- giving back ---- */

void extents_assume_warm(struct extents *extents, uint32_t units)
{
    CHECK(extents->taken_units == 0);
    uint32_t most = extents->units;
    granules_warm(extents, granules_touched(0, units < most ? units : most));
    extents->spare = extents->least_spare = extents->warm_count;
}

/* The end of the highest warm granule in the range; its begin if there is none. */
static uint32_t skip_fresh(const struct extents *extents, struct granules range)
{
    while (range.end > range.first && !granule_is_warm(extents, range.end - 1)) {
        bool all_fresh = range.end % 64 == 0 && extents->warm[range.end / 64 - 1] == 0;
        uint32_t fresh = all_fresh ? 64 : 1;
        range.end = range.end - range.first > fresh ? range.end - fresh : range.first;
    }
    return range.end;
}

/* At most `most` warm granules of a free extent, its end first. */
static void trim_extent(struct extents *extents, uint32_t number, uint32_t most,
                        give_back_fn *give_back, void *context)
{
    struct extent extent = extents->table[number];
    struct granules left = granules_inside(extents, extent.start, extent.units);
    while (most != 0 && (left.end = skip_fresh(extents, left)) != left.first) {
        uint32_t last = left.end;
        for (; most != 0 && left.end != left.first && granule_is_warm(extents, left.end - 1);
             most--) {
            left.end--;
            extents->warm[left.end / 64] &= ~(UINT64_C(1) << (left.end % 64));
        }
        extents->warm_count -= last - left.end;
        extents->spare -= last - left.end;
        uint32_t start = left.end * GRANULE_UNITS, end = last * GRANULE_UNITS;
        give_back(context, start, (end < extents->units ? end : extents->units) - start);
    }
}

static uint32_t oldest_of(const struct extents *extents, uint32_t number)
{
    while (number != 0 && extents->table[number].older != 0)
        number = extents->table[number].older;
    return number;
}

uint32_t extents_trim(struct extents *extents, uint32_t keep, give_back_fn *give_back,
                      void *context)
{
    uint32_t before = extents->spare;
    uint32_t wanted = keep / GRANULE_UNITS;
    for (unsigned at = EXTENT_LEVELS * EXTENT_STEPS; at-- != 0 && extents->spare > wanted;) {
        uint32_t newest = extents->heads[at / EXTENT_STEPS][at % EXTENT_STEPS];
        for (uint32_t number = oldest_of(extents, newest); number != 0 && extents->spare > wanted;
             number = extents->table[number].newer)
            trim_extent(extents, number, extents->spare - wanted, give_back, context);
    }
    uint32_t given = before - extents->spare;
    extents->least_spare -= given < extents->least_spare ? given : extents->least_spare;
    return given * GRANULE_UNITS;
}

/* ---- the validator ---- */

static bool listed(const struct extents *extents, uint32_t number)
{
    struct class at = class_of(extents->table[number].units);
    for (uint32_t n = extents->heads[at.level][at.step]; n != 0; n = extents->table[n].older)
        if (n == number)
            return true;
    return false;
}

bool extents_check(const struct extents *extents)
{
    uint32_t expected = 1, before = 0, taken = 0, spare = 0;
    bool last_free = false;
    /* Entry 1 describes the lowest extent for ever: merging keeps the lower. */
    for (uint32_t number = 1; number != 0; number = extents->table[number].after) {
        const struct extent *extent = &extents->table[number];
        if (extent->start != expected || extent->units == 0 || extent->before != before)
            return false;
        if (extent->free && (last_free || !listed(extents, number)))
            return false;
        struct granules touched = granules_touched(extent->start, extent->units);
        if (extent->free)
            spare +=
                granules_count(extents, granules_inside(extents, extent->start, extent->units));
        else if (granules_count(extents, touched) != touched.end - touched.first)
            return false;
        else
            taken += extent->units;
        last_free = extent->free;
        expected += extent->units;
        before = number;
    }
    return expected == extents->units && taken == extents->taken_units && spare == extents->spare &&
           extents->least_spare <= spare &&
           extents->warm_count == granules_count(extents, granules_touched(0, extents->units));
}
