/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The worker's part in limits: it writes down what the supervisor needs to end a
 * task, or to repeat it, and says where it is when it is asked.
 *
 * The supervisor looks at rows only while there is something to see. Both sides
 * write, then read what the other writes, with a fence between: the worker its row,
 * then `watching`; the supervisor `watching`, then the rows (watch.c).
 *
 * Pairs, when the operator asks where a worker is: T1 acquires the number of the
 * request (watch_trace), T2 lets who reads parts of a later answer see that there was
 * another request, T3 releases the answer to who reads it (tools/trace.c).
 */
#ifndef POOL_LIMITS_H
#define POOL_LIMITS_H

#include "pool/work.h"

/* In the zygote, once its modules are loaded: what workers need to say where they are. */
void limits_load(const struct config *config);

/* Once, before the first task: makes the worker answer to the supervisor's signal. */
void limits_prepare(struct worker *worker);

/* Before the handler runs. False if it is too late to begin. */
bool limits_begin(struct worker *worker, const struct slot *slot, name_t name);
/* The same for a call of a task that began before: soft_ms 0: nobody is to be told. */
void limits_note(struct worker *worker, name_t name, uint32_t soft_ms, uint32_t hard_ms);
void limits_end(struct worker *worker);

#endif
