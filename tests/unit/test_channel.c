/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Records and descriptors over the supervisor's sockets, from friends and from
 * peers that send what they should not.
 */
#include "ipc/channel.h"
#include "tests/test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int ends[2];

static void begin(void)
{
    ck_assert_int_eq(channel_pair(ends), 0);
}

static void finish(void)
{
    close(ends[0]);
    close(ends[1]);
}

static int open_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    ck_assert_ptr_nonnull(directory);
    int count = 0;
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

/* Sends size bytes with `count` copies of standard input attached. */
static void send_raw(const void *data, size_t size, int count)
{
    int descriptors[16] = {0};
    char space[CMSG_SPACE(sizeof(descriptors))];
    struct iovec part = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    if (count > 0) {
        memset(space, 0, sizeof(space));
        header.msg_control = space;
        header.msg_controllen = CMSG_SPACE((size_t)count * sizeof(int));
        struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
        memcpy(CMSG_DATA(rights), descriptors, (size_t)count * sizeof(int));
    }
    ck_assert_int_eq(sendmsg(ends[0], &header, 0), (ssize_t)size);
}

START_TEST(a_message_arrives_as_it_was_sent)
{
    begin();
    struct parcel sent = {.message = {.type = MESSAGE_WELCOME,
                                      .index = 3,
                                      .generation = UINT32_MAX,
                                      .status = -ENOENT,
                                      .value = -1}};
    strcpy(sent.message.text, "a sentence");
    ck_assert_int_eq(channel_send(ends[0], &sent, 0), 0);
    struct parcel received;
    ck_assert_int_eq(channel_receive(ends[1], &received, 0), 1);
    ck_assert_mem_eq(&received.message, &sent.message, sizeof(sent.message));
    ck_assert_int_eq(received.descriptor_count, 0);
    finish();
}
END_TEST

START_TEST(messages_keep_their_bounds_and_order)
{
    begin();
    struct parcel parcel = {0};
    for (uint32_t i = 0; i < 10; i++) {
        parcel.message.index = i;
        ck_assert_int_eq(channel_send(ends[0], &parcel, 0), 0);
    }
    for (uint32_t i = 0; i < 10; i++) {
        ck_assert_int_eq(channel_receive(ends[1], &parcel, 0), 1);
        ck_assert_uint_eq(parcel.message.index, i);
    }
    finish();
}
END_TEST

START_TEST(descriptors_arrive_in_order_and_close_on_exec)
{
    begin();
    int pipes[2][2];
    ck_assert_int_eq(pipe(pipes[0]), 0);
    ck_assert_int_eq(pipe(pipes[1]), 0);
    struct parcel parcel = {.descriptors = {pipes[0][0], pipes[0][1], pipes[1][0], pipes[1][1], 0},
                            .descriptor_count = MESSAGE_DESCRIPTORS};
    ck_assert_int_eq(channel_send(ends[0], &parcel, 0), 0);
    ck_assert_int_ne(fcntl(pipes[0][0], F_GETFD), -1); /* ours are still open */
    ck_assert_int_eq(channel_receive(ends[1], &parcel, 0), 1);
    ck_assert_int_eq(parcel.descriptor_count, MESSAGE_DESCRIPTORS);
    for (int i = 0; i < MESSAGE_DESCRIPTORS; i++)
        ck_assert_int_eq(fcntl(parcel.descriptors[i], F_GETFD), FD_CLOEXEC);
    char byte = 'a';
    for (char i = 0; i < 2; i++) {
        ck_assert_int_eq(write(parcel.descriptors[2 * i + 1], &"ab"[(int)i], 1), 1);
        ck_assert_int_eq(read(pipes[(int)i][0], &byte, 1), 1);
        ck_assert_int_eq(byte, 'a' + i);
    }
    parcel_drop(&parcel);
    for (int i = 0; i < 4; i++)
        close(pipes[i / 2][i % 2]);
    finish();
}
END_TEST

