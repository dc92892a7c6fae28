/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What clients do to the segments that they are given.
 */
#include "tests/system/hostile.h"

#include "base/clock.h"
#include "pool/pool.h"
#include "pool/tidy.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { MIB = 1 << 20, RESULT = 8 * MIB, NOT_PERMITTED = 77 };

START_TEST(segments_can_be_neither_sealed_nor_changed_in_size_nor_written_by_those_who_only_read)
{
    hostile_begin();
    static const int seals[] = {F_SEAL_WRITE, F_SEAL_FUTURE_WRITE, F_SEAL_GROW, F_SEAL_SEAL,
                                0x20 /* F_SEAL_EXEC */};
    struct parcel parcel;
    pid_t child = fork();
    if (child == 0) {
        if (geteuid() == 0)
            become(NOBODY, NULL, 0);
        if (join_raw(&parcel) < 0)
            _exit(1);
        for (int d = LANE; d <= BELLS; d++) {
            for (int i = 0; i < 5 && d != NOTIFY; i++)
                if (fcntl(parcel.descriptors[d], F_ADD_SEALS, seals[i]) == 0)
                    _exit(10 + d);
            if (d != NOTIFY && ftruncate(parcel.descriptors[d], 0) == 0)
                _exit(20 + d);
        }
        int control = parcel.descriptors[CONTROL];
        char path[64];
        snprintf(path, sizeof(path), "/proc/self/fd/%d", control);
        int again = open(path, O_RDWR | O_CLOEXEC);
        void *memory = mmap(NULL, 4096, PROT_READ, MAP_SHARED, control, 0);
        if (mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, control, 0) != MAP_FAILED ||
            mprotect(memory, 4096, PROT_READ | PROT_WRITE) == 0 ||
            madvise(memory, 4096, MADV_REMOVE) == 0 || pwrite(control, "x", 1, 0) == 1 ||
            fallocate(control, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0)
            _exit(30);
        if (again >= 0 &&
            (pwrite(again, "x", 1, 0) == 1 ||
             mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, again, 0) != MAP_FAILED))
            _exit(31);
        _exit(parcel.descriptor_count == 4 || geteuid() != NOBODY ? 0 : 32);
    }
    ck_assert_int_eq(WEXITSTATUS(await_exit(child)), 0);
    mc_pool *pool = attach(&server, NULL, 0);
    ck_assert(round_is_right(pool, 0));
    mc_pool_close(pool);
    hostile_finish("sealing");
}
END_TEST

/* A client that uses the pool, spoils its lane, forks and dies, again and again. */
static void spoil(uint32_t seed)
{
    draw_from(seed);
    mc_pool *pool;
    if (geteuid() == 0)
        become(NOBODY, NULL, 0);
    if (mc_pool_attach(server.path, NULL, &pool) < 0 || !mc_pool_connected(pool))
        _exit(0);
    mc_group *group = NULL;
    char bytes[4000] = {0};
    if (mc_group_open(pool, NULL, &group) < 0)
        _exit(0);
    for (int i = 0; i < 50; i++)
        (void)mc_group_run(group, "echo", bytes, 1 + draw() % sizeof(bytes));
    struct lane *lane = &behind(pool)->client.lane;
    uint64_t size = draw() % 2 == 0 ? lane->geometry->slots_offset : lane->geometry->arenas_offset;
    for (int i = 0; i < 200000; i++) {
        uint64_t at = draw() % size;
        lane->memory[at] = (uint8_t)draw();
        if (i == 1000 && draw() % 2 == 0)
            memset(lane->memory + 4096, (int)draw(), size - 4096);
    }
    if (fork() == 0) { /* it has the socket too, for a while */
        pause_us(draw() % 50000);
        _exit(0);
    }
    raise(SIGKILL);
}

static void count_crashes(void *context, int level, const char *line)
{
    /* By signal 9 a client may have its own tasks' workers killed: that is in the slot. */
    if (strstr(line, "was killed by signal") != NULL && strstr(line, "signal 9 ") == NULL)
        atomic_fetch_add((_Atomic uint32_t *)context, 1);
}

