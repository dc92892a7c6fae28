/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The order in which modules are set up: what is required comes first; what is not
 * ordered by that, as it was declared. Pure.
 */
#ifndef POOL_ORDER_H
#define POOL_ORDER_H

#include <stddef.h>
#include <stdint.h>

struct order_item {
    const char *name;
    const char *const *requires; /* ends with NULL; may be NULL */
};

/* Fills order with the numbers of the items. -EINVAL with a message for a name that
 * is there twice, for a requirement that is not there, and for a cycle, as a path. */
int order_modules(const struct order_item *items, uint32_t count, uint32_t *order);

/* For items that are in order: fills needs with the bits of what each requires, directly and
 * indirectly. */
void order_needs(const struct order_item *items, uint32_t count, uint64_t *needs);

#endif
