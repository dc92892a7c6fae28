/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Clients whose tasks wait in the same I/O worker as those of others: whatever they do to
 * their own, these go on waiting, and end.
 */
#include "tests/system/hostile.h"

#include "base/clock.h"
#include "ipc/slot.h"
#include "ipc/wake.h"
#include "pool/pool.h"

#include <signal.h>
#include <sys/wait.h>

enum {
    IO_SEAT = 2, /* behind two for computing */
    VICTIMS = 200,
    WAIT_MS = 3000, /* so long the tasks of the other client wait */
};

struct wish {
    unsigned wait_ms, spend_ms;
};

static mc_pool *pool;
static mc_group *victims;
static pid_t io_worker;

static uint32_t waiting(void)
{
    return atomic_load(&control_book(behind(pool)->control, IO_SEAT)->waiting);
}

static void await_waiting(uint32_t least)
{
    for (uint64_t began = clock_ns(); waiting() < least && ms_since(began) < BOUND_MS;)
        pause_us(1000);
    ck_assert_uint_ge(waiting(), least);
}

/* A task that has waited is being called. */
static void await_call(void)
{
    const struct seat_row *row = &behind(pool)->control->rows[IO_SEAT];
    for (uint64_t began = clock_ns(); ms_since(began) < BOUND_MS; pause_us(1000))
        if (waiting() != 0 && atomic_load(&row->run_count) != 0)
            return;
    ck_abort_msg("no task is called back");
}

static pid_t present_worker(void)
{
    return atomic_load(&behind(pool)->control->rows[IO_SEAT].pid);
}

static void prepare(void)
{
    board_open();
    server_prepare(&server);
    server.module.path = TEST_MODULE_3;
    server.options.pool.io_workers = 1;
}

/* Tasks of ours wait in the I/O worker. */
static void begin_with(unsigned wait_ms)
{
    hostile_start();
    pool = attach(&server, NULL, 0);
    victims = open_unhelped(pool);
    struct wish wish = {wait_ms, 0};
    for (int i = 0; i < VICTIMS; i++)
        run(victims, "linger", &wish, sizeof(wish));
    await_waiting(VICTIMS);
    io_worker = present_worker();
}

static void begin(unsigned wait_ms)
{
    prepare();
    begin_with(wait_ms);
}

/* They end well, and so do others after them, in the same worker. */
static void finish(void)
{
    struct wish wish = {1, 0};
    run(victims, "linger", &wish, sizeof(wish));
    wait_all(victims);
    ck_assert_uint_eq(failures(victims), 0);
    ck_assert_int_eq(present_worker(), io_worker);
    mc_group_close(victims);
    mc_pool_close(pool);
    server_end(&server);
}

/* ---- what the hostile process does ---- */

static mc_pool *join(void)
{
    mc_pool *own;
    if (geteuid() == 0)
        become(NOBODY, NULL, 0);
    if (mc_pool_attach(server.path, NULL, &own) < 0 || !mc_pool_connected(own))
        _exit(1);
    return own;
}

static mc_group *submit(mc_pool *own, const struct mc_group_options *options, unsigned count,
                        struct wish wish)
{
    mc_group *group;
    if (mc_group_open(own, options, &group) < 0)
        _exit(2);
    for (unsigned i = 0; i < count; i++)
        if (mc_group_run(group, "linger", &wish, sizeof(wish)) < 0)
            _exit(3);
    return group;
}

/* Its tasks ask for the death of their worker, in the lane. */
static void mark_own_tasks(void)
{
    mc_pool *own = join();
    const struct lane *lane = &behind(own)->client.lane;
    for (int round = 0; round < 20; round++) {
        mc_group *group = submit(own, NULL, 20, (struct wish){20, 0});
        for (uint64_t began = clock_ns(); ms_since(began) < 15; pause_us(500))
            for (uint32_t i = 0; i < lane->geometry->slot_count; i++)
                if (slot_state(slot_load(&lane->slots[i].word)) == SLOT_RUNNING)
                    atomic_fetch_or(&lane->slots[i].word, (uint64_t)SLOT_KILL << 4);
        (void)mc_group_wait(group, BOUND_MS);
        mc_group_close(group);
    }
    _exit(0);
}

