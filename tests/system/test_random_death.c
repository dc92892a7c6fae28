/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Workers, zygotes and clients that are killed at any instruction, by chance:
 * what can be said of every task then still holds.
 */
#include "tests/system/support.h"

#include "base/clock.h"
#include "pool/pool.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>

enum { ROUNDS = 4, WORKERS = 4, KILLS = 60, BATCH = 200 };

static uint64_t seed;

static uint32_t draw(uint32_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 33) % below;
}

static void choose_seed(void)
{
    const char *given = getenv("TEST_SEED");
    seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL) * 2654435761u + 1;
    printf("TEST_SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout);
}

/* Answers with as many copies of its number as that says, up to 20 kB. */
static int work(mc_task *task)
{
    uint32_t number = number_of(task), *data;
    void *room;
    size_t count = 1 + number * 7 % 5000;
    atomic_fetch_add(&board->runs[number % BOARD_NUMBERS], 1);
    int result = mc_task_reply_alloc(task, count * sizeof(number), &room);
    if (result < 0)
        return result;
    data = room;
    for (size_t i = 0; i < count; i++)
        data[i] = number;
    return 0;
}

static int quick(mc_task *task)
{
    uint32_t number = number_of(task);
    atomic_fetch_add(&board->runs[number % BOARD_NUMBERS], 1);
    return mc_task_reply(task, &number, sizeof(number));
}

/* Has others do part of it; some of them may die. */
static int nested(mc_task *task)
{
    uint32_t number = number_of(task);
    mc_group *group = NULL;
    atomic_fetch_add(&board->runs[number % BOARD_NUMBERS], 1);
    uint32_t elsewhere = BOARD_NUMBERS - 1;
    int status = mc_group_open(mc_task_pool(task), NULL, &group);
    for (int i = 0; status == 0 && i < 3; i++)
        status = mc_group_run(group, "quick", &elsewhere, sizeof(elsewhere));
    if (status == 0)
        status = mc_group_wait(group, BOUND_MS);
    mc_group_close(group);
    return status != 0 ? status : mc_task_reply(task, &number, sizeof(number));
}

static const struct mc_handler handlers[] = {
    {.name = "work", .run = work, .flags = MC_ISOLATED},
    {.name = "quick", .run = quick, .flags = MC_ISOLATED},
    {.name = "nested", .run = nested, .flags = MC_ISOLATED},
};

static mc_pool *pool;

/* In a child: kills one after another, and says how many. */
static void kill_some(pid_t zygote)
{
    for (int i = 0; i < KILLS; i++) {
        pid_t pids[WORKERS];
        pause_us(1000 + draw(4000));
        mc_pool_worker_pids(pool, pids, WORKERS);
        pid_t victim = i == KILLS / 2 ? zygote : pids[draw(WORKERS)];
        if (victim > 0 && kill(victim, SIGKILL) == 0)
            atomic_fetch_add(&board->words[0], 1);
    }
    _exit(0);
}

/* Looks at every result of the group; returns how many workers died of it. */
static size_t check(mc_group *group)
{
    size_t dead = 0;
    for (uint32_t number = 0; number < mc_group_size(group); number++) {
        struct mc_result result = result_of(group, number);
        uint32_t runs = atomic_load(&board->runs[number]);
        const uint32_t *data = result.data;
        dead += result.status == -EOWNERDEAD;
        if (result.status != 0 && result.status != -EOWNERDEAD)
            ck_abort_msg("task %u: %d: %s", number, result.status, result.error);
        if (runs > 1 || (result.status == 0 && runs != 1))
            ck_abort_msg("task %u ran %u times", number, runs);
        for (size_t i = 0; i < result.data_size / sizeof(number); i++)
            if (data[i] != number)
                ck_abort_msg("task %u: word %zu of its result is another's", number, i);
    }
    return dead;
}

