/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The client and the workers of a lane as threads of one process, over one
 * mapping, with the real rings, slots and bells: what ThreadSanitizer can see.
 *
 * Here nobody pokes a supervisor when a task is not begun, so that one wake-up
 * that is lost ends the test.
 */
#include "base/clock.h"
#include "base/sys.h"
#include "ipc/lane.h"
#include "ipc/segment.h"
#include "ipc/slot.h"
#include "ipc/wake.h"
#include "tests/test.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { SEATS = 3, SLOTS = 16, LANE = 5, TASKS = 20000, ROUNDS = 3000, RUN = 4 };
enum { QUICK, SLOW }; /* handlers; of slow tasks a worker takes one at a time */
#define BOUND_NS (UINT64_C(10) * 1000000000)

static struct bells *bells;
static struct control *control;
static struct lane_geometry geometry;
static struct lane lane;
static _Atomic bool stop;
static _Atomic uint32_t claims[TASKS];
static _Atomic uint32_t wrong;
static _Atomic uint32_t present; /* slow tasks that have begun */
static pthread_t threads[SEATS];

/* Private to the producer. */
static uint32_t generations[SLOTS];
static bool in_flight[SLOTS];
static uint64_t seed;

static uint32_t draw(uint32_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 33) % below;
}

static uint64_t answer(uint64_t number)
{
    return number * 2654435761u + 17;
}

/* ---- workers ---- */

/* A slow task goes on when as many as it says have begun. */
static void meet(uint32_t expected)
{
    uint64_t deadline = clock_ns() + BOUND_NS;
    atomic_fetch_add(&present, 1);
    sys_futex_wake(&present, SEATS);
    for (;;) {
        uint32_t seen = atomic_load(&present);
        if (seen >= expected)
            return;
        if (sys_futex_wait(&present, seen, BOUND_NS) == -ETIMEDOUT || clock_ns() > deadline) {
            atomic_fetch_add(&wrong, 1);
            return;
        }
    }
}

static void run_slot(uint32_t seat, name_t name)
{
    struct slot *slot = &lane.slots[name_slot(name)];
    uint64_t word;
    if (!slot_claim(&slot->word, name, seat + 1, CLAIM_ANY, &word))
        return;
    if (slot->start < TASKS)
        atomic_fetch_add(&claims[slot->start], 1);
    if (name_handler(name) == SLOW)
        meet((uint32_t)slot->end);
    slot->run_ns = answer(slot->start);
    if (!slot_end(&slot->word, seat + 1, SLOT_DONE, &word))
        atomic_fetch_add(&wrong, 1);
    if (slot_flags(word) & SLOT_WAITED)
        sys_futex_wake(slot_futex(&slot->word), 1);
}

static void mark(uint32_t seat, enum seat_state state)
{
    atomic_store_explicit(&bells->seats[seat].state, state, memory_order_relaxed);
}

static bool any_work(void)
{
    return lane_bit_set(bells, LANE) && lane_has_work(&lane, SEAT_CPU);
}

static bool serve_ring(uint32_t seat, struct ring *ring)
{
    name_t names[RUN];
    uint64_t head;
    uint32_t count = ring_peek(ring, RUN, names, &head);
    if (count == 0)
        return false;
    if (name_handler(names[0]) == SLOW)
        count = 1;
    mark(seat, SEAT_BUSY); /* W2 */
    if (ring_take(ring, head, count)) {
        if (any_work())
            wake_another(bells, control, seat);
        for (uint32_t i = 0; i < count; i++)
            run_slot(seat, names[i]);
    }
    mark(seat, SEAT_LOOKING);
    return true;
}

static void sleep_until_woken(uint32_t seat)
{
    if (lane_bit_set(bells, LANE)) {
        wake_clear_lane(bells, LANE); /* W4 */
        if (lane_has_work(&lane, SEAT_CPU)) {
            wake_mark_lane(bells, LANE);
            return;
        }
    }
    wake_sleep_announce(bells, seat); /* W3 */
    if (any_work() || atomic_load(&stop))
        wake_sleep_cancel(bells, seat);
    else
        wake_sleep(bells, seat, true);
}

