/* SPDX-License-Identifier: BSD-3-Clause
 *
 * bench_serve: what it costs that many programs use one pool, and that it comes and goes.
 * ../README.md says what each figure means.
 */
#include "probes.h"
#include "program.h"

/* In the order of a round: floors next to what is held against them. */
static const struct probe probes[] = {
    {sockets_together, SOCKET_8, .samples = 3, .size = 8},
    {clients_together, CLIENTS_8, .samples = 3, .size = 8},
    {clients_together, CLIENTS_200, .samples = 3, .size = 200},
    {sockets_together, SOCKET_200, .samples = 3, .size = 200},
    {neighbour_floor, FLOOR_NEIGHBOUR_ALONE, .samples = 300},
    {neighbour_alone, NEIGHBOUR_ALONE, .samples = 300},
    {neighbour_floor_busy, FLOOR_NEIGHBOUR_BUSY, .samples = 300, .size = 2},
    {neighbour_flooded, NEIGHBOUR_FLOODED, .samples = 300},
    {neighbour_floor_busy, FLOOR_NEIGHBOUR_BUSY_3, .samples = 300, .size = 3},
    {neighbour_flooded_null, NEIGHBOUR_FLOODED_NULL, .samples = 300},
    {attach_floor, FLOOR_ATTACH, .samples = 50},
    {attach_library, ATTACH, {ATTACH_CALL}, .samples = 50},
    {reclaim_floor, FLOOR_RECLAIM, .samples = 20},
    {reclaim_library, RECLAIM, .samples = 20},
    {change_nothing, STEADY_LOST, {STEADY_GAP}, .samples = 3},
    {change_reload, RELOAD_LOST, {RELOAD_GAP}, .samples = 3},
    {change_restart, RESTART_LOST, {RESTART_GAP}, .samples = 3},
    {change_kill, KILL_LOST, {KILL_RESUBMITTED, KILL_GAP}, .samples = 3},
};

int main(int argc, char **argv)
{
    const struct program program = {
        .probes = probes,
        .probe_count = sizeof(probes) / sizeof(probes[0]),
    };
    return program_main(&program, argc, argv);
}
