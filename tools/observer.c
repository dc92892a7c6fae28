/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/observer.h"

#include "base/error.h"
#include "base/sys.h"
#include "ipc/segment.h"
#include "multicore.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { STEP_MS = 20 };

static int no_answer(const char *path)
{
    return error_set(-ETIMEDOUT, "the pool at %s has not answered within %d ms", path, ASK_MS);
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = ASK_MS / 1000};
    if (strlen(path) >= sizeof(address.sun_path))
        return error_set(-ENAMETOOLONG, "%s: a socket's path has at most %zu bytes", path,
                         sizeof(address.sun_path) - 1);
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_system(-errno, "no socket to ask the pool");
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    int result = -errno;
    close(fd);
    if (result == -ENOENT || result == -ECONNREFUSED)
        return error_set(result,
                         "no pool listens at %s: start one with 'multicore serve', or give "
                         "its socket with --socket",
                         path);
    if (result == -EAGAIN) /* so many wait before us that there is no room */
        return no_answer(path);
    return error_system(result, "%s", path);
}

/* Sends the request; the answer is received into *answer. */
static int exchange(const char *path, const struct message *request, struct parcel *answer)
{
    struct parcel parcel = {.message = *request};
    *answer = (struct parcel){0};
    int fd = connect_to(path);
    if (fd < 0)
        return fd;
    parcel.message.index = LAYOUT_VERSION;
    snprintf(parcel.message.text, sizeof(parcel.message.text), "%s", mc_version());
    int result = channel_send(fd, &parcel, 0);
    if (result == 0 || result == -EPIPE) /* it may refuse us without having listened */
        result = channel_receive(fd, answer, 0);
    close(fd);
    if (result == -EAGAIN)
        return no_answer(path);
    if (result == 0)
        return error_set(-ECONNRESET, "the pool at %s ended the connection", path);
    if (result < 0)
        return error_system(result, "%s", path);
    const struct message *message = &answer->message;
    if (message->type == MESSAGE_REFUSED || message->status < 0) {
        parcel_drop(answer);
        return error_set(message->status < 0 ? message->status : -EPROTO, "%s: %.235s", path,
                         message->text);
    }
    return 0;
}

int observer_ask(const char *path, const struct message *request)
{
    struct parcel answer;
    int result = exchange(path, request, &answer);
    if (result == 0)
        parcel_drop(&answer);
    return result;
}

static bool whole(struct observer *observer)
{
    const struct control *control = observer->control;
    const struct control_sizes sizes = {LOAD_ONCE(control->seat_count),
                                        LOAD_ONCE(control->io_seats),
                                        LOAD_ONCE(control->handler_capacity)};
    observer->sizes = sizes;
    return control->magic == LAYOUT_MAGIC_CONTROL && control->version == LAYOUT_VERSION &&
           sizes.seat_count <= MAX_SEATS && sizes.io_seats <= sizes.seat_count &&
           sizes.handler_capacity <= MAX_HANDLERS &&
           observer->control_bytes >=
               control_size(sizes.seat_count, sizes.io_seats, sizes.handler_capacity);
}

static int map(struct observer *observer, const struct parcel *parcel)
{
    const int *fds = parcel->descriptors;
    if (parcel->message.type != MESSAGE_WELCOME || parcel->descriptor_count != 3)
        return error_set(-EPROTO, "the answer of the pool at %s makes no sense", observer->path);
    observer->supervisor = parcel->message.value;
    observer->pidfd = sys_pidfd_open(observer->supervisor);
    observer->control_bytes = segment_size(fds[0]);
    if (observer->control_bytes >= sizeof(struct control) &&
        segment_check(fds[1], BELLS_SIZE) == 0 &&
        segment_check(fds[2], sizeof(struct quarantine)) == 0) {
        observer->control = segment_map(fds[0], observer->control_bytes, false);
        observer->bells = segment_map(fds[1], BELLS_SIZE, false);
        observer->quarantine = segment_map(fds[2], sizeof(struct quarantine), false);
    }
    if (observer->control == NULL || observer->bells == NULL || observer->quarantine == NULL ||
        !whole(observer))
        return error_set(-EPROTO,
                         "the shared memory of the pool at %s cannot be read by this "
                         "version (%s)",
                         observer->path, mc_version());
    return 0;
}

int observer_open(struct observer *observer, const char *path)
{
    struct parcel answer;
    *observer = (struct observer){.path = path, .pidfd = -1};
    int result = exchange(path, &(struct message){.type = MESSAGE_OBSERVE}, &answer);
    if (result < 0)
        return result;
    result = map(observer, &answer);
    parcel_drop(&answer);
    if (result < 0)
        observer_close(observer);
    return result;
}

static void unmap(const void *memory, uint64_t size)
{
    if (memory != NULL)
        munmap((void *)(uintptr_t)memory, size);
}

void observer_close(struct observer *observer)
{
    unmap(observer->control, observer->control_bytes);
    unmap(observer->bells, BELLS_SIZE);
    unmap(observer->quarantine, sizeof(struct quarantine));
    sys_close(&observer->pidfd);
    *observer = (struct observer){.path = observer->path, .pidfd = -1};
}

bool observer_refresh(const struct observer *observer)
{
    struct parcel parcel = {
        .message = {.type = MESSAGE_OBSERVE, .index = LAYOUT_VERSION, .value = 1}};
    int fd = connect_to(observer->path);
    if (fd < 0)
        return false;
    int result = channel_send(fd, &parcel, MSG_DONTWAIT);
    close(fd);
    return result == 0;
}

static bool nobody_listens(const char *path)
{
    int fd = connect_to(path);
    if (fd >= 0)
        close(fd);
    return fd == -ENOENT || fd == -ECONNREFUSED;
}

bool observer_await_end(const struct observer *observer, int timeout_ms)
{
    struct pollfd supervisor = {.fd = observer->pidfd, .events = POLLIN};
    if (observer->pidfd >= 0)
        return poll(&supervisor, 1, timeout_ms) > 0;
    for (int waited_ms = 0; timeout_ms < 0 || waited_ms < timeout_ms; waited_ms += STEP_MS) {
        (void)poll(NULL, 0, STEP_MS);
        if (nobody_listens(observer->path))
            return true;
    }
    return false;
}
