/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A lane: where its parts lie, mapping it, and what its validator notices.
 */
#include "ipc/lane.h"
#include "ipc/segment.h"
#include "ipc/slot.h"
#include "tests/test.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SLOTS = 16, SEATS = 3, ARENA = 5 * PAGE_SIZE_BYTES };

static struct lane_geometry geometry;
static struct lane lane;
static int fd;

static void begin(void)
{
    lane_geometry_set(&geometry, SLOTS, ARENA, SEATS);
    fd = segment_create("test-lane", geometry.total_size);
    ck_assert_int_ge(fd, 0);
    void *header = segment_map(fd, PAGE_SIZE_BYTES, true);
    ck_assert_ptr_nonnull(header);
    lane_format(&geometry, header, 7);
    munmap(header, PAGE_SIZE_BYTES);
    ck_assert_int_eq(lane_map(&lane, &geometry, fd), 0);
}

static void finish(void)
{
    lane_unmap(&lane);
    close(fd);
}

static void push(int ring, name_t name)
{
    ck_assert(ring_push(&lane.rings[ring], name));
    ring_publish(&lane.rings[ring]);
}

static void expect_wrong(const char *part)
{
    const char *wrong = lane_check(&lane);
    ck_assert_ptr_nonnull(wrong);
    ck_assert_msg(strstr(wrong, part) != NULL, "%s", wrong);
}

START_TEST(the_parts_of_a_lane_do_not_overlap)
{
    const uint32_t slots[] = {16, 4096, MAX_SLOTS};
    const uint64_t arenas[] = {1, PAGE_SIZE_BYTES, UINT64_C(1) << 30, (UINT64_C(1) << 30) + 1};
    const uint32_t seats[] = {1, 2, MAX_SEATS};
    for (int i = 0; i < 3 * 4 * 3; i++) {
        struct lane_geometry made;
        uint64_t wanted = arenas[i / 3 % 4];
        lane_geometry_set(&made, slots[i % 3], wanted, seats[i / 12]);
        ck_assert_uint_eq(made.ring_capacity, 2 * made.slot_count);
        ck_assert_uint_ge(made.ring_offset[LANE_NORMAL], sizeof(struct lane_header));
        ck_assert_uint_ge(made.ring_offset[LANE_URGENT],
                          made.ring_offset[LANE_NORMAL] + ring_bytes(made.ring_capacity));
        ck_assert_uint_ge(made.slots_offset,
                          made.ring_offset[LANE_URGENT] + ring_bytes(made.ring_capacity));
        ck_assert_uint_ge(made.arenas_offset,
                          made.slots_offset + made.slot_count * sizeof(struct slot));
        ck_assert_uint_ge(made.arena_size, wanted);
        ck_assert_uint_eq(made.total_size,
                          lane_arena_offset(&made, made.seat_count) + made.arena_size);
        const uint64_t offsets[] = {made.ring_offset[0], made.ring_offset[1], made.slots_offset,
                                    made.arenas_offset, made.arena_size};
        for (int part = 0; part < 5; part++)
            ck_assert_uint_eq(offsets[part] % PAGE_SIZE_BYTES, 0);
    }
}
END_TEST

START_TEST(inside_is_exact_at_both_ends_of_every_arena)
{
    begin();
    for (uint32_t arena = 0; arena <= SEATS; arena++) {
        uint32_t first = (uint32_t)(lane_arena_offset(&geometry, arena) / UNIT);
        uint32_t last = first + ARENA / UNIT - 1;
        ck_assert(lane_inside(&geometry, arena, first, 0, ARENA));
        ck_assert(lane_inside(&geometry, arena, first, UNIT, ARENA - UNIT));
        ck_assert(lane_inside(&geometry, arena, last, 0, UNIT));
        ck_assert(lane_inside(&geometry, arena, last, UNIT, 0));
        ck_assert(!lane_inside(&geometry, arena, first - 1, 0, 1));
        ck_assert(!lane_inside(&geometry, arena, first, 0, ARENA + 1));
        ck_assert(!lane_inside(&geometry, arena, first, UNIT, ARENA - UNIT + 1));
        ck_assert(!lane_inside(&geometry, arena, last, UNIT, 1));
        ck_assert(!lane_inside(&geometry, arena, last + 1, 0, 1));
        ck_assert(!lane_inside(&geometry, arena, first, 0, UINT64_MAX));
        ck_assert(!lane_inside(&geometry, arena, first, UNIT, UINT64_MAX - UNIT));
        ck_assert(!lane_inside(&geometry, arena, UINT32_MAX, UNIT, ARENA));
        ck_assert(!lane_inside(&geometry, arena, 0, 0, 0));
    }
    finish();
}
END_TEST

START_TEST(nothing_is_inside_an_arena_that_is_not_there)
{
    begin();
    for (uint32_t arena = SEATS + 1; arena < MAX_SEATS; arena++) {
        uint32_t first = (uint32_t)(lane_arena_offset(&geometry, arena) / UNIT);
        ck_assert(!lane_inside(&geometry, arena, first, UNIT, 1));
    }
    finish();
}
END_TEST

START_TEST(a_fresh_lane_is_sound_and_idle)
{
    begin();
    ck_assert_ptr_null(lane_check(&lane));
    ck_assert(!lane_has_work(&lane, SEAT_CPU));
    ck_assert_uint_eq(lane.header->index, 7);
    ck_assert_int_eq(atomic_load(&lane.header->client_cpu), -1);
    finish();
    lane_unmap(&lane);
    ck_assert_ptr_null(lane.memory);
}
END_TEST