START_TEST(the_ends_close_on_exec)
{
    begin();
    ck_assert_int_eq(fcntl(ends[0], F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(fcntl(ends[1], F_GETFD), FD_CLOEXEC);
    finish();
}
END_TEST

START_TEST(dropping_a_parcel_closes_its_descriptors_once)
{
    begin();
    int before = open_descriptors();
    struct parcel parcel = {.descriptors = {0, 1}, .descriptor_count = 2};
    ck_assert_int_eq(channel_send(ends[0], &parcel, 0), 0);
    ck_assert_int_eq(channel_receive(ends[1], &parcel, 0), 1);
    ck_assert_int_eq(open_descriptors(), before + 2);
    parcel_drop(&parcel);
    parcel_drop(&parcel);
    ck_assert_int_eq(open_descriptors(), before);
    finish();
}
END_TEST

START_TEST(nothing_to_receive_and_nobody_there_are_told_apart)
{
    begin();
    struct parcel parcel = {0};
    ck_assert_int_eq(channel_receive(ends[1], &parcel, MSG_DONTWAIT), -EAGAIN);
    ck_assert_int_eq(channel_send(ends[0], &parcel, 0), 0);
    close(ends[0]);
    ck_assert_int_eq(channel_receive(ends[1], &parcel, MSG_DONTWAIT), 1);
    ck_assert_int_eq(channel_receive(ends[1], &parcel, MSG_DONTWAIT), 0);
    ck_assert_int_eq(channel_send(ends[1], &parcel, 0), -EPIPE); /* and no SIGPIPE */
    close(ends[1]);
}
END_TEST

START_TEST(what_was_said_before_closing_arrives_though_our_own_was_not_read)
{
    begin();
    struct parcel parcel = {.message = {.type = MESSAGE_REFUSED}};
    ck_assert_int_eq(channel_send(ends[1], &parcel, 0), 0);
    ck_assert_int_eq(channel_send(ends[0], &parcel, 0), 0);
    close(ends[0]);
    ck_assert_int_eq(channel_receive(ends[1], &parcel, 0), 1);
    ck_assert_uint_eq(parcel.message.type, MESSAGE_REFUSED);
    ck_assert_int_eq(channel_receive(ends[1], &parcel, 0), 0);
    close(ends[1]);
}
END_TEST

/* Sends once and closes, as often as an end is handed over; -1: none, -2: no more come. */
static void *say_and_close(void *context)
{
    atomic_int *handed = context;
    const struct parcel parcel = {.message = {.type = MESSAGE_FAULTED}};
    for (;;) {
        int end = atomic_exchange(handed, -1);
        if (end == -2)
            return NULL;
        if (end >= 0) {
            (void)channel_send(end, &parcel, 0);
            close(end);
        } else {
            sched_yield();
        }
    }
}

/* The kernel says the end first about once in ten thousand times. */
START_TEST(the_last_message_comes_before_the_end)
{
    enum { TIMES = 50000 };
    atomic_int handed = -1;
    pthread_t speaker;
    ck_assert_int_eq(pthread_create(&speaker, NULL, say_and_close, &handed), 0);
    for (int i = 0; i < TIMES; i++) {
        ck_assert_int_eq(channel_pair(ends), 0);
        atomic_store(&handed, ends[0]);
        struct parcel parcel;
        int result;
        while ((result = channel_receive(ends[1], &parcel, MSG_DONTWAIT)) == -EAGAIN)
            sched_yield();
        ck_assert_msg(result == 1, "%d, time %d", result, i);
        ck_assert_int_eq(channel_receive(ends[1], &parcel, 0), 0);
        close(ends[1]);
    }
    atomic_store(&handed, -2);
    ck_assert_int_eq(pthread_join(speaker, NULL), 0);
}
END_TEST

START_TEST(a_plain_receiver_takes_no_descriptors)
{
    begin();
    int before = open_descriptors();
    struct parcel parcel;
    char bytes[sizeof(struct message)] = {0};
    for (int count = 1; count <= 16; count++) {
        send_raw(bytes, sizeof(bytes), count);
        ck_assert_int_eq(channel_receive_plain(ends[1], &parcel, 0), -EPROTO);
        ck_assert_int_eq(parcel.descriptor_count, 0);
        ck_assert_int_eq(open_descriptors(), before);
    }
    send_raw(bytes, sizeof(bytes), 0);
    ck_assert_int_eq(channel_receive_plain(ends[1], &parcel, 0), 1);
    finish();
}
END_TEST

START_TEST(a_full_socket_is_told_when_waiting_is_not_wanted)
{
    begin();
    struct parcel parcel = {0};
    int result = 0;
    for (int i = 0; i < 100000 && result == 0; i++)
        result = channel_send(ends[0], &parcel, MSG_DONTWAIT);
    ck_assert_int_eq(result, -EAGAIN);
    finish();
}
END_TEST

START_TEST(a_record_of_another_size_is_malformed)
{
    begin();
    struct parcel parcel;
    char bytes[sizeof(struct message) + 1] = {0};
    for (size_t size = 1; size <= sizeof(bytes); size++) {
        if (size == sizeof(struct message))
            continue;
        send_raw(bytes, size, 0);
        ck_assert_int_eq(channel_receive(ends[1], &parcel, 0), -EPROTO);
    }
    finish();
}
END_TEST

START_TEST(descriptors_of_a_malformed_record_are_closed)
{
    begin();
    int before = open_descriptors();
    struct parcel parcel;
    char bytes[sizeof(struct message)] = {0};
    send_raw(bytes, 1, 2);
    ck_assert_int_eq(channel_receive(ends[1], &parcel, 0), -EPROTO);
    send_raw(bytes, 0, 1);
    ck_assert_int_eq(channel_receive(ends[1], &parcel, 0), -EPROTO);
    ck_assert_int_eq(open_descriptors(), before);
    finish();
}
END_TEST

START_TEST(more_descriptors_than_fit_are_malformed_and_closed)
{
    begin();
    int before = open_descriptors();
    struct parcel parcel;
    char bytes[sizeof(struct message)] = {0};
    for (int count = MESSAGE_DESCRIPTORS + 1; count <= 16; count++) {
        send_raw(bytes, sizeof(bytes), count);
        int result = channel_receive(ends[1], &parcel, 0);
        ck_assert_msg(result == -EPROTO, "%d descriptors: %d", count, result);
        ck_assert_int_eq(open_descriptors(), before);
    }
    finish();
}
END_TEST

START_TEST(a_text_without_end_is_ended)
{
    begin();
    struct parcel parcel;
    struct message message;
    memset(&message, 'x', sizeof(message));
    send_raw(&message, sizeof(message), 0);
    ck_assert_int_eq(channel_receive(ends[1], &parcel, 0), 1);
    ck_assert_uint_eq(strlen(parcel.message.text), sizeof(message.text) - 1);
    finish();
}
END_TEST

static pid_t pid_of_peer(int socket)
{
    struct peer peer = {0};
    ck_assert_int_eq(channel_peer(socket, &peer), 0);
    ck_assert_uint_eq(peer.uid, getuid());
    return peer.pid;
}

START_TEST(the_peer_is_who_made_the_pair)
{
    begin();
    ck_assert_int_eq(pid_of_peer(ends[1]), getpid());
    struct peer peer;
    ck_assert_int_eq(channel_peer(-1, &peer), -EBADF);
    pid_t child = fork();
    if (child == 0) {
        int own[2];
        struct parcel parcel = {.descriptor_count = 1};
        int result = channel_pair(own);
        parcel.descriptors[0] = own[1];
        _exit(result == 0 && channel_send(ends[0], &parcel, 0) == 0 ? 0 : 1);
    }
    struct parcel parcel;
    ck_assert_int_eq(channel_receive(ends[1], &parcel, 0), 1);
    ck_assert_int_eq(parcel.descriptor_count, 1);
    ck_assert_int_eq(pid_of_peer(parcel.descriptors[0]), child);
    parcel_drop(&parcel);
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    finish();
}
END_TEST

TEST_MAIN(channel, a_message_arrives_as_it_was_sent, messages_keep_their_bounds_and_order,
          descriptors_arrive_in_order_and_close_on_exec, the_ends_close_on_exec,
          dropping_a_parcel_closes_its_descriptors_once,
          nothing_to_receive_and_nobody_there_are_told_apart,
          what_was_said_before_closing_arrives_though_our_own_was_not_read,
          the_last_message_comes_before_the_end, a_plain_receiver_takes_no_descriptors,
          a_full_socket_is_told_when_waiting_is_not_wanted, a_record_of_another_size_is_malformed,
          descriptors_of_a_malformed_record_are_closed,
          more_descriptors_than_fit_are_malformed_and_closed, a_text_without_end_is_ended,
          the_peer_is_who_made_the_pair)
