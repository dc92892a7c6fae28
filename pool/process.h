/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What every process of the pool does first.
 */
#ifndef POOL_PROCESS_H
#define POOL_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

/* Resets signal dispositions and the mask, enters a process group of its own, so
 * that a terminal's Ctrl-C reaches the host only, and closes all descriptors but
 * the standard ones and *socket, which is moved. Without `streams` the standard
 * ones become /dev/null; with it only the input does. */
void process_begin(const char *name, int *socket, bool streams);

/* How many processes of pools there are among this one and those that it is a fork of. Each of
 * them began by closing descriptors, so of those that were open at another depth nothing is
 * left but numbers, which may be others' by now. */
unsigned process_depth(void);

/* Dies with its parent; at once if that is not `parent` any more. */
void process_follow(pid_t parent);

#endif
