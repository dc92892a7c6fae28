/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What bench_serve measures, in the order of the report.
 */
#ifndef BENCH_SERVE_TABLE_H
#define BENCH_SERVE_TABLE_H

#include "figures.h"

enum figure_id {
    CLIENTS_8 = NO_FIGURE + 1,
    CLIENTS_200,
    SOCKET_8,
    SOCKET_200,
    NEIGHBOUR_ALONE,
    NEIGHBOUR_FLOODED,
    NEIGHBOUR_FLOODED_NULL,
    FLOOR_NEIGHBOUR_ALONE,
    FLOOR_NEIGHBOUR_BUSY,
    FLOOR_NEIGHBOUR_BUSY_3,
    ATTACH,
    ATTACH_CALL,
    FLOOR_ATTACH,
    RECLAIM,
    FLOOR_RECLAIM,
    STEADY_LOST,
    STEADY_GAP,
    RELOAD_LOST,
    RELOAD_GAP,
    RESTART_LOST,
    RESTART_GAP,
    KILL_LOST,
    KILL_RESUBMITTED,
    KILL_GAP,
    FIGURE_COUNT
};

#endif
