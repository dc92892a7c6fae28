/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Handlers that wait: in I/O workers, with either engine.
 */
#include "pool/pool.h"
#include "tests/system/support.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { MANY = 10000 };

static mc_pool *pool;

/* ---- handlers ---- */

static int reply_events(mc_task *task, unsigned events, void *context)
{
    if ((events & MC_EVENT_END) != 0) {
        board_count(&board->words[1]);
        return mc_task_fail(task, -ECANCELED, "given up");
    }
    return mc_task_reply(task, &events, sizeof(events));
}

/* Waits for the milliseconds that its argument says. */
static int doze(mc_task *task)
{
    int result = mc_task_await_timer(task, number_of(task), reply_events, NULL);
    board_count(&board->words[0]);
    return result < 0 ? result : MC_PENDING;
}

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

static int die(mc_task *task)
{
    raise(SIGKILL);
    return 0;
}

static int hang(mc_task *task, unsigned events, void *context)
{
    for (;;)
        pause_us(1000);
    return 0;
}

static int hang_later(mc_task *task)
{
    int result = mc_task_await_timer(task, 1, hang, NULL);
    return result < 0 ? result : MC_PENDING;
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

/* A group of its own, which needs the same worker: of so many tasks, that doze so long. */
static int open_inner(mc_task *task, const char *handler, uint32_t count, uint32_t doze_ms,
                      mc_group **group)
{
    int status = mc_group_open(mc_task_pool(task), NULL, group);
    for (uint32_t i = 0; status == 0 && i < count; i++)
        status = mc_group_run(*group, handler, &doze_ms, sizeof(doze_ms));
    return status;
}

static int wait_inner(mc_group *group)
{
    int status = mc_group_wait(group, BOUND_MS);
    struct mc_result result = {.size = sizeof(result)};
    while (status == 0 && mc_group_next(group, &result, 0) == 1)
        status = result.status;
    mc_group_close(group);
    return status;
}

static int nest(mc_task *task)
{
    mc_group *group = NULL;
    int status = open_inner(task, "doze", 3, number_of(task), &group);
    return status < 0 ? status : wait_inner(group);
}

/* The number is how much deeper it goes, by two tasks each. */
static int descend(mc_task *task)
{
    mc_group *group = NULL;
    uint32_t depth = number_of(task);
    if (depth == 0)
        return 0;
    int status = open_inner(task, "descend", depth > 10 ? 1 : 2, depth - 1, &group);
    return status < 0 ? status : wait_inner(group);
}

static int wait_called_back(mc_task *task, unsigned events, void *context)
{
    int status = wait_inner(context);
    return status < 0 ? mc_task_fail(task, status, "%s", mc_error_message()) : 0;
}

/* Waits for what its first call has submitted in its second. */
static int nest_later(mc_task *task, const char *handler, uint32_t doze_ms)
{
    mc_group *group = NULL;
    int status = open_inner(task, handler, 1, doze_ms, &group);
    if (status == 0)
        status = mc_task_await_timer(task, 20, wait_called_back, group);
    return status < 0 ? status : MC_PENDING;
}

static int nest_doze_later(mc_task *task)
{
    return nest_later(task, "doze", 20);
}

static int nest_nest_later(mc_task *task)
{
    return nest_later(task, "nest", 2000);
}

/* Has a value open when its time is up. */
static int read_value(mc_task *task)
{
    mc_value value;
    int result = mc_task_value(task, &value);
    if (result == 0)
        result = mc_task_await_timer(task, 60000, reply_events, NULL);
    return result < 0 ? result : MC_PENDING;
}

static int again(mc_task *task)
{
    bool first = atomic_fetch_add(&board->words[4], 1) < 100;
    board_count(&board->words[2]);
    int result = mc_task_await_timer(task, first ? 60000 : 1, reply_events, NULL);
    return result < 0 ? result : MC_PENDING;
}

static void told(mc_task *task)
{
    board_count(&board->words[3]);
}

static int compute(mc_task *task)
{
    if (mc_task_await_timer(task, 1, reply_events, NULL) != -ENOTSUP)
        return -EPROTO;
    return 0;
}

static struct mc_handler handlers[] = {
    {.name = "doze", .run = doze, .flags = MC_IO},
    {.name = "piped", .run = piped, .flags = MC_IO},
    {.name = "await-common", .run = await_common, .flags = MC_IO},
    {.name = "ring-common", .run = ring_common, .flags = MC_IO},
    {.name = "await-file", .run = await_file, .flags = MC_IO},
    {.name = "await-nothing", .run = await_nothing, .flags = MC_IO},
    {.name = "await-closed", .run = await_closed, .flags = MC_IO},
    {.name = "sleep", .run = sleep_deep, .flags = MC_IO},
    {.name = "wake", .run = wake_sleeper, .flags = MC_IO},
    {.name = "die", .run = die, .flags = MC_IO},
    {.name = "limited", .run = doze, .flags = MC_IO, .time_limit_ms = 50},
    {.name = "soft", .run = doze, .flags = MC_IO, .soft_time_limit_ms = 20, .on_soft_limit = told},
    {.name = "hang-later", .run = hang_later, .flags = MC_IO, .time_limit_ms = 50},
    {.name = "large", .run = large, .flags = MC_IO},
    {.name = "nest", .run = nest, .flags = MC_IO},
    {.name = "descend", .run = descend, .flags = MC_IO},
    {.name = "nest-limited", .run = nest, .flags = MC_IO, .time_limit_ms = 100},
    {.name = "nest-doze-later", .run = nest_doze_later, .flags = MC_IO},
    {.name = "nest-nest-later", .run = nest_nest_later, .flags = MC_IO},
    {.name = "read-value", .run = read_value, .flags = MC_IO, .time_limit_ms = 20},
    {.name = "again", .run = again, .flags = MC_IO | MC_IDEMPOTENT},
    {.name = "compute", .run = compute},
};

/* ---- tests, each with both engines ---- */

static void begin_with(struct mc_pool_options options)
{
    board_open();
    options.queue_depth = 16384;
    pool = open_pool(&options);
}

static void begin(int engine)
{
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    options.io_engine = engine == 0 ? MC_IO_URING : MC_IO_EPOLL;
    begin_with(options);
}

static void finish(mc_group *group)
{
    mc_group_close(group);
    mc_pool_close(pool);
}

static void expect_events(mc_group *group, size_t index, unsigned events)
{
    struct mc_result result = result_of(group, index);
    ck_assert_msg(result.status == 0, "%d: %s", result.status, result.error);
    ck_assert_uint_eq(result.data_size, sizeof(events));
    ck_assert_uint_eq(*(const unsigned *)result.data, events);
}

static mc_group *run_one(const char *handler, uint32_t number)
{
    mc_group *group = open_group(pool);
    run_number(group, handler, number);
    return group;
}

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
    finish(group);
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
    finish(group);
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
    finish(group);
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
    finish(group);
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
    finish(group);
}
END_TEST

