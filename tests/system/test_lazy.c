/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Lazy modules: loaded for their first task, once; who waits for that, and who does not;
 * what becomes of the tasks if it fails, and of those whose client or whose zygote dies.
 */
#include "tests/system/server.h"

#include "base/clock.h"

#include <signal.h>
#include <stdlib.h>

/* "front" is there from the beginning; "late" requires "deep". */
enum { NODES = 3 };
static const char *const nodes[NODES] = {"front", "late", "deep"};
enum { CONFIGURE, LOAD, READY, WORKER_INIT, PHASES };
static const char *const phases[PHASES] = {"configure", "load", "ready", "worker_init"};

static struct setting settings[2][NODES][1]; /* at first, and after a reload */
static struct module_spec specs[2][NODES];
static char paths[NODES][256];
static struct serve_options fresh;
static struct server server;

static _Atomic uint32_t *count_of(unsigned node, unsigned phase)
{
    return &board->words[node * PHASES + phase];
}

void lazy_note(const char *module, const char *phase);
void lazy_note(const char *module, const char *phase)
{
    for (unsigned node = 0; node < NODES; node++)
        for (unsigned i = 0; i < PHASES; i++)
            if (strcmp(nodes[node], module) == 0 && strcmp(phases[i], phase) == 0)
                board_count(count_of(node, i));
}

static void prepare(void)
{
    board_open();
    server_prepare(&server);
    for (int i = 0; i < NODES; i++) {
        snprintf(paths[i], sizeof(paths[i]), "%s/%s.so", TEST_LAZY, nodes[i]);
        for (int which = 0; which < 2; which++) {
            settings[which][i][0] = (struct setting){"nothing", ""};
            specs[which][i] = (struct module_spec){.path = paths[i],
                                                   .settings = settings[which][i],
                                                   .setting_count = 1,
                                                   .lazy = i > 0};
        }
    }
    server.options.pool.io_workers = 1;
    server.options.modules = specs[0];
    server.options.module_count = NODES;
    fresh = server.options;
    fresh.modules = specs[1];
}

static void set(unsigned node, char *key, char *value)
{
    settings[0][node][0] = (struct setting){key, value};
}

static mc_pool *begin(void)
{
    fresh.listener = server.options.listener;
    server.fresh = &fresh;
    server_start(&server);
    return attach(&server, NULL, 0);
}

static void finish(mc_pool *pool)
{
    mc_pool_close(pool);
    server_end(&server);
}

static void expect_counts(unsigned node, uint32_t configure, uint32_t load, uint32_t ready)
{
    ck_assert_uint_eq(atomic_load(count_of(node, CONFIGURE)), configure);
    ck_assert_uint_eq(atomic_load(count_of(node, LOAD)), load);
    ck_assert_uint_eq(atomic_load(count_of(node, READY)), ready);
}

/* What the handler answers: how often its module was loaded in that process. */
static int ask_for(mc_pool *pool, const char *handler, const char *args)
{
    mc_group *group = open_unhelped(pool);
    run(group, handler, args, strlen(args) + 1);
    wait_all(group);
    struct mc_result result = result_of(group, 0);
    ck_assert_msg(result.status == 0, "%s: %d %s", handler, result.status, result.error);
    int loads = *(const int *)result.data;
    mc_group_close(group);
    return loads;
}

static int ask(mc_pool *pool, const char *handler)
{
    return ask_for(pool, handler, "");
}

/* So many tasks at once, of these two handlers in turn. */
static mc_group *offer(mc_pool *pool, int count, const char *even, const char *odd)
{
    mc_group *group = open_unhelped(pool);
    for (int i = 0; i < count; i++)
        run(group, i % 2 == 0 ? even : odd, NULL, 0);
    ck_assert_int_eq(mc_group_wait(group, 0), -ETIMEDOUT);
    return group;
}

static void expect_success(mc_group *group)
{
    wait_all(group);
    ck_assert_uint_eq(failures(group), 0);
    mc_group_close(group);
}

