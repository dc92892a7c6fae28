/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Groups with on_done, from an event loop that polls the pool's descriptor.
 */
#include "tests/system/support.h"

#include "base/clock.h"
#include "base/fault.h"
#include "pool/pool.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>

static int quick(mc_task *task)
{
    uint32_t number = number_of(task);
    board_begin(number);
    board_end();
    return mc_task_reply(task, &number, sizeof(number));
}

static int blocked(mc_task *task)
{
    board_begin(number_of(task));
    gate_pass();
    board_end();
    return 0;
}

/* Usually quick; with GATED it is not. */
enum { GATED = 1000 };

static int mostly_quick(mc_task *task)
{
    return number_of(task) == GATED ? blocked(task) : quick(task);
}

static int failing(mc_task *task)
{
    return mc_task_fail(task, 3, "no");
}

static const struct mc_handler handlers[] = {
    {.name = "quick", .run = quick},
    {.name = "blocked", .run = blocked},
    {.name = "failing", .run = failing},
    {.name = "mostly-quick", .run = mostly_quick},
};

static mc_pool *pool;
static int fd;

/* What on_done saw. */
static unsigned calls;
static mc_group *last_done;
static pid_t done_pid;

static void note_done(mc_group *group, void *context)
{
    calls++;
    last_done = group;
    done_pid = getpid();
    if (context != NULL)
        (*(unsigned *)context)++;
}

static void begin(void)
{
    board_open();
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    options.queue_depth = 16;
    pool = open_pool(&options);
    fd = mc_pool_fd(pool);
    ck_assert_int_ge(fd, 0);
    calls = 0;
    last_done = NULL;
}

static mc_group *open_reporting(unsigned *count)
{
    return open_with(pool, (struct mc_group_options){.on_done = note_done, .context = count});
}

static bool readable(int timeout_ms)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    return poll(&ready, 1, timeout_ms) == 1 && (ready.revents & POLLIN) != 0;
}

/* Polls and dispatches until so many groups were reported. */
static void loop_until(unsigned wanted)
{
    uint64_t began = clock_ns();
    unsigned reported = 0;
    while (calls < wanted) {
        ck_assert_msg(ms_since(began) < BOUND_MS, "%u of %u groups were reported", calls, wanted);
        ck_assert_msg(readable(BOUND_MS), "the descriptor is not readable");
        int result = mc_pool_dispatch(pool);
        ck_assert_int_ge(result, 0);
        reported += (unsigned)result;
    }
    ck_assert_uint_ge(wanted, reported);
}

START_TEST(a_group_is_reported_once_when_all_its_tasks_have_ended)
{
    begin();
    unsigned count = 0;
    mc_group *group = open_reporting(&count);
    for (uint32_t number = 0; number < 10; number++)
        run_number(group, "quick", number);
    loop_until(1);
    ck_assert_ptr_eq(last_done, group);
    ck_assert_int_eq(done_pid, getpid());
    ck_assert_uint_eq(failures(group), 0);
    ck_assert_int_eq(mc_pool_dispatch(pool), 0);
    ck_assert_uint_eq(count, 1);
    mc_group_close(group);
    ck_assert_int_eq(mc_pool_dispatch(pool), 0);
    mc_pool_close(pool);
}
END_TEST

START_TEST(the_descriptor_is_one_closes_on_exec_and_is_quiet_when_idle)
{
    begin();
    ck_assert_int_eq(mc_pool_fd(pool), fd);
    ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    mc_group *group = open_reporting(NULL);
    run_number(group, "blocked", 0);
    ck_assert(board_await(&board->started, 1, BOUND_MS));
    ck_assert(!readable(20));
    ck_assert_int_eq(mc_pool_dispatch(pool), 0);
    gate_open();
    loop_until(1);
    ck_assert_int_eq(mc_pool_dispatch(pool), 0);
    ck_assert(!readable(0));
    mc_group_close(group);
    mc_pool_close(pool);
}
END_TEST

