/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A process's view of one mapped lane: pointers computed from the geometry,
 * never from what the lane says about itself.
 */
#ifndef IPC_LANE_H
#define IPC_LANE_H

#include "ipc/layout.h"
#include "ipc/ring.h"

#include <stdbool.h>
#include <stddef.h>

/* The two rings of each class of seats. */
enum { LANE_NORMAL, LANE_URGENT, LANE_RINGS = 2 * SEAT_CLASSES };

struct lane {
    uint8_t *memory; /* NULL: not mapped */
    uint64_t number; /* the inode of that memory: the same in all processes, and in no other lane */
    const struct lane_geometry *geometry;
    struct lane_header *header;
    struct ring rings[LANE_RINGS];
    struct slot *slots;
};

/* Supervisor: writes the header of a fresh lane. */
void lane_format(const struct lane_geometry *geometry, void *memory, uint32_t index);
/* Maps fd, checks that it is a lane of this geometry. -ENOMEM, -EPROTO. */
int lane_map(struct lane *lane, const struct lane_geometry *geometry, int fd);
void lane_unmap(struct lane *lane);

static inline struct ring *lane_ring(struct lane *lane, enum seat_class seats, int which)
{
    return &lane->rings[2 * seats + which];
}

/* Work for seats of this class. */
static inline bool lane_has_work(const struct lane *lane, enum seat_class seats)
{
    return ring_has_work(&lane->rings[2 * seats + LANE_NORMAL]) ||
           ring_has_work(&lane->rings[2 * seats + LANE_URGENT]);
}

static inline uint64_t lane_arena_offset(const struct lane_geometry *geometry, uint32_t arena)
{
    return geometry->arenas_offset + arena * geometry->arena_size;
}

/* True if there is such an arena (0 is the client's, seat + 1 a worker's), and the
 * bytes lie in it. The sum cannot overflow: units are 32 bits wide. */
static inline bool lane_inside(const struct lane_geometry *geometry, uint32_t arena, uint32_t unit,
                               uint64_t header, uint64_t size)
{
    uint64_t first = lane_arena_offset(geometry, arena);
    uint64_t offset = (uint64_t)unit * UNIT;
    return arena <= geometry->seat_count && offset >= first && size <= geometry->arena_size &&
           offset - first + header + size <= geometry->arena_size;
}

/* Where a request's arguments lie. False if that is not in the slot, nor in the
 * client's arena; then *args is not to be used. */
static inline bool lane_arguments(const struct lane *lane, const struct slot *slot,
                                  const void **args, uint32_t *size)
{
    uint32_t unit = LOAD_ONCE(slot->args_unit);
    *size = LOAD_ONCE(slot->args_size);
    if (unit == 0) {
        *args = slot->args;
        return *size <= SLOT_ARGS_SIZE;
    }
    *args = lane->memory + (uint64_t)unit * UNIT;
    return lane_inside(lane->geometry, 0, unit, 0, *size);
}

/* Validator, for tests and tools: NULL, or what is wrong with the lane. Exact
 * only while nobody writes to it. */
const char *lane_check(const struct lane *lane);

#endif
