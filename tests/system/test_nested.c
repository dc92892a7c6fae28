/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Groups that handlers open themselves.
 */
#include "tests/system/support.h"

enum { DEPTH = 3, BREADTH = 4, LANE = 64 };
#define TEXT "a text that is too long for a slot's forty bytes of result"

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

/* Two groups, of which the first alone fills a lane and is not waited for. */
static int filling(mc_task *task)
{
    mc_group *first = NULL, *second = NULL;
    board_count(&board->words[0]);
    (void)board_await(&board->words[0], mc_task_inline(task) ? 0 : 2, BOUND_MS);
    int status = mc_group_open(mc_task_pool(task), NULL, &first);
    if (status == 0)
        status = mc_group_open(mc_task_pool(task), NULL, &second);
    for (int i = 0; status == 0 && i < LANE; i++)
        status = mc_group_run(first, "aside", NULL, 0);
    for (int i = 0; status == 0 && i < LANE; i++)
        status = mc_group_run(second, i % 2 == 0 ? "slow" : "aside", NULL, 0);
    if (status == 0)
        status = mc_group_wait(second, -1);
    if (status == 0)
        status = mc_group_wait(first, -1);
    for (size_t i = 0; status == 0 && i < 2 * LANE; i++) {
        struct mc_result result = {.size = sizeof(result)};
        status = mc_group_result(i < LANE ? first : second, i % LANE, &result);
        status = status != 0 ? status : result.status;
    }
    mc_group_close(first);
    mc_group_close(second);
    return status;
}

/* One task more, named by the number, with arguments that are not aligned. */
static int one_more(mc_task *task)
{
    static const char *const names[] = {"echo", "aside"};
    char args[] = "x-" TEXT;
    mc_group *group = NULL;
    struct mc_result result = {.size = sizeof(result)};
    struct mc_group_options options = {.size = sizeof(options), .max_parallel = 1};
    int status = mc_group_open(mc_task_pool(task), &options, &group);
    for (int i = 0; status == 0 && i < 3; i++)
        status = mc_group_run(group, names[number_of(task)], args + 1, sizeof(args) - 1);
    if (status == 0)
        status = mc_group_wait(group, -1);
    while (number_of(task) == 0 && status == 0 && mc_group_next(group, &result, -1) == 1)
        status = result.data_size == sizeof(args) - 1
                     ? memcmp(result.data, args + 1, sizeof(args) - 1)
                     : -EBADMSG;
    if (status == 0 && mc_group_size(group) != 3)
        status = -ERANGE;
    mc_group_close(group);
    return status;
}

static int echo(mc_task *task)
{
    size_t size;
    const void *args = mc_task_args(task, &size);
    return (uintptr_t)args % 8 != 0 ? -EFAULT : mc_task_reply(task, args, size);
}

static int failing(mc_task *task)
{
    return mc_task_fail(task, 99, "no good");
}

static const struct mc_handler handlers[] = {
    {.name = "tree", .run = tree},
    {.name = "meeting", .run = meeting},
    {.name = "limited", .run = limited},
    {.name = "slow", .run = slow},
    {.name = "relay", .run = relay},
    {.name = "failing", .run = failing},
    {.name = "careless", .run = careless},
    {.name = "filling", .run = filling},
    {.name = "one-more", .run = one_more},
    {.name = "echo", .run = echo},
    {.name = "aside", .run = slow, .flags = MC_ISOLATED},
};

static mc_pool *pool;