static void expect_failure(mc_pool *pool, const char *handler, const char *args, int status,
                           const char *words)
{
    mc_group *group = open_unhelped(pool);
    run(group, handler, args, strlen(args) + 1);
    wait_all(group);
    struct mc_result result = result_of(group, 0);
    ck_assert_int_eq(result.status, status);
    ck_assert_msg(strstr(result.error, words) != NULL, "%s", result.error);
    mc_group_close(group);
}

/* ---- once, and for whom ---- */

START_TEST(it_is_loaded_for_its_first_task_and_only_once)
{
    prepare();
    mc_pool *pool = begin();
    for (int i = 0; i < 50; i++)
        ck_assert_int_eq(ask(pool, "front"), 1);
    expect_counts(0, 1, 1, 1);
    expect_counts(1, 0, 0, 0);
    expect_counts(2, 0, 0, 0);
    mc_group *group = offer(pool, 50, "late", "late");
    expect_success(offer(pool, 50, "deep", "late"));
    expect_success(group);
    for (unsigned node = 0; node < NODES; node++)
        expect_counts(node, 1, 1, 1);
    for (int i = 0; i < 50; i++)
        ck_assert_int_eq(ask(pool, i % 2 == 0 ? "late" : "late/io"), 1);
    /* The I/O worker stays, and has it for itself. */
    expect_counts(0, 1, 1, 1);
    expect_counts(1, 2, 2, 2);
    expect_counts(2, 2, 2, 2);
    finish(pool);
}
END_TEST

START_TEST(what_others_require_is_not_left_for_later)
{
    prepare();
    specs[0][1].lazy = false; /* "late", which requires "deep" */
    mc_pool *pool = begin();
    for (unsigned node = 0; node < NODES; node++)
        expect_counts(node, 1, 1, 1);
    ck_assert_int_eq(ask(pool, "deep"), 1);
    finish(pool);
}
END_TEST

START_TEST(the_tasks_of_others_do_not_wait_for_it)
{
    prepare();
    set(1, "slow-ms", "500");
    mc_pool *pool = begin();
    mc_group *group = offer(pool, 40, "late", "late");
    unsigned answered = 0;
    while (atomic_load(count_of(1, LOAD)) == 0) {
        ck_assert_int_eq(ask(pool, "front"), 1);
        answered++;
    }
    ck_assert_uint_ge(answered, 20);
    expect_success(group);
    expect_counts(1, 1, 1, 1);
    finish(pool);
}
END_TEST

START_TEST(a_full_lane_of_tasks_that_wait_for_it_is_worked_off)
{
    prepare();
    server.options.pool.queue_depth = fresh.pool.queue_depth = 4096;
    set(1, "slow-ms", "100");
    mc_pool *pool = begin();
    expect_success(offer(pool, 6000, "late", "late/io"));
    expect_counts(1, 2, 2, 2);
    finish(pool);
}
END_TEST

/* Tasks that go on until the group is closed. */
static mc_group *occupy(mc_pool *pool, const char *handler)
{
    mc_group *group = open_unhelped(pool);
    run(group, handler, NULL, 0);
    ck_assert_int_eq(mc_group_wait(group, 50), -ETIMEDOUT);
    return group;
}

START_TEST(a_worker_that_is_busy_for_long_holds_up_no_other)
{
    prepare();
    mc_pool *pool = begin();
    mc_group *long_one = occupy(pool, "front/hold");
    ck_assert_int_eq(ask(pool, "late"), 1);
    ck_assert_int_eq(mc_group_wait(long_one, 0), -ETIMEDOUT);
    mc_group_close(long_one);
    finish(pool);
}
END_TEST

