/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Freed memory goes back to the system: how much of a lane has pages, while it is
 * used, after it was used, and when the pool is idle.
 */
#include "tests/system/support.h"

#include "base/clock.h"
#include "base/fault.h"
#include "pool/pool.h"
#include "pool/tidy.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>

enum { MIB = 1 << 20, TASKS = 10, LARGE = 64 * MIB, IDLE_MS = 5 * TIDY_IDLE_MS };

/* What all pages of a lane may come to beside arenas: rings and slots. */
enum { BESIDE = 4 * MIB };

static int echo(mc_task *task)
{
    size_t size;
    const void *args = mc_task_args(task, &size);
    return mc_task_reply(task, args, size);
}

static int fill(mc_task *task)
{
    void *data;
    uint32_t size = number_of(task);
    int result = mc_task_reply_alloc(task, size, &data);
    if (result == 0)
        memset(data, 'f', size);
    return result;
}

static int fill_and_die(mc_task *task)
{
    int result = fill(task);
    if (result == 0)
        raise(SIGKILL);
    return result;
}

static const struct mc_handler handlers[] = {
    {.name = "echo", .run = echo},
    {.name = "fill", .run = fill},
    {.name = "fill-and-die", .run = fill_and_die, .flags = MC_ISOLATED},
};

static mc_pool *pool;
static int lane_fd;

/* The lane as its supervisor has it open. */
static int find_lane(pid_t supervisor)
{
    char path[300], target[100];
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)supervisor);
    DIR *directory = opendir(path);
    int found = -1;
    for (struct dirent *entry; directory != NULL && (entry = readdir(directory)) != NULL;) {
        snprintf(path, sizeof(path), "/proc/%d/fd/%s", (int)supervisor, entry->d_name);
        ssize_t length = readlink(path, target, sizeof(target) - 1);
        target[length > 0 ? length : 0] = '\0';
        if (found < 0 && strstr(target, "multicore-lane") != NULL)
            found = open(path, O_RDONLY | O_CLOEXEC);
    }
    if (directory != NULL)
        closedir(directory);
    ck_assert_int_ge(found, 0);
    return found;
}

/* workers 0: two of them. */
static void begin(unsigned workers)
{
    fault_arm(NULL, 0, 0); /* makes the memory that the pool inherits */
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    options.workers = workers != 0 ? workers : 2;
    options.queue_depth = 64;
    struct family family;
    pool = open_pool(&options);
    family_find(pool, &family);
    lane_fd = find_lane(family.supervisor);
}

static void finish(void)
{
    expect_quiet(pool);
    close(lane_fd);
    mc_pool_close(pool);
}

/* The bytes of [from, to) in the lane that have pages. */
static uint64_t resident_between(uint64_t from, uint64_t to)
{
    uint64_t bytes = 0;
    while (from < to) {
        off_t data = lseek(lane_fd, (off_t)from, SEEK_DATA);
        if (data < 0 || (uint64_t)data >= to)
            break;
        off_t hole = lseek(lane_fd, data, SEEK_HOLE);
        if (hole == data) /* it was given back between the two calls */
            hole += PAGE_SIZE_BYTES;
        ck_assert_int_gt(hole, data);
        from = (uint64_t)hole < to ? (uint64_t)hole : to;
        bytes += from - (uint64_t)data;
    }
    return bytes;
}

static uint64_t resident_arguments(void)
{
    const struct lane_geometry *geometry = &pool->config->geometry;
    return resident_between(geometry->arenas_offset, lane_arena_offset(geometry, 1));
}

static uint64_t resident_results(void)
{
    const struct lane_geometry *geometry = &pool->config->geometry;
    return resident_between(lane_arena_offset(geometry, 1), geometry->total_size);
}

static uint64_t resident(void)
{
    return resident_between(0, pool->config->geometry.total_size);
}

/* Until the workers' part has come down to that. */
static void await_results(uint64_t most)
{
    uint64_t began = clock_ns(), left;
    while ((left = resident_results()) > most) {
        ck_assert_msg(ms_since(began) < IDLE_MS, "%llu bytes of results stay, not %llu",
                      (unsigned long long)left, (unsigned long long)most);
        pause_us(20000);
    }
}

