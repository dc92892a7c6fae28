/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool/due.h"

static void put(struct due *due, struct due_entry *entry, uint32_t place)
{
    due->heap[place] = entry;
    entry->place = place;
}

static void rise(struct due *due, struct due_entry *entry)
{
    uint32_t place = entry->place;
    for (; place > 1 && due->heap[place / 2]->at_ns > entry->at_ns; place /= 2)
        put(due, due->heap[place / 2], place);
    put(due, entry, place);
}

static void sink(struct due *due, struct due_entry *entry)
{
    uint32_t place = entry->place;
    for (;;) {
        uint32_t child = 2 * place;
        if (child < due->count && due->heap[child + 1]->at_ns < due->heap[child]->at_ns)
            child++;
        if (child > due->count || due->heap[child]->at_ns >= entry->at_ns)
            break;
        put(due, due->heap[child], place);
        place = child;
    }
    put(due, entry, place);
}

void due_set(struct due *due, struct due_entry *entry, uint64_t at_ns)
{
    if (entry->place == 0)
        put(due, entry, ++due->count);
    entry->at_ns = at_ns;
    rise(due, entry);
    sink(due, entry);
}

void due_clear(struct due *due, struct due_entry *entry)
{
    uint32_t place = entry->place;
    if (place == 0)
        return;
    struct due_entry *last = due->heap[due->count--];
    entry->place = 0;
    if (last == entry)
        return;
    put(due, last, place);
    rise(due, last);
    sink(due, last);
}