START_TEST(tasks_that_wait_in_an_io_worker_hold_up_no_other)
{
    prepare();
    mc_pool *pool = begin();
    mc_group *waits = occupy(pool, "front/hold-waiting");
    ck_assert_int_eq(ask(pool, "late"), 1);
    ck_assert_int_eq(ask(pool, "front/io"), 1);
    ck_assert_int_eq(ask(pool, "late/io"), 1);
    ck_assert_int_eq(mc_group_wait(waits, 0), -ETIMEDOUT);
    mc_group_close(waits);
    finish(pool);
}
END_TEST

START_TEST(many_that_waited_for_it_leave_others_their_turn)
{
    prepare();
    set(1, "slow-ms", "50");
    mc_pool *pool = begin();
    mc_group *group = offer(pool, 2000, "late/doze", "late/doze");
    ck_assert(board_await(count_of(1, WORKER_INIT), 1, BOUND_MS));
    mc_pool *other = attach(&server, NULL, 0);
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(ask(other, "front"), 1);
    ck_assert_int_eq(mc_group_wait(group, 0), -ETIMEDOUT);
    mc_pool_close(other);
    expect_success(group);
    finish(pool);
}
END_TEST

START_TEST(a_handler_that_has_a_task_of_it_can_run_that_itself)
{
    prepare();
    server.options.pool.workers = fresh.pool.workers = 1;
    mc_pool *pool = begin();
    ck_assert_int_eq(ask_for(pool, "front/ask", "late"), 1);
    ck_assert_int_eq(ask(pool, "late"), 1);
    finish(pool);
    prepare();
    server.options.pool.workers = fresh.pool.workers = 1;
    pool = begin(); /* not itself: that takes an I/O worker */
    ck_assert_int_eq(ask_for(pool, "front/ask", "late/io"), 1);
    finish(pool);
}
END_TEST

START_TEST(a_reload_leaves_it_for_later_again)
{
    prepare();
    mc_pool *pool = begin();
    ck_assert_int_eq(ask(pool, "late"), 1);
    kill(server.pid, SIGHUP);
    ck_assert(server_await(&server, SERVE_RELOADED, 1));
    expect_counts(0, 2, 2, 2);
    expect_counts(1, 1, 1, 1);
    ck_assert_int_eq(ask(pool, "late"), 1);
    expect_counts(1, 2, 2, 2);
    finish(pool);
}
END_TEST

START_TEST(a_zygote_that_dies_later_is_followed_by_one_that_has_it)
{
    prepare();
    mc_pool *pool = begin();
    ck_assert_int_eq(ask(pool, "late"), 1);
    pause_us(50000); /* the older one goes when the last worker has changed */
    end_process(server_zygote(&server, 0));
    ck_assert(board_await(count_of(1, LOAD), 2, BOUND_MS));
    end_process(child_named(server.pid, "mc-worker/0", 0));
    end_process(child_named(server.pid, "mc-worker/1", 0));
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(ask(pool, "late"), 1);
    expect_counts(1, 2, 2, 2);
    finish(pool);
}
END_TEST

/* ---- when it fails ---- */

static void expect_blame(char *key, char *phase, int status, const char *words)
{
    prepare();
    set(2, key, phase); /* "deep", which "late" requires */
    mc_pool *pool = begin();
    mc_group *group = offer(pool, 40, "late", "late/io");
    wait_all(group);
    for (size_t i = 0; i < 40; i++) {
        struct mc_result result = result_of(group, i);
        ck_assert_int_eq(result.status, status);
        ck_assert_msg(strstr(result.error, words) != NULL, "%s", result.error);
    }
    mc_group_close(group);
    ck_assert_int_eq(ask(pool, "front"), 1);
    expect_failure(pool, "late", "", status, words);
    /* A set-up without the mistake. */
    kill(server.pid, SIGHUP);
    ck_assert(server_await(&server, SERVE_RELOADED, 1));
    ck_assert_int_eq(ask(pool, "late"), 1);
    finish(pool);
}

