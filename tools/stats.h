/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The forms that a snapshot of a pool is printed in; multicore-stats(1) describes them.
 */
#ifndef TOOLS_STATS_H
#define TOOLS_STATS_H

#include "tools/view.h"

#include <stddef.h>
#include <stdio.h>

/* Tables for people. */
void stats_text(const struct view *view, FILE *out);
/* One JSON object on one line; -ENOMEM with a message. */
int stats_json(const struct view *view, FILE *out);
/* OpenMetrics, version 1.0.0. NULL for view: the pool is not there. */
void stats_metrics(const struct view *view, FILE *out);
#define STATS_METRICS_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"

/* "open", "draining", "stopping", "gone". */
const char *stats_phase(const struct view *view);
/* For how long the oldest task of all clients has waited, at least. */
uint32_t stats_delay_ms(const struct view *view);

/* The counters of view->totals, in the order of their fields. */
struct stats_total {
    const char *name; /* as in JSON; in OpenMetrics with "multicore_" in front */
    const char *help;
};
enum { STATS_TOTALS = sizeof(struct view_totals) / sizeof(uint64_t) };
extern const struct stats_total stats_totals[STATS_TOTALS];
uint64_t stats_total(const struct view *view, int number);

/* Serves stats_metrics() at /metrics over HTTP, until SIGTERM or SIGINT: address is
 * HOST:PORT, or the path of a Unix socket, which has a slash. A pool that is not there
 * is told so, and looked for again. 0, or a negative errno with a message. */
int exporter_run(const char *socket, const char *address);

#endif
