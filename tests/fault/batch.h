/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Batches of tasks in the_pool, each a group. All are entered in the ledger: when they
 * were accepted, and what became of them.
 */
#ifndef TESTS_FAULT_BATCH_H
#define TESTS_FAULT_BATCH_H

#include "multicore.h"
#include "tests/fault/ledger.h"

/* The arguments of every task; larger ones are filled up with the number's low byte. */
struct job {
    uint32_t number;
    uint32_t reply;  /* size of the result */
    uint32_t larger; /* size of a result that is given before, and replaced */
    uint32_t gate;   /* it waits until the ledger's is as high */
};

struct batch {
    mc_group *group;
    uint32_t first, count; /* numbers; of a map, of its items */
    uint32_t submitted;
    bool map;
    bool event;
};

bool batch_open(struct batch *batch, uint32_t count, struct mc_group_options options);
/* Submits one task with size bytes of arguments; false when it was refused. */
bool batch_run(struct batch *batch, const char *handler, uint32_t traits, struct job job,
               size_t size);
bool batch_repeat(struct batch *batch, uint32_t times, const char *handler, uint32_t traits,
                  struct job job, size_t size);
/* Submits a number as a structured value, which comes back as one. */
bool batch_echo(struct batch *batch, enum mc_format format);
/* Reads the values that came back. */
void batch_values(struct batch *batch);
bool batch_map(struct batch *batch);
/* Takes the index-th result into the books. */
void batch_deliver(struct batch *batch, const struct mc_result *result);
void batch_wait(struct batch *batch);
/* Results one by one, in the order of completion. */
void batch_next(struct batch *batch);
/* Takes all results, without waiting. */
void batch_results(struct batch *batch);
void batch_close(struct batch *batch);
/* batch_wait(), batch_results(), batch_close() */
void batch_finish(struct batch *batch);

/* ---- gates ---- */

/* Both workers are busy in the batch's tasks, or it took too long. */
void gate_shut(struct batch *batch);
void gate_lift(void);

#endif
