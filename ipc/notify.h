/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Telling a client that a task ended. It costs a system call only when the flags
 * that were found in the slot's word say that somebody waits.
 */
#ifndef IPC_NOTIFY_H
#define IPC_NOTIFY_H

#include "ipc/lane.h"

/* slot: of this lane, or NULL for all who may wait. flags: what its word held when the task
 * ended. socket: the end of the lane's socket pair that is written to; -1 for none. */
void notify_ended(const struct lane *lane, struct slot *slot, uint32_t flags, int socket);

#endif
