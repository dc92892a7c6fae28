/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Handlers that wait: what calls them back, and what they reply.
 */
#include "pool/pool.h"
#include "tests/system/engines.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

enum { MANY = 10000 };

/* ---- handlers ---- */

/* A pipe of its own: written to by a timer, then read. */
struct own_pipe {
    int ends[2];
};

static int read_own(mc_task *task, unsigned events, void *context)
{
    struct own_pipe *own = context;
    char byte = 0;
    bool good = (events & MC_EVENT_READ) != 0 && read(own->ends[0], &byte, 1) == 1;
    close(own->ends[0]);
    close(own->ends[1]);
    free(own);
    return good ? mc_task_reply(task, &byte, 1) : -EIO;
}

static int write_own(mc_task *task, unsigned events, void *context)
{
    struct own_pipe *own = context;
    int result = mc_task_await_fd(task, own->ends[0], MC_EVENT_READ, read_own, own);
    if (result == 0 && write(own->ends[1], "x", 1) != 1)
        result = -EIO;
    return result < 0 ? result : MC_PENDING;
}

static int piped(mc_task *task)
{
    struct own_pipe *own = malloc(sizeof(*own));
    if (own == NULL || pipe2(own->ends, O_CLOEXEC | O_NONBLOCK) < 0) {
        free(own);
        return -errno;
    }
    int result = mc_task_await_timer(task, 1, write_own, own);
    return result < 0 ? result : MC_PENDING;
}

/* All wait for one descriptor, which the first to be called back does not empty. */
static int common_event = -1;

static int await_common(mc_task *task)
{
    if (common_event < 0)
        common_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int result = mc_task_await_fd(task, common_event, MC_EVENT_READ, reply_events, NULL);
    return result < 0 ? result : MC_PENDING;
}

static int ring_common(mc_task *task)
{
    return eventfd_write(common_event, 1);
}

/* The timer comes first: then nothing of the pipe's read end may be left. */
static int close_awaited(mc_task *task, unsigned events, void *context)
{
    struct own_pipe *own = context;
    close(own->ends[0]);
    int status = write(own->ends[1], "x", 1) < 0 && errno == EPIPE ? 0 : -EPROTO;
    close(own->ends[1]);
    free(own);
    return status;
}

static int await_unwritten(mc_task *task)
{
    struct own_pipe *own = malloc(sizeof(*own));
    if (own == NULL || pipe2(own->ends, O_CLOEXEC | O_NONBLOCK) < 0) {
        free(own);
        return -errno;
    }
    int result = mc_task_await_fd(task, own->ends[0], MC_EVENT_READ, close_awaited, own);
    if (result == 0)
        result = mc_task_await_timer(task, 5, close_awaited, own);
    return result < 0 ? result : MC_PENDING;
}

/* A file is always ready. */
static int await_file(mc_task *task)
{
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int result = mc_task_await_fd(task, fd, MC_EVENT_READ, reply_events, NULL);
    return result < 0 ? result : MC_PENDING;
}

static int await_nothing(mc_task *task)
{
    return MC_PENDING;
}

static int await_closed(mc_task *task)
{
    return mc_task_await_fd(task, 999, MC_EVENT_READ, reply_events, NULL);
}

static mc_task *sleeper;

static int sleep_deep(mc_task *task)
{
    sleeper = task;
    board_count(&board->words[0]);
    int result = mc_task_await_wake(task, reply_events, NULL);
    return result < 0 ? result : MC_PENDING;
}

static int wake_sleeper(mc_task *task)
{
    mc_task_wake(sleeper);
    return 0;
}

static int reply_large(mc_task *task, unsigned events, void *context)
{
    return 0;
}

/* Replies before it waits. */
static int large(mc_task *task)
{
    void *room;
    int result = mc_task_reply_alloc(task, 100000, &room);
    if (result < 0)
        return result;
    memset(room, (int)number_of(task), 100000);
    result = mc_task_await_timer(task, 5, reply_large, NULL);
    return result < 0 ? result : MC_PENDING;
}

static int compute(mc_task *task)
{
    if (mc_task_await_timer(task, 1, reply_events, NULL) != -ENOTSUP)
        return -EPROTO;
    return 0;
}

/* ---- one that wants to write, and cannot ---- */

static int finish_writing(mc_task *task, int *ends, int status)
{
    close(ends[0]);
    close(ends[1]);
    free(ends);
    return status;
}

static int write_at_last(mc_task *task, unsigned events, void *context)
{
    return finish_writing(task, context, events == MC_EVENT_WRITE ? 0 : -EPROTO);
}

