/* SPDX-License-Identifier: BSD-3-Clause
 *
 * bench_startup: how a pool with modules starts, and how its workers are replaced.
 * ../README.md says what each figure means.
 */
#include "probes.h"
#include "program.h"

/* In the order of a round: floors next to what is held against them. */
static const struct probe probes[] = {
    {fork_floor, FLOOR_FORK, .samples = 50},
    {replace_worker, REPLACE, .samples = 10},
    {warm_workers, PSS_EACH, {PSS_REFORKED, FIRST_TASK, FIRST_TASK_REFORKED}, .samples = 2},
    {modules_parallel, FIRST_1, .samples = 3, .size = 1},
    {modules_parallel, FIRST_10, {LOAD_10_SLEEP}, .samples = 3, .size = 10},
    {modules_parallel, FIRST_50, .samples = 3, .size = 50},
    {modules_serial, FIRST_10_SERIAL, .samples = 1, .size = 10},
    {modules_serial, FIRST_50_SERIAL, .samples = 1, .size = 50},
    {modules_compute, LOAD_10_COMPUTE, .samples = 2, .size = 10},
    {compute_floor, FLOOR_COMPUTE, .samples = 2, .size = 10},
    {peer_python, PYTHON_POOL_FORK, {PYTHON_PPE_FORK}, .samples = 2},
    {peer_python, PYTHON_POOL_FORKSERVER, {PYTHON_PPE_FORKSERVER}, .samples = 2, .size = 1},
    {peer_python_replace, PYTHON_POOL_REPLACE, .samples = 1},
    {lookup_name, LOOKUP, {LOOKUP_HASH, LOOKUP_DLSYM}, .place = FIRST_CPU, .samples = 100},
};

int main(int argc, char **argv)
{
    const struct program program = {
        .probes = probes,
        .probe_count = sizeof(probes) / sizeof(probes[0]),
    };
    return program_main(&program, argc, argv);
}
