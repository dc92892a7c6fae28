/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The ring of tickets, by one thread: what is pushed comes out once, in order,
 * wherever the positions are. For several threads see thread/test_ring_threads.c.
 */
#include "ipc/ring.h"
#include "ipc/slot.h"
#include "tests/test.h"

#include <string.h>

enum { CAPACITY = 8 };

static struct ring ring;

/* A ring as if `position` tickets had gone through it, with what they left. */
static void begin_at(uint64_t position)
{
    static alignas(CACHE_LINE)
        uint8_t memory[sizeof(struct ring_shared) + CAPACITY * sizeof(ticket_t)];
    memset(memory, 0, sizeof(memory));
    struct ring_shared *shared = (struct ring_shared *)(void *)memory;
    uint64_t start = position < CAPACITY ? 0 : position - CAPACITY;
    atomic_store(&shared->head, start);
    atomic_store(&shared->tail, start);
    ring_init(&ring, memory, CAPACITY);
    name_t taken;
    while (start++ < position) {
        ck_assert(ring_push(&ring, 0xdead));
        ck_assert(ring_take_back(&ring, &taken));
    }
    ck_assert(!ring_has_work(&ring));
}

static name_t name_of(uint64_t number)
{
    return name_make((uint32_t)number % MAX_HANDLERS, (uint32_t)number,
                     (uint32_t)number % MAX_SLOTS);
}

static bool push(name_t name)
{
    bool pushed = ring_push(&ring, name);
    ring_publish(&ring);
    return pushed;
}

/* Takes one ticket, or fails the test. */
static name_t take_one(void)
{
    name_t name;
    uint64_t head;
    ck_assert_uint_eq(ring_peek(&ring, 1, &name, &head), 1);
    ck_assert(ring_take(&ring, head, 1));
    return name;
}

START_TEST(memory_that_was_never_written_is_empty)
{
    name_t name;
    uint64_t head;
    begin_at(0);
    ck_assert(!ring_has_work(&ring));
    ck_assert_uint_eq(ring_peek(&ring, 1, &name, &head), 0);
    ck_assert(!ring_take_back(&ring, &name));
    ck_assert_uint_eq(ring_queued(&ring), 0);
}
END_TEST

START_TEST(tickets_come_out_once_and_in_order)
{
    begin_at(0);
    for (uint64_t i = 0; i < 5; i++)
        ck_assert(push(name_of(i)));
    ck_assert_uint_eq(ring_queued(&ring), 5);
    for (uint64_t i = 0; i < 5; i++) {
        ck_assert(ring_has_work(&ring));
        ck_assert_uint_eq(take_one(), name_of(i));
    }
    ck_assert(!ring_has_work(&ring));
    ck_assert_uint_eq(ring_queued(&ring), 0);
}
END_TEST

START_TEST(every_bit_of_a_name_arrives)
{
    begin_at(0);
    name_t all = name_make(0xffff, 0xffff, 0xffff);
    ck_assert(push(all));
    ck_assert_uint_eq(take_one(), all);
}
END_TEST

START_TEST(a_full_ring_refuses_until_one_is_taken)
{
    begin_at(0);
    for (uint64_t i = 0; i < CAPACITY; i++)
        ck_assert(push(name_of(i)));
    ck_assert(!push(name_of(99)));
    ck_assert_uint_eq(ring_queued(&ring), CAPACITY);
    ck_assert_uint_eq(take_one(), name_of(0));
    ck_assert(push(name_of(CAPACITY)));
    ck_assert(!push(name_of(99)));
    for (uint64_t i = 1; i <= CAPACITY; i++)
        ck_assert_uint_eq(take_one(), name_of(i));
}
END_TEST

