/* SPDX-License-Identifier: BSD-3-Clause */
#include "ipc/channel.h"

#include "base/fault.h"
#include "base/sys.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union control_buffer {
    struct cmsghdr header;
    char space[CMSG_SPACE(MESSAGE_DESCRIPTORS * sizeof(int))];
};

int channel_pair(int ends[2])
{
    return FAULT_CALL("channel_pair", EMFILE,
                      socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends)) < 0
               ? -errno
               : 0;
}

int channel_send(int socket, const struct parcel *parcel, int flags)
{
    struct iovec data = {.iov_base = (void *)(uintptr_t)&parcel->message,
                         .iov_len = sizeof(parcel->message)};
    union control_buffer buffer;
    struct msghdr header = {.msg_iov = &data, .msg_iovlen = 1};
    if (parcel->descriptor_count > 0) {
        size_t size = (size_t)parcel->descriptor_count * sizeof(int);
        memset(&buffer, 0, sizeof(buffer));
        header.msg_control = buffer.space;
        header.msg_controllen = CMSG_SPACE(size);
        struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(size);
        memcpy(CMSG_DATA(rights), parcel->descriptors, size);
    }
    ssize_t sent;
    do {
        sent = FAULT_CALL("channel_send", ENOBUFS, sendmsg(socket, &header, flags | MSG_NOSIGNAL));
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

void channel_tell(int socket, const struct parcel *parcel)
{
    if (channel_send(socket, parcel, MSG_DONTWAIT) < 0)
        (void)shutdown(socket, SHUT_RDWR);
}

/* False if there are more than anybody sends: padding lets the kernel deliver one
 * beyond what was asked for. */
static bool take_descriptors(struct parcel *parcel, struct msghdr *header)
{
    bool fits = true;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part != NULL;
         part = CMSG_NXTHDR(header, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
            continue;
        int count = (int)((part->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        for (int i = 0; i < count; i++) {
            int descriptor;
            memcpy(&descriptor, CMSG_DATA(part) + (size_t)i * sizeof(int), sizeof(int));
            if (parcel->descriptor_count < MESSAGE_DESCRIPTORS) {
                parcel->descriptors[parcel->descriptor_count++] = descriptor;
            } else {
                close(descriptor);
                fits = false;
            }
        }
    }
    return fits;
}

/* The reset is said once, ahead of what the other side sent before it closed and left
 * messages of ours unread: as when it refuses without having asked. And the kernel looks for
 * a message first and for the end after it: the last message and the end may both come
 * between, and then it says the end. After either nothing new comes, so looking again tells. */
static bool ended(ssize_t received, const struct msghdr *header)
{
    return (received < 0 && errno == ECONNRESET) || (received == 0 && header->msg_controllen == 0);
}

static ssize_t receive_once(int socket, struct msghdr *header, int flags, size_t room)
{
    ssize_t received;
    do {
        header->msg_controllen = room;
        received = recvmsg(socket, header, flags | MSG_CMSG_CLOEXEC);
    } while (received < 0 && errno == EINTR);
    return received;
}

static int receive(int socket, struct parcel *parcel, int flags, size_t room)
{
    struct iovec data = {.iov_base = &parcel->message, .iov_len = sizeof(parcel->message)};
    union control_buffer buffer;
    struct msghdr header = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = buffer.space};
    ssize_t received =
        FAULT_CALL("channel_receive", ENOMEM, receive_once(socket, &header, flags, room));
    if (ended(received, &header)) {
        received = receive_once(socket, &header, flags | MSG_DONTWAIT, room);
        if (received < 0 && errno == EAGAIN)
            received = 0; /* it was a record of no bytes */
    }
    parcel->descriptor_count = 0;
    if (received < 0)
        return -errno;
    bool fits = take_descriptors(parcel, &header);
    if (received == 0 && parcel->descriptor_count == 0)
        return 0;
    if (!fits || received != sizeof(parcel->message) ||
        (header.msg_flags & (MSG_CTRUNC | MSG_TRUNC))) {
        parcel_drop(parcel);
        return -EPROTO;
    }
    parcel->message.text[sizeof(parcel->message.text) - 1] = '\0';
    return 1;
}

int channel_receive(int socket, struct parcel *parcel, int flags)
{
    return receive(socket, parcel, flags, sizeof(union control_buffer));
}

int channel_receive_plain(int socket, struct parcel *parcel, int flags)
{
    return receive(socket, parcel, flags, 0);
}

void parcel_drop(struct parcel *parcel)
{
    for (int i = 0; i < parcel->descriptor_count; i++)
        sys_close(&parcel->descriptors[i]);
    parcel->descriptor_count = 0;
}

int channel_peer(int socket, struct peer *peer)
{
    struct ucred credentials;
    socklen_t size = sizeof(credentials);
    if (FAULT_CALL("channel_peer", EINVAL,
                   getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size)) < 0)
        return -errno;
    if (credentials.pid <= 0)
        return -ESRCH;
    *peer = (struct peer){credentials.pid, credentials.uid, credentials.gid};
    return 0;
}

int channel_peer_pidfd(int socket)
{
    int pidfd;
    socklen_t size = sizeof(pidfd);
    struct peer peer = {0};
    if (getsockopt(socket, SOL_SOCKET, CHANNEL_PEERPIDFD, &pidfd, &size) == 0)
        return pidfd;
    if (errno != ENOPROTOOPT) /* by now the pid may be another's */
        return -errno;
    int result = channel_peer(socket, &peer);
    return result < 0 ? result : sys_pidfd_open(peer.pid);
}
