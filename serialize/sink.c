/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/check.h"
#include "serialize/codec.h"

#include <string.h>

/* The first piece of a value that comes in pieces gets room for some more. */
enum { SMALLEST_CAPACITY = 256 };

int sink_check(const struct sink *sink, size_t more)
{
    size_t room = sink->limit > sink->size ? sink->limit - sink->size : 0;
    if (more <= room)
        return 0;
    return error_set(-EMSGSIZE,
                     "the encoded value needs at least %zu bytes more than the %zu it has; the "
                     "limit is %zu: split it, or raise max_payload",
                     more, sink->size, sink->limit);
}

static int grow(struct sink *sink, size_t capacity)
{
    int error = sink->grow(sink, capacity);
    CHECK(error != 0 || sink->capacity >= capacity);
    return error;
}

int sink_reserve(struct sink *sink, size_t more)
{
    int error = sink_check(sink, more);
    if (error != 0)
        return error;
    return sink->size + more <= sink->capacity ? 0 : grow(sink, sink->size + more);
}

int sink_append(struct sink *sink, const void *bytes, size_t size)
{
    int error = sink_check(sink, size);
    if (error != 0)
        return error;
    if (size > sink->capacity - sink->size) {
        size_t capacity = sink->size + size;
        if (capacity < SMALLEST_CAPACITY)
            capacity = SMALLEST_CAPACITY;
        if (capacity < sink->capacity * 2)
            capacity = sink->capacity * 2;
        if (capacity > sink->limit)
            capacity = sink->limit;
        error = grow(sink, capacity);
        if (error != 0)
            return error;
    }
    if (size != 0)
        memcpy(sink->data + sink->size, bytes, size);
    sink->size += size;
    return 0;
}