START_TEST(a_waiting_task_hears_that_it_is_cancelled)
{
    begin(_i);
    mc_group *group = open_group(pool), *other = open_group(pool);
    for (int i = 0; i < 10; i++)
        run_number(group, "doze", 60000);
    run_number(other, "doze", 300);
    ck_assert(board_await(&board->words[0], 11, BOUND_MS));
    ck_assert_int_eq(mc_group_cancel(group), 0);
    wait_all(group);
    for (size_t i = 0; i < 10; i++) {
        ck_assert_int_eq(result_of(group, i).status, -ECANCELED);
        ck_assert_str_eq(result_of(group, i).error, "given up");
    }
    ck_assert_uint_eq(atomic_load(&board->words[1]), 10);
    wait_all(other);
    ck_assert_uint_eq(failures(other), 0);
    mc_group_close(other);
    finish(group);
}
END_TEST

START_TEST(a_task_that_waits_too_long_ends_and_its_worker_lives)
{
    begin(_i);
    pid_t before[3], after[3];
    ck_assert(await_workers(pool, BOUND_MS));
    ck_assert_uint_eq(mc_pool_worker_pids(pool, before, 3), 3);
    mc_group *group = open_group(pool);
    run_number(group, "limited", 60000);
    run_number(group, "soft", 100);
    wait_all(group);
    ck_assert_int_eq(result_of(group, 0).status, -ETIMEDOUT);
    ck_assert_ptr_nonnull(strstr(result_of(group, 0).error, "over its time limit of 50 ms"));
    ck_assert_ptr_null(strstr(result_of(group, 0).error, "killed"));
    ck_assert_uint_eq(atomic_load(&board->words[1]), 1); /* it was told */
    expect_events(group, 1, MC_EVENT_TIMER);
    ck_assert_uint_eq(atomic_load(&board->words[3]), 1);
    ck_assert_uint_eq(mc_pool_worker_pids(pool, after, 3), 3);
    ck_assert_int_eq(before[2], after[2]);
    finish(group);
}
END_TEST

