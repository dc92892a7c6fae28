/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Handlers that wait for groups of their own, in the worker that is to run these as well.
 */
#include "base/clock.h"
#include "pool/pool.h"
#include "tests/system/engines.h"

#include <sys/eventfd.h>
#include <sys/timerfd.h>

enum { COMPUTING = 20 }; /* tasks of one group */

/* ---- handlers ---- */

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

/* The next of two that both cannot end. */
static int take_next(mc_task *task, unsigned events, void *context)
{
    struct mc_result result = {.size = sizeof(result)};
    int status = mc_group_next(context, &result, -1);
    if (status < 0)
        status = mc_task_fail(task, status, "%s", mc_error_message());
    mc_group_close(context);
    return status;
}

static int nest_next_later(mc_task *task)
{
    mc_group *group = NULL;
    int status = open_inner(task, "nest", 2, 2000, &group);
    if (status == 0)
        status = mc_task_await_timer(task, 20, take_next, group);
    return status < 0 ? status : MC_PENDING;
}

/* Not MC_IO: it is for other workers, which are not to be had. */
static int compute(mc_task *task)
{
    pause_us(number_of(task) * 1000);
    board_count(&board->words[5]);
    return 0;
}

static int occupy(mc_task *task)
{
    board_count(&board->words[6]);
    gate_pass();
    return 0;
}

static int nest_computing(mc_task *task)
{
    mc_group *group = NULL;
    int status = open_inner(task, "compute", COMPUTING, number_of(task), &group);
    return status < 0 ? status : wait_inner(group);
}

/* Fails with an error of the library's, while another waits for a group. */
static int fail_there(mc_task *task)
{
    mc_value value;
    int status = mc_task_value(task, &value);
    return status < 0 ? status : mc_value_get(value, "secret", &value);
}

/* The last that happens in its worker while it waits is another's error. */
static int fail_silently(mc_task *task)
{
    mc_group *group = NULL;
    int status = open_inner(task, "compute", 1, number_of(task), &group);
    board_count(&board->words[7]);
    if (status == 0)
        status = wait_inner(group);
    return status < 0 ? status : -ENOENT;
}

/* What is awaited last has come, and nothing else. */
static int read_timer(mc_task *task, unsigned events, void *context)
{
    uint64_t times = 0;
    int fd = (int)(intptr_t)context, status = -EPROTO;
    if (events == MC_EVENT_READ && read(fd, &times, sizeof(times)) == sizeof(times))
        status = 0;
    close(fd);
    return status;
}

/* A timer's descriptor is awaited. */
static int await_last(mc_task *task)
{
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    struct itimerspec soon = {.it_value.tv_nsec = 100000000};
    int status = timerfd_settime(fd, 0, &soon, NULL) < 0 ? -errno : 0;
    if (status == 0)
        status = mc_task_await_fd(task, fd, MC_EVENT_READ, read_timer, (void *)(intptr_t)fd);
    return status < 0 ? status : MC_PENDING;
}

/* Waits for a group for longer than its timer would have taken. */
static int outlast_timer(mc_task *task, unsigned events, void *context)
{
    mc_group *group = NULL;
    close((int)(intptr_t)context);
    int status = events == MC_EVENT_READ ? open_inner(task, "doze", 1, 100, &group) : -EPROTO;
    if (status == 0)
        status = wait_inner(group);
    return status < 0 ? status : await_last(task);
}

static int await_both(mc_task *task)
{
    int fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    int status = mc_task_await_fd(task, fd, MC_EVENT_READ, outlast_timer, (void *)(intptr_t)fd);
    if (status == 0)
        status = mc_task_await_timer(task, 50, outlast_timer, (void *)(intptr_t)fd);
    return status < 0 ? status : MC_PENDING;
}

/* The descriptor that it awaits first is ready before the call ends. */
static int await_another(mc_task *task)
{
    mc_group *group = NULL;
    int fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    int status = mc_task_await_fd(task, fd, MC_EVENT_READ, read_timer, NULL);
    if (status == 0)
        status = open_inner(task, "doze", 1, 20, &group);
    if (status == 0)
        status = wait_inner(group);
    if (status == 0)
        status = await_last(task);
    close(fd);
    return status;
}

