/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Each starts the server and the clients that it needs, and ends them.
 */
#ifndef BENCH_SERVE_PROBES_H
#define BENCH_SERVE_PROBES_H

#include "measure.h"
#include "table.h"

/* size: how many clients */
enum outcome clients_together(const struct probe *probe, unsigned samples);
enum outcome sockets_together(const struct probe *probe, unsigned samples);

enum outcome neighbour_alone(const struct probe *probe, unsigned samples);
enum outcome neighbour_flooded(const struct probe *probe, unsigned samples);
enum outcome neighbour_flooded_null(const struct probe *probe, unsigned samples);
enum outcome neighbour_floor(const struct probe *probe, unsigned samples);
/* size: how many busy processes, at most 3 */
enum outcome neighbour_floor_busy(const struct probe *probe, unsigned samples);

enum outcome attach_library(const struct probe *probe, unsigned samples);
enum outcome attach_floor(const struct probe *probe, unsigned samples);
enum outcome reclaim_library(const struct probe *probe, unsigned samples);
enum outcome reclaim_floor(const struct probe *probe, unsigned samples);

enum outcome change_nothing(const struct probe *probe, unsigned samples);
enum outcome change_reload(const struct probe *probe, unsigned samples);
enum outcome change_restart(const struct probe *probe, unsigned samples);
enum outcome change_kill(const struct probe *probe, unsigned samples);

#endif
