/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Waiting for many descriptors, each once: what an I/O worker's loop stands on. There
 * are two engines behind it, io_uring and epoll, and nobody above can tell which.
 */
#ifndef POOL_LOOP_H
#define POOL_LOOP_H

#include "multicore.h"

struct loop_event {
    uint64_t token;  /* whose */
    unsigned events; /* enum mc_event */
};

struct loop_engine {
    const char *name;
    int (*open)(void **state);
    int (*watch)(void *state, int fd, unsigned events, uint64_t token);
    void (*unwatch)(void *state, int fd, int watched, uint64_t token, bool fired);
    int (*wait)(void *state, uint64_t timeout_ns, struct loop_event *events, int most);
};
extern const struct loop_engine loop_uring, loop_epoll;

struct loop {
    const struct loop_engine *engine;
    void *state;
};

/* Probes what is permitted here. A negative errno with a message. */
int loop_open(struct loop *loop, enum mc_io_engine engine);

/* Watches fd for one event. Returns what loop_unwatch() wants to know: fd, or a
 * duplicate where somebody watches that already. -EPERM: it is always ready, as files
 * are; -EBADF, -ENOMEM. */
static inline int loop_watch(struct loop *loop, int fd, unsigned events, uint64_t token)
{
    return loop->engine->watch(loop->state, fd, events, token);
}

/* Ends a watch: because its event came (fired), or it is not wanted any more. In the
 * second case an event with this token may still come. */
static inline void loop_unwatch(struct loop *loop, int fd, int watched, uint64_t token, bool fired)
{
    loop->engine->unwatch(loop->state, fd, watched, token, fired);
}

/* Waits for events, at most for timeout_ns (UINT64_MAX: no limit). Returns how many
 * there are; 0 when the time is up, or a signal came. */
static inline int loop_wait(struct loop *loop, uint64_t timeout_ns, struct loop_event *events,
                            int most)
{
    return loop->engine->wait(loop->state, timeout_ns, events, most);
}

#endif