static uint64_t little(void)
{
    return (uint64_t)pool->config->workers * 2 * TIDY_KEEP * UNIT;
}

static void echo_all(unsigned tasks, size_t size)
{
    mc_group *group = open_unhelped(pool);
    uint8_t *bytes = malloc(size);
    ck_assert_ptr_nonnull(bytes);
    memset(bytes, 'e', size);
    for (unsigned i = 0; i < tasks; i++) {
        run(group, "echo", bytes, size);
        wait_all(group);
        struct mc_result result = result_of(group, i);
        ck_assert_msg(result.status == 0, "%s", result.error);
        ck_assert_uint_eq(result.data_size, size);
        ck_assert_int_eq(memcmp(result.data, bytes, size), 0);
        mc_group_release(group, i);
    }
    free(bytes);
    mc_group_close(group);
}

static mc_group *hold_results(unsigned tasks, uint32_t size)
{
    mc_group *group = open_unhelped(pool);
    for (unsigned i = 0; i < tasks; i++)
        run_number(group, "fill", size);
    wait_all(group);
    ck_assert_uint_eq(failures(group), 0);
    return group;
}

START_TEST(after_large_tasks_the_memory_goes_back)
{
    begin(0);
    for (int round = 0; round < 2; round++) {
        echo_all(TASKS, LARGE);
        ck_assert_uint_le(resident_arguments(), (uint64_t)TIDY_BOUND * UNIT + MIB);
        await_results(little());
        ck_assert_uint_le(resident(), (uint64_t)TIDY_BOUND * UNIT + BESIDE + little());
        echo_all(TASKS, 1000);
    }
    finish();
}
END_TEST

START_TEST(arguments_that_were_in_flight_together_are_given_back_as_they_end)
{
    begin(0);
    mc_group *group = open_unhelped(pool);
    uint8_t *bytes = calloc(1, LARGE);
    ck_assert_ptr_nonnull(bytes);
    uint32_t size = 10;
    memcpy(bytes, &size, sizeof(size));
    for (int i = 0; i < TASKS; i++)
        run(group, "fill", bytes, LARGE);
    wait_all(group);
    ck_assert_uint_eq(failures(group), 0);
    ck_assert_uint_le(resident_arguments(), (uint64_t)TIDY_BOUND * UNIT + MIB);
    free(bytes);
    mc_group_close(group);
    finish();
}
END_TEST

START_TEST(a_steady_flow_of_tasks_above_the_bound_keeps_the_memory_of_one)
{
    begin(1);
    echo_all(2, 100 * MIB);
    uint64_t arguments = resident_arguments();
    ck_assert_uint_ge(arguments, 100 * MIB);
    echo_all(3, 100 * MIB);
    ck_assert_uint_eq(resident_arguments(), arguments);
    pause_us((TIDY_IDLE_MS + 200) * 1000);
    echo_all(1, 10);
    ck_assert_uint_le(resident_arguments(), (uint64_t)TIDY_BOUND * UNIT);
    finish();
}
END_TEST

START_TEST(a_steady_flow_keeps_its_memory)
{
    begin(1);
    echo_all(2, 30 * MIB);
    uint64_t arguments = resident_arguments(), results = resident_results();
    ck_assert_uint_ge(arguments, 30 * MIB);
    for (uint64_t began = clock_ns(); ms_since(began) < 2 * TIDY_IDLE_MS;) {
        echo_all(1, 30 * MIB);
        pause_us(50000); /* the worker falls asleep */
        ck_assert_uint_eq(resident_arguments(), arguments);
        ck_assert_uint_eq(resident_results(), results);
    }
    finish();
}
END_TEST

START_TEST(what_nobody_uses_any_more_goes_back_although_the_worker_is_never_idle)
{
    begin(1);
    mc_group_close(hold_results(TASKS, LARGE));
    ck_assert_uint_ge(resident_results(), (uint64_t)TASKS * LARGE);
    for (uint64_t began = clock_ns(); resident_results() > (uint64_t)TIDY_BOUND * UNIT;) {
        ck_assert_msg(ms_since(began) < IDLE_MS, "%llu bytes stay",
                      (unsigned long long)resident_results());
        echo_all(1, 1000);
        pause_us(20000);
    }
    finish();
}
END_TEST

