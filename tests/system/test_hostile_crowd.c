/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Many clients at once, or one after the other, and those who stop half-way.
 */
#include "tests/system/hostile.h"

#include "base/clock.h"
#include "base/fault.h"
#include "pool/pool.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

/* ---- many of them ---- */

START_TEST(silent_strangers_keep_nobody_out)
{
    hostile_begin();
    struct belongings before = belongings_of(server.pid);
    int silent[200];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 200; i++)
            ck_assert_int_ge(silent[i] = connect_raw(0), 0);
        uint64_t began = clock_ns();
        struct parcel parcel;
        int fd = join_raw(&parcel);
        double took = ms_since(began);
        ck_assert_int_ge(fd, 0);
        ck_assert_double_lt(took, 500); /* less than strangers are given */
        parcel_drop(&parcel);
        close(fd);
        for (int i = 0; i < 200; i++)
            close(silent[i]);
    }
    expect_given_back(server.pid, &before);
    hostile_finish("silent strangers");
}
END_TEST

START_TEST(ten_thousand_connections_one_after_another)
{
    hostile_begin();
    struct belongings before = belongings_of(server.pid);
    uint64_t began = clock_ns();
    for (int i = 0; i < 10000; i++) {
        int fd = connect_raw(0);
        ck_assert_int_ge(fd, 0);
        if (i % 3 == 0)
            send_type(fd, MESSAGE_CONNECT, 77, 0);
        close(fd);
    }
    printf("10000 connections in %.0f ms\n", ms_since(began));
    expect_given_back(server.pid, &before);
    hostile_finish("10,000 connections");
}
END_TEST

START_TEST(two_thousand_connections_at_once)
{
    enum { CROWD = 2000 };
    hostile_begin();
    struct belongings before = belongings_of(server.pid);
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    rlim_t crowd = limit.rlim_cur > CROWD + 50 ? CROWD : limit.rlim_cur - 50;
    static int fds[CROWD];
    unsigned in = 0;
    for (rlim_t i = 0; i < crowd; i++) {
        for (uint64_t began = clock_ns(); ms_since(began) < BOUND_MS; pause_us(200))
            if ((fds[i] = connect_raw(SOCK_NONBLOCK)) >= 0)
                break; /* else the listener's queue is full */
        in += fds[i] >= 0;
        if (i % 8 == 0)
            send_type(fds[i], MESSAGE_CONNECT, LAYOUT_VERSION, 0);
    }
    ck_assert_uint_eq(in, crowd);
    honest_go_on(50);
    for (rlim_t i = 0; i < crowd; i++)
        close(fds[i]);
    expect_given_back(server.pid, &before);
    hostile_finish("2,000 connections");
}
END_TEST

START_TEST(a_thousand_attachments_leave_nothing_behind)
{
    hostile_begin();
    mc_pool *pool = attach(&server, NULL, 0);
    ck_assert(round_is_right(pool, 0));
    mc_pool_close(pool);
    struct belongings before = belongings_of(server.pid);
    pid_t workers[2];
    pool = attach(&server, NULL, 0);
    ck_assert_uint_eq(mc_pool_worker_pids(pool, workers, 2), 2);
    mc_pool_close(pool);
    struct belongings worker_before = belongings_of(workers[0]);
    for (int i = 0; i < 1000; i++) {
        pool = attach(&server, NULL, 0);
        if (i % 10 == 0)
            ck_assert(round_is_right(pool, (uint32_t)i));
        mc_pool_close(pool);
    }
    expect_given_back(server.pid, &before);
    struct belongings worker_after = belongings_of(workers[0]);
    ck_assert_uint_le(worker_after.descriptors, worker_before.descriptors + 4);
    ck_assert_uint_le(worker_after.mappings, worker_before.mappings + 4);
    hostile_finish("1,000 attachments");
}
END_TEST

/* ---- more than there is room for ---- */

static double cpu_ms_of(pid_t pid)
{
    clockid_t clock;
    struct timespec used = {0};
    ck_assert_int_eq(clock_getcpuclockid(pid, &clock), 0);
    ck_assert_int_eq(clock_gettime(clock, &used), 0);
    return (double)used.tv_sec * 1e3 + (double)used.tv_nsec / 1e6;
}

