/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A worker's views of lanes: what happens when a lane changes hands between two
 * looks. Lane 0 has no memory here; the supervisor's end of the socket is ours.
 */
#include "ipc/channel.h"
#include "ipc/wake.h"
#include "pool/views.h"
#include "tests/test.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

enum { GONE = 2, NEXT = 3 };

static struct config config;
static struct control control;
static struct bells bells;
static struct views views;
static int supervisor;

/* The lane's generation in control, with the activity bit set. */
static void set_up(uint32_t generation)
{
    int ends[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    supervisor = ends[0];
    views_init(&views, &config, &control, &bells, 0, ends[1]);
    atomic_store(&control.lanes[0].generation, generation);
    wake_mark_lane(&bells, 0);
}

static void answer(int status)
{
    struct parcel parcel = {.message = {.type = MESSAGE_LANE, .status = status}};
    ck_assert_int_ge(channel_send(supervisor, &parcel, 0), 0);
}

START_TEST(the_bit_of_a_lane_that_is_gone_is_cleared)
{
    set_up(GONE);
    ck_assert_ptr_null(views_get(&views, 0));
    ck_assert(!lane_bit_set(&bells, 0));
}
END_TEST

START_TEST(the_bit_of_an_empty_lane_is_cleared)
{
    set_up(NEXT);
    ck_assert(views_clear(&views, 0, NEXT));
    ck_assert(!lane_bit_set(&bells, 0));
}
END_TEST

START_TEST(the_bit_that_the_next_client_relies_on_is_kept)
{
    set_up(NEXT);
    ck_assert(!views_clear(&views, 0, NEXT - 2));
    ck_assert(lane_bit_set(&bells, 0));
}
END_TEST

/* The generation was read, then the lane became another client's. */
START_TEST(a_lane_that_changed_hands_meanwhile_is_looked_at)
{
    struct parcel asked;
    set_up(NEXT);
    answer(-ENOENT);
    ck_assert_ptr_null(views_renew(&views, 0, GONE));
    ck_assert_int_eq(channel_receive(supervisor, &asked, MSG_DONTWAIT), 1);
    ck_assert_uint_eq(asked.message.type, MESSAGE_WANT_LANE);
    ck_assert_uint_eq(asked.message.generation, NEXT);
}
END_TEST

TEST_MAIN(views, the_bit_of_a_lane_that_is_gone_is_cleared, the_bit_of_an_empty_lane_is_cleared,
          the_bit_that_the_next_client_relies_on_is_kept,
          a_lane_that_changed_hands_meanwhile_is_looked_at)
