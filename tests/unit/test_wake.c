/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Who is woken, by one thread that plays all parts, and by real sleepers in
 * processes of their own.
 */
#include "base/clock.h"
#include "base/fault.h"
#include "ipc/wake.h"
#include "tests/test.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SEATS = 4, LANE = 70, ANYWHERE = -1, BOUND_MS = 5000 };

static struct bells *bells;
static struct control *control;

/* Seats that nobody has; each is pinned to the CPU of its number. */
static void begin(void)
{
    bells = mmap(NULL, sizeof(*bells), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(bells, MAP_FAILED);
    control = aligned_alloc(PAGE_SIZE_BYTES, control_size(SEATS, 0, 0));
    ck_assert_ptr_nonnull(control);
    memset(control, 0, control_size(SEATS, 0, 0));
    control->seat_count = SEATS;
    for (uint32_t seat = 0; seat < SEATS; seat++)
        atomic_store(&control->rows[seat].cpu_plus_one, seat + 1);
}

static void finish(void)
{
    munmap(bells, sizeof(*bells));
    free(control);
}

static uint32_t state_of(uint32_t seat)
{
    return atomic_load(&bells->seats[seat].state);
}

static void set(uint32_t seat, enum seat_state state)
{
    atomic_store(&bells->seats[seat].state, state);
}

/* The only seat that is not in `state`, or -1. */
static int only_other(enum seat_state state)
{
    int found = -1;
    for (int seat = 0; seat < SEATS; seat++) {
        if (state_of((uint32_t)seat) == state)
            continue;
        ck_assert_int_eq(found, -1);
        found = seat;
    }
    return found;
}

static void all_sleep(void)
{
    for (uint32_t seat = 0; seat < SEATS; seat++)
        wake_sleep_announce(bells, seat);
}

START_TEST(announcing_sleep_shows_in_the_state_and_in_the_mask)
{
    begin();
    ck_assert(!wake_anyone_sleeping(bells));
    wake_sleep_announce(bells, 2);
    ck_assert_uint_eq(state_of(2), SEAT_SLEEPING);
    ck_assert_uint_eq(atomic_load(&bells->seats_sleeping[0]), 1u << 2);
    ck_assert(wake_anyone_sleeping(bells));
    wake_sleep_cancel(bells, 2);
    ck_assert_uint_eq(state_of(2), SEAT_LOOKING);
    ck_assert(!wake_anyone_sleeping(bells));
    finish();
}
END_TEST

START_TEST(only_a_sleeper_can_be_woken_and_only_once)
{
    begin();
    set(1, SEAT_BUSY);
    ck_assert(!wake_seat(bells, 1));
    ck_assert_uint_eq(state_of(1), SEAT_BUSY);
    set(1, SEAT_LOOKING);
    ck_assert(!wake_seat(bells, 1));
    wake_sleep_announce(bells, 1);
    ck_assert(wake_seat(bells, 1));
    ck_assert_uint_eq(state_of(1), SEAT_LOOKING);
    ck_assert(!wake_seat(bells, 1));
    finish();
}
END_TEST

START_TEST(a_submit_marks_the_lane)
{
    begin();
    const uint32_t lanes[] = {0, 63, 64, LANE, MAX_LANES - 1};
    for (size_t i = 0; i < sizeof(lanes) / sizeof(lanes[0]); i++) {
        ck_assert(!lane_bit_set(bells, lanes[i]));
        (void)wake_for_submit(bells, control, lanes[i], WAKE_TRUSTING, ANYWHERE, ANYWHERE);
        ck_assert(lane_bit_set(bells, lanes[i]));
    }
    wake_clear_lane(bells, 64);
    for (size_t i = 0; i < sizeof(lanes) / sizeof(lanes[0]); i++)
        ck_assert_int_eq(lane_bit_set(bells, lanes[i]), lanes[i] != 64);
    finish();
}
END_TEST

START_TEST(a_submit_wakes_one_sleeper)
{
    begin();
    all_sleep();
    ck_assert(wake_for_submit(bells, control, LANE, WAKE_TRUSTING, ANYWHERE, ANYWHERE));
    ck_assert_int_ge(only_other(SEAT_SLEEPING), 0);
    finish();
}
END_TEST

START_TEST(a_submit_wakes_nobody_while_somebody_looks)
{
    begin();
    all_sleep();
    wake_sleep_cancel(bells, 3);
    for (int i = 0; i < 3; i++)
        ck_assert(!wake_for_submit(bells, control, LANE, WAKE_TRUSTING, ANYWHERE, ANYWHERE));
    ck_assert_int_eq(only_other(SEAT_SLEEPING), 3);
    finish();
}
END_TEST

START_TEST(the_one_that_was_woken_counts_as_looking)
{
    begin();
    all_sleep();
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(wake_for_submit(bells, control, LANE, WAKE_TRUSTING, ANYWHERE, ANYWHERE),
                         i == 0);
    ck_assert_int_ge(only_other(SEAT_SLEEPING), 0);
    finish();
}
END_TEST

START_TEST(the_sleeper_of_the_callers_core_is_preferred_when_wanted)
{
    for (int cpu = 0; cpu < SEATS; cpu++) {
        begin();
        all_sleep();
        (void)wake_for_submit(bells, control, LANE, WAKE_TRUSTING, cpu, ANYWHERE);
        ck_assert_int_eq(only_other(SEAT_SLEEPING), cpu);
        finish();
    }
}
END_TEST

START_TEST(the_sleeper_of_the_callers_core_is_avoided_when_not)
{
    for (int cpu = 0; cpu < SEATS; cpu++) {
        begin();
        all_sleep();
        (void)wake_for_submit(bells, control, LANE, WAKE_TRUSTING, ANYWHERE, cpu);
        ck_assert_int_ne(only_other(SEAT_SLEEPING), cpu);
        finish();
    }
}
END_TEST

START_TEST(the_only_sleeper_is_woken_wherever_it_is)
{
    for (int near = 0; near < 2; near++) {
        begin();
        wake_sleep_announce(bells, 1);
        (void)wake_for_submit(bells, control, LANE, WAKE_TRUSTING, near ? 3 : ANYWHERE,
                              near ? ANYWHERE : 1);
        ck_assert_uint_eq(state_of(1), SEAT_LOOKING);
        finish();
    }
}
END_TEST

START_TEST(a_stale_bit_in_the_mask_hides_no_sleeper)
{
    begin();
    for (uint32_t seat = 0; seat < 3; seat++) {
        wake_sleep_announce(bells, seat);
        set(seat, SEAT_BUSY); /* as between waking and clearing its own bit */
    }
    wake_sleep_announce(bells, 3);
    (void)wake_for_submit(bells, control, LANE, WAKE_TRUSTING, ANYWHERE, 3);
    ck_assert_uint_eq(state_of(3), SEAT_LOOKING);
    finish();
}
END_TEST

START_TEST(seats_that_the_pool_does_not_have_are_left_alone)
{
    begin();
    wake_sleep_announce(bells, SEATS);
    wake_sleep_announce(bells, MAX_SEATS - 1);
    ck_assert(!wake_for_submit(bells, control, LANE, WAKE_TRUSTING, ANYWHERE, ANYWHERE));
    for (uint32_t seat = 0; seat < SEATS; seat++)
        wake_kick(bells, seat);
    ck_assert_uint_eq(state_of(SEATS), SEAT_SLEEPING);
    ck_assert_uint_eq(state_of(MAX_SEATS - 1), SEAT_SLEEPING);
    finish();
}
END_TEST

START_TEST(a_worker_with_more_in_sight_wakes_one_unless_another_looks)
{
    begin();
    all_sleep();
    set(0, SEAT_LOOKING); /* itself */
    wake_another(bells, control, 0);
    ck_assert_uint_eq(state_of(1) + state_of(2) + state_of(3), 2 * SEAT_SLEEPING + SEAT_LOOKING);
    wake_another(bells, control, 0);
    ck_assert_uint_eq(state_of(1) + state_of(2) + state_of(3), 2 * SEAT_SLEEPING + SEAT_LOOKING);
    finish();
}
END_TEST

START_TEST(a_dead_seat_neither_sleeps_nor_looks)
{
    begin();
    wake_sleep_announce(bells, 1);
    wake_sleep_announce(bells, 2);
    wake_seat_died(bells, 1);
    ck_assert_uint_eq(state_of(1), SEAT_BUSY);
    ck_assert_uint_eq(atomic_load(&bells->seats_sleeping[0]), 1u << 2);
    finish();
}
END_TEST

START_TEST(a_kick_wakes_all_sleepers_and_changes_nobody_else)
{
    begin();
    all_sleep();
    set(1, SEAT_BUSY);
    for (uint32_t seat = 0; seat < SEATS; seat++)
        wake_kick(bells, seat);
    ck_assert_uint_eq(state_of(0), SEAT_LOOKING);
    ck_assert_uint_eq(state_of(1), SEAT_BUSY);
    ck_assert_uint_eq(state_of(2), SEAT_LOOKING);
    ck_assert_uint_eq(state_of(3), SEAT_LOOKING);
    finish();
}
END_TEST

/* ---- real sleepers ---- */

static pid_t start_sleeper(uint32_t seat)
{
    pid_t pid = fork();
    if (pid == 0) {
        alarm(BOUND_MS / 1000);
        wake_sleep_announce(bells, seat);
        wake_sleep(bells, seat, true);
        _exit(state_of(seat) == SEAT_LOOKING ? 0 : 1);
    }
    ck_assert_int_gt(pid, 0);
    return pid;
}

/* Until the kernel says that it sleeps: 'S' in its stat. */
static void await_sleep(pid_t pid, uint32_t seat)
{
    uint64_t deadline = clock_ns() + (uint64_t)BOUND_MS * 1000000;
    for (;;) {
        char path[64], line[256] = "";
        snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
        FILE *file = fopen(path, "r");
        ck_assert_ptr_nonnull(file);
        ck_assert_ptr_nonnull(fgets(line, sizeof(line), file));
        fclose(file);
        const char *end = strrchr(line, ')');
        if (state_of(seat) == SEAT_SLEEPING && end != NULL && end[2] == 'S')
            return;
        ck_assert_uint_lt(clock_ns(), deadline);
        nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    }
}

static void expect_end(pid_t pid)
{
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}

START_TEST(a_submit_wakes_a_real_sleeper_who_clears_its_bit)
{
    begin();
    pid_t pid = start_sleeper(2);
    await_sleep(pid, 2);
    (void)wake_for_submit(bells, control, LANE, WAKE_TRUSTING, ANYWHERE, ANYWHERE);
    expect_end(pid);
    ck_assert(!wake_anyone_sleeping(bells));
    finish();
}
END_TEST

START_TEST(a_kick_finds_the_sleeper_that_a_dead_waker_left)
{
    begin();
    fault_arm("wake_before_futex", SIGKILL, 1);
    pid_t sleeper = start_sleeper(0);
    await_sleep(sleeper, 0);
    pid_t waker = fork();
    if (waker == 0) {
        (void)wake_for_submit(bells, control, LANE, WAKE_TRUSTING, ANYWHERE, ANYWHERE);
        _exit(1);
    }
    int status;
    ck_assert_int_eq(waitpid(waker, &status, 0), waker);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    ck_assert_uint_eq(state_of(0), SEAT_LOOKING);
    ck_assert_int_eq(waitpid(sleeper, &status, WNOHANG), 0);
    for (uint32_t seat = 0; seat < SEATS; seat++)
        wake_kick(bells, seat);
    expect_end(sleeper);
    finish();
}
END_TEST

TEST_MAIN(wake, announcing_sleep_shows_in_the_state_and_in_the_mask,
          only_a_sleeper_can_be_woken_and_only_once, a_submit_marks_the_lane,
          a_submit_wakes_one_sleeper, a_submit_wakes_nobody_while_somebody_looks,
          the_one_that_was_woken_counts_as_looking,
          the_sleeper_of_the_callers_core_is_preferred_when_wanted,
          the_sleeper_of_the_callers_core_is_avoided_when_not,
          the_only_sleeper_is_woken_wherever_it_is, a_stale_bit_in_the_mask_hides_no_sleeper,
          seats_that_the_pool_does_not_have_are_left_alone,
          a_worker_with_more_in_sight_wakes_one_unless_another_looks,
          a_dead_seat_neither_sleeps_nor_looks, a_kick_wakes_all_sleepers_and_changes_nobody_else,
          a_submit_wakes_a_real_sleeper_who_clears_its_bit,
          a_kick_finds_the_sleeper_that_a_dead_waker_left)
