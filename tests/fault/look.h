/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Processes and what they hold, as /proc shows it.
 */
#ifndef TESTS_FAULT_LOOK_H
#define TESTS_FAULT_LOOK_H

#include "tests/fault/ledger.h"

unsigned look_own_fds(void);
/* Mappings of memory files, of which a pool has several. */
unsigned look_own_memfds(void);
/* False while the pool's two helpers are not both there. */
bool look_holdings(int supervisor_pidfd, struct holdings *holdings);
/* Its zygote; 0 while there is none. */
pid_t look_zygote(int supervisor_pidfd);
/* Fills up to count entries with the children of a process; returns how many. */
unsigned look_children(pid_t parent, pid_t *children, unsigned count);
/* The process's name, "" if it is gone. */
void look_name(pid_t pid, char name[32]);

#endif
