/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What can be read of a worker: the places that it wrote into its row, what it runs,
 * and what the kernel says of it.
 */
#ifndef TOOLS_TRACE_H
#define TOOLS_TRACE_H

#include "ipc/layout.h"

#include <sys/types.h>

struct trace_copy {
    uint32_t count;
    uint64_t addresses[TRACE_MOST];
};

/* The answer to the last request, whole; false while there is none. */
bool trace_read(const struct seat_row *row, struct trace_copy *copy);

/* What the seat's worker does, such as "runs 'resize' for client 812, for 2.4 s". */
void trace_doing(const struct control *control, uint32_t seat, char *text, size_t size);

/* Its state, where in the kernel it is, and what else keeps it from answering. */
void trace_kernel_state(pid_t pid, char *text, size_t size);

#endif
