/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool/bell.h"

#include "base/fault.h"
#include "base/sys.h"

#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>

/* A hostile client can have us wait on another word; the supervisor wakes the owner by
 * a signal then, and this ends it. */
#define WAIT_NS (UINT64_C(10) * 1000000000)

static void *ring(void *context)
{
    struct bell *bell = context;
    for (;;) {
        while (atomic_load_explicit(&bell->armed, memory_order_acquire) == 0)
            (void)sys_futex_wait(&bell->armed, 0, UINT64_MAX);
        int result = sys_futex_wait(bell->word, bell->value, WAIT_NS);
        if (result == -EINTR || result == -ETIMEDOUT)
            continue;
        atomic_store_explicit(&bell->armed, 0, memory_order_release);
        (void)eventfd_write(bell->fd, 1);
    }
    return NULL;
}

int bell_open(struct bell *bell, _Atomic uint32_t *word, uint32_t value)
{
    sigset_t all, before;
    bell->word = word;
    bell->value = value;
    bell->fd = FAULT_CALL("bell_open", EMFILE, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (bell->fd < 0)
        return -errno;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the worker's */
    int result = -pthread_create(&bell->thread, NULL, ring, bell);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (result < 0)
        sys_close(&bell->fd);
    return result;
}

void bell_arm(struct bell *bell)
{
    if (atomic_load_explicit(&bell->armed, memory_order_acquire) != 0)
        return;
    atomic_store_explicit(&bell->armed, 1, memory_order_release);
    (void)sys_futex_wake(&bell->armed, 1);
}

void bell_clear(struct bell *bell)
{
    eventfd_t count;
    (void)eventfd_read(bell->fd, &count);
}
