/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BENCH_STARTUP_PROBES_H
#define BENCH_STARTUP_PROBES_H

#include "child.h"
#include "measure.h"
#include "table.h"

#include <stdio.h>

enum outcome fork_floor(const struct probe *probe, unsigned samples);
/* size: how many modules. */
enum outcome modules_parallel(const struct probe *probe, unsigned samples);
enum outcome modules_serial(const struct probe *probe, unsigned samples);
enum outcome modules_compute(const struct probe *probe, unsigned samples);
enum outcome compute_floor(const struct probe *probe, unsigned samples);
enum outcome replace_worker(const struct probe *probe, unsigned samples);
enum outcome warm_workers(const struct probe *probe, unsigned samples);
enum outcome lookup_name(const struct probe *probe, unsigned samples);
enum outcome peer_python(const struct probe *probe, unsigned samples);
enum outcome peer_python_replace(const struct probe *probe, unsigned samples);

/* A configuration with so many modules in a directory of its own, all with the setting
 * "KIND = MS". */
struct site {
    char directory[64];
    char file[96];
    char socket[96];
};
enum outcome site_open(struct site *site, unsigned modules, const char *kind, unsigned ms);
void site_close(struct site *site);

#endif