/* It does so by the library, while they are being called. */
static void kill_own_tasks(void)
{
    mc_pool *own = join();
    for (int round = 0; round < 20; round++) {
        mc_group *group = submit(own, NULL, 1, (struct wish){1, 30});
        pause_us(10000); /* it is being called */
        (void)mc_group_kill(group);
        if (mc_group_wait(group, BOUND_MS) < 0)
            _exit(4);
        mc_group_close(group);
    }
    _exit(0);
}

/* Its limits are shorter than one call of its tasks takes. */
static void limit_own_tasks(void)
{
    const struct mc_group_options options = {.size = sizeof(options), .time_limit_ms = 5};
    struct mc_result result = {.size = sizeof(result)};
    mc_pool *own = join();
    mc_group *group = submit(own, &options, 4, (struct wish){1, 100});
    struct wish wish = {60000, 0};
    if (mc_group_run(group, "linger", &wish, sizeof(wish)) < 0 ||
        mc_group_wait(group, BOUND_MS) < 0 || mc_group_result(group, 4, &result) < 0)
        _exit(4);
    _exit(result.status == -ETIMEDOUT ? 0 : 5); /* the limit counts, while it waits */
}

/* Which the module has set. */
static void exceed_the_handlers_limit(void)
{
    struct mc_result result = {.size = sizeof(result)};
    mc_pool *own = join();
    mc_group *group = submit(own, NULL, 0, (struct wish){0, 0});
    struct wish wish = {1, 1500};
    if (mc_group_run(group, "linger-limited", &wish, sizeof(wish)) < 0 ||
        mc_group_wait(group, BOUND_MS) < 0 || mc_group_result(group, 0, &result) < 0)
        _exit(4);
    _exit(result.status == -ETIMEDOUT && result.worker_pid != 0 ? 0 : 5);
}

/* It writes over all that it can, while its tasks wait and are called, and dies of it. */
static void spoil_own_lane(void)
{
    static char bytes[3000];
    mc_pool *own = join();
    struct lane *lane = &behind(own)->client.lane;
    uint8_t *bells = (uint8_t *)behind(own)->bells;
    mc_group *group = submit(own, NULL, 20, (struct wish){60000, 0});
    draw_from((uint32_t)getpid());
    for (unsigned i = 0; i < 50; i++) {
        memcpy(bytes, &(struct wish){draw() % 40, 0}, sizeof(struct wish));
        (void)mc_group_run(group, "linger", bytes, sizeof(struct wish) + draw() % 2900);
    }
    uint64_t began = clock_ns(), from = draw() % 2 == 0 ? 0 : lane->geometry->slots_offset;
    while (ms_since(began) < 50) {
        for (int i = 0; i < 100; i++) {
            lane->memory[from + draw() % (lane->geometry->arenas_offset - from)] = (uint8_t)draw();
            bells[draw() % BELLS_SIZE] = (uint8_t)draw();
        }
        atomic_fetch_add(&lane->header->cancels, 1);
    }
    raise(SIGKILL);
}

/* It has one slot run over and over, to take the place of others in the worker. */
static void multiply_own_task(void)
{
    mc_pool *own = join(), *there = behind(own);
    struct lane *lane = &there->client.lane;
    struct ring *ring = lane_ring(lane, SEAT_IO, LANE_NORMAL);
    const struct pending_book *book = control_book(there->control, IO_SEAT);
    (void)submit(own, NULL, 1, (struct wish){60000, 0});
    uint64_t tail = atomic_load(&ring->shared->tail), began = clock_ns();
    name_t name = atomic_load(&ring->shared->entries[(tail - 1) & ring->mask]) << 16 >> 16;
    struct slot *slot = &lane->slots[name_slot(name)];
    uint32_t most = 0, now;
    do {
        uint64_t word = slot_load(&slot->word);
        if (slot_state(word) == SLOT_RUNNING) {
            slot_submit(&slot->word, 0, slot_generation(word));
            (void)ring_push(ring, name);
            wake_mark_lane(&there->bells[SEAT_IO], lane->header->index);
            wake_kick(&there->bells[SEAT_IO], IO_SEAT);
        }
        now = atomic_load(&book->waiting);
        most = now > most ? now : most;
    } while ((most < VICTIMS + 10 || now > VICTIMS) && ms_since(began) < BOUND_MS);
    if (most > VICTIMS + lane->geometry->slot_count + 1)
        _exit(6);
    _exit(now <= VICTIMS ? 0 : 7); /* it has lost its lane */
}

