/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A descriptor stays in the epoll when its event came, disarmed, since it will most
 * likely be watched again. There can be one watch on it; others are on duplicates.
 */
#include "pool/loop.h"

#include "base/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

struct epoll_loop {
    int epoll;
    bool *armed; /* by descriptor */
    size_t count;
};

static int open_epoll(void **state)
{
    struct epoll_loop *loop = calloc(1, sizeof(*loop));
    if (loop == NULL)
        return -ENOMEM;
    loop->epoll = FAULT_CALL("loop_epoll", EMFILE, epoll_create1(EPOLL_CLOEXEC));
    if (loop->epoll < 0) {
        free(loop);
        return -errno;
    }
    *state = loop;
    return 0;
}

static int make_room(struct epoll_loop *loop, int fd)
{
    size_t count = loop->count != 0 ? loop->count : 64;
    while (count <= (size_t)fd)
        count *= 2;
    if (count == loop->count)
        return 0;
    bool *armed = realloc(loop->armed, count);
    if (armed == NULL)
        return -ENOMEM;
    memset(armed + loop->count, 0, count - loop->count);
    loop->armed = armed;
    loop->count = count;
    return 0;
}

static int arm(struct epoll_loop *loop, int fd, unsigned events, uint64_t token)
{
    struct epoll_event event = {.events = EPOLLONESHOT, .data.u64 = token};
    int result = make_room(loop, fd);
    if (result < 0)
        return result;
    if ((events & MC_EVENT_READ) != 0)
        event.events |= EPOLLIN | EPOLLRDHUP;
    if ((events & MC_EVENT_WRITE) != 0)
        event.events |= EPOLLOUT;
    if (epoll_ctl(loop->epoll, EPOLL_CTL_MOD, fd, &event) < 0 &&
        (errno != ENOENT || epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) < 0))
        return -errno;
    loop->armed[fd] = true;
    return fd;
}

static int watch(void *state, int fd, unsigned events, uint64_t token)
{
    struct epoll_loop *loop = state;
    if (fd < 0)
        return -EBADF;
    if ((size_t)fd >= loop->count || !loop->armed[fd])
        return arm(loop, fd, events, token);
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return -errno;
    int result = arm(loop, copy, events, token);
    if (result < 0)
        close(copy);
    return result;
}

static void unwatch(void *state, int fd, int watched, uint64_t token, bool fired)
{
    struct epoll_loop *loop = state;
    loop->armed[watched] = false;
    if (!fired || watched != fd)
        (void)epoll_ctl(loop->epoll, EPOLL_CTL_DEL, watched, NULL);
    if (watched != fd)
        close(watched);
}

static unsigned events_of(uint32_t events)
{
    unsigned known = 0;
    if ((events & (EPOLLIN | EPOLLRDHUP)) != 0)
        known |= MC_EVENT_READ;
    if ((events & EPOLLOUT) != 0)
        known |= MC_EVENT_WRITE;
    if ((events & (EPOLLERR | EPOLLHUP)) != 0)
        known |= MC_EVENT_HANGUP;
    return known;
}

static int to_ms(uint64_t timeout_ns)
{
    uint64_t timeout_ms = timeout_ns / 1000000 + (timeout_ns % 1000000 != 0);
    return timeout_ns == UINT64_MAX ? -1 : timeout_ms < INT_MAX ? (int)timeout_ms : INT_MAX;
}

static int wait_epoll(void *state, uint64_t timeout_ns, struct loop_event *events, int most)
{
    struct epoll_loop *loop = state;
    struct epoll_event ready[64];
    int count = epoll_wait(loop->epoll, ready, most < 64 ? most : 64, to_ms(timeout_ns));
    for (int i = 0; i < count; i++)
        events[i] = (struct loop_event){ready[i].data.u64, events_of(ready[i].events)};
    return count < 0 ? 0 : count;
}

const struct loop_engine loop_epoll = {"epoll", open_epoll, watch, unwatch, wait_epoll};
