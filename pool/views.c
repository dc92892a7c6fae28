/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool/views.h"

#include "base/sys.h"
#include "ipc/channel.h"
#include "ipc/wake.h"
#include "pool/tidy.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

void views_init(struct views *views, const struct config *config, struct control *control,
                struct bells *bells, uint32_t seat, int socket)
{
    /* Field by field: the table's zeroed pages cost nothing until they are used. */
    views->config = config;
    views->control = control;
    views->bells = bells;
    views->seat = seat;
    views->socket = socket;
}

static void drop(struct view *view)
{
    if (view->generation == 0)
        return;
    blocks_fini(&view->blocks);
    lane_unmap(&view->lane);
    sys_close(&view->notify);
    view->generation = 0;
}

void views_forget(struct views *views)
{
    for (uint32_t i = 0; i < MAX_LANES; i++)
        drop(&views->table[i]);
}

/* What a nanosecond costs a client of this weight. */
static uint32_t charge_of(uint32_t weight)
{
    return DEFAULT_WEIGHT * CHARGE_OF_DEFAULT / (weight != 0 ? weight : DEFAULT_WEIGHT);
}

static int map(const struct views *views, struct view *view, struct parcel *parcel)
{
    int result = lane_map(&view->lane, &views->config->geometry, parcel->descriptors[0]);
    if (result < 0)
        return result;
    const struct lane_geometry *geometry = view->lane.geometry;
    result =
        blocks_init(&view->blocks, view->lane.memory, lane_arena_offset(geometry, views->seat + 1),
                    geometry->arena_size, &view->lane.header->newest_block[views->seat],
                    &view->lane.header->touched_units[views->seat],
                    &views->control->rows[views->seat].block_unit);
    if (result < 0) {
        lane_unmap(&view->lane);
        return result;
    }
    view->notify = parcel->descriptors[1];
    parcel->descriptors[1] = -1;
    view->generation = parcel->message.generation;
    view->strangers = parcel->message.value != 0;
    view->charge = charge_of(atomic_load_explicit(
        &views->control->lanes[parcel->message.index].weight, memory_order_relaxed));
    view->used = 0;
    view->urgent_runs = 0;
    return 0;
}

void views_fault(struct views *views, uint32_t index, uint32_t generation, const char *why)
{
    struct view *view = &views->table[index];
    struct parcel parcel = {
        .message = {.type = MESSAGE_LANE_FAULT, .index = index, .generation = generation}};
    if (view->faulted == generation)
        return;
    view->faulted = generation;
    snprintf(parcel.message.text, sizeof(parcel.message.text), "%s", why);
    if (channel_send(views->socket, &parcel, 0) < 0)
        _exit(1);
}

/* Asks for the lane and maps it; 0, or a negative errno where there is none, or it
 * cannot be used. */
static int fetch(struct views *views, uint32_t index, uint32_t generation)
{
    struct parcel parcel = {
        .message = {.type = MESSAGE_WANT_LANE, .index = index, .generation = generation}};
    if (channel_send(views->socket, &parcel, 0) < 0 ||
        channel_receive(views->socket, &parcel, 0) <= 0)
        _exit(1); /* no supervisor, no pool */
    int result = -ENOENT;
    if (parcel.message.type == MESSAGE_LANE && parcel.message.status == 0 &&
        parcel.descriptor_count == 2)
        result = map(views, &views->table[index], &parcel);
    parcel_drop(&parcel);
    return result;
}

bool views_clear(struct views *views, uint32_t index, uint32_t generation)
{
    wake_clear_lane(views->bells, index);
    if (views_generation(views, index) == generation)
        return true;
    wake_mark_lane(views->bells, index);
    return false;
}

/* Maps the lane of this generation; false if there is nothing to be had of it. */
static bool renew(struct views *views, uint32_t index, uint32_t generation)
{
    struct view *view = &views->table[index];
    if ((generation & 1) == 0 || view->faulted == generation)
        return false;
    int result = fetch(views, index, generation);
    if (result == 0)
        tidy_note(views, index); /* a predecessor's memory */
    else if (result == -EFAULT)
        views_fault(views, index, generation, "a worker's chain of results is damaged");
    else if (result == -EPROTO)
        views_fault(views, index, generation, "the header of the shared memory is damaged");
    else if (result != -ENOENT)
        _exit(1); /* No memory: to go on would be to sleep while there is work, or to drop a
                   * repair. A successor may have more luck, and meanwhile all seats look. */
    return result == 0;
}

struct view *views_renew(struct views *views, uint32_t index, uint32_t generation)
{
    if (views->table[index].held != 0)
        return NULL; /* the lane that was there goes when they have ended */
    drop(&views->table[index]);
    while (!renew(views, index, generation)) {
        if (views_clear(views, index, generation))
            return NULL;
        generation = views_generation(views, index);
    }
    return &views->table[index];
}