START_TEST(one_that_refuses_fails_its_tasks_with_its_words)
{
    expect_blame("refuse", "load", -EPERM, "module 'deep': load: told to refuse");
    expect_blame("refuse", "worker_init", -EIO, "module 'deep': told to refuse");
}
END_TEST

START_TEST(one_that_crashes_fails_its_tasks_and_nothing_else)
{
    expect_blame("crash", "configure", -EIO,
                 "(Segmentation fault): module 'deep' was in configure");
    expect_blame("crash", "worker_init", -EIO, "in worker_init of module 'deep'");
}
END_TEST

/* The heir in whose worker_init it happens may have the seat by then. */
START_TEST(one_that_fails_in_the_only_worker_leaves_the_pool_as_it_was)
{
    prepare();
    server.options.pool.workers = fresh.pool.workers = 1;
    set(0, "slow-init-ms", "200");
    set(2, "refuse", "worker_init");
    mc_pool *pool = begin();
    ck_assert(board_await(count_of(0, WORKER_INIT), 2, BOUND_MS)); /* the I/O worker's, too */
    mc_group *group = offer(pool, 20, "late", "late");
    ck_assert(board_await(count_of(0, WORKER_INIT), 3, BOUND_MS));
    end_process(child_named(server.pid, "mc-worker/0", 0));
    wait_all(group);
    ck_assert_uint_eq(failures(group), 20);
    mc_group_close(group);
    ck_assert_int_eq(ask(pool, "front"), 1);
    expect_failure(pool, "late", "", -EIO, "module 'deep': told to refuse");
    finish(pool);
}
END_TEST

START_TEST(a_handler_that_needs_one_that_refuses_is_told)
{
    prepare();
    set(1, "refuse", "load");
    mc_pool *pool = begin();
    expect_failure(pool, "front/ask", "late", -EPERM, "module 'late': load: told to refuse");
    ck_assert_int_eq(ask(pool, "front"), 1);
    finish(pool);
}
END_TEST

/* ---- deaths, and other ends ---- */

START_TEST(a_process_that_dies_while_it_loads_is_followed_by_another)
{
    prepare();
    set(1, "slow-ms", "300");
    mc_pool *pool = begin();
    pid_t zygote = server_zygote(&server, 0);
    mc_group *group = offer(pool, 20, "late", "late");
    for (uint32_t deaths = 0; deaths < 2; deaths++) {
        ck_assert(board_await(count_of(1, CONFIGURE), deaths + 1, BOUND_MS));
        end_process(server_zygote(&server, zygote));
    }
    expect_success(group);
    finish(pool);
}
END_TEST

START_TEST(the_death_of_the_zygote_meanwhile_loses_nothing)
{
    prepare();
    set(1, "slow-ms", "200");
    mc_pool *pool = begin();
    pid_t zygote = server_zygote(&server, 0);
    mc_group *group = offer(pool, 20, "late", "late");
    ck_assert(board_await(count_of(1, CONFIGURE), 1, BOUND_MS));
    end_process(zygote);
    expect_success(group);
    finish(pool);
}
END_TEST

START_TEST(a_zygote_that_is_late_to_follow_takes_nothing_over)
{
    prepare();
    set(0, "slow-ms", "400"); /* in a zygote that begins anew */
    set(2, "slow-ms", "200");
    mc_pool *pool = begin();
    pid_t zygote = server_zygote(&server, 0);
    mc_group *group = offer(pool, 20, "deep", "deep");
    ck_assert(board_await(count_of(2, CONFIGURE), 1, BOUND_MS));
    end_process(zygote);
    expect_success(group);
    ck_assert_int_eq(ask(pool, "late"), 1);
    pause_us(500000);
    ck_assert_int_eq(ask(pool, "late"), 1);
    ck_assert_uint_eq(atomic_load(&server.told->events[SERVE_RELOADED]), 0);
    ck_assert_uint_eq(atomic_load(&server.told->events[SERVE_KEPT]), 0);
    finish(pool);
}
END_TEST

