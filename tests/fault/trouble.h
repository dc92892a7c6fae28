/* SPDX-License-Identifier: BSD-3-Clause
 *
 * More scenes: what goes wrong with the_pool, and is expected to.
 */
#ifndef TESTS_FAULT_TROUBLE_H
#define TESTS_FAULT_TROUBLE_H

void nested_tasks(void);
void cancelled_tasks(void);
void cancelled_events(void);
/* One of many quick tasks kills its worker, which had taken others with it. */
void crash_amid_others(void);
void crash_with_result(void);
/* What a program does that writes where it should not. */
void damaged_request(void);

/* ---- forked clients ---- */

void child_that_works(void);
/* What it leaves behind keeps its socket open: its end is seen otherwise. */
void child_with_a_child(void);
/* It ends with tasks of its in the queue, and running. */
void child_that_dies(void);

#endif
