/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A served pool seen from outside: its control segment, read only, and the requests
 * that root and the pool's user may make. What is in the segment is the pool's word:
 * loads are atomic where the field is, and texts may lack their end.
 */
#ifndef TOOLS_OBSERVER_H
#define TOOLS_OBSERVER_H

#include "ipc/channel.h"
#include "ipc/layout.h"

#include <stdbool.h>

struct observer {
    const char *path; /* of the pool's socket; the caller's */
    pid_t supervisor;
    int pidfd; /* of that; -1: it cannot be had */
    const struct control *control;
    const struct bells *bells;
    const struct quarantine *quarantine;
    uint64_t control_bytes;
    /* As control had them when they were checked: who can write there could change them. */
    struct control_sizes sizes;
};

/* Looks at the pool that listens there. Negative errno with a message: -ENOENT or
 * -ECONNREFUSED when there is no pool, -EACCES when it does not let us, -EPROTO when it
 * has another version. Blocks for ASK_MS at most, also while all workers are stuck. */
enum { ASK_MS = 5000 };
int observer_open(struct observer *observer, const char *path);
void observer_close(struct observer *observer);
/* Has the queues sampled for the next two seconds; does not wait. False when nobody
 * listens any more: what is mapped stays readable. */
bool observer_refresh(const struct observer *observer);

/* Waits for the end of the pool's supervisor, for so long at most; true when it is gone.
 * Where its process is out of sight, nobody listening any more counts as the end. */
bool observer_await_end(const struct observer *observer, int timeout_ms);

/* Sends one request, and waits for what comes of it: 0, or a negative errno with the
 * pool's message. request->index is filled in. */
int observer_ask(const char *path, const struct message *request);

#endif