START_TEST(order_is_kept_over_many_laps)
{
    begin_at(0);
    uint64_t pushed = 0, taken = 0;
    for (uint64_t lap = 0; lap < 1000; lap++) {
        for (uint64_t i = 0; i < 1 + lap % CAPACITY; i++)
            ck_assert(push(name_of(pushed++)));
        while (taken < pushed)
            ck_assert_uint_eq(take_one(), name_of(taken++));
        ck_assert(!ring_has_work(&ring));
    }
}
END_TEST

START_TEST(peeking_takes_nothing)
{
    begin_at(0);
    name_t names[CAPACITY];
    uint64_t head;
    for (uint64_t i = 0; i < 4; i++)
        ck_assert(push(name_of(i)));
    for (uint32_t max = 1; max <= CAPACITY; max++) {
        uint32_t count = ring_peek(&ring, max, names, &head);
        ck_assert_uint_eq(count, max < 4 ? max : 4);
        for (uint32_t i = 0; i < count; i++)
            ck_assert_uint_eq(names[i], name_of(i));
    }
    ck_assert_uint_eq(ring_queued(&ring), 4);
}
END_TEST

START_TEST(part_of_what_was_peeked_can_be_taken)
{
    begin_at(0);
    name_t names[4];
    uint64_t head;
    for (uint64_t i = 0; i < 4; i++)
        ck_assert(push(name_of(i)));
    ck_assert_uint_eq(ring_peek(&ring, 4, names, &head), 4);
    ck_assert(ring_take(&ring, head, 3));
    ck_assert_uint_eq(take_one(), name_of(3));
}
END_TEST

START_TEST(whoever_comes_second_takes_nothing)
{
    begin_at(0);
    name_t names[2];
    uint64_t first, second;
    for (uint64_t i = 0; i < 4; i++)
        ck_assert(push(name_of(i)));
    ck_assert_uint_eq(ring_peek(&ring, 2, names, &first), 2);
    ck_assert_uint_eq(ring_peek(&ring, 2, names, &second), 2);
    ck_assert(ring_take(&ring, first, 1));
    ck_assert(!ring_take(&ring, second, 2));
    ck_assert_uint_eq(ring_queued(&ring), 3);
    ck_assert_uint_eq(take_one(), name_of(1));
}
END_TEST

START_TEST(a_consumer_that_slept_for_laps_takes_nothing)
{
    begin_at(0);
    name_t name;
    uint64_t head;
    ck_assert(push(name_of(0)));
    ck_assert_uint_eq(ring_peek(&ring, 1, &name, &head), 1);
    for (uint64_t i = 1; i <= 3 * CAPACITY; i++) {
        ck_assert_uint_eq(take_one(), name_of(i - 1));
        ck_assert(push(name_of(i)));
        ck_assert(!ring_take(&ring, head, 1));
    }
    ck_assert_uint_eq(take_one(), name_of((uint64_t)3 * CAPACITY));
}
END_TEST

START_TEST(the_producer_takes_the_oldest_back)
{
    begin_at(5);
    name_t name;
    for (uint64_t i = 0; i < CAPACITY; i++)
        ck_assert(push(name_of(i)));
    ck_assert(ring_take_back(&ring, &name));
    ck_assert_uint_eq(name, name_of(0));
    ck_assert(push(name));
    for (uint64_t i = 1; i < CAPACITY; i++) {
        ck_assert(ring_take_back(&ring, &name));
        ck_assert_uint_eq(name, name_of(i));
    }
    ck_assert(ring_take_back(&ring, &name));
    ck_assert_uint_eq(name, name_of(0));
    ck_assert(!ring_take_back(&ring, &name));
}
END_TEST

START_TEST(tickets_of_the_lap_before_are_not_fresh)
{
    begin_at(0);
    for (uint64_t lap = 0; lap < 70000; lap++) { /* more than the 16 bits that a ticket has */
        name_t names[CAPACITY];
        uint64_t head;
        bool good = true;
        for (uint64_t i = 0; i < CAPACITY; i++)
            good = good && push(i);
        good = good && ring_peek(&ring, CAPACITY, names, &head) == CAPACITY;
        good = good && ring_take(&ring, head, CAPACITY) && !ring_has_work(&ring);
        if (!good)
            ck_abort_msg("lap %llu", (unsigned long long)lap);
    }
}
END_TEST