START_TEST(the_death_of_workers_meanwhile_loses_nothing)
{
    prepare();
    set(1, "slow-ms", "200");
    mc_pool *pool = begin();
    mc_group *group = offer(pool, 200, "late", "late/io");
    for (int i = 0; i < 10; i++) {
        char name[16];
        snprintf(name, sizeof(name), "mc-worker/%d", i % 3);
        pid_t worker = child_named(server.pid, name, 0);
        if (worker != 0)
            kill(worker, SIGKILL);
        pause_us(10000);
    }
    wait_all(group);
    for (size_t i = 0; i < 200; i++) { /* one that had begun ends with its worker */
        int status = result_of(group, i).status;
        ck_assert(status == 0 || status == -EOWNERDEAD);
    }
    mc_group_close(group);
    finish(pool);
}
END_TEST

START_TEST(who_cancels_or_leaves_does_not_wait_for_it)
{
    prepare();
    set(1, "slow-ms", "1000");
    mc_pool *pool = begin();
    pid_t child = fork();
    if (child == 0) { /* its tasks are kept, and then it is gone */
        mc_pool *own;
        mc_group *group;
        if (mc_pool_attach(server.path, NULL, &own) < 0 || mc_group_open(own, NULL, &group) < 0 ||
            mc_group_run(group, "late", NULL, 0) < 0)
            _exit(1);
        (void)mc_group_wait(group, 100);
        raise(SIGKILL);
    }
    await_exit(child);
    uint64_t began = clock_ns();
    mc_group *group = open_unhelped(pool);
    run(group, "late", NULL, 0);
    ck_assert_int_eq(mc_group_wait(group, 20), -ETIMEDOUT);
    ck_assert_int_eq(mc_group_cancel(group), 1);
    wait_all(group);
    ck_assert_int_eq(result_of(group, 0).status, -ECANCELED);
    ck_assert(ms_since(began) < 800 || atomic_load(count_of(1, LOAD)) == 0);
    mc_group_close(group);
    ck_assert_int_eq(ask(pool, "late"), 1);
    finish(pool);
}
END_TEST

START_TEST(a_pool_that_drains_runs_what_it_has_accepted)
{
    prepare();
    set(1, "slow-ms", "200");
    mc_pool *pool = begin();
    mc_group *group = offer(pool, 20, "late", "late");
    ck_assert(board_await(count_of(1, CONFIGURE), 1, BOUND_MS));
    kill(server.pid, SIGTERM);
    expect_success(group);
    mc_pool_close(pool);
    ck_assert_int_eq(await_exit(server.pid), 0);
    server_remove(&server);
}
END_TEST

TEST_MAIN(lazy, it_is_loaded_for_its_first_task_and_only_once,
          what_others_require_is_not_left_for_later, the_tasks_of_others_do_not_wait_for_it,
          a_full_lane_of_tasks_that_wait_for_it_is_worked_off,
          a_worker_that_is_busy_for_long_holds_up_no_other,
          tasks_that_wait_in_an_io_worker_hold_up_no_other,
          many_that_waited_for_it_leave_others_their_turn,
          a_handler_that_has_a_task_of_it_can_run_that_itself, a_reload_leaves_it_for_later_again,
          a_zygote_that_dies_later_is_followed_by_one_that_has_it,
          one_that_refuses_fails_its_tasks_with_its_words,
          one_that_crashes_fails_its_tasks_and_nothing_else,
          one_that_fails_in_the_only_worker_leaves_the_pool_as_it_was,
          a_handler_that_needs_one_that_refuses_is_told,
          a_process_that_dies_while_it_loads_is_followed_by_another,
          the_death_of_the_zygote_meanwhile_loses_nothing,
          a_zygote_that_is_late_to_follow_takes_nothing_over,
          the_death_of_workers_meanwhile_loses_nothing, who_cancels_or_leaves_does_not_wait_for_it,
          a_pool_that_drains_runs_what_it_has_accepted)
