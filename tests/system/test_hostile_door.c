/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Who comes in at the door, and what they say.
 */
#include "tests/system/hostile.h"

#include "base/clock.h"
#include "ipc/segment.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { BYSTANDERS_GROUP = 54321 };

/* ---- who comes in ---- */

/* What attaching as that user comes to. */
static int attach_as(uid_t uid, const gid_t *groups, size_t count)
{
    pid_t child = fork();
    if (child == 0) {
        struct mc_attach_options options = {.size = sizeof(options), .timeout_ms = BOUND_MS};
        mc_pool *pool = NULL;
        become(uid, groups, count);
        int result = mc_pool_attach(server.path, &options, &pool);
        if (result < 0)
            _exit(-result);
        bool there = mc_pool_connected(pool) && round_is_right(pool, 1);
        bool quarantine =
            mc_pool_quarantine(pool, 0, &(struct mc_quarantined){.size = 512}) != -ENOTSUP;
        mc_pool_close(pool);
        _exit(!there ? 98 : quarantine ? 97 : 0);
    }
    return WEXITSTATUS(await_exit(child));
}

START_TEST(lists_of_users_and_groups_decide_who_comes_in)
{
    static const uid_t users[] = {12345};
    static const gid_t groups[] = {BYSTANDERS_GROUP};
    gid_t many[300];
    if (needs_root("lists of users and groups"))
        return;
    for (gid_t i = 0; i < 300; i++)
        many[i] = 60000 + i;
    many[299] = BYSTANDERS_GROUP;
    board_open();
    server_prepare(&server);
    hostile_start();
    ck_assert_int_eq(attach_as(NOBODY, NULL, 0), 0); /* no lists: the socket's mode decides */
    server_end(&server);
    server_prepare(&server);
    server.options.users = users;
    server.options.user_count = 1;
    server.options.groups = groups;
    server.options.group_count = 1;
    hostile_start();
    honest_begin(); /* the pool's own user, whatever the lists say */
    ck_assert_int_eq(attach_as(NOBODY, NULL, 0), EACCES);
    ck_assert_int_eq(attach_as(12345, NULL, 0), 0);
    ck_assert_int_eq(attach_as(NOBODY, many, 1), EACCES);
    ck_assert_int_eq(attach_as(NOBODY, groups, 1), 0);
    ck_assert_int_eq(attach_as(NOBODY, many, 300), 0);
    ck_assert_int_eq(attach_as(NOBODY, many, 299), EACCES);
    hostile_finish("users of all kinds");
}
END_TEST

START_TEST(a_user_gets_no_more_lanes_than_allowed_by_any_way)
{
    if (needs_root("a limit of clients for a user"))
        return;
    board_open();
    server_prepare(&server);
    server.options.max_clients_per_user = 3;
    hostile_start();
    honest_begin();
    struct belongings before = belongings_of(server.pid);
    pid_t child = fork();
    if (child == 0) {
        struct parcel parcel;
        int fds[3], ends[2];
        become(NOBODY, NULL, 0);
        for (int i = 0; i < 3; i++)
            if ((fds[i] = join_raw(&parcel)) < 0)
                _exit(10);
        for (int i = 0; i < 20; i++) {
            int late = connect_raw(0);
            send_type(late, MESSAGE_CONNECT, LAYOUT_VERSION, 0);
            if (answer(late, &parcel) != MESSAGE_REFUSED || parcel.message.status != -EUSERS ||
                strstr(parcel.message.text, "max-clients-per-user") == NULL)
                _exit(11);
            close(late);
        }
        /* As a fork of the opener's would, in a pool that is not served. */
        for (int i = 0; i < 20; i++) {
            struct message message = {.type = MESSAGE_ATTACH};
            if (channel_pair(ends) < 0)
                _exit(12);
            (void)send_raw(fds[i % 3], &message, sizeof(message), &ends[1], 1);
            close(ends[1]);
            if (answer(ends[0], &parcel) != 0)
                _exit(13);
            close(ends[0]);
        }
        /* A lane that was given up counts for as long as its client holds on to it. */
        send_type(fds[0], MESSAGE_LANE_FAULT, 0, 0);
        if (answer(fds[0], &parcel) != MESSAGE_FAULTED)
            _exit(14);
        if (join_raw(&parcel) >= 0)
            _exit(15);
        close(fds[0]);
        pause_us(100000);
        _exit(join_raw(&parcel) >= 0 ? 0 : 16);
    }
    ck_assert_int_eq(WEXITSTATUS(await_exit(child)), 0);
    expect_given_back(server.pid, &before);
    hostile_finish("a user with too many clients");
}
END_TEST

