/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What is due at some time, the earliest first: a binary heap of entries that their
 * owners embed. Pure.
 */
#ifndef POOL_DUE_H
#define POOL_DUE_H

#include <stdint.h>

struct due_entry {
    uint64_t at_ns;
    uint32_t place; /* in the heap, from 1; 0: it is not there */
};

struct due {
    struct due_entry **heap; /* from 1; room for all that are ever added, and one */
    uint32_t count;
};

/* Adds the entry, or moves it to another time. */
void due_set(struct due *due, struct due_entry *entry, uint64_t at_ns);
/* Removes it, if it is there. */
void due_clear(struct due *due, struct due_entry *entry);

static inline uint64_t due_next(const struct due *due)
{
    return due->count == 0 ? UINT64_MAX : due->heap[1]->at_ns;
}

#endif
