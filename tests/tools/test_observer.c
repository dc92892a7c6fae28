/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What observers make of a pool that is hostile, or does not answer: this process has its
 * place.
 */
#include "base/error.h"
#include "ipc/segment.h"
#include "tests/test.h"
#include "tools/view.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { SEATS = 3, IO_SEATS = 1, HANDLERS = 2 };

static char directory[64], path[80];
static int listener;
static struct control *control;
static struct parcel welcome;

static void begin(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(directory, sizeof(directory), "/tmp/multicore-observer-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/socket", directory);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(listener, (const struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(listener, 0), 0);
}

static void end(void)
{
    close(listener);
    unlink(path);
    rmdir(directory);
}

static void make_memory(void)
{
    const uint64_t sizes[] = {control_size(SEATS, IO_SEATS, HANDLERS), BELLS_SIZE,
                              sizeof(struct quarantine)};
    welcome = (struct parcel){.message = {.type = MESSAGE_WELCOME, .value = (int)getpid()},
                              .descriptor_count = 3};
    for (int i = 0; i < 3; i++)
        ck_assert_int_ge(welcome.descriptors[i] = segment_create("test", sizes[i]), 0);
    control = segment_map(welcome.descriptors[0], sizes[0], true);
    ck_assert_ptr_nonnull(control);
    control->magic = LAYOUT_MAGIC_CONTROL;
    control->version = LAYOUT_VERSION;
    control->seat_count = SEATS;
    control->io_seats = IO_SEATS;
    control->handler_capacity = HANDLERS;
    control->lane_limit = 1;
}

/* Gives everybody the memory, or says that the queues are sampled. */
static void *answer(void *unused)
{
    struct parcel request, done = {.message = {.type = MESSAGE_DONE}};
    int client;
    while ((client = accept(listener, NULL, NULL)) >= 0) {
        if (channel_receive(client, &request, 0) == 1)
            channel_tell(client, request.message.value == 0 ? &welcome : &done);
        close(client);
    }
    return unused;
}

START_TEST(sizes_that_change_later_are_not_believed)
{
    struct view *view;
    pthread_t pool;
    begin();
    make_memory();
    ck_assert_int_eq(pthread_create(&pool, NULL, answer, NULL), 0);
    ck_assert_msg(view_open(&view, path) == 0, "%s", error_message());
    control->seat_count = MAX_SEATS;
    control->io_seats = MAX_SEATS;
    control->handler_capacity = MAX_HANDLERS;
    control->lane_limit = MAX_LANES;
    atomic_store(&control->handler_count, MAX_HANDLERS);
    ck_assert_msg(view_take(view) == 0, "%s", error_message());
    ck_assert_uint_eq(view->seat_count, SEATS);
    ck_assert_uint_eq(view->io_seats, IO_SEATS);
    ck_assert_uint_eq(view->handler_count, HANDLERS);
    ck_assert_uint_eq(view->client_limit, 1);
    ck_assert_int_eq(view->workers[0].pending, -1);
    ck_assert_int_eq(view->workers[SEATS - 1].pending, 0);
    view_close(view);
    shutdown(listener, SHUT_RDWR);
    pthread_join(pool, NULL);
    end();
}
END_TEST

static int connect_one(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int client = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_ge(client, 0);
    return connect(client, (const struct sockaddr *)&address, sizeof(address)) < 0 ? -errno
                                                                                   : client;
}

START_TEST(a_pool_with_no_room_for_connections_has_not_answered)
{
    struct observer observer;
    int client;
    begin();
    while ((client = connect_one()) >= 0) {
    }
    ck_assert_int_eq(client, -EAGAIN);
    ck_assert_int_eq(observer_open(&observer, path), -ETIMEDOUT);
    ck_assert_ptr_nonnull(strstr(error_message(), "has not answered within 5000 ms"));
    end();
}
END_TEST

TEST_MAIN(observer, sizes_that_change_later_are_not_believed,
          a_pool_with_no_room_for_connections_has_not_answered)
