/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a client does with the_pool, in scenes that plays are put together from.
 */
#ifndef TESTS_FAULT_SCENES_H
#define TESTS_FAULT_SCENES_H

#include "tests/fault/batch.h"
#include "tests/fault/troupe.h"

extern const struct mc_group_options unhelped, helped;

uint64_t now_ms(void);
void pause_us(unsigned us);

void small_tasks(void);
/* The same in a thread, which then ends. */
void small_tasks_of_a_thread(void);
/* Larger than a slot holds, replaced by larger and by smaller ones, and written
 * piece by piece; one result is given back before its time. */
void payloads(void);
void map(void);
void values(void);
/* More than there are slots, so that the ring wraps and the caller waits for room. */
void quick_tasks(void);
void one_by_one(void);
void urgent_tasks(void);
void limited_tasks(void);

/* ---- an event loop ---- */

/* For on_done; context is a bool. */
void when_done(mc_group *group, void *context);
void dispatch_until(const bool *done, struct batch *batch);
/* Nobody asks for the results any more. */
void forget(struct batch *batch);
void event_loop(uint32_t max_parallel, uint32_t traits);

/* ---- forked clients ---- */

void be_child(void);
void await_child(pid_t child);

#endif
