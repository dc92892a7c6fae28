/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fault/troupe.h"

#include "base/clock.h"
#include "ipc/slot.h"
#include "pool/pool.h"
#include "tests/fault/batch.h"
#include "tests/fault/look.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    LANE_FDS = 4, /* memory, two sockets, a pidfd */
    SEAT_FDS = 2, /* a socket, a pidfd */
    THROUGHPUT_TASKS = 200,
    SETTLE_MS = 100, /* before the first look at what is usual */
};

mc_pool *the_pool;

struct mc_pool_options troupe_options(void)
{
    return (struct mc_pool_options){.size = sizeof(struct mc_pool_options),
                                    .handlers = troupe_handlers,
                                    .handler_count = TROUPE_HANDLERS,
                                    .worker_init = troupe_init,
                                    .workers = 2,
                                    .queue_depth = 64,
                                    .max_payload = 1 << 16,
                                    .arena_size = 1 << 18,
                                    .max_clients = 8,
                                    .close_timeout_ms = 2000,
                                    .log = ledger_line};
}

/* ---- pools ---- */

static unsigned fds_before;

static bool all_up(void)
{
    for (uint32_t seat = 0; seat < the_pool->config->seats; seat++)
        if (atomic_load(&the_pool->control->rows[seat].pid) == 0)
            return false;
    return atomic_load(&the_pool->control->seats_up) == the_pool->config->seats;
}

/* Whether the call gave us the_pool; if not, it is to have left nothing. */
static bool opened(int result, const char *call)
{
    if (ledger_call(result, call))
        return true;
    the_pool = NULL;
    if (look_own_fds() != fds_before || look_own_memfds() != 0)
        ledger_wrong(LEAKED, "a failed %s() left %d descriptors, %u mappings", call,
                     (int)look_own_fds() - (int)fds_before, look_own_memfds());
    return false;
}

bool troupe_open(const struct mc_pool_options *options)
{
    fds_before = look_own_fds();
    return opened(mc_pool_open(options, &the_pool), "mc_pool_open");
}

bool troupe_attach(const char *path)
{
    struct mc_attach_options options = {
        .size = sizeof(options), .handlers = troupe_handlers, .handler_count = TROUPE_LATE};
    fds_before = look_own_fds();
    return opened(mc_pool_attach(path, &options, &the_pool), "mc_pool_attach");
}

bool pool_alive(void)
{
    /* A fork that found no supervisor still has its parent's client, without memory. */
    return the_pool != NULL && pool_current(the_pool) && !client_check_gone(&the_pool->client);
}

void troupe_close(void)
{
    if (the_pool == NULL)
        return;
    mc_pool_close(the_pool);
    the_pool = NULL;
    if (look_own_fds() != fds_before || look_own_memfds() != 0)
        ledger_wrong(LEAKED, "mc_pool_close() left %d descriptors and %u mappings",
                     (int)look_own_fds() - (int)fds_before, look_own_memfds());
}

static bool meet_once(void)
{
    struct batch batch;
    if (!batch_open(&batch, 2, (struct mc_group_options){.help = MC_HELP_NEVER}))
        return false;
    atomic_store(&ledger->met, 0);
    bool met = batch_repeat(&batch, 2, "meet", 0, (struct job){.reply = 1}, sizeof(struct job));
    batch_wait(&batch);
    for (size_t i = 0; i < batch.submitted; i++) {
        struct mc_result result = {.size = sizeof(result)};
        met = met && mc_group_result(batch.group, i, &result) == 0 && result.data_size == 1 &&
              *(const uint8_t *)result.data == 1;
    }
    batch_results(&batch);
    batch_close(&batch);
    return met;
}

void troupe_expect_throughput(bool side_by_side)
{
    uint64_t began = clock_ns();
    while (side_by_side && pool_alive() && !meet_once())
        if (clock_ns() - began > (uint64_t)WAIT_MS * 1000000) {
            ledger_wrong(WEDGED, "two workers do not run side by side again");
            troupe_describe();
            return;
        }
    struct batch batch;
    if (!pool_alive() ||
        !batch_open(&batch, THROUGHPUT_TASKS, (struct mc_group_options){.help = MC_HELP_NEVER}))
        return;
    batch_repeat(&batch, THROUGHPUT_TASKS, "work", 0, (struct job){.reply = 30},
                 sizeof(struct job));
    batch_finish(&batch);
}

/* Living workers that have a lane of their own, since a task of theirs nested. */
static unsigned lanes_of_workers(void)
{
    unsigned count = 0;
    for (uint32_t lane = 0; lane < MAX_LANES; lane++) {
        const struct lane_entry *entry = &the_pool->control->lanes[lane];
        if ((atomic_load(&entry->generation) & 1) == 0)
            continue;
        for (uint32_t seat = 0; seat < the_pool->config->seats; seat++)
            count +=
                atomic_load(&the_pool->control->rows[seat].pid) == atomic_load(&entry->client_pid);
    }
    return count;
}

static bool look_at_pool(struct holdings *found)
{
    if (!all_up() || !look_holdings(the_pool->supervisor_pidfd, found))
        return false;
    unsigned lanes = lanes_of_workers();
    found->supervisor_fds -= lanes * LANE_FDS + the_pool->config->io_workers * SEAT_FDS;
    found->supervisor_maps -= lanes;
    return true;
}

