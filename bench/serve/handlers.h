/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the pool under test can run: in the module, and linked into clients that run tasks
 * themselves while the pool is away.
 *
 *   null   does nothing
 *   work   keeps its CPU for as many microseconds as its arguments say, an unsigned
 *          int, and replies with its parent's pid: that of the server, in a worker
 */
#ifndef BENCH_SERVE_HANDLERS_H
#define BENCH_SERVE_HANDLERS_H

#include "multicore.h"

enum { FLOOD_TASK_US = 100 };

extern const struct mc_handler bench_handlers[];
extern const size_t bench_handler_count;

#endif
