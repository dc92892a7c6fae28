/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The packets of the study's wire. Time is what the tests say.
 */
#include "tests/test.h"

#include "bench/study/delay.h"

#include <string.h>

enum { CAPACITY = 4, DELAY = 100 };

static struct delay delay;

static void begin(void)
{
    ck_assert(delay_init(&delay, CAPACITY, DELAY));
}

static void put(const char *text, uint64_t now)
{
    memcpy(delay_room(&delay), text, strlen(text));
    delay_put(&delay, strlen(text), now);
}

static void take(const char *text, uint64_t now)
{
    const struct packet *packet = delay_first(&delay, now);
    ck_assert_msg(packet != NULL, "'%s' is due at %u", text, (unsigned)now);
    ck_assert_uint_eq(packet->size, strlen(text));
    ck_assert_mem_eq(packet->bytes, text, packet->size);
    delay_drop_first(&delay);
}

START_TEST(packet_is_due_when_the_delay_is_over_and_not_before)
{
    begin();
    put("a", 1000);
    ck_assert_ptr_null(delay_first(&delay, 1000 + DELAY - 1));
    take("a", 1000 + DELAY);
    ck_assert_ptr_null(delay_first(&delay, UINT64_MAX));
    delay_fini(&delay);
}
END_TEST

START_TEST(packets_go_in_the_order_in_which_they_came)
{
    begin();
    put("a", 0);
    put("bb", 0);
    put("ccc", 10);
    take("a", DELAY);
    take("bb", DELAY);
    ck_assert_ptr_null(delay_first(&delay, DELAY));
    take("ccc", DELAY + 10);
    delay_fini(&delay);
}
END_TEST

START_TEST(time_until_the_next_is_that_of_the_first)
{
    begin();
    ck_assert_uint_eq(delay_until_due(&delay, 0), UINT64_MAX);
    put("a", 5);
    put("b", 50);
    ck_assert_uint_eq(delay_until_due(&delay, 5), DELAY);
    ck_assert_uint_eq(delay_until_due(&delay, 5 + DELAY), 0);
    ck_assert_uint_eq(delay_until_due(&delay, 500), 0);
    delay_fini(&delay);
}
END_TEST

START_TEST(packet_that_finds_the_queue_full_is_dropped_and_counted)
{
    begin();
    for (unsigned i = 0; i < CAPACITY; i++)
        put("kept", i);
    put("lost", CAPACITY);
    ck_assert_uint_eq(delay.dropped, 1);
    for (unsigned i = 0; i < CAPACITY; i++)
        take("kept", UINT64_MAX);
    ck_assert_ptr_null(delay_first(&delay, UINT64_MAX));
    delay_fini(&delay);
}
END_TEST

START_TEST(order_holds_over_the_end_of_the_ring)
{
    char text[2] = "a";
    begin();
    put("a", 0);
    for (uint64_t now = 1; now < 100; now++) {
        char next[2] = {(char)('a' + now % 26)};
        put(next, now);
        take(text, now + DELAY - 1);
        text[0] = next[0];
    }
    ck_assert_uint_eq(delay.dropped, 0);
    delay_fini(&delay);
}
END_TEST

TEST_MAIN(delay, packet_is_due_when_the_delay_is_over_and_not_before,
          packets_go_in_the_order_in_which_they_came, time_until_the_next_is_that_of_the_first,
          packet_that_finds_the_queue_full_is_dropped_and_counted,
          order_holds_over_the_end_of_the_ring)
