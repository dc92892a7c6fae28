/* SPDX-License-Identifier: BSD-3-Clause */
#include "loop.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { BATCH = 64 };

int loop_init(struct loop *loop, struct failure *failure)
{
    TAILQ_INIT(&loop->later);
    loop->fd = epoll_create1(EPOLL_CLOEXEC);
    return loop->fd >= 0 ? 0 : failure_set(failure, -errno, "no epoll: %s", strerror(errno));
}

void loop_fini(struct loop *loop)
{
    close(loop->fd);
}

int loop_watch(struct loop *loop, int fd, uint32_t events, struct watch *watch)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};
    return epoll_ctl(loop->fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

int loop_await(struct loop *loop, int fd, uint32_t events, struct watch *watch)
{
    struct epoll_event event = {.events = events | EPOLLONESHOT, .data.ptr = watch};
    if (epoll_ctl(loop->fd, EPOLL_CTL_MOD, fd, &event) == 0)
        return 0;
    return errno == ENOENT ? loop_watch(loop, fd, event.events, watch) : -errno;
}

void loop_later(struct loop *loop, struct watch *watch)
{
    if (!watch->put_off)
        TAILQ_INSERT_TAIL(&loop->later, watch, entry);
    watch->put_off = true;
}

void loop_forget(struct loop *loop, struct watch *watch)
{
    if (watch->put_off)
        TAILQ_REMOVE(&loop->later, watch, entry);
    watch->put_off = false;
}

/* Only what is there now: what is put off meanwhile waits for descriptors to be looked at. */
static void call_later(struct loop *loop)
{
    const struct watch *last = TAILQ_LAST(&loop->later, watch_list);
    struct watch *watch;
    while ((watch = TAILQ_FIRST(&loop->later))) {
        bool done = watch == last;
        loop_forget(loop, watch);
        watch->ready(watch, 0);
        if (done)
            break;
    }
}

int loop_turn(struct loop *loop, int timeout_ms)
{
    struct epoll_event events[BATCH];
    int count = epoll_wait(loop->fd, events, BATCH, TAILQ_EMPTY(&loop->later) ? timeout_ms : 0);
    if (count < 0 && errno != EINTR)
        return -errno;
    for (int i = 0; i < count; i++) {
        struct watch *watch = events[i].data.ptr;
        watch->ready(watch, events[i].events);
    }
    call_later(loop);
    return 0;
}
