/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Groups that handlers open themselves.
 */
#include "tests/system/support.h"

enum { DEPTH = 3, BREADTH = 4 };

/* Counts the leaves of a tree of tasks, by tasks of its own for each branch. */
static int tree(mc_task *task)
{
    uint32_t depth = number_of(task);
    uint64_t leaves = depth == 0;
    board_begin(depth);
    mc_pool *pool = mc_task_pool(task);
    mc_group *group = NULL;
    int status = pool == NULL ? -ENODEV : mc_group_open(pool, NULL, &group);
    depth--;
    for (int i = 0; status == 0 && leaves == 0 && i < BREADTH; i++)
        status = mc_group_run(group, "tree", &depth, sizeof(depth));
    if (status == 0)
        status = mc_group_wait(group, -1);
    struct mc_result result = {.size = sizeof(result)};
    uint64_t below;
    while (status == 0 && mc_group_next(group, &result, -1) == 1) {
        status = result.status;
        if (status == 0 && result.data_size == sizeof(below)) {
            memcpy(&below, result.data, sizeof(below));
            leaves += below;
        }
    }
    mc_group_close(group);
    board_end();
    return status != 0 ? status : mc_task_reply(task, &leaves, sizeof(leaves));
}

/* As many branches as there are workers meet before any goes deeper. */
static int meeting(mc_task *task)
{
    board_count(&board->words[0]);
    if (!board_await(&board->words[0], 2, BOUND_MS))
        return -ETIMEDOUT;
    return tree(task);
}

/* At most one of a nested group's tasks at a time. */
static int limited(mc_task *task)
{
    struct mc_group_options options = {.size = sizeof(options), .max_parallel = 1};
    mc_group *group = NULL;
    int status = mc_group_open(mc_task_pool(task), &options, &group);
    for (int i = 0; status == 0 && i < 30; i++)
        status = mc_group_run(group, "slow", NULL, 0);
    if (status == 0)
        status = mc_group_wait(group, BOUND_MS);
    mc_group_close(group);
    return status;
}

static int slow(mc_task *task)
{
    board_begin(0);
    pause_us(500);
    board_end();
    return 0;
}

/* A nested group is left open with tasks in it. */
static int careless(mc_task *task)
{
    mc_group *group = NULL;
    int status = mc_group_open(mc_task_pool(task), NULL, &group);
    for (int i = 0; status == 0 && i < 5; i++)
        status = mc_group_run(group, "slow", NULL, 0);
    mc_group_close(group);
    return status;
}

/* Where its tasks run, and that errors come through. */
static int relay(mc_task *task)
{
    mc_group *group = NULL;
    struct mc_result result = {.size = sizeof(result)};
    int status = mc_group_open(mc_task_pool(task), NULL, &group);
    if (status == 0)
        status = mc_group_run(group, "failing", NULL, 0);
    if (status == 0)
        status = mc_group_wait(group, -1);
    if (status == 0)
        status = mc_group_result(group, 0, &result);
    if (status == 0)
        status = mc_task_fail(task, result.status, "below: %s", result.error);
    mc_group_close(group);
    return status;
}

static int failing(mc_task *task)
{
    return mc_task_fail(task, 99, "no good");
}

static const struct mc_handler handlers[] = {
    {.name = "tree", .run = tree},         {.name = "meeting", .run = meeting},
    {.name = "limited", .run = limited},   {.name = "slow", .run = slow},
    {.name = "relay", .run = relay},       {.name = "failing", .run = failing},
    {.name = "careless", .run = careless},
};

static mc_pool *pool;

static mc_group *begin(unsigned workers, unsigned max_clients)
{
    board_open();
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    options.workers = workers;
    options.max_clients = max_clients;
    options.queue_depth = 64;
    pool = open_pool(&options);
    return open_unhelped(pool);
}

static void finish(mc_group *group)
{
    mc_group_close(group);
    mc_pool_close(pool);
}

static void expect_leaves(mc_group *group, uint64_t expected)
{
    wait_all(group);
    for (size_t index = 0; index < mc_group_size(group); index++) {
        struct mc_result result = result_of(group, index);
        uint64_t leaves;
        ck_assert_msg(result.status == 0, "%d: %s", result.status, result.error);
        memcpy(&leaves, result.data, sizeof(leaves));
        ck_assert_uint_eq(leaves, expected);
    }
}

START_TEST(handlers_can_split_their_work_further)
{
    mc_group *group = begin(2, 0);
    run_number(group, "tree", DEPTH);
    expect_leaves(group, BREADTH * BREADTH * BREADTH);
    ck_assert_uint_eq(atomic_load(&board->runs[0]), BREADTH * BREADTH * BREADTH);
    expect_quiet(pool);
    finish(group);
}
END_TEST

START_TEST(all_workers_nesting_at_once_do_not_deadlock)
{
    for (unsigned workers = 1; workers <= 4; workers++) {
        mc_group *group = begin(workers, 0);
        for (unsigned i = 0; i < 2 * workers; i++)
            run_number(group, workers == 2 ? "meeting" : "tree", DEPTH);
        expect_leaves(group, BREADTH * BREADTH * BREADTH);
        finish(group);
    }
}
END_TEST

START_TEST(a_caller_that_helps_can_run_nested_tasks_too)
{
    mc_group *idle = begin(1, 0);
    mc_group *group = open_group(pool);
    for (int i = 0; i < 8; i++)
        run_number(group, "tree", 2);
    expect_leaves(group, BREADTH * BREADTH);
    mc_group_close(idle);
    finish(group);
}
END_TEST

START_TEST(status_and_text_come_up_from_below)
{
    mc_group *group = begin(2, 0);
    run(group, "relay", NULL, 0);
    wait_all(group);
    ck_assert_int_eq(result_of(group, 0).status, 99);
    ck_assert_str_eq(result_of(group, 0).error, "below: no good");
    finish(group);
}
END_TEST

START_TEST(max_parallel_of_a_nested_group_holds)
{
    mc_group *group = begin(3, 0);
    run(group, "limited", NULL, 0);
    wait_all(group);
    ck_assert_uint_eq(failures(group), 0);
    ck_assert_uint_eq(atomic_load(&board->ended), 30);
    ck_assert_uint_eq(atomic_load(&board->most_running), 1);
    finish(group);
}
END_TEST

START_TEST(groups_that_a_handler_closes_early_leave_nothing_behind)
{
    mc_group *group = begin(2, 0);
    for (int i = 0; i < 50; i++)
        run(group, "careless", NULL, 0);
    wait_all(group);
    ck_assert_uint_eq(failures(group), 0);
    run_number(group, "tree", DEPTH);
    wait_all(group);
    ck_assert_uint_eq(failures(group), 0);
    expect_quiet(pool);
    finish(group);
}
END_TEST

START_TEST(a_worker_that_cannot_attach_has_no_pool_for_its_handlers)
{
    mc_group *group = begin(2, 1); /* the opener is the one client */
    run_number(group, "tree", DEPTH);
    wait_all(group);
    ck_assert_int_eq(result_of(group, 0).status, -ENODEV);
    finish(group);
}
END_TEST

TEST_MAIN(nested, handlers_can_split_their_work_further,
          all_workers_nesting_at_once_do_not_deadlock, a_caller_that_helps_can_run_nested_tasks_too,
          status_and_text_come_up_from_below, max_parallel_of_a_nested_group_holds,
          groups_that_a_handler_closes_early_leave_nothing_behind,
          a_worker_that_cannot_attach_has_no_pool_for_its_handlers)
