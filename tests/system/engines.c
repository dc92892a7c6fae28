/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/system/engines.h"

#include <stdlib.h>

mc_pool *pool;

/* ---- handlers ---- */

int reply_events(mc_task *task, unsigned events, void *context)
{
    if ((events & MC_EVENT_END) != 0) {
        board_count(&board->words[1]);
        return mc_task_fail(task, -ECANCELED, "given up");
    }
    return mc_task_reply(task, &events, sizeof(events));
}

int doze(mc_task *task)
{
    int result = mc_task_await_timer(task, number_of(task), reply_events, NULL);
    board_count(&board->words[0]);
    return result < 0 ? result : MC_PENDING;
}

/* ---- the pool ---- */

struct mc_pool_options engine_options(int engine, const struct mc_handler *handlers, size_t count)
{
    struct mc_pool_options options = pool_options(handlers, count);
    options.io_engine = engine == 0 ? MC_IO_URING : MC_IO_EPOLL;
    return options;
}

void engine_begin(struct mc_pool_options options)
{
    board_open();
    options.queue_depth = 16384;
    pool = open_pool(&options);
}

void engine_finish(mc_group *group)
{
    mc_group_close(group);
    mc_pool_close(pool);
}

/* ---- groups ---- */

mc_group *run_one(const char *handler, uint32_t number)
{
    mc_group *group = open_group(pool);
    run_number(group, handler, number);
    return group;
}

void expect_events(mc_group *group, size_t index, unsigned events)
{
    struct mc_result result = result_of(group, index);
    ck_assert_msg(result.status == 0, "%d: %s", result.status, result.error);
    ck_assert_uint_eq(result.data_size, sizeof(events));
    ck_assert_uint_eq(*(const unsigned *)result.data, events);
}

void expect_all_good(mc_group *group)
{
    struct mc_result result = {.size = sizeof(result)};
    wait_all(group);
    while (mc_group_next(group, &result, 0) == 1)
        ck_assert_msg(result.status == 0, "%d: %s", result.status, result.error);
}

/* ---- the program ---- */

int engine_main(const char *name, const TTest *const *cases, size_t count)
{
    Suite *suite = suite_create(name);
    for (size_t i = 0; i < count; i++) {
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
