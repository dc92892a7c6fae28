/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Reading the quarantine, which the supervisor writes (sweep.c): for clients, and for
 * those who look from outside.
 */
#ifndef POOL_QUARANTINE_H
#define POOL_QUARANTINE_H

#include "ipc/layout.h"
#include "multicore.h"

/* Fills *out but for size and the handler's name, of which it gives the number. False if
 * the entry is not there, or no more. */
bool quarantine_read(const struct quarantine *quarantine, uint64_t number,
                     struct mc_quarantined *out, uint32_t *handler);

#endif
