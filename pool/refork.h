/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A worker that has done so many tasks that others had better begin where it is: it offers
 * itself to the supervisor, and when that agrees, forks the next zygote between two tasks.
 * The worker itself goes on as it was. The zygote is a child of the supervisor, like every
 * other; it gives up what belongs to the worker and makes workers from then on, which share
 * what the tasks have left in memory.
 *
 * Whoever dies meanwhile: the zygote's socket was sent to the worker, so that the supervisor
 * sees its end when neither of them has it any more; and the kernel has written the zygote's
 * pid into the worker's row before its first instruction. The supervisor's side is in
 * zygotes.c.
 */
#ifndef POOL_REFORK_H
#define POOL_REFORK_H

#include "pool/work.h"

/* Sets when the worker is to offer itself. */
void refork_plan(struct worker *worker);
static inline bool refork_due(const struct worker *worker)
{
    return worker->refork_at != 0 &&
           atomic_load_explicit(&worker->row->tasks_done, memory_order_relaxed) >=
               worker->refork_at;
}
/* Between two tasks. It waits for the supervisor's answer, and for the fork, which takes
 * longer the more memory the worker has. */
void refork_offer(struct worker *worker);

#endif
