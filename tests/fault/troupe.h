/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Who plays: handlers, the pool that has them, and a look at it from outside.
 */
#ifndef TESTS_FAULT_TROUPE_H
#define TESTS_FAULT_TROUPE_H

#include "multicore.h"
#include "tests/fault/ledger.h"

extern mc_pool *the_pool;

/* The last of them wait, and only one play has them. */
/* The one after these is a lazy module's, where there is one. */
enum { TROUPE_HANDLERS = 13, TROUPE_LATE = 14, TROUPE_WITH_IO = 17 };
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

/* ---- when something hangs ---- */

/* Prints rows, rings and slots of this client to standard error. */
void troupe_describe(void);

#endif