START_TEST(many_groups_are_each_reported)
{
    enum { GROUPS = 200 };
    begin();
    static unsigned counts[GROUPS];
    static mc_group *groups[GROUPS];
    unsigned expected = 0;
    for (uint32_t i = 0; i < GROUPS; i++) {
        groups[i] = open_reporting(&counts[i]);
        uint32_t number = 0;
        while (number < 1 + i % 3) {
            int result =
                mc_group_run(groups[i], i % 7 == 0 ? "failing" : "quick", &number, sizeof(number));
            if (result == -EAGAIN) /* as the header says: dispatch, then try again */
                ck_assert(readable(BOUND_MS) && mc_pool_dispatch(pool) >= 0);
            else
                number += result == 0 ? 1 : BOARD_NUMBERS;
        }
        ck_assert_uint_eq(number, 1 + i % 3);
        expected++;
    }
    /* One that had room only for a part may have been reported twice. */
    uint64_t began = clock_ns();
    for (uint32_t i = 0; i < GROUPS; i++) {
        while (mc_group_wait(groups[i], 0) != 0 || counts[i] == 0) {
            ck_assert_double_lt(ms_since(began), BOUND_MS);
            ck_assert(readable(BOUND_MS));
            ck_assert_int_ge(mc_pool_dispatch(pool), 0);
        }
        ck_assert_uint_eq(failures(groups[i]), i % 7 == 0 ? 1 + i % 3 : 0);
        mc_group_close(groups[i]);
    }
    ck_assert_uint_ge(calls, expected);
    mc_pool_close(pool);
}
END_TEST

START_TEST(a_group_may_be_closed_before_it_is_reported)
{
    begin();
    unsigned count = 0;
    mc_group *kept[2], *closed;
    kept[0] = open_reporting(&count);
    run_number(kept[0], "quick", 0);
    closed = open_reporting(NULL);
    run_number(closed, "quick", 1);
    kept[1] = open_reporting(&count);
    run_number(kept[1], "quick", 2);
    ck_assert(board_await(&board->ended, 3, BOUND_MS));
    ck_assert_int_eq(mc_group_wait(closed, BOUND_MS), 0); /* now it is one that may be reported */
    mc_group_close(closed);
    loop_until(2);
    ck_assert_uint_eq(count, 2);
    mc_group_close(kept[0]);
    mc_group_close(kept[1]);
    mc_pool_close(pool);
}
END_TEST

/* Anybody who has the lane may write there. */
static void mark_all(uint64_t bits)
{
    struct lane_header *header = pool->client.lane.header;
    for (uint32_t i = 0; i < MAX_SLOTS / 64; i++)
        atomic_store(&header->told[i], bits);
}

START_TEST(marks_of_tasks_that_have_not_ended_do_no_harm)
{
    begin();
    mc_group *group = open_reporting(NULL);
    run_number(group, "blocked", 0);
    ck_assert(board_await(&board->started, 1, BOUND_MS));
    mark_all(UINT64_MAX);
    ck_assert_int_eq(mc_pool_dispatch(pool), 0);
    gate_open();
    loop_until(1);
    mark_all(UINT64_MAX);
    ck_assert_int_eq(mc_pool_dispatch(pool), 0);
    mc_group_close(group);
    mc_pool_close(pool);
}
END_TEST

START_TEST(a_task_whose_mark_was_wiped_out_is_found_within_a_second)
{
    begin();
    ck_assert_int_eq(mc_pool_dispatch(pool), 0);
    mc_group *group = open_reporting(NULL);
    run_number(group, "quick", 0);
    ck_assert(readable(BOUND_MS));
    mark_all(0);
    uint64_t began = clock_ns();
    while (calls == 0) {
        ck_assert_int_ge(mc_pool_dispatch(pool), 0);
        ck_assert_double_lt(ms_since(began), BOUND_MS);
    }
    mc_group_close(group);
    mc_pool_close(pool);
}
END_TEST

/* A worker that has to write the byte does not come to it, and meanwhile the client sees the
 * end by itself and uses the slot again. */
START_TEST(a_byte_that_a_dead_worker_owed_is_sent)
{
    fault_open();
    begin();
    mc_group *group = open_reporting(NULL), *next = open_reporting(NULL);
    fault_arm("notify_send", SIGSTOP, 1);
    run_number(group, "blocked", 0);
    gate_open();
    for (int ms = 0; ms < BOUND_MS && fault_victim() == 0; ms++)
        pause_us(1000);
    ck_assert(await_state(fault_victim(), 'T'));
    while (calls == 0)
        ck_assert_int_ge(mc_pool_dispatch(pool), 0);
    /* As if that had been a moment later, and dispatch between its two looks. */
    atomic_store(&pool->client.lane.header->notified, 1);
    for (uint32_t number = 1; number <= 2; number++)
        run_number(next, "blocked", number);
    ck_assert_uint_eq(group_record(next, 1)->slot, group_record(group, 0)->slot);
    ck_assert(board_await(&board->ended, 3, BOUND_MS));
    ck_assert(!readable(20));
    ck_assert_int_eq(kill(fault_victim(), SIGKILL), 0);
    loop_until(2);
    mc_group_close(group);
    mc_group_close(next);
    mc_pool_close(pool);
}
END_TEST