START_TEST(results_that_are_held_for_long_go_back_once_they_are_released)
{
    begin(0);
    mc_group *group = hold_results(TASKS, LARGE);
    for (size_t i = 1; i < TASKS; i += 2)
        mc_group_release(group, i);
    await_results((uint64_t)TASKS / 2 * LARGE + little());
    pause_us(2 * TIDY_IDLE_MS * 1000); /* the workers sleep for good */
    for (size_t i = 0; i < TASKS; i += 2) {
        struct mc_result result = result_of(group, i);
        for (uint32_t at = 0; at < LARGE; at += 4096)
            if (((const char *)result.data)[at] != 'f')
                ck_abort_msg("byte %u of result %zu is lost", at, i);
    }
    mc_group_close(group);
    await_results(little());
    finish();
}
END_TEST

/* How often the workers have gone to sleep so far. */
static uint64_t sleeps(const struct family *family)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < family->worker_count; i++) {
        char path[64], line[256];
        unsigned long long count = 0;
        snprintf(path, sizeof(path), "/proc/%d/status", (int)family->workers[i]);
        FILE *file = fopen(path, "re");
        ck_assert_ptr_nonnull(file);
        while (fgets(line, sizeof(line), file) != NULL)
            if (sscanf(line, "voluntary_ctxt_switches: %llu", &count) == 1)
                break;
        fclose(file);
        sum += count;
    }
    return sum;
}

START_TEST(an_idle_pool_stays_asleep)
{
    struct family family;
    begin(0);
    family_find(pool, &family);
    mc_group *group = hold_results(4, 4 * MIB); /* held: nothing can go back */
    uint64_t began = clock_ns(), before, after = sleeps(&family);
    do { /* on a busy machine it may take more than one round until all have tidied */
        ck_assert_msg(ms_since(began) < BOUND_MS, "the workers wake up again and again");
        before = after;
        pause_us(2 * TIDY_IDLE_MS * 1000);
        after = sleeps(&family);
    } while (after != before);
    mc_group_close(group);
    finish();
}
END_TEST

START_TEST(a_successor_gives_the_memory_of_the_dead_back)
{
    begin(1);
    mc_group_close(hold_results(2, LARGE));
    mc_group *group = open_unhelped(pool);
    run_number(group, "fill-and-die", LARGE);
    wait_all(group);
    ck_assert_int_eq(result_of(group, 0).status, -EOWNERDEAD);
    mc_group_close(group);
    ck_assert(await_workers(pool, BOUND_MS));
    echo_all(1, 10); /* so it comes across the lane */
    await_results(little());
    echo_all(2, LARGE);
    finish();
}
END_TEST

START_TEST(a_worker_killed_while_it_gives_memory_back_loses_nothing)
{
    begin(1);
    for (int count = 1; count <= 5; count += 2) {
        mc_group *held = hold_results(1, 3 * MIB);
        mc_group_close(hold_results(1, LARGE));
        fault_arm("blocks_give_back", SIGKILL, count);
        for (uint64_t began = clock_ns(); !fault_struck(); pause_us(10000))
            ck_assert_msg(ms_since(began) < IDLE_MS, "nothing is given back");
        fault_arm(NULL, 0, 0);
        ck_assert(await_workers(pool, BOUND_MS));
        echo_all(2, LARGE);
        struct mc_result result = result_of(held, 0);
        for (uint32_t at = 0; at < 3 * MIB; at++)
            if (((const char *)result.data)[at] != 'f')
                ck_abort_msg("byte %u is lost", at);
        mc_group_close(held);
        await_results(little());
    }
    finish();
}
END_TEST

TEST_MAIN(memory, after_large_tasks_the_memory_goes_back,
          arguments_that_were_in_flight_together_are_given_back_as_they_end,
          a_steady_flow_of_tasks_above_the_bound_keeps_the_memory_of_one,
          a_steady_flow_keeps_its_memory,
          what_nobody_uses_any_more_goes_back_although_the_worker_is_never_idle,
          results_that_are_held_for_long_go_back_once_they_are_released, an_idle_pool_stays_asleep,
          a_successor_gives_the_memory_of_the_dead_back,
          a_worker_killed_while_it_gives_memory_back_loses_nothing)
