/* SPDX-License-Identifier: BSD-3-Clause */
#include "ipc/extents.h"

#include "base/check.h"

#include <errno.h>
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

static bool grow(struct extents *extents)
{
    uint32_t capacity = extents->capacity * 2;
    struct extent *table = realloc(extents->table, capacity * sizeof(*table));
    if (table == NULL)
        return false;
    for (uint32_t number = capacity - 1; number >= extents->capacity; number--) {
        table[number].after = extents->unused;
        extents->unused = number;
    }
    extents->table = table;
    extents->capacity = capacity;
    return true;
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
    if (extents->table == NULL)
        return -ENOMEM;
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
    extents->table = NULL;
}

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
    list_remove(extents, number);
    if (!split(extents, number, units)) {
        list_add(extents, number);
        return 0;
    }
    extents->taken_units += units;
    *start = extents->table[number].start;
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

void extents_free(struct extents *extents, uint32_t number)
{
    CHECK(number != 0 && number < extents->capacity && !extents->table[number].free);
    extents->taken_units -= extents->table[number].units;
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
    uint32_t skipped = start - extents->table[number].start;
    if (extents->table[number].units - skipped < units)
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
    extents->claimed = number;
    return number;
}

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
    uint32_t expected = 1, before = 0, taken = 0;
    bool last_free = false;
    /* Entry 1 describes the lowest extent for ever: merging keeps the lower. */
    for (uint32_t number = 1; number != 0; number = extents->table[number].after) {
        const struct extent *extent = &extents->table[number];
        if (extent->start != expected || extent->units == 0 || extent->before != before)
            return false;
        if (extent->free && (last_free || !listed(extents, number)))
            return false;
        if (!extent->free)
            taken += extent->units;
        last_free = extent->free;
        expected += extent->units;
        before = number;
    }
    return expected == extents->units && taken == extents->taken_units;
}
