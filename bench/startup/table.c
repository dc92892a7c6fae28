/* SPDX-License-Identifier: BSD-3-Clause */
#include "table.h"

struct figure figures[] = {
    [FLOOR_FORK] = {"floor_fork", "ms", .about = "fork, a byte from the child, its end"},
    [FIRST_1] = {"first_1", "ms", .about = "multicore serve: from exec to the answer of a module"},
    [FIRST_10] = {"first_10", "ms", .about = "to the answers of 10 modules"},
    [FIRST_50] = {"first_50", "ms", .about = "to the answers of 50 modules"},
    [FIRST_10_SERIAL] = {"first_10_serial", "ms", .about = "with serial-load, 10 modules"},
    [FIRST_50_SERIAL] = {"first_50_serial", "ms", .about = "with serial-load, 50 modules"},
    [LOAD_10_SLEEP] = {"load_10_sleep", "ms", .about = "all phases of 10 modules that sleep"},
    [LOAD_10_COMPUTE] = {"load_10_compute", "ms", .against = FLOOR_COMPUTE,
                         .about = "of 10 modules that compute"},
    [FLOOR_COMPUTE] = {"floor_compute", "ms",
                       .about = "the same work in 10 processes, on the same two CPUs"},
    [REPLACE] = {"replace", "ms", .against = FLOOR_FORK,
                 .about = "from SIGKILL of the only worker to the answer of the next"},
    [PSS_EACH] = {"pss_each", "MiB", .against = PSS_REFORKED,
                  .about = "PSS of a pool by worker, each having filled 32 MiB in its first task"},
    [PSS_REFORKED] = {"pss_reforked", "MiB", .about = "the same after refork-after"},
    [FIRST_TASK] = {"first_task", "ms", .against = FIRST_TASK_REFORKED,
                    .about = "the first task of each of these workers, which fills them"},
    [FIRST_TASK_REFORKED] = {"first_task_reforked", "ms",
                             .about = "that of a worker after refork-after"},
    [PYTHON_POOL_REPLACE] = {"python_pool_replace", "ms", .against = REPLACE,
                             .about = "multiprocessing.Pool(1), whose worker left by itself"},
    [PYTHON_POOL_FORK] = {"python_pool_fork", "ms", .against = FIRST_1,
                          .about = "Pool(2), set-up before the fork, to a result"},
    [PYTHON_PPE_FORK] = {"python_ppe_fork", "ms", .against = FIRST_1,
                         .about = "ProcessPoolExecutor(2), likewise"},
    [PYTHON_POOL_FORKSERVER] = {"python_pool_forkserver", "ms", .against = FIRST_1,
                                .about = "Pool(2), set-up in each worker, to a result"},
    [PYTHON_PPE_FORKSERVER] = {"python_ppe_forkserver", "ms", .against = FIRST_1,
                               .about = "ProcessPoolExecutor(2), likewise"},
    [LOOKUP] = {"lookup", "ns", .about = "a handler by its name, the last of 500"},
    [LOOKUP_HASH] = {"lookup_hash", "ns", .against = LOOKUP, .about = "the name in hsearch_r()"},
    [LOOKUP_DLSYM] = {"lookup_dlsym", "ns", .against = LOOKUP, .about = "a symbol by dlsym()"},
};

const struct goal goals[] = {
    {LOAD_10_SLEEP, MEDIAN, AT_MOST, 0, NO_FIGURE, 1.1 * COST_MS},
    {LOAD_10_COMPUTE, MEDIAN, AT_MOST, 1.1, FLOOR_COMPUTE, 0},
    {REPLACE, MEDIAN, BELOW, 0, NO_FIGURE, 20},
    {PSS_REFORKED, MEDIAN, AT_MOST, 0.5, PSS_EACH, 0},
    {LOOKUP, MEDIAN, TIMES_FASTER, 1, LOOKUP_DLSYM, 0},
};

const unsigned figure_count = FIGURE_COUNT;
const size_t goal_count = sizeof(goals) / sizeof(goals[0]);
