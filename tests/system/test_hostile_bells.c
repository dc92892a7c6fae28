/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What clients do to the bells, which everybody can write: those of both classes of seats.
 */
#include "tests/system/hostile.h"

#include "base/clock.h"
#include "pool/pool.h"

#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

enum { SEATS = 3 }; /* two for computing, and one for I/O */

static long futex(void *word, int operation, uint32_t value, uintptr_t value2, void *word2,
                  uint32_t value3)
{
    return syscall(SYS_futex, word, operation, value, value2, word2, value3);
}

enum way { SILENCE, PRETEND_LOOKING, PRETEND_SLEEPING, NOISE, SWALLOW, REQUEUE, WAYS };
static const char *const way_names[WAYS] = {
    [SILENCE] = "bells that are cleared all the time",
    [PRETEND_LOOKING] = "seats that are said to look",
    [PRETEND_SLEEPING] = "seats that are said to sleep",
    [NOISE] = "noise on the bells",
    [SWALLOW] = "wake-ups taken by others",
    [REQUEUE] = "sleepers moved to another futex",
};

static void set_states(struct bells *bells, uint32_t state)
{
    for (int seat = 0; seat < 4; seat++)
        atomic_store_explicit(&bells->seats[seat].state, state, memory_order_relaxed);
}

static void clear_masks(struct bells *bells)
{
    for (int word = 0; word < MASK_WORDS; word++) {
        atomic_store_explicit(&bells->lanes_active[word], 0, memory_order_relaxed);
        atomic_store_explicit(&bells->seats_sleeping[word], 0, memory_order_relaxed);
    }
}

static void scribble(struct bells *bells, enum way way, uint32_t *own)
{
    struct timespec soon = {.tv_nsec = 1000000};
    switch (way) {
    case SILENCE:
        clear_masks(bells);
        break;
    case PRETEND_LOOKING:
        clear_masks(bells);
        set_states(bells, SEAT_LOOKING);
        break;
    case PRETEND_SLEEPING:
        clear_masks(bells);
        set_states(bells, SEAT_SLEEPING);
        break;
    case NOISE:
        ((_Atomic uint8_t *)bells)[draw() % sizeof(*bells)] = (uint8_t)draw();
        break;
    case SWALLOW:
        clear_masks(bells);
        (void)futex((void *)&bells->seats[draw() % SEATS].state, FUTEX_WAIT, SEAT_SLEEPING,
                    (uintptr_t)&soon, NULL, 0);
        break;
    case REQUEUE:
        clear_masks(bells);
        for (int seat = 0; seat < SEATS; seat++)
            (void)futex((void *)&bells->seats[seat].state, FUTEX_REQUEUE, 0, INT32_MAX, own, 0);
        break;
    default:
        break;
    }
}

/* So many processes do that until the word is set. */
static void scribble_until(enum way way, const _Atomic uint32_t *enough)
{
    struct parcel parcel;
    uint32_t *own = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (geteuid() == 0)
        become(NOBODY, NULL, 0);
    if (join_raw(&parcel) < 0)
        _exit(1);
    struct bells *bells =
        mmap(NULL, BELLS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, parcel.descriptors[BELLS], 0);
    if (bells == MAP_FAILED)
        _exit(2);
    board_count(&board->words[4]);
    for (uint64_t began = clock_ns(); ms_since(began) < 2 * BOUND_MS && atomic_load(enough) == 0;)
        for (int i = 0; i < (way == SWALLOW ? 2 : 100); i++)
            scribble(&bells[i % SEAT_CLASSES], way, own);
    _exit(0);
}

static void note_done(mc_group *group, void *context)
{
}

/* Tasks that report to an event loop: nobody waits for them, and complains. */
static uint32_t loops_ms(mc_pool *pool, unsigned tasks)
{
    uint32_t slowest = 0;
    struct pollfd ready = {.fd = mc_pool_fd(pool), .events = POLLIN};
    struct mc_group_options options = {.on_done = note_done};
    for (unsigned i = 0; i < tasks; i++) {
        mc_group *group = open_with(pool, options);
        uint64_t began = clock_ns();
        run(group, "echo", "x", 1);
        struct mc_result result = {.size = sizeof(result)};
        while (mc_group_result(group, 0, &result) == -EAGAIN && ms_since(began) < BOUND_MS) {
            (void)poll(&ready, 1, 1000);
            (void)mc_pool_dispatch(pool);
        }
        ck_assert_int_eq(result_of(group, 0).status, 0);
        uint32_t took = (uint32_t)ms_since(began);
        slowest = took > slowest ? took : slowest;
        mc_group_close(group);
        pause_us(3000);
    }
    return slowest;
}