static mc_group *begin(unsigned workers, unsigned max_clients)
{
    board_open();
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    options.workers = workers;
    options.max_clients = max_clients;
    options.queue_depth = LANE;
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

START_TEST(workers_that_all_wait_for_room_in_their_lanes_make_it_themselves)
{
    mc_group *group = begin(2, 0);
    for (int i = 0; i < 2; i++)
        run(group, "filling", NULL, 0);
    wait_all(group);
    ck_assert_uint_eq(failures(group), 0);
    ck_assert_uint_eq(atomic_load(&board->ended), 4 * LANE);
    finish(group);
}
END_TEST

/* On a busy machine: tasks for the caller alone, as many as its lane holds, each of
 * which submits others, by the name with that number. */
static mc_group *fill_lane(uint32_t number)
{
    board_open();
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    options.queue_depth = LANE;
    options.max_load_average = "0.01";
    options.proc_path = TEST_DATA "/proc/good-busy";
    pool = open_pool(&options);
    mc_group *group = open_group(pool);
    ck_assert_int_eq(mc_group_mode(group), MC_INLINE);
    for (int i = 0; i < LANE; i++)
        run_number(group, "one-more", number);
    return group;
}

START_TEST(nested_tasks_run_at_once_in_a_caller_whose_lane_is_full)
{
    mc_group *group = fill_lane(0);
    wait_all(group);
    for (size_t i = 0; i < LANE; i++)
        ck_assert_msg(result_of(group, i).status == 0, "%s", result_of(group, i).error);
    finish(group);
}
END_TEST

START_TEST(isolated_ones_cannot_and_say_so)
{
    mc_group *group = fill_lane(1);
    wait_all(group);
    struct mc_result first = result_of(group, 0);
    ck_assert_msg(first.status == -EDEADLK && strstr(first.error, "queue_depth (64)") != NULL,
                  "%d: %s", first.status, first.error);
    ck_assert_uint_eq(failures(group), 1); /* its end made room for all others */
    finish(group);
}
END_TEST

/* ---- pools of workers ---- */

/* Opens a pool, in which handlers have tasks of their own. */
static int opening(mc_task *task)
{
    static const struct mc_handler trees[] = {{.name = "tree", .run = tree}};
    const struct mc_pool_options options = pool_options(HANDLERS(trees));
    const struct mc_group_options unhelped = {.size = sizeof(unhelped), .help = MC_HELP_NEVER};
    const uint32_t depth = 1;
    mc_pool *own = NULL;
    mc_group *group = NULL;
    struct mc_result result = {.size = sizeof(result), .error = ""};
    (void)mc_task_pool(task); /* which is not to be theirs */
    int status = mc_pool_open(&options, &own);
    if (status == 0)
        status = mc_group_open(own, &unhelped, &group);
    if (status == 0)
        status = mc_group_run(group, "tree", &depth, sizeof(depth));
    if (status == 0)
        status = mc_group_wait(group, BOUND_MS / 2);
    if (status == 0)
        status = mc_group_result(group, 0, &result);
    if (status != 0 || result.status != 0)
        status = mc_task_fail(task, -EIO, "%s %s", mc_error_message(), result.error);
    mc_group_close(group);
    mc_pool_close(own);
    return status;
}

static void expect_openings(void)
{
    mc_group *group = open_unhelped(pool);
    for (size_t i = 0; i < 4; i++)
        run(group, "opening", NULL, 0);
    wait_all(group);
    for (size_t i = 0; i < 4; i++)
        ck_assert_msg(result_of(group, i).status == 0, "%s", result_of(group, i).error);
    mc_group_close(group);
}

START_TEST(a_worker_may_open_a_pool_of_its_own)
{
    static const struct mc_handler openers[] = {{.name = "opening", .run = opening}};
    struct family family, later;
    board_open();
    pool = open_simple(HANDLERS(openers));
    expect_openings();
    family_find(pool, &family);
    end_process(family.zygote); /* the next is forked from a supervisor that has clients */
    for (unsigned i = 0; i < family.worker_count; i++)
        end_process(family.workers[i]);
    do
        family_find(pool, &later);
    while (later.zygote == family.zygote || later.workers[0] == family.workers[0] ||
           later.workers[1] == family.workers[1]);
    expect_openings();
    mc_pool_close(pool);
}
END_TEST

TEST_MAIN(nested, handlers_can_split_their_work_further,
          all_workers_nesting_at_once_do_not_deadlock, a_caller_that_helps_can_run_nested_tasks_too,
          status_and_text_come_up_from_below, max_parallel_of_a_nested_group_holds,
          groups_that_a_handler_closes_early_leave_nothing_behind,
          a_worker_that_cannot_attach_has_no_pool_for_its_handlers,
          workers_that_all_wait_for_room_in_their_lanes_make_it_themselves,
          nested_tasks_run_at_once_in_a_caller_whose_lane_is_full, isolated_ones_cannot_and_say_so,
          a_worker_may_open_a_pool_of_its_own)
