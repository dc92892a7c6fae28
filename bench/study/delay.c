/* SPDX-License-Identifier: BSD-3-Clause */
#include "delay.h"

#include <stdlib.h>

/* One more than the capacity: the place that delay_room() gives out is never in use. */
bool delay_init(struct delay *delay, uint32_t capacity, uint64_t duration)
{
    *delay = (struct delay){.capacity = capacity, .duration = duration};
    delay->packets = calloc((size_t)capacity + 1, sizeof(*delay->packets));
    return delay->packets != NULL;
}

void delay_fini(struct delay *delay)
{
    free(delay->packets);
}

static struct packet *after_last(const struct delay *delay)
{
    return &delay->packets[((uint64_t)delay->first + delay->count) % (delay->capacity + 1)];
}

uint8_t *delay_room(struct delay *delay)
{
    return after_last(delay)->bytes;
}

void delay_put(struct delay *delay, size_t size, uint64_t now)
{
    struct packet *packet = after_last(delay);
    if (delay->count == delay->capacity) {
        delay->dropped++;
        return;
    }
    packet->due = now + delay->duration;
    packet->size = (uint32_t)size;
    delay->count++;
}

const struct packet *delay_first(const struct delay *delay, uint64_t now)
{
    const struct packet *packet = &delay->packets[delay->first];
    return delay->count > 0 && packet->due <= now ? packet : NULL;
}

void delay_drop_first(struct delay *delay)
{
    delay->first = (delay->first + 1) % (delay->capacity + 1);
    delay->count--;
}

uint64_t delay_until_due(const struct delay *delay, uint64_t now)
{
    uint64_t due = delay->packets[delay->first].due;
    if (delay->count == 0)
        return UINT64_MAX;
    return due > now ? due - now : 0;
}
