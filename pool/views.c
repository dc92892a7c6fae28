/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool/views.h"

#include "base/sys.h"
#include "ipc/channel.h"
#include "ipc/wake.h"

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

static int map(const struct views *views, struct view *view, struct parcel *parcel)
{
    int result = lane_map(&view->lane, &views->config->geometry, parcel->descriptors[0]);
    if (result < 0)
        return result;
    const struct lane_geometry *geometry = view->lane.geometry;
    result =
        blocks_init(&view->blocks, view->lane.memory, lane_arena_offset(geometry, views->seat + 1),
                    geometry->arena_size, &view->lane.header->newest_block[views->seat],
                    &views->control->rows[views->seat].block_unit);
    if (result < 0) {
        lane_unmap(&view->lane);
        return result;
    }
    view->notify = parcel->descriptors[1];
    parcel->descriptors[1] = -1;
    view->generation = parcel->message.generation;
    return 0;
}

/* Asks the supervisor for the lane of this generation; false if it is gone. */
static bool fetch(const struct views *views, struct view *view, uint32_t index, uint32_t generation)
{
    struct parcel parcel = {
        .message = {.type = MESSAGE_WANT_LANE, .index = index, .generation = generation}};
    if (channel_send(views->socket, &parcel, 0) < 0 ||
        channel_receive(views->socket, &parcel, 0) <= 0)
        _exit(1); /* no supervisor, no pool */
    bool mapped = parcel.message.type == MESSAGE_LANE && parcel.message.status == 0 &&
                  parcel.descriptor_count == 2 && map(views, view, &parcel) == 0;
    parcel_drop(&parcel);
    return mapped;
}

bool views_clear(struct views *views, uint32_t index, uint32_t generation)
{
    wake_clear_lane(views->bells, index);
    if (atomic_load_explicit(&views->control->lanes[index].generation, memory_order_acquire) ==
        generation)
        return true;
    wake_mark_lane(views->bells, index);
    return false;
}

struct view *views_renew(struct views *views, uint32_t index, uint32_t generation)
{
    struct view *view = &views->table[index];
    drop(view);
    while ((generation & 1) == 0 || !fetch(views, view, index, generation)) {
        if (views_clear(views, index, generation))
            return NULL;
        generation =
            atomic_load_explicit(&views->control->lanes[index].generation, memory_order_acquire);
    }
    return view;
}
