/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Handles from before a pool was opened, in that pool's processes: these have closed the
 * descriptors behind them, and opened others that have their numbers.
 */
#include "tests/system/server.h"

enum { COPIES = 64, AFTER = 20, WARM = 0 };

static mc_pool *earlier; /* opened or attached to before the pool that the handlers run in */
static mc_group *earlier_group;
static struct server server;

/* A descriptor for every number that may have been one of the earlier pool's. */
static void take_numbers(int copies[COPIES])
{
    for (int i = 0; i < COPIES; i++)
        copies[i] = dup(STDERR_FILENO);
}

/* False if some are gone. */
static bool give_numbers_back(const int copies[COPIES])
{
    bool whole = true;
    for (int i = 0; i < COPIES; i++)
        whole = close(copies[i]) == 0 && whole;
    return whole;
}

/* Runs the handler "use", one task after the other. */
static void expect_use(mc_pool *pool, size_t count)
{
    mc_group *group = open_unhelped(pool);
    for (size_t i = 0; i < count; i++) {
        run(group, "use", NULL, 0);
        wait_all(group);
        struct mc_result result = result_of(group, i);
        ck_assert_msg(result.status == 0, "%d %s", result.status, result.error);
    }
    mc_group_close(group);
}

/* ---- a pool that was opened ---- */

static bool is_stale(int result)
{
    return result == -ESTALE && strstr(mc_error_message(), "mc_task_pool()") != NULL;
}

static int try_opened(mc_task *task)
{
    mc_group *group = NULL;
    if (mc_pool_connected(earlier) || !is_stale(mc_group_open(earlier, NULL, &group)))
        return mc_task_fail(task, -EPROTO, "a group: %s", mc_error_message());
    if (!is_stale(mc_pool_fd(earlier)) || !is_stale(mc_pool_dispatch(earlier)))
        return mc_task_fail(task, -EPROTO, "events: %s", mc_error_message());
    if (mc_group_run(earlier_group, "use", NULL, 0) != -ESTALE || mc_pool_workers(earlier) != 2)
        return mc_task_fail(task, -EPROTO, "a look: %s", mc_error_message());
    if (mc_group_open(mc_task_pool(task), NULL, &group) < 0)
        return mc_task_fail(task, -EIO, "its own pool: %s", mc_error_message());
    mc_group_close(group);
    return 0;
}

static int use_opened(mc_task *task)
{
    int copies[COPIES];
    take_numbers(copies);
    int status = try_opened(task);
    return give_numbers_back(copies) ? status : mc_task_fail(task, -EBADF, "descriptors are gone");
}

static const struct mc_handler users[] = {{.name = "use", .run = use_opened}};

static void open_earlier(void)
{
    board_open();
    earlier = open_simple(HANDLERS(users));
    earlier_group = open_unhelped(earlier);
    ck_assert_int_ge(mc_pool_fd(earlier), 0);
}

static void close_earlier(void)
{
    mc_group_close(open_unhelped(earlier)); /* nobody else has closed it */
    mc_group_close(earlier_group);
    mc_pool_close(earlier);
}

START_TEST(an_opened_pool_is_of_no_use_and_no_harm_in_the_processes_of_a_later_one)
{
    open_earlier();
    mc_pool *pool = open_simple(HANDLERS(users));
    expect_use(pool, 10);
    mc_pool_close(pool);
    close_earlier();
}
END_TEST

static int close_opened(void *context, void **state)
{
    int copies[COPIES];
    (void)context;
    (void)state;
    take_numbers(copies);
    mc_group_close(earlier_group);
    mc_pool_close(earlier);
    return give_numbers_back(copies) ? 0 : mc_fail(-EBADF, "descriptors are gone");
}

static int nothing(mc_task *task)
{
    (void)task;
    return 0;
}

START_TEST(an_opened_pool_may_be_closed_in_the_processes_of_a_later_one)
{
    static const struct mc_handler idle[] = {{.name = "use", .run = nothing}};
    struct mc_pool_options options = pool_options(HANDLERS(idle));
    options.worker_init = close_opened;
    open_earlier();
    mc_pool *pool = open_pool(&options);
    expect_use(pool, 10);
    mc_pool_close(pool);
    close_earlier();
}
END_TEST

/* ---- one that was attached to ---- */

/* The worker that used it first, and what is forked from that. */
static void note_worker(void)
{
    static pid_t first;
    if (first == 0)
        first = getpid();
    else if (first != getpid())
        board_count(&board->words[WARM]);
}

static int ask_attached(mc_task *task)
{
    mc_group *group = NULL;
    struct mc_group_options options = {.size = sizeof(options), .help = MC_HELP_NEVER};
    struct mc_result result = {.size = sizeof(result)};
    int status = mc_group_open(earlier, &options, &group);
    if (status == 0)
        status = mc_group_run(group, "version", NULL, 0);
    if (status == 0)
        status = mc_group_wait(group, BOUND_MS);
    if (status == 0)
        status = mc_group_result(group, 0, &result);
    if (status == 0 && (result.status != 0 || *(const int *)result.data != 107))
        status = mc_fail(-EPROTO, "%d: %s", result.status, result.error);
    if (status < 0)
        (void)mc_task_fail(task, status, "%s", mc_error_message());
    mc_group_close(group);
    return status;
}

static int use_attached(mc_task *task)
{
    int copies[COPIES];
    note_worker();
    take_numbers(copies);
    int status = ask_attached(task);
    return give_numbers_back(copies) ? status : mc_task_fail(task, -EBADF, "descriptors are gone");
}

static const struct mc_handler askers[] = {{.name = "use", .run = use_attached}};

static void attach_earlier(void)
{
    board_open();
    server_prepare(&server);
    server_start(&server);
    earlier = attach(&server, NULL, 0);
    ck_assert_int_ge(mc_pool_fd(earlier), 0);
}

static void detach_earlier(void)
{
    ck_assert_int_eq(version_of(earlier), 107);
    mc_pool_close(earlier);
    server_end(&server);
}

START_TEST(one_that_was_attached_to_connects_anew_in_the_processes_of_a_later_one)
{
    attach_earlier();
    mc_pool *pool = open_simple(HANDLERS(askers));
    expect_use(pool, 20);
    mc_pool_close(pool);
    detach_earlier();
}
END_TEST

START_TEST(one_that_was_attached_to_connects_anew_in_what_is_forked_from_a_worker)
{
    attach_earlier();
    struct mc_pool_options options = pool_options(HANDLERS(askers));
    options.refork_after = AFTER;
    mc_pool *pool = open_pool(&options);
    for (int tries = 0; atomic_load(&board->words[WARM]) < 10; tries++) {
        ck_assert_int_lt(tries, BOUND_MS / 10);
        expect_use(pool, AFTER);
        pause_us(10000);
    }
    mc_pool_close(pool);
    detach_earlier();
}
END_TEST

TEST_MAIN(estranged, an_opened_pool_is_of_no_use_and_no_harm_in_the_processes_of_a_later_one,
          an_opened_pool_may_be_closed_in_the_processes_of_a_later_one,
          one_that_was_attached_to_connects_anew_in_the_processes_of_a_later_one,
          one_that_was_attached_to_connects_anew_in_what_is_forked_from_a_worker)
