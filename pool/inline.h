/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The states of the tasks that run in a client: one for all of its threads, under a lock,
 * and for handlers that are MC_THREAD_SAFE one for each thread.
 */
#ifndef POOL_INLINE_H
#define POOL_INLINE_H

#include "pool/config.h"
#include "pool/hooks.h"

#include <pthread.h>
#include <sys/queue.h>

struct inline_states {
    const struct config *config; /* its hooks make them */
    pthread_mutex_t lock;        /* recursive: an inline task may wait for some of its own */
    bool ready;                  /* there is `common` */
    struct states common;
    pthread_key_t key;
    uint32_t epoch; /* one more in each forked child: those of before are its parent's */
    /* Under the lock of inline.c: */
    LIST_ENTRY(inline_states) link;
    LIST_HEAD(thread_list, thread_state) threads;
    uint32_t ending; /* threads that are just ending theirs */
};

/* False without memory. */
bool inline_init(struct inline_states *own, const struct config *config);
/* We are in a forked child. */
void inline_begin_anew(struct inline_states *own);
/* Ends all that there are, and waits for threads that do so themselves. */
void inline_end(struct inline_states *own);
void inline_fini(struct inline_states *own);
/* The state for a task of this thread, made on first use; with the lock that belongs to
 * it held until inline_leave(). */
int inline_enter(struct inline_states *own, const struct handler *handler,
                 const struct states **states);
void inline_leave(struct inline_states *own, const struct handler *handler);

#endif
