/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A wake-up through shared memory as a descriptor: other processes wake a seat by a
 * futex, and an I/O worker sleeps in its loop. A thread sleeps on the futex for it, and
 * does nothing else.
 */
#ifndef POOL_BELL_H
#define POOL_BELL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

struct bell {
    _Atomic uint32_t *word;
    uint32_t value;          /* while the word is this, nobody has rung */
    int fd;                  /* readable when somebody has */
    _Atomic uint32_t armed;  /* 1: by the owner; 0: by the thread, when it has rung */
    pthread_t thread;
};

int bell_open(struct bell *bell, _Atomic uint32_t *word, uint32_t value);
/* Before the owner sleeps, with the value in the word. */
void bell_arm(struct bell *bell);
/* When fd was readable. */
void bell_clear(struct bell *bell);

#endif