START_TEST(a_call_that_hangs_is_killed_with_its_worker)
{
    begin(_i);
    mc_group *group = open_group(pool);
    run_number(group, "doze", 60000);
    ck_assert(board_await(&board->words[0], 1, BOUND_MS));
    run(group, "hang-later", NULL, 0);
    wait_all(group);
    ck_assert_int_eq(result_of(group, 0).status, -EOWNERDEAD);
    ck_assert_int_eq(result_of(group, 1).status, -ETIMEDOUT);
    ck_assert(await_workers(pool, BOUND_MS));
    finish(group);
}
END_TEST

START_TEST(a_death_takes_what_waits_along_or_has_it_run_again)
{
    begin(_i);
    mc_group *group = open_group(pool);
    for (int i = 0; i < 100; i++)
        run_number(group, "again", 0);
    run_number(group, "doze", 60000);
    ck_assert(board_await(&board->words[2], 100, BOUND_MS));
    ck_assert(board_await(&board->words[0], 1, BOUND_MS));
    run(group, "die", NULL, 0);
    wait_all(group);
    for (size_t i = 0; i < 100; i++)
        expect_events(group, i, MC_EVENT_TIMER);
    ck_assert_uint_eq(atomic_load(&board->words[2]), 200);
    ck_assert_int_eq(result_of(group, 100).status, -EOWNERDEAD);
    ck_assert_int_eq(result_of(group, 101).status, -EOWNERDEAD);
    ck_assert(await_workers(pool, BOUND_MS));
    finish(group);
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
    finish(group);
}
END_TEST

START_TEST(replies_without_room_say_so)
{
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    options.io_engine = _i == 0 ? MC_IO_URING : MC_IO_EPOLL;
    options.max_payload = options.arena_size = 128 << 10;
    begin_with(options);
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
    finish(group);
}
END_TEST

static void expect_all_good(mc_group *group)
{
    struct mc_result result = {.size = sizeof(result)};
    wait_all(group);
    while (mc_group_next(group, &result, 0) == 1)
        ck_assert_msg(result.status == 0, "%d: %s", result.status, result.error);
}

/* More of them than may be within one another, were all taken that come. */
START_TEST(handlers_that_wait_for_groups_hold_nobody_up)
{
    begin(_i);
    mc_group *group = open_group(pool);
    for (int i = 0; i < 100; i++)
        run_number(group, "nest", 10);
    expect_all_good(group);
    finish(group);
}
END_TEST

START_TEST(what_call_backs_wait_for_is_called_back)
{
    begin(_i);
    mc_group *group = open_group(pool);
    for (int i = 0; i < 20; i++)
        run(group, "nest-doze-later", NULL, 0);
    expect_all_good(group);
    finish(group);
}
END_TEST

START_TEST(waits_may_go_deep)
{
    begin(_i);
    mc_group *group = open_group(pool);
    run_number(group, "descend", 50);
    expect_all_good(group);
    finish(group);
}
END_TEST

START_TEST(waits_that_cannot_end_are_errors)
{
    begin(_i);
    mc_group *group = open_group(pool);
    run_number(group, "descend", 70);
    run(group, "nest-nest-later", NULL, 0);
    wait_all(group);
    for (size_t i = 0; i < 2; i++)
        ck_assert_int_eq(result_of(group, i).status, -EDEADLK);
    ck_assert_str_eq(result_of(group, 1).error,
                     "a task of handler 'nest' is waited for in a call that holds it up: await "
                     "mc_pool_fd() there");
    finish(group);
}
END_TEST

START_TEST(a_limit_holds_for_one_that_waits_for_a_group)
{
    begin(_i);
    mc_group *group = run_one("nest-limited", 60000);
    wait_all(group);
    ck_assert_int_eq(result_of(group, 0).status, -ETIMEDOUT);
    ck_assert(await_workers(pool, BOUND_MS));
    finish(group);
}
END_TEST

START_TEST(a_limit_ends_one_that_reads_a_value)
{
    begin(_i);
    mc_group *group = open_group(pool);
    for (int i = 0; i < 10; i++) {
        mc_writer *writer = NULL;
        ck_assert_int_eq(mc_group_writer(group, MC_JSON, &writer), 0);
        mc_write_string(writer, "a string");
        ck_assert_int_eq(mc_group_run_value(group, "read-value", writer), 0);
    }
    wait_all(group);
    for (size_t i = 0; i < 10; i++)
        ck_assert_int_eq(result_of(group, i).status, -ETIMEDOUT);
    pid_t worker[3];
    ck_assert_uint_eq(mc_pool_worker_pids(pool, worker, 3), 3);
    finish(group);
}
END_TEST