START_TEST(a_client_that_spoils_its_lane_forks_and_dies_is_noticed_by_nobody)
{
    board_open();
    server_prepare(&server);
    server.options.pool.log = count_crashes;
    server.options.pool.log_context = (void *)&board->words[8];
    hostile_start();
    honest_begin();
    struct belongings before = belongings_of(server.pid);
    for (uint32_t round = 1; round <= 60; round++) {
        pid_t child = fork();
        if (child == 0)
            spoil(round * 2654435761u);
        (void)await_exit(child);
    }
    ck_assert_uint_eq(atomic_load(&board->words[8]), 0);
    expect_given_back(server.pid, &before);
    hostile_finish("spoilt lanes");
}
END_TEST

/* ---- who holds the lock of its lane's file ---- */

/* The first touch of this page takes for ever, as that of a file on a file system of the
 * toucher's own may; whoever does is told through the descriptor that is returned. */
static char *page_of_nowhere(int *touches)
{
    struct uffdio_api api = {.api = UFFD_API};
    char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct uffdio_register range = {.range = {(uintptr_t)page, 4096},
                                    .mode = UFFDIO_REGISTER_MODE_MISSING};
    *touches = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
    if (page == MAP_FAILED || *touches < 0 || ioctl(*touches, UFFDIO_API, &api) < 0 ||
        ioctl(*touches, UFFDIO_REGISTER, &range) < 0)
        _exit(NOT_PERMITTED);
    return page;
}

static char *nowhere;

static void *write_from_nowhere(void *fd)
{
    (void)pwrite(*(int *)fd, nowhere, 1, 0);
    return NULL;
}

/* Has so many lanes, lets go of them, and keeps their files' locks until it is killed. */
static void hold_locks(int lanes)
{
    struct parcel parcels[4];
    struct uffd_msg touched;
    pthread_t thread;
    int touches;
    nowhere = page_of_nowhere(&touches);
    become(NOBODY, NULL, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 0; i < lanes; i++) {
        int client = join_raw(&parcels[i]);
        if (client < 0 ||
            pthread_create(&thread, NULL, write_from_nowhere, &parcels[i].descriptors[LANE]) != 0 ||
            read(touches, &touched, sizeof(touched)) != sizeof(touched))
            _exit(1);
        close(client);
    }
    board_count(&board->words[0]);
    for (;;)
        pause();
}

static bool nobody_may_join(void)
{
    struct parcel parcel;
    pid_t child = fork();
    if (child == 0) {
        become(NOBODY, NULL, 0);
        _exit(join_raw(&parcel) >= 0 ? 0 : 1);
    }
    return await_exit(child) == 0;
}

START_TEST(who_holds_the_lock_of_its_lane_holds_up_nobody_and_keeps_its_place)
{
    int status;
    if (needs_root("to hold the lock of a file"))
        return;
    board_open();
    server_prepare(&server);
    server.options.max_clients_per_user = 2;
    hostile_start();
    honest_begin();
    struct belongings before = belongings_of(server.pid);
    pid_t child = fork();
    if (child == 0)
        hold_locks(2);
    while (!board_await(&board->words[0], 1, 100) && waitpid(child, &status, WNOHANG) == 0) {
    }
    if (atomic_load(&board->words[0]) == 0) {
        ck_assert_int_eq(WEXITSTATUS(status), NOT_PERMITTED);
        printf("skipped, since userfaultfd() is not permitted\n");
        hostile_finish("nothing");
        return;
    }
    for (int i = 0; i < 5; i++) {
        mc_pool *pool = attach(&server, NULL, 0);
        ck_assert(round_is_right(pool, 0));
        mc_pool_close(pool);
    }
    ck_assert(!nobody_may_join());
    kill(child, SIGKILL);
    (void)await_exit(child);
    expect_given_back(server.pid, &before);
    ck_assert(nobody_may_join());
    hostile_finish("locks that are held");
}
END_TEST

static void become_if(uid_t uid)
{
    if (geteuid() == 0 && uid != 0)
        become(uid, NULL, 0);
}

