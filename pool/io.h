/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The seats of handlers that are MC_IO. A worker there takes tickets and runs handlers
 * as any other (work.c, run.c); but a task may wait, and is called back when what it
 * awaits has come, until it ends.
 *
 * Each task has an object of its own, which also is its place in the worker's book in
 * shared memory. What makes the worker's death harmless is the same as elsewhere, with
 * one step between:
 *
 *   1. a task that is to wait is written into the book
 *   2. the row is cleared, and other tasks are run
 *   3. for each call-back the row names the task again
 *   4. after its end, as in work.h, the book lets go of it, then the row
 *
 * Results are made in private memory, and placed in the lane at the end, because a seat
 * can have one block in the making there, and many tasks wait.
 */
#ifndef POOL_IO_H
#define POOL_IO_H

#include "pool/work.h"

/* In a worker whose handlers are set up. A negative errno with a message. */
int io_open(struct worker *worker);
/* Until the pool closes, or a successor is to have the seat; then nothing waits. */
void io_work(struct worker *worker);

/* The worker's present task has returned MC_PENDING. */
void io_keep(struct io *io, struct view *view, struct slot *slot, name_t name);
/* It has returned something else: as run_end(), with its result placed in the lane. */
void io_end(struct io *io, struct view *view, struct slot *slot, enum slot_state state,
            uint64_t now);

/* Tasks of other clients than this lane's wait here. */
bool io_others_wait(const struct io *io, const struct view *view);

/* The worker's present task waits for a group of its own: runs another task meanwhile, and
 * calls back who has something to hear. own: a task of that group that nobody has taken
 * yet, or NULL; any: there may be none, but others are in its way. -EDEADLK: too many do
 * so within one another. */
int io_drive(struct io *io, const name_t *own, bool any);
/* True if this task of the worker's lane is itself waiting for a group, in a call that is
 * held up by the present one. */
bool io_awaits_itself(const struct io *io, name_t name);

#endif
