/* SPDX-License-Identifier: BSD-3-Clause
 *
 * worker_init and worker_exit of all modules: in a worker, or for the tasks that run
 * in a client.
 */
#ifndef POOL_HOOKS_H
#define POOL_HOOKS_H

#include "pool/config.h"

/* A state for each module; all zero before hooks_begin(). */
struct states {
    void *of[MODULES_MOST];
};

/* The places, in the order of the set-up, of all modules that are not asleep. */
uint64_t hooks_all(const struct config *config);
/* Those at these places, in order. On failure those that were begun are ended; a negative
 * errno with a message that names the module. seat: of the worker, or NO_SEAT. */
enum { NO_SEAT = MAX_SEATS };
int hooks_begin(const struct config *config, uint32_t seat, uint64_t places, struct states *states);
/* All that are not asleep, in the reverse order. */
void hooks_end(const struct config *config, struct states *states);

#endif