/* Lets go of a lane that it has filled, but for its descriptor. */
static void keep_descriptor(uid_t uid)
{
    struct parcel parcel;
    struct stat status;
    become_if(uid);
    int client = join_raw(&parcel), lane = parcel.descriptors[LANE];
    if (client < 0 || fstat(lane, &status) < 0)
        _exit(1);
    char *memory = mmap(NULL, RESULT, PROT_READ | PROT_WRITE, MAP_SHARED, lane,
                        status.st_size / 2 / RESULT * RESULT);
    if (memory == MAP_FAILED)
        _exit(2);
    memset(memory, 1, RESULT);
    close(client);
    for (uint64_t began = clock_ns(); ms_since(began) < BOUND_MS; pause_us(1000))
        if (fstat(lane, &status) == 0 && status.st_blocks == 0)
            _exit(0);
    _exit(3);
}

START_TEST(the_memory_of_a_lane_goes_back_whoever_keeps_its_descriptor)
{
    hostile_begin();
    const uid_t users[] = {0, NOBODY};
    for (int i = 0; i < 2; i++) {
        pid_t child = fork();
        if (child == 0)
            keep_descriptor(users[i]);
        ck_assert_int_eq(WEXITSTATUS(await_exit(child)), 0);
    }
    hostile_finish("descriptors that are kept");
}
END_TEST

/* The bytes of results in the client's lane for which there are pages. */
static uint64_t resident_results(mc_pool *handle)
{
    const struct lane *lane = &behind(handle)->client.lane;
    uint64_t from = lane_arena_offset(lane->geometry, 1), size = lane->geometry->total_size - from;
    unsigned char *pages = malloc(size / 4096);
    uint64_t bytes = 0;
    if (pages == NULL || mincore(lane->memory + from, size, pages) < 0)
        _exit(1);
    for (uint64_t i = 0; i < size / 4096; i++)
        bytes += (pages[i] & 1) != 0 ? 4096 : 0;
    free(pages);
    return bytes;
}

/* Has a large result, then none; exits with the MiB that are left when nothing was done for
 * long enough to give them back. */
static void have_result(uid_t uid)
{
    struct mc_group_options options = {.size = sizeof(options), .help = MC_HELP_NEVER};
    mc_pool *pool;
    mc_group *group;
    char *bytes = calloc(1, RESULT);
    become_if(uid);
    if (bytes == NULL || mc_pool_attach(server.path, NULL, &pool) < 0 || !mc_pool_connected(pool) ||
        mc_group_open(pool, &options, &group) < 0 ||
        mc_group_run(group, "echo", bytes, RESULT) < 0 || mc_group_wait(group, BOUND_MS) < 0)
        _exit(100);
    mc_group_close(group);
    uint64_t began = clock_ns(), left;
    while ((left = resident_results(pool)) >= RESULT && ms_since(began) < 3 * TIDY_IDLE_MS)
        pause_us(20000);
    mc_pool_close(pool);
    _exit((int)(left / MIB));
}

START_TEST(workers_give_no_memory_back_in_the_lanes_of_other_users)
{
    if (needs_root("a client of another user"))
        return;
    board_open();
    server_prepare(&server);
    server.options.pool.max_payload = RESULT;
    server.options.pool.arena_size = 4 * RESULT;
    hostile_start();
    const uid_t users[] = {0, NOBODY};
    for (int i = 0; i < 2; i++) {
        pid_t child = fork();
        if (child == 0)
            have_result(users[i]);
        int left = WEXITSTATUS(await_exit(child));
        ck_assert_int_lt(left, 100);
        ck_assert_msg((left >= RESULT / MIB) == (users[i] == NOBODY), "%d MiB", left);
    }
    server_end(&server);
}
END_TEST

TEST_MAIN(hostile_memory,
          segments_can_be_neither_sealed_nor_changed_in_size_nor_written_by_those_who_only_read,
          a_client_that_spoils_its_lane_forks_and_dies_is_noticed_by_nobody,
          who_holds_the_lock_of_its_lane_holds_up_nobody_and_keeps_its_place,
          the_memory_of_a_lane_goes_back_whoever_keeps_its_descriptor,
          workers_give_no_memory_back_in_the_lanes_of_other_users)
