/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool/split.h"

enum {
    GUIDED_PART = 2,
    GUIDED_FIRST_PART = 16,
};

static uint64_t divide_up(uint64_t whole, uint64_t part)
{
    return whole / part + (whole % part != 0);
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Equal chunks: as many as parts, more if they would be above the maximum,
 * fewer if they would be below the minimum. Here min_chunk becomes the size of
 * a chunk. */
static void init_static(struct split *split, uint64_t parts)
{
    uint64_t needed = divide_up(split->items, split->max_chunk);
    if (parts < needed)
        parts = needed;
    uint64_t size = split->items / parts;
    if (size >= split->min_chunk) {
        split->min_chunk = size;
        split->long_count = split->items % parts;
    }
}

void split_init(struct split *split, uint64_t items, unsigned workers, enum mc_split how,
                uint64_t min_chunk, uint64_t max_chunk)
{
    uint64_t parts = workers > 0 ? workers : 1;
    if (max_chunk == 0)
        max_chunk = UINT64_MAX;
    if (min_chunk == 0)
        min_chunk = 1;
    *split = (struct split){
        .items = items,
        .min_chunk = smaller(min_chunk, max_chunk),
        .max_chunk = max_chunk,
        .divisor = parts * GUIDED_PART,
        .guided = how != MC_SPLIT_STATIC,
    };
    if (split->guided)
        split->max_chunk = smaller(max_chunk, divide_up(items, parts * GUIDED_FIRST_PART));
    else
        init_static(split, parts);
}

static uint64_t next_size(struct split *split, uint64_t remaining)
{
    if (!split->guided) {
        uint64_t extra = split->long_count > 0;
        split->long_count -= extra;
        return smaller(split->min_chunk + extra, remaining);
    }
    uint64_t size = smaller(divide_up(remaining, split->divisor), split->max_chunk);
    return smaller(size > split->min_chunk ? size : split->min_chunk, remaining);
}

bool split_next(struct split *split, struct mc_range *range)
{
    if (split->next >= split->items)
        return false;
    uint64_t end = split->next + next_size(split, split->items - split->next);
    *range = (struct mc_range){.start = split->next, .end = end};
    split->next = end;
    return true;
}

/* How many static chunks are left; they may be very many. */
static uint64_t count_rest(const struct split *split)
{
    uint64_t remaining = split->items - split->next;
    uint64_t in_long = split->long_count * (split->min_chunk + 1);
    return split->long_count + divide_up(remaining - in_long, split->min_chunk);
}

MC_API size_t mc_ranges(uint64_t items, unsigned parts, uint64_t min_chunk, struct mc_range *ranges,
                        size_t count)
{
    struct split split;
    struct mc_range range;
    size_t total = 0;
    split_init(&split, items, parts, MC_SPLIT_STATIC, min_chunk, 0);
    while (total < count && split_next(&split, &range))
        ranges[total++] = range;
    return total + count_rest(&split);
}
