/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A worker: takes tickets from the lanes, runs the tasks, says that they ended.
 */
#ifndef POOL_WORKER_H
#define POOL_WORKER_H

#include "ipc/layout.h"
#include "pool/config.h"

#include <sys/types.h>

_Noreturn void worker_run(struct config *config, struct control *control, struct bells *bells,
                          uint32_t seat, int socket, pid_t supervisor);

#endif
