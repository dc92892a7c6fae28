/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What clients do to the segments that they are given.
 */
#include "tests/system/hostile.h"

#include "pool/pool.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

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

TEST_MAIN(hostile_memory,
          segments_can_be_neither_sealed_nor_changed_in_size_nor_written_by_those_who_only_read,
          a_client_that_spoils_its_lane_forks_and_dies_is_noticed_by_nobody)