/* Only the time is up: the other side, which writes no more, has not read either. Now it does. */
static int read_other_side(mc_task *task, unsigned events, void *context)
{
    int *ends = context;
    static char bytes[1 << 16];
    if (events != MC_EVENT_TIMER)
        return finish_writing(task, ends, -EPROTO);
    int result = mc_task_await_fd(task, ends[0], MC_EVENT_WRITE, write_at_last, ends);
    while (read(ends[1], bytes, sizeof(bytes)) > 0)
        ;
    return result < 0 ? finish_writing(task, ends, result) : MC_PENDING;
}

static int write_to_one_who_writes_no_more(mc_task *task)
{
    static char bytes[1 << 16];
    int *ends = malloc(2 * sizeof(int));
    if (ends == NULL ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
        return -ENOMEM;
    while (write(ends[0], bytes, sizeof(bytes)) > 0)
        ;
    (void)shutdown(ends[1], SHUT_WR);
    int result = mc_task_await_fd(task, ends[0], MC_EVENT_WRITE, read_other_side, ends);
    if (result == 0)
        result = mc_task_await_timer(task, 50, read_other_side, ends);
    return result < 0 ? finish_writing(task, ends, result) : MC_PENDING;
}

static const struct mc_handler handlers[] = {
    {.name = "doze", .run = doze, .flags = MC_IO},
    {.name = "write-at-last", .run = write_to_one_who_writes_no_more, .flags = MC_IO},
    {.name = "piped", .run = piped, .flags = MC_IO},
    {.name = "await-common", .run = await_common, .flags = MC_IO},
    {.name = "ring-common", .run = ring_common, .flags = MC_IO},
    {.name = "await-unwritten", .run = await_unwritten, .flags = MC_IO},
    {.name = "await-file", .run = await_file, .flags = MC_IO},
    {.name = "await-nothing", .run = await_nothing, .flags = MC_IO},
    {.name = "await-closed", .run = await_closed, .flags = MC_IO},
    {.name = "sleep", .run = sleep_deep, .flags = MC_IO},
    {.name = "wake", .run = wake_sleeper, .flags = MC_IO},
    {.name = "large", .run = large, .flags = MC_IO},
    {.name = "compute", .run = compute},
};

static void begin(int engine)
{
    engine_begin(engine_options(engine, HANDLERS(handlers)));
}

/* ---- tests ---- */

START_TEST(timers_and_descriptors_call_back)
{
    begin(_i);
    mc_group *group = open_group(pool);
    run_number(group, "doze", 20);
    run(group, "piped", NULL, 0);
    run(group, "compute", NULL, 0);
    run(group, "await-file", NULL, 0);
    wait_all(group);
    expect_events(group, 0, MC_EVENT_TIMER);
    ck_assert_msg(result_of(group, 1).status == 0, "%s", result_of(group, 1).error);
    ck_assert_msg(result_of(group, 2).status == 0, "%s", result_of(group, 2).error);
    expect_events(group, 3, MC_EVENT_READ);
    engine_finish(group);
}
END_TEST

START_TEST(thousands_wait_in_one_worker)
{
    begin(_i);
    mc_group *group = open_group(pool);
    for (uint32_t i = 0; i < MANY; i++)
        run_number(group, "doze", 1000 + i % 100);
    ck_assert(board_await(&board->words[0], MANY, BOUND_MS));
    wait_all(group);
    ck_assert_uint_eq(failures(group), 0);
    expect_quiet(pool);
    engine_finish(group);
}
END_TEST

START_TEST(several_tasks_await_one_descriptor)
{
    begin(_i);
    mc_group *group = open_group(pool);
    for (int i = 0; i < 5; i++)
        run(group, "await-common", NULL, 0);
    run(group, "ring-common", NULL, 0);
    wait_all(group);
    for (size_t i = 0; i < 5; i++)
        expect_events(group, i, MC_EVENT_READ);
    engine_finish(group);
}
END_TEST

START_TEST(tasks_of_one_worker_wake_each_other)
{
    begin(_i);
    mc_group *group = run_one("sleep", 0);
    ck_assert(board_await(&board->words[0], 1, BOUND_MS));
    run(group, "wake", NULL, 0);
    wait_all(group);
    expect_events(group, 0, MC_EVENT_WAKE);
    engine_finish(group);
}
END_TEST

START_TEST(a_descriptor_that_is_closed_after_its_call_back_is_closed_for_good)
{
    begin(_i);
    mc_group *group = open_group(pool);
    for (int i = 0; i < 10; i++)
        run(group, "await-unwritten", NULL, 0);
    expect_all_good(group);
    engine_finish(group);
}
END_TEST

START_TEST(who_waits_to_write_is_not_called_for_anything_else)
{
    begin(_i);
    mc_group *group = open_group(pool);
    for (int i = 0; i < 10; i++)
        run(group, "write-at-last", NULL, 0);
    expect_all_good(group);
    engine_finish(group);
}
END_TEST

/* However often it is woken. */
START_TEST(an_io_worker_keeps_no_more_descriptors)
{
    begin(_i);
    unsigned before = 0;
    for (int i = 0; i < 200; i++) {
        mc_group *group = run_one("doze", 0);
        expect_all_good(group);
        mc_group_close(group);
        expect_quiet(pool);
        if (i == 20)
            before = open_descriptors_of(pool->control->rows[IO_SEAT].pid);
    }
    ck_assert_uint_eq(open_descriptors_of(pool->control->rows[IO_SEAT].pid), before);
    engine_finish(NULL);
}
END_TEST

START_TEST(mistakes_are_errors)
{
    begin(_i);
    mc_group *group = open_group(pool);
    run(group, "await-nothing", NULL, 0);
    run(group, "await-closed", NULL, 0);
    wait_all(group);
    ck_assert_int_eq(result_of(group, 0).status, -EINVAL);
    ck_assert_str_eq(result_of(group, 0).error,
                     "handler 'await-nothing' returned MC_PENDING, and awaits nothing");
    ck_assert_int_eq(result_of(group, 1).status, -EBADF);
    engine_finish(group);
}
END_TEST

START_TEST(replies_made_before_waiting_arrive)
{
    begin(_i);
    mc_group *group = open_group(pool);
    for (uint32_t i = 0; i < 50; i++)
        run_number(group, "large", i);
    wait_all(group);
    for (size_t i = 0; i < 50; i++) {
        struct mc_result result = result_of(group, i);
        ck_assert_msg(result.status == 0, "%s", result.error);
        ck_assert_uint_eq(result.data_size, 100000);
        for (size_t at = 0; at < result.data_size; at += 999)
            ck_assert_uint_eq(((const uint8_t *)result.data)[at], i);
    }
    engine_finish(group);
}
END_TEST

START_TEST(replies_without_room_say_so)
{
    struct mc_pool_options options = engine_options(_i, HANDLERS(handlers));
    options.max_payload = options.arena_size = 128 << 10;
    engine_begin(options);
    mc_group *group = open_group(pool);
    for (uint32_t i = 0; i < 3; i++)
        run_number(group, "large", i);
    wait_all(group);
    ck_assert_uint_eq(failures(group), 2);
    for (size_t i = 0; i < 3; i++) {
        struct mc_result result = result_of(group, i);
        if (result.status == 0)
            continue;
        ck_assert_int_eq(result.status, -ENOSPC);
        ck_assert_msg(strstr(result.error, "no room for a result of 100000 bytes") != NULL, "%s",
                      result.error);
    }
    engine_finish(group);
}
END_TEST

/* As in many containers. The filter holds for all processes that come from this one. */
static void forbid_io_uring(void)
{
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof(steps) / sizeof(steps[0]), steps};
    ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

START_TEST(where_io_uring_is_forbidden_epoll_does_it)
{
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    forbid_io_uring();
    if (_i == 0) {
        engine_begin(options);
        mc_group *group = run_one("piped", 0);
        wait_all(group);
        ck_assert_uint_eq(failures(group), 0);
        engine_finish(group);
        return;
    }
    options.io_engine = MC_IO_URING;
    /* The I/O worker does not start; others do. */
    engine_begin(options);
    mc_group *group = run_one("compute", 0);
    run_number(group, "doze", 1);
    wait_all(group);
    ck_assert_int_eq(result_of(group, 0).status, 0);
    ck_assert_int_eq(result_of(group, 1).status, -EOWNERDEAD);
    engine_finish(group);
}
END_TEST

ENGINE_MAIN(io, timers_and_descriptors_call_back, thousands_wait_in_one_worker,
            several_tasks_await_one_descriptor, tasks_of_one_worker_wake_each_other,
            a_descriptor_that_is_closed_after_its_call_back_is_closed_for_good,
            who_waits_to_write_is_not_called_for_anything_else,
            an_io_worker_keeps_no_more_descriptors, mistakes_are_errors,
            replies_made_before_waiting_arrive, replies_without_room_say_so,
            where_io_uring_is_forbidden_epoll_does_it)