/* Tasks that wait for a millisecond in the I/O worker. */
static uint32_t waits_ms(mc_pool *pool, unsigned tasks)
{
    const unsigned wish[] = {1, 0};
    uint32_t slowest = 0;
    for (unsigned i = 0; i < tasks; i++) {
        mc_group *group = open_unhelped(pool);
        uint64_t began = clock_ns();
        run(group, "linger", wish, sizeof(wish));
        wait_all(group);
        ck_assert_int_eq(result_of(group, 0).status, 0);
        uint32_t took = (uint32_t)ms_since(began);
        slowest = took > slowest ? took : slowest;
        mc_group_close(group);
        pause_us(3000);
    }
    return slowest;
}

static void expect_delay_only(enum way way, unsigned scribblers)
{
    board_open();
    server_prepare(&server);
    server.module.path = TEST_MODULE_3;
    server.options.pool.io_workers = 1;
    hostile_start();
    honest_begin();
    mc_pool *pool = attach(&server, NULL, 0);
    pid_t children[8];
    for (unsigned i = 0; i < scribblers; i++) {
        children[i] = fork();
        if (children[i] == 0)
            scribble_until(way, &board->words[5]);
    }
    ck_assert(board_await(&board->words[4], scribblers, BOUND_MS));
    honest_go_on(100);
    pause_us(300000); /* seats fall asleep in between, and are scribbled at */
    honest_go_on(20);
    uint32_t waits = waits_ms(pool, 30);
    printf("amid %s: the slowest task that waits %u ms\n", way_names[way], waits);
    ck_assert_uint_lt(waits, SLOWEST_MS);
    if (geteuid() == 0) { /* other users' clients are looked after, even in event loops */
        uint32_t slowest = loops_ms(pool, 20);
        printf("amid %s: an event loop's slowest task %u ms\n", way_names[way], slowest);
        ck_assert_uint_lt(slowest, SLOWEST_MS);
    }
    honest_end(way_names[way], 100);
    atomic_store(&board->words[5], 1);
    for (unsigned i = 0; i < scribblers; i++)
        ck_assert_int_eq(await_exit(children[i]), 0);
    mc_pool_close(pool);
    server_end(&server);
}

START_TEST(a_reload_ends_although_seats_are_said_to_look)
{
    server_prepare(&server);
    board_open();
    hostile_start();
    pid_t child = fork();
    if (child == 0)
        scribble_until(PRETEND_LOOKING, &board->words[5]);
    ck_assert(board_await(&board->words[4], 1, BOUND_MS));
    for (uint32_t reloads = 1; reloads <= 3; reloads++) {
        kill(server.pid, SIGHUP);
        ck_assert(server_await(&server, SERVE_RELOADED, reloads));
    }
    atomic_store(&board->words[5], 1);
    ck_assert_int_eq(await_exit(child), 0);
    server_end(&server);
}
END_TEST

START_TEST(cleared_bells_delay_but_lose_nothing)
{
    expect_delay_only(SILENCE, 1);
}
END_TEST

START_TEST(seats_said_to_look_delay_but_lose_nothing)
{
    expect_delay_only(PRETEND_LOOKING, 1);
}
END_TEST

START_TEST(seats_said_to_sleep_are_woken_by_the_supervisors_kick)
{
    expect_delay_only(PRETEND_SLEEPING, 1);
}
END_TEST

START_TEST(noise_on_the_bells_delays_but_loses_nothing)
{
    expect_delay_only(NOISE, 1);
}
END_TEST

START_TEST(who_waits_where_workers_sleep_takes_no_wake_up_from_them)
{
    expect_delay_only(SWALLOW, 8);
}
END_TEST

START_TEST(a_worker_moved_to_another_futex_comes_back)
{
    expect_delay_only(REQUEUE, 1);
}
END_TEST

TEST_MAIN(hostile_bells, a_reload_ends_although_seats_are_said_to_look,
          cleared_bells_delay_but_lose_nothing, seats_said_to_look_delay_but_lose_nothing,
          seats_said_to_sleep_are_woken_by_the_supervisors_kick,
          noise_on_the_bells_delays_but_loses_nothing,
          who_waits_where_workers_sleep_takes_no_wake_up_from_them,
          a_worker_moved_to_another_futex_comes_back)