static void *work(void *argument)
{
    uint32_t seat = (uint32_t)(uintptr_t)argument;
    /* A consumer knows where the ring is and nothing of what its producer does. */
    struct ring views[LANE_RINGS];
    for (int i = 0; i < LANE_RINGS; i++)
        ring_init(&views[i], lane.rings[i].shared, geometry.ring_capacity);
    mark(seat, SEAT_LOOKING);
    while (!atomic_load(&stop))
        if (!lane_bit_set(bells, LANE) ||
            !(serve_ring(seat, &views[LANE_URGENT]) || serve_ring(seat, &views[LANE_NORMAL])))
            sleep_until_woken(seat);
    mark(seat, SEAT_BUSY);
    return NULL;
}

/* ---- the client ---- */

static void begin(void)
{
    const char *given = getenv("TEST_SEED");
    seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL) * 2654435761u + 1;
    printf("TEST_SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout);
    bells = aligned_alloc(CACHE_LINE, sizeof(*bells));
    control = aligned_alloc(PAGE_SIZE_BYTES, control_size(SEATS, 0, 0));
    ck_assert(bells != NULL && control != NULL);
    memset(bells, 0, sizeof(*bells));
    memset(control, 0, control_size(SEATS, 0, 0));
    memset(claims, 0, sizeof(claims));
    memset(generations, 0, sizeof(generations));
    memset(in_flight, 0, sizeof(in_flight));
    control->seat_count = SEATS;
    lane_geometry_set(&geometry, SLOTS, PAGE_SIZE_BYTES, SEATS);
    int fd = segment_create("test-lane", geometry.total_size);
    ck_assert_int_ge(fd, 0);
    void *header = segment_map(fd, PAGE_SIZE_BYTES, true);
    ck_assert_ptr_nonnull(header);
    lane_format(&geometry, header, LANE);
    munmap(header, PAGE_SIZE_BYTES);
    ck_assert_int_eq(lane_map(&lane, &geometry, fd), 0);
    close(fd);
    atomic_store(&stop, false);
    atomic_store(&wrong, 0);
    atomic_store(&present, 0);
    for (uintptr_t seat = 0; seat < SEATS; seat++)
        ck_assert_int_eq(pthread_create(&threads[seat], NULL, work, (void *)seat), 0);
}

static void finish(void)
{
    atomic_store(&stop, true);
    for (uint32_t seat = 0; seat < SEATS; seat++)
        wake_kick(bells, seat);
    for (int seat = 0; seat < SEATS; seat++)
        pthread_join(threads[seat], NULL);
    ck_assert_uint_eq(atomic_load(&wrong), 0);
    const char *damage = lane_check(&lane);
    ck_assert_msg(damage == NULL, "%s", damage);
    lane_unmap(&lane);
    free(bells);
    free(control);
}

static void push(struct ring *ring, name_t name)
{
    while (!ring_push(ring, name)) {
        name_t old;
        if (!ring_take_back(ring, &old))
            continue;
        uint64_t word = slot_load(&lane.slots[name_slot(old)].word);
        if (slot_state(word) == SLOT_SUBMITTED && name_current(old, word))
            ck_assert(ring_push(ring, old));
    }
}

static void submit(uint32_t index, uint64_t number, int ring, uint32_t handler)
{
    struct slot *slot = &lane.slots[index];
    slot->start = number;
    slot->run_ns = 0;
    in_flight[index] = true;
    slot_submit(&slot->word, 0, generations[index]);
    push(&lane.rings[ring], name_make(handler, generations[index], index));
    ring_publish(&lane.rings[ring]);
}

/* Takes the result if the task has ended. */
static bool reap(uint32_t index)
{
    struct slot *slot = &lane.slots[index];
    uint64_t word = slot_load(&slot->word);
    if (!slot_ended(word))
        return false;
    if (slot->run_ns != answer(slot->start))
        ck_abort_msg("a result was seen before it was there");
    in_flight[index] = false;
    generations[index]++;
    return true;
}

