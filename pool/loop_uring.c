/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Each watch is one poll request; several go to the kernel with one system call, the
 * one that waits.
 */
#include "pool/loop.h"

#include "base/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <stdlib.h>

enum { ENTRIES = 1024, COMPLETIONS = 4096 };

/* Part of what watch() returns: a request of many completions. The kernel also tells that
 * nobody will write any more to those who wait to write themselves, at once and every time; then
 * they would ask for ever. Such a request tells it once, to us, and goes on. */
#define LASTING (1 << 30)

/* Of requests whose completion nobody wants to know of. */
#define NOBODY (UINT64_MAX - 1)

struct uring_loop {
    struct io_uring ring;
};

static int set_up(struct io_uring *ring, unsigned flags)
{
    struct io_uring_params params = {.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | flags,
                                     .cq_entries = COMPLETIONS};
    int result = io_uring_queue_init_params(ENTRIES, ring, &params);
    if (result < 0)
        return result;
    unsigned needed = IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG;
    if ((params.features & needed) == needed)
        return 0;
    io_uring_queue_exit(ring);
    return -ENOSYS;
}

static int open_uring(void **state)
{
    struct uring_loop *loop = calloc(1, sizeof(*loop));
    if (loop == NULL)
        return -ENOMEM;
    int result = FAULT_FAILS("loop_uring", EPERM)
                     ? -errno
                     : set_up(&loop->ring, IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SINGLE_ISSUER |
                                               IORING_SETUP_DEFER_TASKRUN);
    if (result == -EINVAL) /* an older kernel */
        result = set_up(&loop->ring, 0);
    if (result < 0) {
        free(loop);
        return result;
    }
    (void)io_uring_ring_dontfork(&loop->ring);
    *state = loop;
    return 0;
}

static struct io_uring_sqe *next_entry(struct uring_loop *loop)
{
    struct io_uring_sqe *entry = io_uring_get_sqe(&loop->ring);
    if (entry == NULL && io_uring_submit(&loop->ring) >= 0)
        entry = io_uring_get_sqe(&loop->ring);
    return entry;
}

static int watch(void *state, int fd, unsigned events, uint64_t token)
{
    struct uring_loop *loop = state;
    if (fcntl(fd, F_GETFD) < 0)
        return -errno;
    struct io_uring_sqe *entry = next_entry(loop);
    if (entry == NULL)
        return -ENOMEM;
    bool reads = (events & MC_EVENT_READ) != 0;
    unsigned mask =
        (reads ? POLLIN | POLLRDHUP : 0) | ((events & MC_EVENT_WRITE) != 0 ? POLLOUT : 0);
    if (reads)
        io_uring_prep_poll_add(entry, fd, mask);
    else
        io_uring_prep_poll_multishot(entry, fd, mask);
    entry->user_data = token;
    return reads ? fd : fd | LASTING;
}

static void unwatch(void *state, int fd, int watched, uint64_t token, bool fired)
{
    struct uring_loop *loop = state;
    bool over = fired && (watched & LASTING) == 0;
    struct io_uring_sqe *entry = over ? NULL : next_entry(loop);
    if (entry == NULL)
        return; /* if there was no room: its event is late, and nobody's */
    io_uring_prep_poll_remove(entry, token);
    entry->user_data = NOBODY;
    /* Until the request has ended the kernel keeps the file open, which its owner may close
     * at once. */
    (void)io_uring_submit_and_get_events(&loop->ring);
}

static unsigned events_of(int result)
{
    unsigned known = 0;
    if (result < 0)
        return MC_EVENT_HANGUP;
    if ((result & (POLLIN | POLLRDHUP)) != 0)
        known |= MC_EVENT_READ;
    if ((result & POLLOUT) != 0)
        known |= MC_EVENT_WRITE;
    if ((result & (POLLERR | POLLHUP | POLLNVAL)) != 0)
        known |= MC_EVENT_HANGUP;
    return known;
}

static void submit_and_wait(struct uring_loop *loop, uint64_t timeout_ns)
{
    struct io_uring_cqe *first;
    struct __kernel_timespec timeout = {.tv_sec = (int64_t)(timeout_ns / 1000000000),
                                        .tv_nsec = (int64_t)(timeout_ns % 1000000000)};
    if (timeout_ns == 0)
        (void)io_uring_submit_and_get_events(&loop->ring);
    else
        (void)io_uring_submit_and_wait_timeout(&loop->ring, &first, 1,
                                               timeout_ns == UINT64_MAX ? NULL : &timeout, NULL);
}

/* What it says to its owner; 0: nothing. */
static unsigned told(const struct io_uring_cqe *done)
{
    bool lasting = (done->flags & IORING_CQE_F_MORE) != 0;
    if (done->user_data == NOBODY || done->res == -ECANCELED)
        return 0;
    return events_of(lasting && done->res > 0 ? done->res & ~POLLRDHUP : done->res);
}

static int wait_uring(void *state, uint64_t timeout_ns, struct loop_event *events, int most)
{
    struct uring_loop *loop = state;
    struct io_uring_cqe *done;
    int count = 0;
    submit_and_wait(loop, timeout_ns);
    while (count < most && io_uring_peek_cqe(&loop->ring, &done) == 0) {
        unsigned known = told(done);
        if (known != 0)
            events[count++] = (struct loop_event){done->user_data, known};
        io_uring_cqe_seen(&loop->ring, done);
    }
    return count;
}

const struct loop_engine loop_uring = {"io_uring", open_uring, watch, unwatch, wait_uring};