static void be(void (*hostile)(void))
{
    pid_t child = fork();
    if (child == 0)
        hostile();
    int status = await_exit(child);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", (unsigned)status);
}

START_TEST(a_mark_to_be_killed_costs_nobody_elses_task)
{
    begin(WAIT_MS);
    be(mark_own_tasks);
    finish();
}
END_TEST

START_TEST(tasks_that_are_killed_on_request_take_nobody_elses_along)
{
    begin(WAIT_MS);
    be(kill_own_tasks);
    finish();
}
END_TEST

START_TEST(limits_that_a_client_sets_cost_nobody_elses_task)
{
    begin(WAIT_MS);
    be(limit_own_tasks);
    finish();
}
END_TEST

START_TEST(no_client_takes_more_places_than_it_has_slots)
{
    prepare();
    server.options.pool.queue_depth = 256;
    begin_with(WAIT_MS);
    be(multiply_own_task);
    finish();
}
END_TEST

START_TEST(a_handlers_own_limit_holds_whoever_waits)
{
    begin(60000);
    be(exceed_the_handlers_limit);
    wait_all(victims);
    ck_assert_uint_eq(failures(victims), VICTIMS);
    ck_assert_int_eq(result_of(victims, 0).status, -EOWNERDEAD);
    mc_group_close(victims);
    mc_pool_close(pool);
    server_end(&server);
}
END_TEST

START_TEST(who_has_a_worker_to_itself_may_have_it_killed)
{
    begin(WAIT_MS);
    wait_all(victims);
    struct wish wish = {1, 1500};
    mc_group *group = open_unhelped(pool);
    run(group, "linger", &wish, sizeof(wish));
    await_call();
    (void)mc_group_kill(group);
    wait_all(group);
    ck_assert_int_eq(result_of(group, 0).status, -ECANCELED);
    mc_group_close(group);
    pid_t killed = io_worker;
    uint64_t began = clock_ns();
    do
        io_worker = present_worker();
    while ((io_worker == 0 || io_worker == killed) && ms_since(began) < BOUND_MS);
    ck_assert_int_ne(io_worker, killed);
    finish();
}
END_TEST

static void count_crashes(void *context, int level, const char *line)
{
    if (strstr(line, "was killed by signal") != NULL)
        atomic_fetch_add((_Atomic uint32_t *)context, 1);
}

START_TEST(a_spoilt_lane_with_tasks_that_wait_costs_nobody_elses)
{
    prepare();
    server.options.pool.log = count_crashes;
    server.options.pool.log_context = (void *)&board->words[8];
    begin_with(WAIT_MS);
    struct belongings before = belongings_of(server.pid);
    for (int round = 0; round < 30; round++) {
        pid_t child = fork();
        if (child == 0)
            spoil_own_lane();
        ck_assert(WIFSIGNALED(await_exit(child)));
    }
    ck_assert_uint_eq(atomic_load(&board->words[8]), 0);
    expect_given_back(server.pid, &before);
    finish();
}
END_TEST

TEST_MAIN(hostile_io, a_mark_to_be_killed_costs_nobody_elses_task,
          tasks_that_are_killed_on_request_take_nobody_elses_along,
          limits_that_a_client_sets_cost_nobody_elses_task,
          no_client_takes_more_places_than_it_has_slots, a_handlers_own_limit_holds_whoever_waits,
          who_has_a_worker_to_itself_may_have_it_killed,
          a_spoilt_lane_with_tasks_that_wait_costs_nobody_elses)
