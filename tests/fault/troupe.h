/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What plays are made of: handlers, batches of tasks that are entered in the ledger,
 * and a look at the pool from outside.
 */
#ifndef TESTS_FAULT_TROUPE_H
#define TESTS_FAULT_TROUPE_H

#include "multicore.h"
#include "tests/fault/ledger.h"

/* The arguments of every task; larger ones are filled up with the number's low byte. */
struct job {
    uint32_t number;
    uint32_t reply;  /* size of the result */
    uint32_t larger; /* size of a result that is given before, and replaced */
    uint32_t gate;   /* it waits until the ledger's is as high */
};

extern mc_pool *the_pool;

/* The last of them wait, and only one play has them. */
enum { TROUPE_HANDLERS = 13, TROUPE_WITH_IO = 16 };
extern const struct mc_handler troupe_handlers[TROUPE_WITH_IO];
/* worker_init; fails when the ledger says so. */
int troupe_init(void *context, void **state);

/* With these, two workers and 64 slots. */
struct mc_pool_options troupe_options(void);
/* False if the pool could not be opened, which was noted. */
bool troupe_open(const struct mc_pool_options *options);
/* The same for a pool at a socket, whether that is there or not. */
bool troupe_attach(const char *path);
/* Two workers meet, if tasks may run side by side; then many tasks run. */
void troupe_expect_throughput(bool side_by_side);
/* The lane is sound, and the pool holds what it usually holds. */
void troupe_expect_sound(void);
void troupe_close(void);

/* True while this client sees its pool. */
bool pool_alive(void);

/* ---- batches: tasks of one group ---- */

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

/* ---- when something hangs ---- */

/* Prints rows, rings and slots of this client to standard error. */
void troupe_describe(void);

#endif