START_TEST(another_layout_is_refused_and_both_versions_are_named)
{
    hostile_begin();
    for (uint32_t layout = 0; layout < 4; layout++) {
        char words[32];
        if (layout == LAYOUT_VERSION)
            continue;
        int fd = connect_raw(0);
        send_type(fd, MESSAGE_CONNECT, layout, 0);
        snprintf(words, sizeof(words), "9.8.7 (layout %u)", layout);
        struct parcel parcel;
        ck_assert_int_eq(answer(fd, &parcel), MESSAGE_REFUSED);
        ck_assert_int_eq(parcel.message.status, -EPROTO);
        ck_assert_msg(strstr(parcel.message.text, words) != NULL, "%s", parcel.message.text);
        snprintf(words, sizeof(words), "the pool %s (layout %d)", mc_version(), LAYOUT_VERSION);
        ck_assert_msg(strstr(parcel.message.text, words) != NULL, "%s", parcel.message.text);
        close(fd);
    }
    /* The layout decides, not the text: that is for the message. */
    struct parcel parcel;
    int fd = join_raw(&parcel);
    ck_assert_int_ge(fd, 0);
    parcel_drop(&parcel);
    close(fd);
    hostile_finish("other versions");
}
END_TEST

START_TEST(commands_are_for_the_pools_user_only)
{
    if (needs_root("commands from another user"))
        return;
    hostile_begin();
    static const uint32_t types[] = {MESSAGE_RELOAD, MESSAGE_DRAIN, MESSAGE_OBSERVE, MESSAGE_TRACE,
                                     MESSAGE_END};
    pid_t child = fork();
    if (child == 0) {
        struct parcel parcel;
        become(NOBODY, NULL, 0);
        for (int i = 0; i < 5; i++) {
            int fd = connect_raw(0);
            send_type(fd, types[i], LAYOUT_VERSION, 0);
            if (answer(fd, &parcel) != MESSAGE_REFUSED || parcel.message.status != -EACCES ||
                parcel.descriptor_count != 0)
                _exit(10 + i);
            close(fd);
            fd = join_raw(&parcel); /* nor as a client */
            parcel_drop(&parcel);
            send_type(fd, types[i], LAYOUT_VERSION, 0);
            send_type(fd, MESSAGE_CLOSE, LAYOUT_VERSION, 0);
            pause_us(20000);
            close(fd);
        }
        _exit(0);
    }
    ck_assert_int_eq(WEXITSTATUS(await_exit(child)), 0);
    ck_assert_uint_eq(atomic_load(&server.told->events[SERVE_RELOADING]), 0);
    ck_assert_uint_eq(atomic_load(&server.told->events[SERVE_STOPPING]), 0);
    hostile_finish("commands");
}
END_TEST

/* ---- what they say ---- */

static void expect_refused(int fd, int status, const char *words)
{
    struct parcel parcel;
    ck_assert_int_eq(answer(fd, &parcel), MESSAGE_REFUSED);
    ck_assert_msg(parcel.message.status == status, "%d %s", parcel.message.status,
                  parcel.message.text);
    ck_assert_msg(strstr(parcel.message.text, words) != NULL, "%s", parcel.message.text);
    ck_assert_int_eq(answer(fd, &parcel), 0);
    close(fd);
}

START_TEST(garbage_of_every_length_costs_only_who_sends_it)
{
    hostile_begin();
    struct belongings before = belongings_of(server.pid);
    char bytes[1001];
    struct parcel parcel;
    for (size_t size = 0; size <= 1000; size++) {
        memset(bytes, (int)(size * 37 + 1), sizeof(bytes));
        int fd = connect_raw(0);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(send_raw(fd, bytes, size, NULL, 0), 0);
        int type = answer(fd, &parcel);
        ck_assert_msg(type == 0 || type == MESSAGE_REFUSED, "%zu bytes: %d", size, type);
        close(fd);
    }
    int fd = join_raw(&parcel);
    ck_assert_int_ge(fd, 0);
    parcel_drop(&parcel);
    for (size_t size = 1; size <= 1000; size++) {
        memset(bytes, (int)(size * 41 + 1), sizeof(bytes));
        for (uint64_t began = clock_ns();
             send_raw(fd, bytes, size, NULL, 0) == -EAGAIN && ms_since(began) < BOUND_MS;)
            pause_us(100);
    }
    close(fd);
    expect_given_back(server.pid, &before);
    hostile_finish("garbage");
}
END_TEST

