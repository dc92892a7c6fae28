/* SPDX-License-Identifier: BSD-3-Clause
 *
 * bench_core: what the pool costs, beside the floors of the machine and its
 * peers. ../README.md says what each figure means.
 */
#include "probes.h"
#include "program.h"

#include <stdio.h>

/* In the order of a round: floors next to what is held against them. */
static const struct probe probes[] = {
    {floor_spin, FLOOR_SPIN, .place = FIRST_CPU, .samples = 20000},
    {latency_hot, ROUNDTRIP_HOT, .place = FIRST_CPU, .samples = 20000},
    {floor_handover, FLOOR_HANDOVER, .place = FIRST_CPU, .samples = 20000},
    {latency_parts, HOT_SUBMIT, {HOT_WAIT, HOT_CLOSE}, FIRST_CPU, .samples = 20000},
    {floor_futex_same_core, FLOOR_FUTEX_SAME_CORE, .place = FIRST_CPU, .samples = 2000},
    {floor_futex_cross_core, FLOOR_FUTEX_CROSS_CORE, .place = FIRST_CPU, .samples = 500},
    {floor_futex_idle, FLOOR_FUTEX_IDLE, .place = FIRST_CPU, .samples = 100},
    {latency_cold, ROUNDTRIP_COLD, .place = FIRST_CPU, .samples = 100},
    {latency_helped, ROUNDTRIP_HELPED, .place = FIRST_CPU, .samples = 100},
    {throughput_single, THROUGHPUT_SINGLE, .place = FIRST_CPU, .samples = 5},
    {throughput_batch, THROUGHPUT_BATCH, .place = FIRST_CPU, .samples = 5},
    {events_loop, EVENT_LOOP_1, {EVENT_LOOP_1000, FLOOR_EVENT_LOOP}, FIRST_CPU, .samples = 5},
    {payload_echo, PAYLOAD_1K, {MEMCPY_1K}, FIRST_CPU, .samples = 2000, .size = 1 << 10},
    {payload_echo, PAYLOAD_64K, {MEMCPY_64K}, FIRST_CPU, .samples = 500, .size = 1 << 16},
    {payload_echo, PAYLOAD_1M, {MEMCPY_1M}, FIRST_CPU, .samples = 100, .size = 1 << 20},
    {payload_echo, PAYLOAD_16M, {MEMCPY_16M}, FIRST_CPU, .samples = 15, .size = 1 << 24},
    {speedup_rows, RENDER_SPEEDUP, {OPENMP_SPEEDUP}, BOTH_CPUS, .samples = 1},
    {startup_library, STARTUP_FIRST_RESULT, .place = BOTH_CPUS, .samples = 5},
    {startup_floor, FLOOR_STARTUP, .place = BOTH_CPUS, .samples = 5},
    {peer_python_pool,
     PYTHON_POOL_APPLY,
     {PYTHON_POOL_APPLY_UNPINNED, PYTHON_POOL_STARTUP_FIRST_RESULT},
     .samples = 200},
    {peer_python_ppe, PYTHON_PPE, .place = BOTH_CPUS, .samples = 200},
    {peer_zeromq, ZEROMQ_IPC, .place = BOTH_CPUS, .samples = 500},
    {peer_libuv, LIBUV_QUEUE_WORK, .place = BOTH_CPUS, .samples = 500},
    {footprint_memory, PSS_PER_WORKER_KIB, .place = BOTH_CPUS, .samples = 1},
    {footprint_idle, IDLE_CPU_PERCENT, .place = BOTH_CPUS, .samples = 2000},
};

static const struct child children[] = {
    {"child-startup", startup_library_child},
    {"child-floor-startup", startup_floor_child},
    {"child-memory", footprint_memory_child},
    {0},
};

static bool begin(void)
{
    mc_pool *pool;
    if (subject_open(&pool))
        return true;
    fprintf(stderr, "bench_core: no pool: %s\n", mc_error_message());
    return false;
}

int main(int argc, char **argv)
{
    const struct program program = {
        .probes = probes,
        .probe_count = sizeof(probes) / sizeof(probes[0]),
        .children = children,
        .begin = begin,
        .end = subject_close,
    };
    return program_main(&program, argc, argv);
}