START_TEST(a_full_queue_is_told_and_not_waited_for)
{
    begin();
    mc_group *group = open_reporting(NULL);
    for (uint32_t number = 0; number < 16; number++)
        run_number(group, "blocked", number);
    expect_error(mc_group_run(group, "quick", NULL, 0), -EAGAIN, "dispatch");
    ck_assert_uint_eq(mc_group_size(group), 16);
    gate_open();
    loop_until(1);
    run_number(group, "quick", 16);
    loop_until(2); /* the new task is news again */
    mc_group_close(group);
    mc_pool_close(pool);
}
END_TEST

/* Closes its group and opens the next, three times. */
static void chain(mc_group *group, void *context)
{
    unsigned *left = context;
    calls++;
    mc_group_close(group);
    if ((*left)-- == 0)
        return;
    mc_group *next =
        open_with(pool, (struct mc_group_options){.on_done = chain, .context = context});
    run_number(next, "quick", *left);
}

START_TEST(on_done_may_close_its_group_and_open_others)
{
    begin();
    unsigned left = 3;
    mc_group *group =
        open_with(pool, (struct mc_group_options){.on_done = chain, .context = &left});
    run_number(group, "quick", 9);
    loop_until(4);
    mc_pool_close(pool);
}
END_TEST

START_TEST(tasks_of_reporting_groups_never_run_in_the_caller)
{
    begin();
    mc_group *warm = open_group(pool);
    for (uint32_t number = 0; number < 12; number++)
        run_number(warm, "quick", number);
    wait_all(warm);
    mc_group *group = open_reporting(NULL);
    for (uint32_t number = 0; number < 12; number++)
        run_number(group, "quick", number);
    wait_all(group);
    for (size_t index = 0; index < 12; index++)
        ck_assert_int_ne(result_of(group, index).worker_pid, getpid());
    mc_group_close(group);
    mc_group_close(warm);
    mc_pool_close(pool);
}
END_TEST

START_TEST(max_parallel_goes_on_from_dispatch_to_dispatch)
{
    begin();
    mc_group *group =
        open_with(pool, (struct mc_group_options){.on_done = note_done, .max_parallel = 1});
    for (uint32_t number = 0; number < 10; number++)
        run_number(group, "quick", number);
    loop_until(1);
    ck_assert_uint_eq(atomic_load(&board->most_running), 1);
    ck_assert_uint_eq(atomic_load(&board->started), 10);
    mc_group_close(group);
    mc_pool_close(pool);
}
END_TEST

START_TEST(tasks_that_were_cancelled_make_the_descriptor_readable)
{
    begin();
    mc_group *busy = open_unhelped(pool), *group = open_reporting(NULL);
    run_number(busy, "blocked", 0);
    run_number(busy, "blocked", 1);
    ck_assert(board_await(&board->started, 2, BOUND_MS));
    run_number(group, "quick", 2);
    ck_assert_int_eq(mc_group_cancel(group), 1);
    bool told = readable(1000);
    int reported = mc_pool_dispatch(pool);
    gate_open();
    ck_assert_int_eq(reported, 1);
    ck_assert_msg(told, "an event loop would wait for ever");
    wait_all(busy);
    mc_group_close(busy);
    mc_group_close(group);
    mc_pool_close(pool);
}
END_TEST

START_TEST(tasks_that_were_cancelled_before_anybody_asked_for_the_descriptor_are_told)
{
    board_open();
    pool = open_simple(HANDLERS(handlers));
    mc_group *busy = open_unhelped(pool), *group = open_reporting(NULL);
    run_number(busy, "blocked", 0);
    run_number(busy, "blocked", 1);
    ck_assert(board_await(&board->started, 2, BOUND_MS));
    run_number(group, "quick", 2);
    ck_assert_int_eq(mc_group_cancel(group), 1);
    fd = mc_pool_fd(pool);
    ck_assert_int_ge(fd, 0);
    bool told = readable(1000);
    gate_open();
    ck_assert_msg(told, "an event loop would wait for ever");
    ck_assert_int_eq(mc_pool_dispatch(pool), 1);
    wait_all(busy);
    mc_group_close(busy);
    mc_group_close(group);
    mc_pool_close(pool);
}
END_TEST