static void await(uint32_t index)
{
    struct slot *slot = &lane.slots[index];
    uint64_t deadline = clock_ns() + BOUND_NS;
    while (!reap(index)) {
        uint64_t word, now = clock_ns();
        if (now >= deadline)
            ck_abort_msg("a task was not begun or not told of: a wake-up was lost");
        if (slot_flag(&slot->word, SLOT_WAITED, &word))
            (void)sys_futex_wait(slot_futex(&slot->word), (uint32_t)word, deadline - now);
    }
}

/* Runs a task of its own, and so leaves a dead ticket in the ring. */
static void help(uint32_t index)
{
    struct slot *slot = &lane.slots[index];
    uint64_t word;
    if (!slot_claim(&slot->word, name_make(QUICK, generations[index], index), 0, CLAIM_FIRST,
                    &word))
        return;
    atomic_fetch_add(&claims[slot->start], 1);
    slot->run_ns = answer(slot->start);
    ck_assert(slot_end(&slot->word, 0, SLOT_DONE, &word));
}

static uint32_t free_slot(void)
{
    for (uint32_t index = 0; index < SLOTS; index++)
        if (!in_flight[index])
            return index;
    uint32_t oldest = draw(SLOTS);
    await(oldest);
    for (uint32_t index = 0; index < SLOTS; index++)
        if (in_flight[index])
            (void)reap(index);
    return oldest;
}

START_TEST(every_task_is_claimed_exactly_once)
{
    begin();
    for (uint64_t number = 0; number < TASKS; number++) {
        uint32_t index = free_slot();
        submit(index, number, draw(4) == 0 ? LANE_URGENT : LANE_NORMAL, QUICK);
        if (draw(4) == 0)
            help(index);
        (void)wake_for_submit(bells, control, LANE, WAKE_TRUSTING, -1, -1);
    }
    for (uint32_t index = 0; index < SLOTS; index++)
        if (in_flight[index])
            await(index);
    for (uint32_t number = 0; number < TASKS; number++)
        if (atomic_load(&claims[number]) != 1)
            ck_abort_msg("task %u was claimed %u times", number, atomic_load(&claims[number]));
    finish();
}
END_TEST

START_TEST(no_wake_up_is_lost_whenever_seats_fall_asleep)
{
    begin();
    for (uint64_t round = 0; round < ROUNDS; round++) {
        uint32_t count = 1 + draw(SEATS + 1);
        for (uint32_t index = 0; index < count; index++) {
            submit(index, round, LANE_NORMAL, QUICK);
            (void)wake_for_submit(bells, control, LANE, WAKE_TRUSTING, draw(2) == 0 ? 0 : -1, -1);
        }
        for (uint32_t index = 0; index < count; index++)
            await(index);
        for (uint32_t spin = draw(2000); spin > 0; spin--)
            sys_pause();
    }
    finish();
}
END_TEST

START_TEST(one_announcement_for_several_slow_tasks_wakes_enough)
{
    begin();
    for (uint32_t round = 1; round <= ROUNDS / 4; round++) {
        for (uint32_t index = 0; index < SEATS; index++) {
            lane.slots[index].end = (uint64_t)round * SEATS;
            submit(index, round, draw(2) == 0 ? LANE_URGENT : LANE_NORMAL, SLOW);
        }
        (void)wake_for_submit(bells, control, LANE, WAKE_TRUSTING, -1, -1);
        for (uint32_t index = 0; index < SEATS; index++)
            await(index);
    }
    finish();
}
END_TEST

/* ThreadSanitizer cannot follow Check's fork of each test. */
int main(void)
{
    const TTest *const cases[] = {every_task_is_claimed_exactly_once,
                                  no_wake_up_is_lost_whenever_seats_fall_asleep,
                                  one_announcement_for_several_slow_tasks_wakes_enough};
    Suite *suite = suite_create("ring_threads");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        TCase *one = tcase_create(cases[i]->name);
        tcase_add_test(one, cases[i]);
        suite_add_tcase(suite, one);
    }
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
