/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The event loop: epoll, and what was put off until its next turn. A callback may end
 * what it was called for, and nothing else that waits for a descriptor: the same turn
 * may still call it.
 */
#ifndef WEB_LOOP_H
#define WEB_LOOP_H

#include "failure.h"

#include <stdint.h>
#include <sys/queue.h>

struct watch {
    void (*ready)(struct watch *watch, uint32_t events); /* EPOLLIN and so on; 0: put off */
    void *context;
    TAILQ_ENTRY(watch) entry; /* private, as is the next */
    bool put_off;
};

struct loop {
    int fd;
    TAILQ_HEAD(watch_list, watch) later;
};

int loop_init(struct loop *loop, struct failure *failure);
void loop_fini(struct loop *loop);

/* Calls back whenever fd is ready; or once, which replaces what was said about fd before.
 * Return 0 or a negative errno. Closing fd ends it. */
int loop_watch(struct loop *loop, int fd, uint32_t events, struct watch *watch);
int loop_await(struct loop *loop, int fd, uint32_t events, struct watch *watch);

/* Calls back at the end of this turn, or of the next one. */
void loop_later(struct loop *loop, struct watch *watch);
/* Takes that back. */
void loop_forget(struct loop *loop, struct watch *watch);

/* Waits for timeout_ms at most, -1 for ever, and calls back whoever is ready. */
int loop_turn(struct loop *loop, int timeout_ms);

#endif
