/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The same document three times: in a plain loop, on the pool, and on a pool
 * that is told that the machine is busy. Every run writes all its files, into a
 * directory of its own, and opens the document anew.
 */
#ifndef RENDER_COMPARE_H
#define RENDER_COMPARE_H

#include "run.h"

/* Prints a table on stdout. job is what the parallel run does. Returns 0 when
 * all pages agree, 1 when they do not or some failed, or a negative errno and a
 * sentence. */
int compare(const struct job *job, struct failure *failure);

#endif