/* One batch of tasks of all kinds, collected in one way or the other. */
static size_t one_batch(void)
{
    static const char *const names[] = {"work", "quick", "quick", "nested"};
    struct mc_result result = {.size = sizeof(result)};
    mc_group *group = open_with(
        pool, (struct mc_group_options){.urgent = draw(2) == 0, .max_parallel = draw(3) * 3});
    for (uint32_t number = 0; number < BATCH; number++)
        atomic_store(&board->runs[number], 0);
    for (uint32_t number = 0; number < BATCH; number++)
        run_number(group, names[draw(4)], number);
    size_t seen = 0;
    while (draw(50) != 0 && mc_group_next(group, &result, BOUND_MS) == 1)
        seen++;
    ck_assert_uint_le(seen, BATCH);
    wait_all(group);
    size_t dead = check(group);
    mc_group_close(group);
    return dead;
}

START_TEST(every_death_costs_one_task_at_most)
{
    choose_seed();
    for (int round = 0; round < ROUNDS; round++) {
        board_open();
        struct mc_pool_options options = pool_options(HANDLERS(handlers));
        options.workers = WORKERS;
        options.queue_depth = 64;
        options.max_payload = 1 << 20;
        pool = open_pool(&options);
        struct family family;
        family_find(pool, &family);
        pid_t killer = fork();
        if (killer == 0)
            kill_some(family.zygote);
        (void)draw(round + 1); /* parent and child go their own ways */
        size_t dead = 0, batches = 0;
        while (waitpid(killer, NULL, WNOHANG) == 0) {
            dead += one_batch();
            batches++;
        }
        dead += one_batch(); /* the last to be killed may not be dead yet */
        uint32_t kills = atomic_load(&board->words[0]);
        printf("%zu batches, %u kills, %zu tasks lost\n", batches, kills, dead);
        ck_assert_uint_le(dead, kills);
        family_find(pool, &family); /* all seats are taken again */
        ck_assert_uint_eq(one_batch(), 0);
        expect_quiet(pool);
        mc_pool_close(pool);
        ck_assert(family_await_end(&family, BOUND_MS));
    }
}
END_TEST

/* ---- clients ---- */

enum { CLIENTS = 3, DEATHS = 90 };

/* In a child: groups of all kinds until it is killed. */
static void be_client(void)
{
    for (;;) {
        mc_group *group = NULL;
        struct mc_group_options options = {.size = sizeof(options), .max_parallel = draw(3)};
        uint32_t elsewhere = BOARD_NUMBERS - 1;
        if (mc_group_open(pool, &options, &group) != 0)
            continue; /* its predecessor's lane is not free yet */
        for (uint32_t i = draw(30); i > 0; i--)
            (void)mc_group_run(group, i % 2 == 0 ? "work" : "quick", &elsewhere, sizeof(elsewhere));
        if (draw(3) != 0)
            (void)mc_group_wait(group, (int)draw(20));
        mc_group_close(group);
    }
}

START_TEST(dead_clients_cost_nobody_else_a_task)
{
    choose_seed();
    board_open();
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    options.max_clients = 1 + WORKERS + CLIENTS + 1;
    options.workers = WORKERS;
    options.queue_depth = 64;
    options.max_payload = 1 << 20;
    pool = open_pool(&options);
    pid_t clients[CLIENTS] = {0};
    for (int death = 0; death < DEATHS; death++) {
        pid_t *client = &clients[death % CLIENTS];
        if (*client != 0) {
            kill(*client, SIGKILL);
            (void)await_exit(*client);
        }
        *client = fork();
        if (*client == 0) {
            seed += (uint64_t)death;
            be_client();
        }
        ck_assert_uint_eq(one_batch(), 0);
        pause_us(draw(3000));
    }
    for (int i = 0; i < CLIENTS; i++) {
        kill(clients[i], SIGKILL);
        (void)await_exit(clients[i]);
    }
    ck_assert_uint_eq(one_batch(), 0);
    expect_quiet(pool);
    mc_pool_close(pool);
}
END_TEST

TEST_MAIN(random_death, every_death_costs_one_task_at_most, dead_clients_cost_nobody_else_a_task)