START_TEST(positions_may_pass_32_bits)
{
    for (uint64_t before = 0; before <= 2 * CAPACITY; before++) {
        begin_at((UINT64_C(1) << 32) - before);
        for (uint64_t i = 0; i < CAPACITY; i++)
            ck_assert(push(name_of(i)));
        ck_assert(!push(name_of(99)));
        for (uint64_t i = 0; i < CAPACITY; i++)
            ck_assert_uint_eq(take_one(), name_of(i));
        ck_assert(!ring_has_work(&ring));
    }
}
END_TEST

START_TEST(a_view_that_comes_later_goes_on_where_the_ring_is)
{
    begin_at(21);
    ck_assert(push(name_of(0)));
    struct ring_shared *shared = ring.shared;
    memset(&ring, 0xff, sizeof(ring));
    ring_init(&ring, shared, CAPACITY);
    ck_assert(push(name_of(1)));
    ck_assert_uint_eq(take_one(), name_of(0));
    ck_assert_uint_eq(take_one(), name_of(1));
}
END_TEST

START_TEST(what_is_not_published_is_found_all_the_same)
{
    begin_at(0);
    for (uint64_t i = 0; i < CAPACITY; i++) {
        ck_assert(ring_push(&ring, name_of(i)));
        ck_assert(ring_has_work(&ring));
        ck_assert_uint_eq(take_one(), name_of(i));
        ck_assert_uint_eq(ring_queued(&ring), 0);
    }
    ck_assert(push(name_of(CAPACITY)));
    ck_assert_uint_eq(ring_queued(&ring), 1);
}
END_TEST

START_TEST(a_head_that_no_consumer_leaves_is_noticed)
{
    begin_at(3 * CAPACITY);
    for (uint64_t filled = 0; filled <= CAPACITY; filled++) {
        uint64_t head = atomic_load(&ring.shared->head);
        ck_assert(ring_sound(&ring));
        atomic_store(&ring.shared->head, ring.tail + 1);
        ck_assert(!ring_sound(&ring));
        atomic_store(&ring.shared->head, ring.tail - CAPACITY - 1);
        ck_assert(!ring_sound(&ring));
        atomic_store(&ring.shared->head, head);
        if (filled < CAPACITY)
            ck_assert(push(name_of(filled)));
    }
    atomic_store(&ring.shared->entries[3 * CAPACITY & ring.mask], 0);
    ck_assert(!ring_sound(&ring));
}
END_TEST

START_TEST(ring_bytes_is_the_head_and_the_entries)
{
    ck_assert_uint_eq(ring_bytes(CAPACITY),
                      sizeof(struct ring_shared) + CAPACITY * sizeof(ticket_t));
    ck_assert_uint_eq(ring_bytes(2 * MAX_SLOTS),
                      sizeof(struct ring_shared) + 2 * (uint64_t)MAX_SLOTS * sizeof(ticket_t));
}
END_TEST

TEST_MAIN(ring, memory_that_was_never_written_is_empty, tickets_come_out_once_and_in_order,
          every_bit_of_a_name_arrives, a_full_ring_refuses_until_one_is_taken,
          order_is_kept_over_many_laps, peeking_takes_nothing, part_of_what_was_peeked_can_be_taken,
          whoever_comes_second_takes_nothing, a_consumer_that_slept_for_laps_takes_nothing,
          the_producer_takes_the_oldest_back, tickets_of_the_lap_before_are_not_fresh,
          positions_may_pass_32_bits, a_view_that_comes_later_goes_on_where_the_ring_is,
          what_is_not_published_is_found_all_the_same, a_head_that_no_consumer_leaves_is_noticed,
          ring_bytes_is_the_head_and_the_entries)