/* Waits for two groups, one after the other, then goes on. */
static int nest_twice(mc_task *task)
{
    int status = nest(task);
    if (status == 0)
        status = nest(task);
    board_count(&board->words[2]);
    gate_pass();
    return number_of(task) == 0 ? status : doze(task);
}

/* Keeps its worker for so long. */
static int spend(mc_task *task)
{
    pause_us(number_of(task) * 1000);
    return 0;
}

static const struct mc_handler handlers[] = {
    {.name = "doze", .run = doze, .flags = MC_IO},
    {.name = "nest", .run = nest, .flags = MC_IO},
    {.name = "descend", .run = descend, .flags = MC_IO},
    {.name = "nest-twice", .run = nest_twice, .flags = MC_IO},
    {.name = "nest-limited", .run = nest, .flags = MC_IO, .time_limit_ms = 100},
    {.name = "nest-doze-later", .run = nest_doze_later, .flags = MC_IO},
    {.name = "nest-nest-later", .run = nest_nest_later, .flags = MC_IO},
    {.name = "nest-next-later", .run = nest_next_later, .flags = MC_IO},
    {.name = "nest-computing", .run = nest_computing, .flags = MC_IO},
    {.name = "compute", .run = compute},
    {.name = "occupy", .run = occupy},
    {.name = "fail-there", .run = fail_there, .flags = MC_IO},
    {.name = "fail-silently", .run = fail_silently, .flags = MC_IO},
    {.name = "spend", .run = spend, .flags = MC_IO},
    {.name = "await-both", .run = await_both, .flags = MC_IO},
    {.name = "await-another", .run = await_another, .flags = MC_IO},
};

static void begin(int engine)
{
    engine_begin(engine_options(engine, HANDLERS(handlers)));
}

/* ---- tests ---- */

/* More of them than may be within one another, were all taken that come. */
START_TEST(handlers_that_wait_for_groups_hold_nobody_up)
{
    begin(_i);
    mc_group *group = open_group(pool);
    for (int i = 0; i < 100; i++)
        run_number(group, "nest", 10);
    expect_all_good(group);
    engine_finish(group);
}
END_TEST

START_TEST(what_call_backs_wait_for_is_called_back)
{
    begin(_i);
    mc_group *group = open_group(pool);
    for (int i = 0; i < 20; i++)
        run(group, "nest-doze-later", NULL, 0);
    expect_all_good(group);
    engine_finish(group);
}
END_TEST

START_TEST(waits_may_go_deep)
{
    begin(_i);
    mc_group *group = open_group(pool);
    run_number(group, "descend", 50);
    expect_all_good(group);
    engine_finish(group);
}
END_TEST

START_TEST(waits_that_cannot_end_are_errors)
{
    begin(_i);
    mc_group *group = open_group(pool);
    run_number(group, "descend", 70);
    run(group, "nest-nest-later", NULL, 0);
    wait_all(group);
    mc_group *next = run_one("nest-next-later", 0);
    wait_all(next);
    for (size_t i = 0; i < 2; i++)
        ck_assert_int_eq(result_of(group, i).status, -EDEADLK);
    ck_assert_int_eq(result_of(next, 0).status, -EDEADLK);
    ck_assert_str_eq(result_of(group, 1).error,
                     "a task of handler 'nest' is waited for in a call that holds it up: await "
                     "mc_pool_fd() there");
    ck_assert_str_eq(result_of(next, 0).error, result_of(group, 1).error);
    mc_group_close(next);
    engine_finish(group);
}
END_TEST

START_TEST(between_tasks_for_other_workers_those_of_this_one_are_called)
{
    begin(_i);
    mc_group *busy = open_unhelped(pool);
    for (uint32_t i = 0; i < 2; i++)
        run(busy, "occupy", NULL, 0);
    ck_assert(board_await(&board->words[6], 2, BOUND_MS));
    mc_group *nesting = run_one("nest-computing", 20);
    ck_assert(board_await(&board->words[5], 1, BOUND_MS));
    mc_group *group = run_one("doze", 1);
    expect_all_good(group);
    ck_assert_uint_lt(atomic_load(&board->words[5]), COMPUTING);
    gate_open();
    expect_all_good(nesting);
    expect_all_good(busy);
    mc_group_close(nesting);
    mc_group_close(busy);
    engine_finish(group);
}
END_TEST

