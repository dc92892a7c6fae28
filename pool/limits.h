/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The worker's part in limits: it writes down what the supervisor needs to end a
 * task, or to repeat it, and says where it is when it is asked.
 *
 * The supervisor looks at rows only while there is something to see. Both sides
 * write, then read what the other writes, with a fence between: the worker its row,
 * then `watching`; the supervisor `watching`, then the rows (watch.c).
 */
#ifndef POOL_LIMITS_H
#define POOL_LIMITS_H

#include "pool/work.h"

/* Once, before the first task: makes the worker answer to the supervisor's signal. */
void limits_prepare(struct worker *worker);

/* Before the handler runs. False if it is too late to begin. */
bool limits_begin(struct worker *worker, const struct slot *slot, name_t name);
void limits_end(struct worker *worker);

#endif
