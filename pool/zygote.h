/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The zygote loads modules, if there are any, and then makes workers, and nothing else; but for
 * another zygote, in which a lazy module is loaded. Workers are its forks, so they begin with
 * everything that the opening process had loaded, but children of the supervisor: it can die
 * without them, and they die with the supervisor.
 */
#ifndef POOL_ZYGOTE_H
#define POOL_ZYGOTE_H

#include "ipc/layout.h"
#include "pool/config.h"

#include <sys/types.h>

_Noreturn void zygote_run(struct config *config, struct control *control, struct bells *bells,
                          int socket, pid_t supervisor);

/* The same in a fork of a worker (refork.c), where everything is loaded. */
_Noreturn void zygote_go_on(struct config *config, struct control *control, struct bells *bells,
                            int socket, pid_t supervisor);

#endif