START_TEST(a_map_of_nothing_is_reported_too)
{
    begin();
    mc_group *group = open_reporting(NULL);
    ck_assert(!readable(0));
    ck_assert_int_eq(mc_pool_dispatch(pool), 0);
    ck_assert_int_eq(mc_group_map(group, "quick", 0, NULL, NULL, 0), 0);
    ck_assert_msg(readable(1000), "an event loop would wait for ever");
    ck_assert_int_eq(mc_pool_dispatch(pool), 1);
    ck_assert_int_eq(mc_pool_dispatch(pool), 0);
    ck_assert(!readable(0));
    mc_group_close(group);
    mc_pool_close(pool);
}
END_TEST

START_TEST(tasks_that_another_call_collected_are_still_reported)
{
    begin();
    mc_group *group = open_reporting(NULL);
    run_number(group, "quick", 0);
    wait_all(group); /* instead of the loop */
    loop_until(1);
    mc_group *other = open_group(pool);
    run_number(group, "quick", 1);
    ck_assert(board_await(&board->ended, 2, BOUND_MS));
    for (uint32_t number = 2; number < 100; number++)
        run_number(other, "quick", number); /* collects everybody's for room */
    loop_until(2);
    wait_all(other);
    mc_group_close(other);
    mc_group_close(group);
    mc_pool_close(pool);
}
END_TEST

START_TEST(a_task_that_is_slow_for_once_does_not_hold_up_others)
{
    begin();
    mc_group *warm = open_unhelped(pool), *slow = open_reporting(NULL);
    for (uint32_t number = 0; number < 500; number++)
        run_number(warm, "mostly-quick", number);
    wait_all(warm);
    expect_quiet(pool);
    atomic_store(&board->started, 0);
    run_number(slow, "mostly-quick", GATED);
    ck_assert(board_await(&board->started, 1, BOUND_MS));
    for (uint32_t round = 1; round <= 20; round++) {
        mc_group *group = open_reporting(NULL);
        run_number(group, "mostly-quick", round);
        loop_until(round);
        mc_group_close(group);
        pause_us(1000); /* whoever ran it may fall asleep */
    }
    gate_open();
    loop_until(21);
    mc_group_close(warm);
    mc_group_close(slow);
    mc_pool_close(pool);
}
END_TEST

START_TEST(the_death_of_the_pool_is_readable_and_every_group_is_reported)
{
    begin();
    struct family family;
    family_find(pool, &family);
    unsigned count = 0;
    mc_group *groups[3];
    for (uint32_t i = 0; i < 3; i++) {
        groups[i] = open_reporting(&count);
        run_number(groups[i], "blocked", i);
    }
    ck_assert(board_await(&board->started, 2, BOUND_MS));
    ck_assert_int_eq(kill(family.supervisor, SIGKILL), 0);
    uint64_t began = clock_ns();
    ck_assert(readable(3000));
    printf("pool death readable after %.2f ms\n", ms_since(began));
    int result = 0;
    while ((result = mc_pool_dispatch(pool)) >= 0)
        ck_assert_double_lt(ms_since(began), 3000);
    ck_assert_int_eq(result, -ESHUTDOWN);
    ck_assert_uint_eq(count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_int_eq(result_of(groups[i], 0).status, -EOWNERDEAD);
        mc_group_close(groups[i]);
    }
    ck_assert(family_await_end(&family, BOUND_MS));
    mc_pool_close(pool);
}
END_TEST

TEST_MAIN(events, a_group_is_reported_once_when_all_its_tasks_have_ended,
          the_descriptor_is_one_closes_on_exec_and_is_quiet_when_idle,
          many_groups_are_each_reported, a_group_may_be_closed_before_it_is_reported,
          marks_of_tasks_that_have_not_ended_do_no_harm,
          a_task_whose_mark_was_wiped_out_is_found_within_a_second,
          a_byte_that_a_dead_worker_owed_is_sent, a_full_queue_is_told_and_not_waited_for,
          on_done_may_close_its_group_and_open_others,
          tasks_of_reporting_groups_never_run_in_the_caller,
          max_parallel_goes_on_from_dispatch_to_dispatch,
          tasks_that_were_cancelled_make_the_descriptor_readable,
          tasks_that_were_cancelled_before_anybody_asked_for_the_descriptor_are_told,
          a_map_of_nothing_is_reported_too, tasks_that_another_call_collected_are_still_reported,
          a_task_that_is_slow_for_once_does_not_hold_up_others,
          the_death_of_the_pool_is_readable_and_every_group_is_reported)