static bool holds_as_usual(const struct holdings *found)
{
    const struct holdings *usual = &ledger->usual;
    return usual->supervisor_fds == 0 || memcmp(found, usual, sizeof(*usual)) == 0;
}

static void pause_ms(unsigned ms)
{
    struct timespec pause = {.tv_nsec = (long)ms * 1000000};
    (void)nanosleep(&pause, NULL);
}

/* Lanes of dead clients are freed a few milliseconds later. */
static void expect_usual_holdings(void)
{
    uint64_t began = clock_ns();
    if (ledger->usual.supervisor_fds == 0)
        pause_ms(SETTLE_MS);
    for (;;) {
        struct holdings found;
        bool complete = look_at_pool(&found);
        if (complete && holds_as_usual(&found)) {
            ledger->holdings = found;
            return;
        }
        if (!pool_alive())
            return;
        if (clock_ns() - began > (uint64_t)WAIT_MS * 1000000) {
            if (complete)
                ledger_wrong(LEAKED,
                             "the pool holds %u, %u descriptors and %u mappings instead of %u, "
                             "%u and %u",
                             found.supervisor_fds, found.zygote_fds, found.supervisor_maps,
                             ledger->usual.supervisor_fds, ledger->usual.zygote_fds,
                             ledger->usual.supervisor_maps);
            else
                ledger_wrong(WEDGED, "the pool does not become complete again");
            return;
        }
        pause_ms(1);
    }
}

/* Every result was given back, so no block in the arenas of the lane is in use, nor
 * left by a worker that died while it filled it. */
static unsigned blocks_in_use(const struct lane *lane)
{
    unsigned count = 0;
    for (uint32_t seat = 0; seat < lane->geometry->seat_count; seat++) {
        uint32_t unit = atomic_load(&lane->header->newest_block[seat]);
        while (unit != 0 && lane_inside(lane->geometry, seat + 1, unit, UNIT, 0)) {
            const struct block *block =
                (const struct block *)(const void *)(lane->memory + (uint64_t)unit * UNIT);
            count += atomic_load(&block->released) == 0;
            unit = atomic_load(&block->next);
        }
    }
    return count;
}

void troupe_expect_sound(void)
{
    if (!pool_alive())
        return;
    const char *damage = lane_check(&the_pool->client.lane);
    if (damage != NULL)
        ledger_wrong(LOST, "the lane: %s", damage);
    if (the_pool->client.free_count + the_pool->client.abandoned_count !=
        the_pool->client.lane.geometry->slot_count)
        ledger_wrong(LEAKED, "%u of %u slots are free", the_pool->client.free_count,
                     the_pool->client.lane.geometry->slot_count);
    expect_usual_holdings();
    if (blocks_in_use(&the_pool->client.lane) != 0)
        ledger_wrong(LEAKED, "%u blocks of results are not given back",
                     blocks_in_use(&the_pool->client.lane));
}

/* ---- describing ---- */

static void describe_seat(uint32_t seat)
{
    const struct seat_row *row = &the_pool->control->rows[seat];
    fprintf(stderr, "    seat %u: pid %d, state %u, sleeping bit %u, run of %u in lane %u\n", seat,
            atomic_load(&row->pid), atomic_load(&the_pool->bells->seats[seat].state),
            (unsigned)(atomic_load(&the_pool->bells->seats_sleeping[0]) >> seat & 1),
            atomic_load(&row->run_count), row->run_lane);
}

static void describe_lane(const struct lane *lane)
{
    for (int i = 0; i < LANE_RINGS; i++)
        fprintf(stderr, "    ring %d: head %llu, tail %llu\n", i,
                (unsigned long long)atomic_load(&lane->rings[i].shared->head),
                (unsigned long long)lane->rings[i].tail);
    for (uint32_t i = 0; i < lane->geometry->slot_count; i++) {
        uint64_t word = slot_load(&lane->slots[i].word);
        if (slot_state(word) == SLOT_SUBMITTED || slot_state(word) == SLOT_RUNNING)
            fprintf(stderr, "    slot %u: state %d, flags %#x, seat %u, generation %u\n", i,
                    slot_state(word), slot_flags(word), slot_seat(word), slot_generation(word));
    }
}

void troupe_describe(void)
{
    if (the_pool == NULL || the_pool->control == NULL || the_pool->client.lane.memory == NULL) {
        fprintf(stderr, "  process %d has no pool\n", (int)getpid());
        return;
    }
    fprintf(stderr, "  process %d: closing %u, %u seats up, hopeless %u, repairs %llu of %llu\n",
            (int)getpid(), the_pool->control->closing, the_pool->control->seats_up,
            the_pool->control->hopeless,
            (unsigned long long)the_pool->control->shared.repair_head[SEAT_CPU],
            (unsigned long long)the_pool->control->repair_tail[SEAT_CPU]);
    fprintf(stderr, "    lane %u, active bits %#llx\n", the_pool->client.index,
            (unsigned long long)atomic_load(&the_pool->bells->lanes_active[0]));
    for (uint32_t seat = 0; seat < the_pool->config->seats; seat++)
        describe_seat(seat);
    describe_lane(&the_pool->client.lane);
}
