/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A hundred users that take 10 ms each: work that waits and needs no core, so
 * that what is measured is how well the pool keeps its workers busy.
 */
#ifndef RENDER_USERS_H
#define RENDER_USERS_H

#include "failure.h"

/* Prints the figures on stdout. workers of 0: one per usable core. Returns 0; 1
 * when the results differ; or a negative errno and a sentence. */
int users_scene(unsigned workers, struct failure *failure);

#endif