START_TEST(no_task_fails_with_the_words_of_another)
{
    begin(_i);
    mc_group *group = run_one("fail-silently", 300);
    ck_assert(board_await(&board->words[7], 1, BOUND_MS));
    ck_assert_int_eq(mc_group_run_encoded(group, "fail-there", MC_JSON, "{}", 2), 0);
    wait_all(group);
    for (size_t i = 0; i < 2; i++)
        ck_assert_int_eq(result_of(group, i).status, -ENOENT);
    ck_assert_ptr_null(strstr(result_of(group, 0).error, "secret"));
    ck_assert_ptr_nonnull(strstr(result_of(group, 1).error, "secret"));
    engine_finish(group);
}
END_TEST

START_TEST(a_limit_holds_for_one_that_waits_for_a_group)
{
    begin(_i);
    mc_group *group = run_one("nest-limited", 60000);
    wait_all(group);
    ck_assert_int_eq(result_of(group, 0).status, -ETIMEDOUT);
    ck_assert(await_workers(pool, BOUND_MS));
    engine_finish(group);
}
END_TEST

START_TEST(what_is_not_awaited_any_more_does_not_call_back)
{
    begin(_i);
    mc_group *group = open_group(pool);
    run(group, "await-both", NULL, 0);
    run(group, "await-another", NULL, 0);
    wait_all(group);
    for (size_t i = 0; i < 2; i++)
        ck_assert_int_eq(result_of(group, i).status, 0);
    engine_finish(group);
}
END_TEST

START_TEST(the_time_of_tasks_within_a_wait_for_a_group_is_counted_once)
{
    begin(_i);
    const struct seat_row *row = &pool->control->rows[IO_SEAT];
    uint64_t began = clock_ns();
    mc_group *group = run_one("nest", 500);
    ck_assert(board_await(&board->words[0], 3, BOUND_MS));
    for (int i = 0; i < 10; i++)
        run_number(group, "spend", 30);
    expect_all_good(group);
    expect_quiet(pool);
    uint64_t busy_ns = atomic_load(&row->busy_ns);
    ck_assert_uint_le(busy_ns, clock_ns() - began);
    ck_assert_uint_ge(busy_ns, 300000000);
    engine_finish(group);
}
END_TEST

/* The supervisor looks there for those who still need a lane, at any time. */
START_TEST(who_has_waited_for_a_group_stays_in_the_book_until_it_ends)
{
    begin(_i);
    const struct pending_book *book = control_book(pool->control, IO_SEAT);
    const _Atomic uint32_t *of_lane = &book->of_lane[pool->client.index];
    for (uint32_t i = 0; i < 2; i++) {
        atomic_store(&board->gate, 0);
        mc_group *group = run_one("nest-twice", i);
        ck_assert(board_await(&board->words[2], i + 1, BOUND_MS));
        ck_assert_uint_eq(atomic_load(of_lane), 1);
        gate_open();
        expect_all_good(group);
        mc_group_close(group);
        for (uint64_t began = clock_ns(); atomic_load(of_lane) != 0 && ms_since(began) < BOUND_MS;)
            pause_us(1000);
        ck_assert_uint_eq(atomic_load(of_lane), 0);
    }
    engine_finish(NULL);
}
END_TEST

ENGINE_MAIN(io_nested, handlers_that_wait_for_groups_hold_nobody_up,
            what_call_backs_wait_for_is_called_back, waits_may_go_deep,
            waits_that_cannot_end_are_errors,
            between_tasks_for_other_workers_those_of_this_one_are_called,
            no_task_fails_with_the_words_of_another, a_limit_holds_for_one_that_waits_for_a_group,
            what_is_not_awaited_any_more_does_not_call_back,
            the_time_of_tasks_within_a_wait_for_a_group_is_counted_once,
            who_has_waited_for_a_group_stays_in_the_book_until_it_ends)
