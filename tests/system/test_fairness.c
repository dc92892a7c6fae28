/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Clients beside each other: their shares of the workers' time, and what becomes of
 * one whose queue is too long.
 */
#include "tests/system/server.h"

#include "base/clock.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    AT_ONCE = 8,
    BESIDE_MS = 1500,
    NOBODY = 65534,
};

struct shared {
    _Atomic uint32_t stop;
    _Atomic uint64_t worked_ms[3]; /* what each client's tasks took */
};

static struct server server;
static struct shared *shared;

static void begin(void)
{
    board_open();
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(shared, MAP_FAILED);
    server_prepare(&server);
    server.options.pool.workers = 1;
}

/* Keeps the worker busy with tasks of its length, and counts them. */
static pid_t start_client_of(int number, unsigned task_ms, uid_t uid, bool urgent)
{
    pid_t child = fork();
    if (child != 0)
        return child;
    if (uid != 0 && setuid(uid) != 0)
        _exit(9);
    mc_pool *pool = attach(&server, NULL, 0);
    while (atomic_load(&shared->stop) == 0) {
        mc_group *group =
            open_with(pool, (struct mc_group_options){.help = MC_HELP_NEVER, .urgent = urgent});
        for (int i = 0; i < AT_ONCE; i++)
            run(group, "doze", &task_ms, sizeof(task_ms));
        wait_all(group);
        mc_group_close(group);
        atomic_fetch_add(&shared->worked_ms[number], AT_ONCE * task_ms);
    }
    mc_pool_close(pool);
    _exit(0);
}

static pid_t start_client(int number, unsigned task_ms, uid_t uid)
{
    return start_client_of(number, task_ms, uid, false);
}

/* How long the tasks of each took while all of them had work; ends them. */
static void run_beside(const pid_t *clients, int count, double *worked)
{
    uint64_t since = clock_ns(), before[3];
    for (int i = 0; i < count; i++)
        while (atomic_load(&shared->worked_ms[i]) == 0 && ms_since(since) < 3 * BOUND_MS)
            pause_us(1000);
    for (int i = 0; i < count; i++)
        before[i] = atomic_load(&shared->worked_ms[i]);
    pause_us(BESIDE_MS * 1000);
    for (int i = 0; i < count; i++)
        worked[i] = (double)(atomic_load(&shared->worked_ms[i]) - before[i]);
    atomic_store(&shared->stop, 1);
    for (int i = 0; i < count; i++)
        ck_assert_int_eq(await_exit(clients[i]), 0);
    ck_assert_double_gt(worked[0], 0);
}

START_TEST(clients_share_time_and_not_turns)
{
    begin();
    server_start(&server);
    pid_t clients[] = {start_client(0, 20, 0), start_client(1, 2, 0)};
    double worked[2];
    run_beside(clients, 2, worked);
    double ratio = worked[1] / worked[0];
    ck_assert_msg(ratio > 0.5 && ratio < 2, "%.2f", ratio);
    server_end(&server);
}
END_TEST

START_TEST(urgent_tasks_take_no_more_than_a_share)
{
    begin();
    server_start(&server);
    pid_t clients[] = {start_client(0, 2, 0), start_client_of(1, 2, 0, true),
                       start_client(2, 2, 0)};
    double worked[3];
    run_beside(clients, 3, worked);
    for (int i = 0; i < 3; i++)
        ck_assert_msg(worked[i] > 0.2 * (worked[0] + worked[1] + worked[2]), "%.0f, %.0f, %.0f",
                      worked[0], worked[1], worked[2]);
    server_end(&server);
}
END_TEST

START_TEST(a_weight_is_a_share)
{
    static const struct serve_weight weights[] = {{.id = NOBODY, .weight = 400}};
    if (getuid() != 0) {
        printf("skipped: only root has clients of two users\n");
        return;
    }
    begin();
    server.options.weights = weights;
    server.options.weight_count = 1;
    ck_assert_int_eq(chmod(server.directory, 0755), 0);
    server_start(&server);
    ck_assert_int_eq(chmod(server.path, 0666), 0);
    pid_t clients[] = {start_client(0, 2, 0), start_client(1, 2, NOBODY)};
    double worked[2];
    run_beside(clients, 2, worked);
    double ratio = worked[1] / worked[0];
    ck_assert_msg(ratio > 2.5 && ratio < 6, "%.2f", ratio);
    server_end(&server);
}
END_TEST

/* ---- a queue that is too long ---- */

static int doze(mc_task *task)
{
    pause_us(20000);
    return 0;
}

static void on_done(mc_group *group, void *context)
{
}

static char why[256]; /* of the last group that was asked */

static enum mc_mode mode_now(mc_pool *pool)
{
    mc_group *group = NULL;
    ck_assert_int_eq(mc_group_open(pool, NULL, &group), 0);
    enum mc_mode mode = mc_group_mode(group);
    snprintf(why, sizeof(why), "%s", mc_group_reason(group));
    mc_group_close(group);
    return mode;
}

static bool await_mode(mc_pool *pool, enum mc_mode mode)
{
    uint64_t since = clock_ns();
    while (mode_now(pool) != mode)
        if (ms_since(since) > BOUND_MS)
            return false;
        else
            pause_us(1000);
    return true;
}

START_TEST(who_waits_too_long_offers_no_more)
{
    static const struct mc_handler handlers[] = {{.name = "doze", .run = doze}};
    const struct mc_group_options loop = {.size = sizeof(loop), .on_done = on_done};
    struct mc_pool_options options = {.size = sizeof(options),
                                      .handlers = handlers,
                                      .handler_count = 1,
                                      .workers = 1,
                                      .max_queue_delay_ms = 60};
    mc_pool *pool = NULL;
    mc_group *group = NULL;
    board_open();
    ck_assert_int_eq(mc_pool_open(&options, &pool), 0);
    ck_assert_int_eq(mode_now(pool), MC_PARALLEL);
    mc_group *queue = open_unhelped(pool);
    for (int i = 0; i < 40; i++)
        run(queue, "doze", NULL, 0);
    ck_assert_msg(await_mode(pool, MC_INLINE), "%s", why);
    ck_assert_ptr_nonnull(strstr(why, "max_queue_delay_ms 60"));
    expect_error(mc_group_open(pool, &loop, &group), -EBUSY, "max_queue_delay_ms");
    pid_t other = fork();
    if (other == 0)
        _exit(mode_now(pool) == MC_PARALLEL ? 0 : 1);
    ck_assert_int_eq(await_exit(other), 0);
    wait_all(queue);
    mc_group_close(queue);
    ck_assert_msg(await_mode(pool, MC_PARALLEL), "%s", why);
    mc_pool_close(pool);
}
END_TEST

TEST_MAIN(fairness, clients_share_time_and_not_turns, urgent_tasks_take_no_more_than_a_share,
          a_weight_is_a_share, who_waits_too_long_offers_no_more)