START_TEST(recycling_loses_nothing_that_waits)
{
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    options.io_engine = _i == 0 ? MC_IO_URING : MC_IO_EPOLL;
    options.max_tasks_per_worker = 50;
    begin_with(options);
    mc_group *group = open_group(pool);
    for (uint32_t i = 0; i < 500; i++)
        run_number(group, "doze", i % 20);
    wait_all(group);
    ck_assert_uint_eq(failures(group), 0);
    finish(group);
}
END_TEST

/* It takes nothing any more, but hears what its tasks have to be told. */
START_TEST(a_worker_that_is_to_leave_hears_of_cancels)
{
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    options.io_engine = _i == 0 ? MC_IO_URING : MC_IO_EPOLL;
    options.max_tasks_per_worker = 5;
    begin_with(options);
    mc_group *waiting = run_one("doze", 60000);
    ck_assert(board_await(&board->words[0], 1, BOUND_MS));
    mc_group *group = open_group(pool);
    for (uint32_t i = 0; i < 50; i++)
        run_number(group, "doze", 0);
    pause_us(300000); /* by now it takes no more of them */
    ck_assert_int_eq(mc_group_cancel(waiting), 0);
    expect_all_good(group);
    wait_all(waiting);
    ck_assert_int_eq(result_of(waiting, 0).status, -ECANCELED);
    mc_group_close(waiting);
    finish(group);
}
END_TEST

START_TEST(the_tasks_of_a_dead_client_are_given_up)
{
    begin(_i);
    pid_t child = fork();
    if (child == 0) {
        uint32_t number = 60000;
        mc_group *group = NULL;
        int result = mc_group_open(pool, NULL, &group);
        for (int i = 0; result == 0 && i < 20; i++)
            result = mc_group_run(group, "doze", &number, sizeof(number));
        (void)board_await(&board->words[0], 20, BOUND_MS);
        _exit(result == 0 ? 0 : 1);
    }
    ck_assert_int_eq(await_exit(child), 0);
    ck_assert(board_await(&board->words[1], 20, BOUND_MS));
    mc_group *group = run_one("doze", 1);
    wait_all(group);
    expect_events(group, 0, MC_EVENT_TIMER);
    expect_quiet(pool);
    finish(group);
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
        begin_with(options);
        mc_group *group = run_one("piped", 0);
        wait_all(group);
        ck_assert_uint_eq(failures(group), 0);
        finish(group);
        return;
    }
    options.io_engine = MC_IO_URING;
    /* The I/O worker does not start; others do. */
    begin_with(options);
    mc_group *group = run_one("compute", 0);
    run_number(group, "doze", 1);
    wait_all(group);
    ck_assert_int_eq(result_of(group, 0).status, 0);
    ck_assert_int_eq(result_of(group, 1).status, -EOWNERDEAD);
    finish(group);
}
END_TEST

START_TEST(closing_waits_for_what_waits)
{
    begin(_i);
    mc_group *group = run_one("doze", 200);
    mc_pool_close(pool);
    mc_group_close(group);
    ck_assert_uint_eq(atomic_load(&board->words[1]), 0);
}
END_TEST

int main(void)
{
    const TTest *const cases[] = {
        timers_and_descriptors_call_back,
        thousands_wait_in_one_worker,
        several_tasks_await_one_descriptor,
        tasks_of_one_worker_wake_each_other,
        mistakes_are_errors,
        a_waiting_task_hears_that_it_is_cancelled,
        a_task_that_waits_too_long_ends_and_its_worker_lives,
        a_call_that_hangs_is_killed_with_its_worker,
        a_death_takes_what_waits_along_or_has_it_run_again,
        a_limit_ends_one_that_reads_a_value,
        replies_made_before_waiting_arrive,
        replies_without_room_say_so,
        handlers_that_wait_for_groups_hold_nobody_up,
        what_call_backs_wait_for_is_called_back,
        waits_may_go_deep,
        waits_that_cannot_end_are_errors,
        a_limit_holds_for_one_that_waits_for_a_group,
        recycling_loses_nothing_that_waits,
        a_worker_that_is_to_leave_hears_of_cancels,
        the_tasks_of_a_dead_client_are_given_up,
        where_io_uring_is_forbidden_epoll_does_it,
        closing_waits_for_what_waits,
    };
    Suite *suite = suite_create("io");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        TCase *one = tcase_create(cases[i]->name);
        tcase_set_timeout(one, 60);
        tcase_add_loop_test(one, cases[i], 0, 2);
        suite_add_tcase(suite, one);
    }
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
