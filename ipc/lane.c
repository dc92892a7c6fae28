/* SPDX-License-Identifier: BSD-3-Clause */
#include "ipc/lane.h"

#include "base/fault.h"
#include "ipc/segment.h"
#include "ipc/slot.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static uint64_t round_up(uint64_t value, uint64_t step)
{
    return (value + step - 1) / step * step;
}

void lane_geometry_set(struct lane_geometry *geometry, uint32_t slot_count, uint64_t arena_size,
                       uint32_t seat_count)
{
    uint64_t at = round_up(sizeof(struct lane_header), PAGE_SIZE_BYTES);
    memset(geometry, 0, sizeof(*geometry));
    geometry->slot_count = slot_count;
    geometry->ring_capacity = 2 * slot_count;
    geometry->seat_count = seat_count;
    for (int ring = 0; ring < LANE_RINGS; ring++) {
        geometry->ring_offset[ring] = at;
        at += round_up(ring_bytes(geometry->ring_capacity), PAGE_SIZE_BYTES);
    }
    geometry->slots_offset = at;
    at += round_up(slot_count * sizeof(struct slot), PAGE_SIZE_BYTES);
    geometry->arenas_offset = at;
    geometry->arena_size = round_up(arena_size, PAGE_SIZE_BYTES);
    geometry->total_size = at + (seat_count + 1) * geometry->arena_size;
}

bool lane_geometry_same(const struct lane_geometry *left, const struct lane_geometry *right)
{
    bool same =
        left->slot_count == right->slot_count && left->ring_capacity == right->ring_capacity &&
        left->seat_count == right->seat_count && left->slots_offset == right->slots_offset &&
        left->arenas_offset == right->arenas_offset && left->arena_size == right->arena_size &&
        left->total_size == right->total_size;
    for (int ring = 0; ring < LANE_RINGS; ring++)
        same = same && left->ring_offset[ring] == right->ring_offset[ring];
    return same;
}

void lane_format(const struct lane_geometry *geometry, void *memory, uint32_t index)
{
    struct lane_header *header = memory;
    FAULT_POINT("lane_format");
    header->magic = LAYOUT_MAGIC_LANE;
    header->version = LAYOUT_VERSION;
    header->index = index;
    header->total_size = geometry->total_size;
    atomic_init(&header->client_cpu, -1);
}

int lane_map(struct lane *lane, const struct lane_geometry *geometry, int fd)
{
    if (FAULT_FAILS("lane_map", ENOMEM))
        return -errno;
    int result = segment_check(fd, geometry->total_size);
    if (result < 0)
        return result;
    uint8_t *memory =
        mmap(NULL, geometry->total_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (memory == MAP_FAILED)
        return -errno;
    /* A core dump needs no tenant's data, and a fork no second writer. */
    (void)madvise(memory, geometry->total_size, MADV_DONTDUMP);
    (void)madvise(memory, geometry->total_size, MADV_DONTFORK);
    struct lane_header *header = (struct lane_header *)(void *)memory;
    if (header->magic != LAYOUT_MAGIC_LANE || header->version != LAYOUT_VERSION ||
        header->total_size != geometry->total_size) {
        munmap(memory, geometry->total_size);
        return -EPROTO;
    }
    lane->memory = memory;
    lane->number = segment_number(fd);
    lane->geometry = geometry;
    lane->header = header;
    for (int ring = 0; ring < LANE_RINGS; ring++)
        ring_init(&lane->rings[ring], memory + geometry->ring_offset[ring],
                  geometry->ring_capacity);
    lane->slots = (struct slot *)(void *)(memory + geometry->slots_offset);
    return 0;
}

void lane_unmap(struct lane *lane)
{
    if (lane->memory != NULL)
        munmap(lane->memory, lane->geometry->total_size);
    lane->memory = NULL;
}

static const char *slot_check(const struct lane *lane, const struct slot *slot)
{
    const struct lane_geometry *geometry = lane->geometry;
    uint64_t word = slot_load(&slot->word);
    if (slot_state(word) >= SLOT_STATES)
        return "a slot has an unknown state";
    if (slot_seat(word) > geometry->seat_count)
        return "a slot names a seat that is not there";
    if (slot_state(word) == SLOT_FREE)
        return NULL;
    if (slot->args_unit == 0 ? slot->args_size > SLOT_ARGS_SIZE
                             : !lane_inside(geometry, 0, slot->args_unit, 0, slot->args_size))
        return "a slot's arguments lie outside of the client's arena";
    return NULL;
}

const char *lane_check(const struct lane *lane)
{
    if (lane->header->magic != LAYOUT_MAGIC_LANE || lane->header->version != LAYOUT_VERSION)
        return "the lane's header is damaged";
    for (int i = 0; i < LANE_RINGS; i++) {
        uint64_t head = atomic_load(&lane->rings[i].shared->head);
        uint64_t tail = atomic_load(&lane->rings[i].shared->tail);
        if (head > tail || tail - head > lane->geometry->ring_capacity)
            return "a ring's head and tail do not match";
        for (uint64_t at = head; at != tail; at++) {
            ticket_t ticket =
                atomic_load(&lane->rings[i].shared->entries[at & lane->rings[i].mask]);
            if (!ring_fresh(&lane->rings[i], ticket, at))
                return "a ring holds a stale ticket";
            if (name_slot(ticket) >= lane->geometry->slot_count)
                return "a ticket names a slot that is not there";
        }
    }
    for (uint32_t i = 0; i < lane->geometry->slot_count; i++) {
        const char *wrong = slot_check(lane, &lane->slots[i]);
        if (wrong != NULL)
            return wrong;
    }
    return NULL;
}
