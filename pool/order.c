/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool/order.h"

#include "base/error.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { ITEMS_MOST = 64, MISSING = ITEMS_MOST };

static uint32_t find(const struct order_item *items, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(items[i].name, name) == 0)
            return i;
    return MISSING;
}

static int check(const struct order_item *items, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (find(items, i, items[i].name) != MISSING)
            return error_set(-EINVAL, "module '%s' is there twice", items[i].name);
        for (const char *const *name = items[i].requires; name != NULL && *name != NULL; name++)
            if (find(items, count, *name) == MISSING)
                return error_set(-EINVAL,
                                 "module '%s' requires '%s', which is not there: configure it too",
                                 items[i].name, *name);
    }
    return 0;
}

/* The first requirement that was not placed; MISSING if all were. */
static uint32_t waits_for(const struct order_item *items, uint32_t count, uint32_t item,
                          uint64_t placed)
{
    for (const char *const *name = items[item].requires; name != NULL && *name != NULL; name++) {
        uint32_t required = find(items, count, *name);
        if ((placed >> required & 1) == 0)
            return required;
    }
    return MISSING;
}

/* Each of those that are left waits for another: following that leads into the cycle. */
static int describe_cycle(const struct order_item *items, uint32_t count, uint64_t placed)
{
    char path[400] = "";
    size_t used = 0;
    uint32_t at = 0;
    while (placed >> at & 1)
        at++;
    for (uint32_t i = 0; i < count; i++)
        at = waits_for(items, count, at, placed);
    for (uint32_t first = at, i = 0; i <= count; i++) {
        used += (size_t)snprintf(path + used, sizeof(path) - used, "%s%s", i == 0 ? "" : " -> ",
                                 items[at].name);
        if ((i > 0 && at == first) || used >= sizeof(path))
            break;
        at = waits_for(items, count, at, placed);
    }
    return error_set(-EINVAL, "modules require each other in a cycle: %s", path);
}

int order_modules(const struct order_item *items, uint32_t count, uint32_t *order)
{
    uint64_t placed = 0;
    int result = count > ITEMS_MOST
                     ? error_set(-EINVAL, "%u modules: at most %d", count, ITEMS_MOST)
                     : check(items, count);
    for (uint32_t at = 0; result == 0 && at < count; at++) {
        uint32_t next = 0;
        while (next < count &&
               ((placed >> next & 1) || waits_for(items, count, next, placed) != MISSING))
            next++;
        if (next == count)
            return describe_cycle(items, count, placed);
        order[at] = next;
        placed |= UINT64_C(1) << next;
    }
    return result;
}

void order_needs(const struct order_item *items, uint32_t count, uint64_t *needs)
{
    for (uint32_t i = 0; i < count; i++) {
        needs[i] = 0;
        for (const char *const *name = items[i].requires; name != NULL && *name != NULL; name++) {
            uint32_t required = find(items, i, *name);
            if (required != MISSING)
                needs[i] |= UINT64_C(1) << required | needs[required];
        }
    }
}
