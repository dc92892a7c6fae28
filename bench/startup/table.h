/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What bench_startup measures, in the order of the report.
 */
#ifndef BENCH_STARTUP_TABLE_H
#define BENCH_STARTUP_TABLE_H

#include "figures.h"

enum figure_id {
    FLOOR_FORK = NO_FIGURE + 1,
    FIRST_1,
    FIRST_10,
    FIRST_50,
    FIRST_10_SERIAL,
    FIRST_50_SERIAL,
    LOAD_10_SLEEP,
    LOAD_10_COMPUTE,
    FLOOR_COMPUTE,
    REPLACE,
    PSS_EACH,
    PSS_REFORKED,
    FIRST_TASK,
    FIRST_TASK_REFORKED,
    PYTHON_POOL_REPLACE,
    PYTHON_POOL_FORK,
    PYTHON_PPE_FORK,
    PYTHON_POOL_FORKSERVER,
    PYTHON_PPE_FORKSERVER,
    LOOKUP,
    LOOKUP_HASH,
    LOOKUP_DLSYM,
    FIGURE_COUNT
};

enum { COST_MS = 50, MODULES = 50, REPLACE_LOAD_MS = 1000 };

#endif
