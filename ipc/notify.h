/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Telling a client that a task ended. It costs a system call only when the flags
 * that were found in the slot's word say that somebody waits.
 */
#ifndef IPC_NOTIFY_H
#define IPC_NOTIFY_H

#include "ipc/lane.h"

/* flags: what the word held when the task ended. socket: the end of the lane's
 * socket pair that is written to. */
void notify_ended(const struct lane *lane, _Atomic uint64_t *word, uint32_t flags, int socket);

#endif