START_TEST(messages_that_are_not_a_clients_do_nothing)
{
    hostile_begin();
    struct belongings before = belongings_of(server.pid);
    struct parcel parcel;
    for (uint32_t type = 0; type < 64; type++) {
        if (type == MESSAGE_CONNECT || type == MESSAGE_DRAIN || type == MESSAGE_RELOAD)
            continue; /* root's, which this may be */
        int fd = connect_raw(0);
        send_type(fd, type, LAYOUT_VERSION, -1);
        ck_assert_int_ge(answer(fd, &parcel), 0);
        parcel_drop(&parcel);
        close(fd);
    }
    int fd = join_raw(&parcel);
    ck_assert_int_ge(fd, 0);
    for (uint32_t type = 0; type < 300; type++)
        if (type != MESSAGE_LANE_FAULT)
            for (int value = -1; value < 2; value++)
                send_type(fd, type, type % 2 == 0 ? 0 : UINT32_MAX, value);
    struct pollfd still = {.fd = fd, .events = POLLIN};
    ck_assert_int_eq(poll(&still, 1, 200), 0); /* it is a client as before */
    parcel_drop(&parcel);
    close(fd);
    expect_given_back(server.pid, &before);
    hostile_finish("messages of others");
}
END_TEST

START_TEST(descriptors_of_strangers_and_clients_are_not_taken)
{
    hostile_begin();
    struct belongings before = belongings_of(server.pid);
    int descriptors[32], pipes[2], pair[2];
    ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
    ck_assert_int_eq(channel_pair(pair), 0);
    int file = open("/", O_RDONLY | O_CLOEXEC), segment = segment_create("test", 4096);
    const int kinds[] = {pipes[0], pipes[1], pair[1], file, segment, STDIN_FILENO};
    struct message message = {.type = MESSAGE_CONNECT, .index = LAYOUT_VERSION};
    struct parcel parcel;
    for (size_t count = 1; count <= 32; count += count < 8 ? 1 : 8) {
        for (size_t i = 0; i < count; i++)
            descriptors[i] = kinds[(i + count) % 6];
        int fd = connect_raw(0);
        ck_assert_int_eq(send_raw(fd, &message, sizeof(message), descriptors, count), 0);
        expect_refused(fd, -EPROTO, "no message");
    }
    int fd = join_raw(&parcel);
    ck_assert_int_ge(fd, 0);
    parcel_drop(&parcel);
    static const uint32_t types[] = {MESSAGE_ATTACH, MESSAGE_POKE, MESSAGE_SPAWN, MESSAGE_WELCOME};
    for (int i = 0; i < 400; i++) {
        message.type = types[i % 4];
        size_t count = (size_t)i % 8;
        for (size_t d = 0; d < count; d++)
            descriptors[d] = kinds[(d + (size_t)i / 8) % 6];
        for (uint64_t began = clock_ns();
             send_raw(fd, &message, sizeof(message), descriptors, count) == -EAGAIN &&
             ms_since(began) < BOUND_MS;)
            pause_us(100);
    }
    pause_us(20000);
    struct belongings now = belongings_of(server.pid);
    ck_assert_uint_le(now.descriptors, before.descriptors + 4); /* of this client */
    close(fd);
    expect_given_back(server.pid, &before);
    for (int i = 0; i < 5; i++)
        close(kinds[i]);
    close(pair[0]);
    hostile_finish("descriptors");
}
END_TEST

static void keep_line(void *context, int level, const char *line)
{
    (void)level;
    snprintf(context, 256, "%s", line);
}

START_TEST(what_clients_say_is_one_plain_line_of_the_log)
{
    char *line = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    board_open();
    server_prepare(&server);
    server.options.pool.log = keep_line;
    server.options.pool.log_context = line;
    hostile_start();
    honest_begin();
    struct parcel parcel;
    int fd = join_raw(&parcel);
    struct message message = {.type = MESSAGE_LANE_FAULT};
    strcpy(message.text, "nothing\nall is well\x1b[2J\r\x7f");
    ck_assert_int_eq(send_raw(fd, &message, sizeof(message), NULL, 0), 0);
    struct parcel verdict;
    ck_assert_int_eq(answer(fd, &verdict), MESSAGE_FAULTED);
    for (uint64_t began = clock_ns(); line[0] == '\0' && ms_since(began) < BOUND_MS;)
        pause_us(1000);
    ck_assert_msg(strstr(line, "nothing?all is well?[2J??") != NULL, "%s", line);
    parcel_drop(&parcel);
    close(fd);
    hostile_finish("a lane given up");
}
END_TEST

TEST_MAIN(hostile_door, lists_of_users_and_groups_decide_who_comes_in,
          a_user_gets_no_more_lanes_than_allowed_by_any_way,
          another_layout_is_refused_and_both_versions_are_named,
          commands_are_for_the_pools_user_only, garbage_of_every_length_costs_only_who_sends_it,
          messages_that_are_not_a_clients_do_nothing,
          descriptors_of_strangers_and_clients_are_not_taken,
          what_clients_say_is_one_plain_line_of_the_log)
