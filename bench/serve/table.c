/* SPDX-License-Identifier: BSD-3-Clause */
#include "table.h"

#include "handlers.h"

struct figure figures[] = {
    [CLIENTS_8] = {"clients_8", "tasks/s", HIGHER_IS_BETTER, .against = SOCKET_8,
                   .about = "null round trips of 8 attached processes together"},
    [CLIENTS_200] = {"clients_200", "tasks/s", HIGHER_IS_BETTER, .against = SOCKET_200,
                     .about = "null round trips of 200 attached processes together"},
    [SOCKET_8] = {"socket_8", "trips/s", HIGHER_IS_BETTER,
                  .about = "a byte to and fro over 8 Unix sockets, two epoll servers"},
    [SOCKET_200] = {"socket_200", "trips/s", HIGHER_IS_BETTER, .about = "the same over 200"},
    [NEIGHBOUR_ALONE] = {"neighbour_alone", "ns", .against = FLOOR_NEIGHBOUR_ALONE,
                         .about = "null task each millisecond of the only client"},
    [NEIGHBOUR_FLOODED] = {"neighbour_flooded", "ns", .against = FLOOR_NEIGHBOUR_BUSY,
                           .about = "while another keeps 4,096 tasks of 100 us queued"},
    [NEIGHBOUR_FLOODED_NULL] = {"neighbour_flooded_null", "ns", .against = FLOOR_NEIGHBOUR_BUSY_3,
                                .about = "while another submits null tasks as fast as it can"},
    [FLOOR_NEIGHBOUR_ALONE] = {"floor_neighbour_alone", "ns",
                               .about = "futex to and fro each millisecond, not pinned"},
    [FLOOR_NEIGHBOUR_BUSY] = {"floor_neighbour_busy", "ns",
                              .about = "the same with a busy process on each CPU"},
    [FLOOR_NEIGHBOUR_BUSY_3] = {"floor_neighbour_busy_3", "ns", .about = "and a third one"},
    [ATTACH] = {"attach", "ms", .against = FLOOR_ATTACH,
                .about = "mc_pool_attach to the end of the first null task"},
    [ATTACH_CALL] = {"attach_call", "ms", .against = FLOOR_ATTACH, .about = "mc_pool_attach alone"},
    [FLOOR_ATTACH] = {"floor_attach", "ms",
                      .about = "connect, be sent a new memfd of 3 GiB, map it"},
    [RECLAIM] = {"reclaim", "ms", .against = FLOOR_RECLAIM,
                 .about = "SIGKILL of the only client allowed until another has attached"},
    [FLOOR_RECLAIM] = {"floor_reclaim", "ms",
                       .about = "SIGKILL of a process until its socket shows the end"},
    [STEADY_LOST] = {"steady_lost", "tasks", .about = "tasks lost in 200 ms without a change"},
    [STEADY_GAP] = {"steady_gap", "ms", .about = "longest time between two answers to a client"},
    [RELOAD_LOST] = {"reload_lost", "tasks", .about = "tasks lost in a reload"},
    [RELOAD_GAP] = {"reload_gap", "ms", .against = STEADY_GAP, .about = "longest time, likewise"},
    [RESTART_LOST] = {"restart_lost", "tasks",
                      .about = "tasks lost when the server is stopped in order and started"},
    [RESTART_GAP] = {"restart_gap", "ms", .against = STEADY_GAP, .about = "longest time, likewise"},
    [KILL_LOST] = {"kill_lost", "tasks",
                   .about = "tasks lost when the server is killed and started"},
    [KILL_RESUBMITTED] = {"kill_resubmitted", "tasks",
                          .about = "of those not lost: ended with -EOWNERDEAD, submitted again"},
    [KILL_GAP] = {"kill_gap", "ms", .against = STEADY_GAP, .about = "longest time, likewise"},
};

const unsigned figure_count = FIGURE_COUNT;

const struct goal goals[] = {
    {CLIENTS_200, MEDIAN, AT_LEAST, 0.9, CLIENTS_8, 0},
    {NEIGHBOUR_FLOODED, P99, AT_MOST, 3, NEIGHBOUR_ALONE, FLOOD_TASK_US * 1000},
    {NEIGHBOUR_FLOODED_NULL, P99, AT_MOST, 3, NEIGHBOUR_ALONE, 0},
    {ATTACH, MEDIAN, BELOW, 0, NO_FIGURE, 2},
    {RECLAIM, P99, BELOW, 0, NO_FIGURE, 100},
    {RELOAD_LOST, WORST, AT_MOST, 0, NO_FIGURE, 0},
    {RESTART_LOST, WORST, AT_MOST, 0, NO_FIGURE, 0},
    {KILL_LOST, WORST, AT_MOST, 0, NO_FIGURE, 0},
};

const size_t goal_count = sizeof(goals) / sizeof(goals[0]);