START_TEST(work_in_either_ring_is_work)
{
    for (int ring = 0; ring < LANE_RINGS; ring++) {
        begin();
        push(ring, name_make(0, 0, 1));
        ck_assert(lane_has_work(&lane, SEAT_CPU));
        ck_assert_ptr_null(lane_check(&lane));
        finish();
    }
}
END_TEST

START_TEST(a_segment_that_is_no_lane_of_ours_is_not_mapped)
{
    begin();
    struct lane other = {0};
    lane.header->magic ^= 1;
    ck_assert_int_eq(lane_map(&other, &geometry, fd), -EPROTO);
    lane.header->magic ^= 1;
    lane.header->version++;
    ck_assert_int_eq(lane_map(&other, &geometry, fd), -EPROTO);
    lane.header->version--;
    lane.header->total_size++;
    ck_assert_int_eq(lane_map(&other, &geometry, fd), -EPROTO);
    lane.header->total_size--;
    ck_assert_int_eq(lane_map(&other, &geometry, -1), -EBADF);
    int shorter = segment_create("test-lane", geometry.total_size - 1);
    ck_assert_int_ge(shorter, 0);
    ck_assert_int_eq(lane_map(&other, &geometry, shorter), -EPROTO);
    close(shorter);
    ck_assert_ptr_null(other.memory);
    ck_assert_int_eq(lane_map(&other, &geometry, fd), 0);
    lane_unmap(&other);
    finish();
}
END_TEST

START_TEST(a_lane_has_a_number_that_no_other_has)
{
    begin();
    struct lane first = lane, again;
    int first_fd = fd;
    ck_assert_int_eq(lane_map(&again, &geometry, first_fd), 0);
    ck_assert_uint_ne(first.number, 0);
    ck_assert_uint_eq(again.number, first.number);
    lane_unmap(&again);
    begin();
    ck_assert_uint_ne(lane.number, first.number);
    finish();
    lane_unmap(&first);
    close(first_fd);
}
END_TEST

START_TEST(a_forked_child_does_not_have_its_parents_lane)
{
    begin();
    pid_t child = fork();
    if (child == 0) {
        unsigned char resident;
        _exit(mincore(lane.memory, PAGE_SIZE_BYTES, &resident) < 0 && errno == ENOMEM ? 0 : 1);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    finish();
}
END_TEST

START_TEST(a_damaged_header_is_noticed)
{
    begin();
    lane.header->magic = 0;
    expect_wrong("header");
    lane.header->magic = LAYOUT_MAGIC_LANE;
    lane.header->version = LAYOUT_VERSION + 1;
    expect_wrong("header");
    finish();
}
END_TEST

START_TEST(damaged_positions_of_a_ring_are_noticed)
{
    for (int ring = 0; ring < LANE_RINGS; ring++) {
        begin();
        struct ring_shared *shared = lane.rings[ring].shared;
        atomic_store(&shared->head, 1);
        expect_wrong("head and tail");
        atomic_store(&shared->head, 0);
        atomic_store(&shared->tail, geometry.ring_capacity + 1);
        expect_wrong("head and tail");
        atomic_store(&shared->tail, 1);
        expect_wrong("stale");
        finish();
    }
}
END_TEST

START_TEST(a_ticket_for_a_slot_that_is_not_there_is_noticed)
{
    begin();
    push(LANE_URGENT, name_make(0, 0, SLOTS - 1));
    ck_assert_ptr_null(lane_check(&lane));
    push(LANE_URGENT, name_make(0, 0, SLOTS));
    expect_wrong("ticket");
    finish();
}
END_TEST

START_TEST(damaged_slots_are_noticed)
{
    begin();
    struct slot *slot = &lane.slots[SLOTS - 1];
    uint32_t client = (uint32_t)(geometry.arenas_offset / UNIT);
    atomic_store(&slot->word, slot_word(SLOT_RUNNING, 0, SEATS, 0, 0));
    ck_assert_ptr_null(lane_check(&lane));
    atomic_store(&slot->word, slot_word(SLOT_RUNNING, 0, SEATS + 1, 0, 0));
    expect_wrong("seat");
    atomic_store(&slot->word, slot_word(SLOT_STATES, 0, 0, 0, 0));
    expect_wrong("state");
    atomic_store(&slot->word, slot_word(SLOT_SUBMITTED, 0, 0, 0, 0));
    slot->args_size = SLOT_ARGS_SIZE;
    ck_assert_ptr_null(lane_check(&lane));
    slot->args_size = SLOT_ARGS_SIZE + 1;
    expect_wrong("arguments");
    slot->args_unit = client + 1;
    ck_assert_ptr_null(lane_check(&lane));
    slot->args_size = ARENA - UNIT + 1;
    expect_wrong("arguments");
    slot->args_size = 1;
    slot->args_unit = client - 1;
    expect_wrong("arguments");
    slot->args_unit = client + ARENA / UNIT; /* the first worker's */
    expect_wrong("arguments");
    atomic_store(&slot->word, slot_word(SLOT_FREE, 0, 0, 0, 0)); /* nobody looks any more */
    ck_assert_ptr_null(lane_check(&lane));
    finish();
}
END_TEST

TEST_MAIN(lane, the_parts_of_a_lane_do_not_overlap, inside_is_exact_at_both_ends_of_every_arena,
          nothing_is_inside_an_arena_that_is_not_there, a_fresh_lane_is_sound_and_idle,
          work_in_either_ring_is_work, a_segment_that_is_no_lane_of_ours_is_not_mapped,
          a_lane_has_a_number_that_no_other_has, a_forked_child_does_not_have_its_parents_lane,
          a_damaged_header_is_noticed, damaged_positions_of_a_ring_are_noticed,
          a_ticket_for_a_slot_that_is_not_there_is_noticed, damaged_slots_are_noticed)