START_TEST(a_supervisor_short_of_descriptors_keeps_those_for_its_workers)
{
    board_open();
    server_prepare(&server);
    struct rlimit limit, low = {.rlim_cur = 200, .rlim_max = 200};
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    pid_t starter = fork(); /* the limit is for the server alone */
    ck_assert_int_ge(starter, 0);
    if (starter == 0) {
        /* The server is this one's child, and it is told to stop in its place. */
        (void)setrlimit(RLIMIT_NOFILE, &low);
        server_start(&server);
        chmod(server.path, 0666);
        atomic_store(&board->words[0], (uint32_t)server.pid);
        board_count(&board->words[1]);
        (void)board_await(&board->words[2], 1, 4 * BOUND_MS);
        _exit(server_stop(&server) == 0 ? 0 : 1);
    }
    ck_assert(board_await(&board->words[1], 1, BOUND_MS));
    server.pid = (pid_t)atomic_load(&board->words[0]);
    honest_begin();
    mc_pool *pool = attach(&server, NULL, 0);
    int fds[150];
    unsigned clients = 0, refused = 0;
    for (int i = 0; i < 150; i++) {
        struct parcel parcel;
        fds[i] = connect_raw(0);
        send_type(fds[i], MESSAGE_CONNECT, LAYOUT_VERSION, 0);
        int type = answer(fds[i], &parcel);
        clients += type == MESSAGE_WELCOME;
        refused += type == MESSAGE_REFUSED && parcel.message.status == -EMFILE;
        parcel_drop(&parcel);
    }
    ck_assert_uint_gt(clients, 5);
    ck_assert_uint_eq(clients + refused, 150);
    /* Workers that die now have successors all the same. */
    for (int i = 0; i < 4; i++) {
        mc_group *group = open_unhelped(pool);
        run(group, "crash", NULL, 0);
        wait_all(group);
        ck_assert_int_eq(result_of(group, 0).status, -EOWNERDEAD);
        mc_group_close(group);
    }
    ck_assert(await_workers(behind(pool), BOUND_MS));
    mc_pool_close(pool);
    double before_ms = cpu_ms_of(server.pid);
    honest_go_on(200);
    pause_us(500000);
    ck_assert_double_lt(cpu_ms_of(server.pid) - before_ms, 250); /* it does not spin */
    for (int i = 0; i < 150; i++)
        close(fds[i]);
    honest_end("want of descriptors", 100);
    board_count(&board->words[2]);
    ck_assert_int_eq(await_exit(starter), 0);
    server_remove(&server);
}
END_TEST

START_TEST(an_accept_that_fails_is_tried_again_later_and_not_at_once)
{
    board_open();
    fault_open();
    hostile_begin();
    uint32_t point = 0;
    for (uint32_t id = 0; id < fault_count(); id++)
        if (strstr(fault_title(id), "door_accept") != NULL)
            point = id;
    struct fault fault = {.id = point, .role = ROLE_ANY, .countdown = 1};
    fault_set(&fault);
    struct parcel parcel;
    uint64_t began = clock_ns();
    int fd = join_raw(&parcel);
    ck_assert_int_ge(fd, 0);
    ck_assert_double_lt(ms_since(began), 1000);
    ck_assert(fault_struck());
    parcel_drop(&parcel);
    close(fd);
    hostile_finish("a failing accept");
}
END_TEST

/* ---- half open ---- */

START_TEST(those_who_do_not_read_their_answers_block_nobody)
{
    hostile_begin();
    struct belongings before = belongings_of(server.pid);
    int fds[100];
    for (int i = 0; i < 100; i++) {
        fds[i] = connect_raw(0);
        send_type(fds[i], MESSAGE_CONNECT, LAYOUT_VERSION, 0);
        for (int more = 0; more < 20; more++)
            send_type(fds[i], more % 2 ? MESSAGE_POKE : MESSAGE_ATTACH, LAYOUT_VERSION, 0);
    }
    honest_go_on(100);
    for (int i = 0; i < 100; i++)
        close(fds[i]);
    expect_given_back(server.pid, &before);
    hostile_finish("unread answers");
}
END_TEST

static void note_done(mc_group *group, void *context)
{
}

START_TEST(a_stopped_client_with_tasks_and_a_full_socket_stops_only_itself)
{
    hostile_begin();
    pid_t child = fork();
    if (child == 0) {
        mc_pool *pool = attach(&server, NULL, 0);
        (void)mc_pool_fd(pool);
        mc_group *silent = NULL, *group = NULL;
        struct mc_group_options options = {.size = sizeof(options), .on_done = note_done};
        unsigned ms = 1;
        char byte[4096] = {0};
        struct lane_header *header = behind(pool)->client.lane.header;
        if (mc_group_open(pool, &options, &silent) < 0 || mc_group_open(pool, NULL, &group) < 0)
            _exit(1);
        for (int i = 0; i < 2000; i++) {
            (void)mc_group_run(silent, "echo", byte, 100);
            atomic_store(&header->notified, 0); /* a byte for each, which nobody reads */
        }
        for (int i = 0; i < 200; i++)
            (void)mc_group_run(group, "doze", &ms, sizeof(ms));
        board_count(&board->words[3]);
        raise(SIGSTOP);
        for (;;)
            pause_us(1000000);
    }
    ck_assert(board_await(&board->words[3], 1, BOUND_MS));
    ck_assert(await_state(child, 'T'));
    honest_go_on(300);
    end_process(child);
    (void)await_exit(child);
    hostile_finish("a stopped client");
}
END_TEST

TEST_MAIN(hostile_crowd, silent_strangers_keep_nobody_out,
          ten_thousand_connections_one_after_another, two_thousand_connections_at_once,
          a_thousand_attachments_leave_nothing_behind,
          a_supervisor_short_of_descriptors_keeps_those_for_its_workers,
          an_accept_that_fails_is_tried_again_later_and_not_at_once,
          those_who_do_not_read_their_answers_block_nobody,
          a_stopped_client_with_tasks_and_a_full_socket_stops_only_itself)
