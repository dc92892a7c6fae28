/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The hooks of workers, and what happens when they fail.
 */
#include "tests/system/support.h"

#include "base/clock.h"
#include "pool/pool.h"

#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>

struct state {
    uint32_t magic;
    pid_t pid;
};

enum { MAGIC = 0x5ca1ab1e };

/* words[0]: the error to fail with in other processes than the host, if any. */
static pid_t host;

static int init(void *context, void **state)
{
    int error = (int)atomic_load(&board->words[0]);
    board_count(&board->words[1]);
    if (context != &host)
        return -EBADF;
    if (error != 0 && getpid() != host)
        return -error;
    struct state *made = malloc(sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    *made = (struct state){.magic = MAGIC, .pid = getpid()};
    *state = made;
    return 1; /* not negative: not a failure */
}

static void end(void *state)
{
    free(state);
}

static int die_in_init(void *context, void **state)
{
    _exit(9);
}

static int check_state(mc_task *task)
{
    const struct state *state = mc_task_state(task);
    if (state == NULL || state->magic != MAGIC || state->pid != getpid())
        return mc_task_fail(task, -EINVAL, "this is not the state of process %d", (int)getpid());
    return 0;
}

static int blocked(mc_task *task)
{
    board_begin(0);
    gate_pass();
    board_end();
    return 0;
}

static const struct mc_handler handlers[] = {
    {.name = "check", .run = check_state},
    {.name = "isolated", .run = check_state, .flags = MC_ISOLATED},
    {.name = "blocked", .run = blocked, .flags = MC_ISOLATED},
};

static mc_pool *pool;

static struct mc_pool_options begin(void)
{
    board_open();
    host = getpid();
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    options.worker_init = init;
    options.worker_exit = end;
    options.hook_context = &host;
    options.close_timeout_ms = 3000;
    return options;
}

static void kill_workers(void)
{
    pid_t pids[2];
    mc_pool_worker_pids(pool, pids, 2);
    for (int i = 0; i < 2; i++)
        if (pids[i] > 0)
            kill(pids[i], SIGKILL);
}

START_TEST(tasks_have_what_worker_init_made_wherever_they_run)
{
    struct mc_pool_options options = begin();
    pool = open_pool(&options);
    mc_group *group = open_group(pool);
    for (int round = 0; round < 300; round++) {
        run(group, "check", NULL, 0);
        if (round % 5 == 0)
            wait_all(group);
    }
    wait_all(group);
    for (size_t index = 0; index < 300; index++) {
        struct mc_result result = result_of(group, index);
        ck_assert_msg(result.status == 0, "%s", result.error);
    }
    mc_group_close(group);
    mc_pool_close(pool);
}
END_TEST

START_TEST(open_fails_with_what_worker_init_returned)
{
    struct mc_pool_options options = begin();
    unsigned descriptors = open_descriptors();
    atomic_store(&board->words[0], EACCES);
    pool = NULL;
    uint64_t began = clock_ns();
    expect_error(mc_pool_open(&options, &pool), -EACCES, "worker_init returned -13");
    ck_assert_double_lt(ms_since(began), 5000);
    ck_assert_ptr_null(pool);
    ck_assert_uint_eq(open_descriptors(), descriptors);
    ck_assert_uint_eq(mapped_memfds(), 0);
    ck_assert_uint_ge(atomic_load(&board->words[1]), 2); /* every worker tried */
}
END_TEST

START_TEST(open_fails_when_workers_die_in_worker_init)
{
    struct mc_pool_options options = begin();
    options.worker_init = die_in_init;
    pool = NULL;
    ck_assert_int_lt(mc_pool_open(&options, &pool), 0);
    ck_assert_str_ne(mc_error_message(), "");
    ck_assert_ptr_null(pool);
}
END_TEST

/* Kills all workers while no successor can start. */
static void lose_workers(void)
{
    ck_assert(await_workers(pool, BOUND_MS));
    atomic_store(&board->words[0], ENOSPC);
    kill_workers();
}

START_TEST(tasks_that_may_run_here_do_when_no_worker_can_start)
{
    struct mc_pool_options options = begin();
    pool = open_pool(&options);
    lose_workers();
    mc_group *group = open_group(pool);
    for (int i = 0; i < 20; i++)
        run(group, "check", NULL, 0);
    wait_all(group);
    for (size_t index = 0; index < 20; index++) {
        struct mc_result result = result_of(group, index);
        ck_assert_msg(result.status == 0, "%s", result.error);
        ck_assert_int_eq(result.worker_pid, host);
    }
    mc_group_close(group);
    mc_pool_close(pool);
}
END_TEST

START_TEST(isolated_tasks_end_with_an_error_when_no_worker_can_start)
{
    struct mc_pool_options options = begin();
    pool = open_pool(&options);
    lose_workers();
    mc_group *group = open_group(pool);
    for (int i = 0; i < 5; i++)
        run(group, "isolated", NULL, 0);
    wait_all(group);
    for (size_t index = 0; index < 5; index++) {
        struct mc_result result = result_of(group, index);
        ck_assert_int_eq(result.status, -EOWNERDEAD);
        ck_assert_ptr_nonnull(strstr(result.error, "'isolated'"));
    }
    mc_group_close(group);
    mc_pool_close(pool);
}
END_TEST

static unsigned reported;

static void count_done(mc_group *group, void *context)
{
    reported++;
}

START_TEST(an_event_loop_learns_that_no_worker_can_start)
{
    struct mc_pool_options options = begin();
    pool = open_pool(&options);
    lose_workers();
    mc_group *group = open_with(pool, (struct mc_group_options){.on_done = count_done});
    run(group, "isolated", NULL, 0);
    uint64_t began = clock_ns();
    while (reported == 0 && ms_since(began) < 5000) {
        ck_assert_int_ge(mc_pool_dispatch(pool), 0);
        pause_us(1000);
    }
    ck_assert_uint_eq(reported, 1);
    ck_assert_int_eq(result_of(group, 0).status, -EOWNERDEAD);
    mc_group_close(group);
    mc_pool_close(pool);
}
END_TEST

static void await_hopeless(void)
{
    for (uint64_t began = clock_ns(); atomic_load(&pool->control->hopeless) == 0;) {
        ck_assert_double_lt(ms_since(began), BOUND_MS);
        pause_us(100);
    }
}

/* Nobody waits for the tasks that fill the lane. */
START_TEST(a_lane_full_of_tasks_that_no_worker_will_run_makes_room)
{
    const char *const names[] = {"isolated", "check"};
    struct mc_pool_options options = begin();
    options.queue_depth = 16;
    pool = open_pool(&options);
    lose_workers();
    await_hopeless();
    for (int i = 0; i < 2; i++) {
        mc_group *full = open_unhelped(pool), *group = open_unhelped(pool);
        for (int j = 0; j < 16; j++)
            run(full, names[i], NULL, 0);
        alarm(BOUND_MS / 1000);
        run(group, "check", NULL, 0);
        alarm(0);
        wait_all(group);
        wait_all(full);
        ck_assert_uint_eq(failures(group), 0);
        ck_assert_uint_eq(failures(full), i == 0 ? 16 : 0);
        mc_group_close(group);
        mc_group_close(full);
    }
    mc_pool_close(pool);
}
END_TEST

/* Until there is a worker for it. */
static void try_again(mc_group *group, void *context)
{
    int *status = context;
    reported++;
    *status = result_of(group, mc_group_size(group) - 1).status;
    if (*status == -EOWNERDEAD)
        run(group, "isolated", NULL, 0);
}

static void dispatch_once(void)
{
    struct pollfd ready = {.fd = mc_pool_fd(pool), .events = POLLIN};
    ck_assert_int_eq(poll(&ready, 1, BOUND_MS), 1);
    ck_assert_int_ge(mc_pool_dispatch(pool), 0);
}

START_TEST(an_event_loop_may_try_again_until_workers_can_start)
{
    struct mc_pool_options options = begin();
    pool = open_pool(&options);
    int status = -EAGAIN;
    ck_assert_int_ge(mc_pool_fd(pool), 0);
    lose_workers();
    await_hopeless();
    alarm(BOUND_MS / 1000); /* dispatch returns */
    mc_group *group =
        open_with(pool, (struct mc_group_options){.on_done = try_again, .context = &status});
    run(group, "isolated", NULL, 0);
    while (reported < 3)
        dispatch_once();
    ck_assert_int_eq(status, -EOWNERDEAD);
    atomic_store(&board->words[0], 0);
    while (status == -EOWNERDEAD)
        dispatch_once();
    ck_assert_int_eq(status, 0);
    mc_group_close(group);
    mc_pool_close(pool);
}
END_TEST

/* As when a worker was quicker than the supervisor, which is yet to say that there is one. */
static int dispatch_hopeless(void)
{
    const struct control *control = pool->control;
    struct control *copy;
    ck_assert_int_eq(posix_memalign((void **)&copy, PAGE_SIZE_BYTES, pool->control_bytes), 0);
    memcpy((void *)copy, (const void *)control, pool->control_bytes);
    atomic_store(&copy->hopeless, 1u << SEAT_CPU);
    pool->control = copy;
    int result = mc_pool_dispatch(pool);
    pool->control = control;
    free(copy);
    return result;
}

START_TEST(a_task_that_a_worker_has_begun_is_not_lost_for_want_of_workers)
{
    struct mc_pool_options options = begin();
    pool = open_pool(&options);
    uint32_t slots = pool->client.free_count;
    mc_group *group = open_with(pool, (struct mc_group_options){.on_done = count_done});
    run(group, "blocked", NULL, 0);
    ck_assert(board_await(&board->started, 1, BOUND_MS));
    ck_assert_int_eq(dispatch_hopeless(), 0);
    gate_open();
    for (uint64_t began = clock_ns(); reported == 0; pause_us(1000)) {
        ck_assert_double_lt(ms_since(began), BOUND_MS);
        ck_assert_int_ge(mc_pool_dispatch(pool), 0);
    }
    ck_assert_int_eq(result_of(group, 0).status, 0);
    ck_assert_uint_eq(pool->client.free_count, slots);
    mc_group_close(group);
    mc_pool_close(pool);
}
END_TEST

START_TEST(a_running_task_fails_alone_when_its_worker_gets_no_successor)
{
    struct mc_pool_options options = begin();
    pool = open_pool(&options);
    mc_group *group = open_unhelped(pool);
    run(group, "blocked", NULL, 0);
    run(group, "blocked", NULL, 0);
    run(group, "check", NULL, 0);
    ck_assert(board_await(&board->started, 2, BOUND_MS));
    lose_workers();
    wait_all(group);
    ck_assert_int_eq(result_of(group, 0).status, -EOWNERDEAD);
    ck_assert_int_eq(result_of(group, 1).status, -EOWNERDEAD);
    ck_assert_int_eq(result_of(group, 2).status, 0);
    mc_group_close(group);
    mc_pool_close(pool);
}
END_TEST

START_TEST(the_pool_recovers_when_workers_can_start_again)
{
    struct mc_pool_options options = begin();
    pool = open_pool(&options);
    lose_workers();
    await_hopeless();
    atomic_store(&board->words[0], 0);
    uint64_t began = clock_ns();
    ck_assert(await_workers(pool, BOUND_MS));
    printf("recovered after %.1f ms\n", ms_since(began));
    mc_group *group = open_unhelped(pool);
    for (int i = 0; i < 20; i++)
        run(group, "isolated", NULL, 0);
    wait_all(group);
    ck_assert_uint_eq(failures(group), 0);
    mc_group_close(group);
    mc_pool_close(pool);
}
END_TEST

START_TEST(a_pool_without_workers_closes_at_once)
{
    struct mc_pool_options options = begin();
    pool = open_pool(&options);
    lose_workers();
    mc_group *group = open_group(pool);
    run(group, "check", NULL, 0);
    run(group, "isolated", NULL, 0);
    wait_all(group);
    mc_group_close(group);
    uint64_t began = clock_ns();
    mc_pool_close(pool);
    ck_assert_msg(ms_since(began) < 1500, "it took %.0f ms", ms_since(began));
}
END_TEST

START_TEST(a_hook_that_fails_here_fails_inline_tasks_only)
{
    struct mc_pool_options options = begin();
    pool = open_pool(&options);
    lose_workers();
    host = 0; /* now here too */
    mc_group *group = open_group(pool);
    run(group, "check", NULL, 0);
    wait_all(group);
    struct mc_result result = result_of(group, 0);
    ck_assert_int_eq(result.status, -ENOSPC);
    ck_assert_str_ne(result.error, "");
    mc_group_close(group);
    mc_pool_close(pool);
}
END_TEST

/* A user who may have so many processes, and has none yet. Only root can become one. */
static void become_somebody(rlim_t processes)
{
    enum { SOMEBODY = 65531 };
    const struct rlimit few = {processes, processes};
    if (setrlimit(RLIMIT_NPROC, &few) < 0 || setgroups(0, NULL) < 0 || setgid(SOMEBODY) < 0 ||
        setuid(SOMEBODY) < 0)
        _exit(77);
}

START_TEST(open_fails_when_no_worker_can_be_forked)
{
    board_open();
    if (geteuid() != 0)
        fprintf(stderr, "not root: left out\n");
    for (rlim_t processes = 3; geteuid() == 0 && processes <= 4; processes++) {
        pid_t child = fork();
        if (child == 0) {
            mc_pool *none;
            struct mc_pool_options options = pool_options(HANDLERS(handlers));
            become_somebody(processes); /* supervisor and zygote, and perhaps who forks that */
            options.workers = 1;
            int result = mc_pool_open(&options, &none);
            _exit(result == -EAGAIN || result == 0 ? 0 : 1);
        }
        ck_assert_int_eq(await_exit(child), 0);
    }
}
END_TEST

TEST_MAIN(worker_init, tasks_have_what_worker_init_made_wherever_they_run,
          open_fails_with_what_worker_init_returned, open_fails_when_workers_die_in_worker_init,
          tasks_that_may_run_here_do_when_no_worker_can_start,
          isolated_tasks_end_with_an_error_when_no_worker_can_start,
          a_lane_full_of_tasks_that_no_worker_will_run_makes_room,
          an_event_loop_learns_that_no_worker_can_start,
          an_event_loop_may_try_again_until_workers_can_start,
          a_task_that_a_worker_has_begun_is_not_lost_for_want_of_workers,
          a_running_task_fails_alone_when_its_worker_gets_no_successor,
          the_pool_recovers_when_workers_can_start_again, a_pool_without_workers_closes_at_once,
          a_hook_that_fails_here_fails_inline_tasks_only, open_fails_when_no_worker_can_be_forked)
