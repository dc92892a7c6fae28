/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The probes, and what they share: the pool under test and child programs.
 */
#ifndef BENCH_PROBES_H
#define BENCH_PROBES_H

#include "child.h"
#include "measure.h"
#include "table.h"

#include "multicore.h"

enum outcome floor_spin(const struct probe *probe, unsigned samples);
enum outcome floor_handover(const struct probe *probe, unsigned samples);
enum outcome floor_futex_same_core(const struct probe *probe, unsigned samples);
enum outcome floor_futex_cross_core(const struct probe *probe, unsigned samples);
enum outcome floor_futex_idle(const struct probe *probe, unsigned samples);

enum outcome latency_hot(const struct probe *probe, unsigned samples);
enum outcome latency_parts(const struct probe *probe, unsigned samples);
enum outcome latency_cold(const struct probe *probe, unsigned samples);
enum outcome latency_helped(const struct probe *probe, unsigned samples);

enum outcome throughput_single(const struct probe *probe, unsigned samples);
enum outcome throughput_batch(const struct probe *probe, unsigned samples);

enum outcome events_loop(const struct probe *probe, unsigned samples);

enum outcome payload_echo(const struct probe *probe, unsigned samples);
enum outcome speedup_rows(const struct probe *probe, unsigned samples);

enum outcome startup_library(const struct probe *probe, unsigned samples);
enum outcome startup_floor(const struct probe *probe, unsigned samples);
enum outcome footprint_memory(const struct probe *probe, unsigned samples);
enum outcome footprint_idle(const struct probe *probe, unsigned samples);

enum outcome peer_python_pool(const struct probe *probe, unsigned samples);
enum outcome peer_python_ppe(const struct probe *probe, unsigned samples);
enum outcome peer_zeromq(const struct probe *probe, unsigned samples);
enum outcome peer_libuv(const struct probe *probe, unsigned samples);
/* Adds one sample to OPENMP_SPEEDUP. */
enum outcome peer_openmp(double serial_ns, uint64_t checksum);

/* ---- the pool under test ---- */

/* Opens a pool of two workers, one for each CPU of the benchmark, with the
 * handlers "null", "echo", "rows", "sum" and "work". False: see mc_error_message(). */
bool subject_open(mc_pool **pool);
void subject_close(void);
/* The one pool that most figures share, opened by the first call of
 * subject_open(). */
mc_pool *subject(void);

int rows_handler(mc_task *task); /* of speedup.c */

enum { WORK_US = 50 }; /* that "work" takes, and what is beside it */
void work_us(unsigned us);

/* ---- programs that measure in a process of their own ---- */

/* What bench_core does as a child of itself; each returns an exit status. */
int startup_library_child(void);
int startup_floor_child(void);
int footprint_memory_child(void);

#endif
