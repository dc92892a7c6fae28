/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fault/troupe.h"

#include "base/clock.h"
#include "base/sys.h"
#include "ipc/slot.h"
#include "pool/pool.h"
#include "tests/fault/look.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    ARGS_MOST = 8192,
    RESULT_MOST = 32768,
    LANE_FDS = 4, /* memory, two sockets, a pidfd */
    GATE_MS = 3000,
    GATE_SHUT_MS = 150,
    MEET_MS = 300,
    THROUGHPUT_TASKS = 200,
    SETTLE_MS = 100, /* before the first look at what is usual */
};

mc_pool *the_pool;

/* ---- handlers ---- */

static const struct job *job_of(mc_task *task, size_t *size)
{
    return mc_task_args(task, size);
}

static void note_run(uint32_t number)
{
    atomic_fetch_add(&ledger->entries[number % LEDGER_TASKS].runs, 1);
}

static bool intact(const struct job *job, size_t size)
{
    const uint8_t *bytes = (const uint8_t *)job;
    for (size_t i = sizeof(*job); i < size; i++)
        if (bytes[i] != (uint8_t)job->number)
            return false;
    return size >= sizeof(*job);
}

/* Answers with copies of the number's low byte. */
static int work(mc_task *task)
{
    static uint8_t answer[RESULT_MOST];
    size_t size;
    const struct job *job = job_of(task, &size);
    if (!intact(job, size))
        return mc_task_fail(task, -EBADMSG, "damaged arguments");
    note_run(job->number);
    memset(answer, (uint8_t)job->number, job->larger > job->reply ? job->larger : job->reply);
    int result = job->larger == 0 ? 0 : mc_task_reply(task, answer, job->larger);
    return result < 0 ? result : mc_task_reply(task, answer, job->reply);
}

/* Writes a string of as many bytes as the reply is to have, bit by bit, so that the
 * result's place is outgrown several times. */
static int tell(mc_task *task)
{
    char text[65];
    mc_writer *writer;
    size_t size;
    const struct job *job = job_of(task, &size);
    note_run(job->number);
    memset(text, 'a' + (int)(job->number % 26), 64);
    text[64] = '\0';
    int result = mc_task_writer(task, &writer);
    if (result < 0)
        return result;
    mc_write_array(writer, job->reply / 64);
    for (uint32_t i = 0; i < job->reply / 64; i++)
        mc_write_string(writer, text);
    return 0;
}

static int quick(mc_task *task)
{
    size_t size;
    const struct job *job = job_of(task, &size);
    note_run(job->number);
    if (job->gate != 0 && !mc_task_inline(task))
        kill(getpid(), SIGKILL);
    return 0;
}

static void pause_ms(unsigned ms)
{
    struct timespec pause = {.tv_nsec = (long)ms * 1000000};
    (void)nanosleep(&pause, NULL);
}

static bool await_word(_Atomic uint32_t *word, uint32_t least, int bound_ms)
{
    uint64_t deadline = clock_ns() + (uint64_t)bound_ms * 1000000;
    while (atomic_load(word) < least) {
        if (clock_ns() >= deadline)
            return false;
        struct timespec pause = {.tv_nsec = 50000};
        (void)nanosleep(&pause, NULL);
    }
    return true;
}

static int gated(mc_task *task)
{
    size_t size;
    const struct job *job = job_of(task, &size);
    note_run(job->number);
    atomic_fetch_add(&ledger->started, 1);
    (void)await_word(&ledger->gate, job->gate, GATE_MS);
    return mc_task_cancelled(task) ? -EINTR : 0;
}

/* Kills its workers: the first, or all that try. */
static int retried(mc_task *task)
{
    size_t size;
    const struct job *job = job_of(task, &size);
    note_run(job->number);
    if (job->gate > 1 || ledger->entries[job->number % LEDGER_TASKS].runs == 1)
        kill(getpid(), SIGKILL);
    return 0;
}

static void told_to_hurry(mc_task *task)
{
    atomic_fetch_add(&ledger->hurried, 1);
}

/* Larger than is kept warm. */
static int huge(mc_task *task)
{
    size_t size;
    void *data;
    const struct job *job = job_of(task, &size);
    note_run(job->number);
    int result = mc_task_reply_alloc(task, job->reply, &data);
    if (result == 0)
        memset(data, (uint8_t)job->number, job->reply);
    return result;
}

/* One of two that must be in different workers at the same time. */
static int meet(mc_task *task)
{
    size_t size;
    const struct job *job = job_of(task, &size);
    note_run(job->number);
    uint32_t place = atomic_fetch_add(&ledger->met, 1);
    uint8_t met = await_word(&ledger->met, (place | 1) + 1, MEET_MS);
    return mc_task_reply(task, &met, sizeof(met));
}

/* Sums up what the numbers of its range are, each noted. */
static int range(mc_task *task)
{
    size_t size;
    const uint32_t *first = mc_task_args(task, &size);
    uint64_t sum = 0;
    for (uint64_t i = mc_task_start(task); i < mc_task_end(task); i++) {
        note_run(*first + (uint32_t)i);
        sum += i;
    }
    return mc_task_reply(task, &sum, sizeof(sum));
}

/* Gives back the number that it reads, whichever way that is encoded. */
static int echo(mc_task *task)
{
    mc_value value;
    mc_writer *writer;
    uint64_t number;
    int result = mc_task_value(task, &value);
    if (result == 0)
        result = mc_value_uint(value, &number);
    if (result == 0)
        result = mc_task_writer(task, &writer);
    if (result < 0)
        return result;
    note_run((uint32_t)number);
    return mc_write_uint(writer, number);
}

/* Has others do six tasks. */
static int nest(mc_task *task)
{
    size_t size;
    const struct job *job = job_of(task, &size);
    struct mc_group_options options = {.size = sizeof(options)};
    mc_group *group;
    note_run(job->number);
    mc_pool *outer = mc_task_pool(task);
    if (outer == NULL || mc_group_open(outer, &options, &group) < 0)
        return mc_task_fail(task, -EIO, "%s", mc_error_message());
    uint32_t first = ledger_reserve(6);
    int result = 0;
    for (uint32_t i = 0; i < 6 && result == 0; i++) {
        struct job inner = {.number = first + i, .reply = 20 + 40 * i};
        ledger->entries[first + i].owner = getpid();
        result = mc_group_run(group, "work", &inner, sizeof(inner));
    }
    if (result == 0)
        result = mc_group_wait(group, GATE_MS);
    if (result == -ETIMEDOUT)
        ledger_wrong(WEDGED, "nested tasks do not end");
    mc_group_close(group);
    return result < 0 ? mc_task_fail(task, result, "%s", mc_error_message()) : 0;
}

const struct mc_handler troupe_handlers[TROUPE_HANDLERS] = {
    {.name = "work", .run = work},
    {.name = "tell", .run = tell},
    {.name = "quick", .run = quick},
    {.name = "gated", .run = gated},
    {.name = "stubborn", .run = gated, .flags = MC_ISOLATED, .on_soft_limit = told_to_hurry},
    {.name = "retried", .run = retried, .flags = MC_ISOLATED | MC_IDEMPOTENT},
    {.name = "huge", .run = huge, .flags = MC_ISOLATED},
    {.name = "meet", .run = meet},
    {.name = "range", .run = range},
    {.name = "echo", .run = echo},
    {.name = "nest", .run = nest, .flags = MC_ISOLATED},
    {.name = "isolated", .run = work, .flags = MC_ISOLATED},
    {.name = "threadsafe", .run = work, .flags = MC_THREAD_SAFE},
};

int troupe_init(void *context, void **state)
{
    *state = NULL;
    return ledger->init_fails != 0 ? -EPERM : 0;
}

static void ignore_log(void *context, int level, const char *line)
{
}

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
                                    .log = ignore_log};
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
        .size = sizeof(options), .handlers = troupe_handlers, .handler_count = TROUPE_HANDLERS};
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
    found->supervisor_fds -= lanes * LANE_FDS;
    found->supervisor_maps -= lanes;
    return true;
}

static bool holds_as_usual(const struct holdings *found)
{
    const struct holdings *usual = &ledger->usual;
    return usual->supervisor_fds == 0 || memcmp(found, usual, sizeof(*usual)) == 0;
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

/* ---- batches ---- */

bool batch_open(struct batch *batch, uint32_t count, struct mc_group_options options)
{
    *batch = (struct batch){.count = count, .event = options.on_done != NULL};
    options.size = sizeof(options);
    if (!ledger_call(mc_group_open(the_pool, &options, &batch->group), "mc_group_open"))
        return false;
    batch->first = ledger_reserve(count);
    return true;
}

bool batch_run(struct batch *batch, const char *handler, uint32_t traits, struct job job,
               size_t size)
{
    static _Alignas(8) uint8_t args[ARGS_MOST];
    job.number = batch->first + batch->submitted;
    struct entry *entry = &ledger->entries[job.number];
    entry->owner = getpid();
    entry->traits |= traits;
    entry->reply_size = job.reply;
    entry->counts = true;
    memset(args, (uint8_t)job.number, size);
    memcpy(args, &job, sizeof(job));
    if (!ledger_call(mc_group_run(batch->group, handler, args, size), "mc_group_run"))
        return false;
    atomic_store(&entry->accepted, 1);
    batch->submitted++;
    return true;
}

bool batch_echo(struct batch *batch, enum mc_format format)
{
    mc_writer *writer;
    uint32_t number = batch->first + batch->submitted;
    struct entry *entry = &ledger->entries[number];
    entry->owner = getpid();
    entry->counts = true;
    if (!ledger_call(mc_group_writer(batch->group, format, &writer), "mc_group_writer"))
        return false;
    (void)mc_write_uint(writer, number);
    if (!ledger_call(mc_group_run_value(batch->group, "echo", writer), "mc_group_run_value"))
        return false;
    atomic_store(&entry->accepted, 1);
    batch->submitted++;
    return true;
}

void batch_values(struct batch *batch)
{
    for (uint32_t i = 0; i < batch->submitted; i++) {
        struct mc_result result = {.size = sizeof(result)};
        mc_value value;
        uint64_t number;
        if (mc_group_result(batch->group, i, &result) == 0 && result.status == 0 &&
            ledger_call(mc_group_value(batch->group, i, &value), "mc_group_value") &&
            (mc_value_uint(value, &number) != 0 || number != batch->first + i))
            ledger_wrong(LOST, "task %u has a wrong value", batch->first + i);
    }
}

bool batch_repeat(struct batch *batch, uint32_t times, const char *handler, uint32_t traits,
                  struct job job, size_t size)
{
    for (uint32_t i = 0; i < times; i++)
        if (!batch_run(batch, handler, traits, job, size))
            return false;
    return true;
}

bool batch_map(struct batch *batch)
{
    batch->map = true;
    for (uint32_t i = 0; i < batch->count; i++)
        ledger->entries[batch->first + i].owner = getpid();
    int result = mc_group_map(batch->group, "range", batch->count, NULL, &batch->first,
                              sizeof(batch->first));
    batch->submitted = (uint32_t)mc_group_size(batch->group);
    if (!ledger_call(result, "mc_group_map"))
        return false;
    for (uint32_t i = 0; i < batch->count; i++)
        atomic_store(&ledger->entries[batch->first + i].accepted, 1);
    return true;
}

static void enter(uint32_t number, const struct mc_result *result)
{
    struct entry *entry = &ledger->entries[number];
    atomic_store(&entry->status, result->status);
    atomic_store(&entry->worker, result->worker_pid);
    atomic_fetch_add(&entry->results, 1);
}

static void check_data(uint32_t number, const struct mc_result *result)
{
    const struct entry *entry = &ledger->entries[number];
    const uint8_t *bytes = result->data;
    if (result->format != MC_RAW || entry->reply_size <= 1)
        return;
    bool right = result->data_size == entry->reply_size;
    for (size_t i = 0; right && i < result->data_size; i++)
        right = bytes[i] == (uint8_t)number;
    if (!right)
        ledger_wrong(LOST, "task %u has a wrong result", number);
}

static void deliver_range(struct batch *batch, const struct mc_result *result)
{
    uint64_t sum = 0;
    ledger->entries[batch->first + result->start].counts = true;
    for (uint64_t i = result->start; i < result->end; i++) {
        enter(batch->first + (uint32_t)i, result);
        sum += i;
    }
    if (result->status == 0 &&
        (result->data_size != sizeof(sum) || memcmp(result->data, &sum, sizeof(sum)) != 0))
        ledger_wrong(LOST, "a range has a wrong result");
}

void batch_deliver(struct batch *batch, const struct mc_result *result)
{
    if (batch->map) {
        deliver_range(batch, result);
        return;
    }
    uint32_t number = batch->first + (uint32_t)result->index;
    enter(number, result);
    if (result->status == 0)
        check_data(number, result);
}

static void note_wait(int result, const char *call)
{
    if (result == -ETIMEDOUT) {
        ledger_wrong(WEDGED, "%s: %s", call, mc_error_message());
        troupe_describe();
    } else {
        (void)ledger_call(result, call);
    }
}

void batch_wait(struct batch *batch)
{
    note_wait(mc_group_wait(batch->group, WAIT_MS), "mc_group_wait");
}

void batch_next(struct batch *batch)
{
    struct mc_result result = {.size = sizeof(result)};
    int got;
    while ((got = mc_group_next(batch->group, &result, WAIT_MS)) == 1)
        batch_deliver(batch, &result);
    note_wait(got, "mc_group_next");
}

void batch_results(struct batch *batch)
{
    for (size_t i = 0; i < mc_group_size(batch->group); i++) {
        struct mc_result result = {.size = sizeof(result)};
        if (mc_group_result(batch->group, i, &result) == 0)
            batch_deliver(batch, &result);
    }
}

void batch_close(struct batch *batch)
{
    mc_group_close(batch->group);
}

void batch_finish(struct batch *batch)
{
    batch_wait(batch);
    batch_results(batch);
    batch_close(batch);
}

/* ---- gates ---- */

void gate_shut(struct batch *batch)
{
    atomic_store(&ledger->started, 0);
    struct job job = {.gate = atomic_load(&ledger->gate) + 1};
    if (batch_repeat(batch, 2, "gated", 0, job, sizeof(job)))
        (void)await_word(&ledger->started, 2, GATE_SHUT_MS);
}

void gate_lift(void)
{
    atomic_fetch_add(&ledger->gate, 1);
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
            the_pool->control->hopeless, (unsigned long long)the_pool->control->shared.repair_head[SEAT_CPU],
            (unsigned long long)the_pool->control->repair_tail[SEAT_CPU]);
    fprintf(stderr, "    lane %u, active bits %#llx\n", the_pool->client.index,
            (unsigned long long)atomic_load(&the_pool->bells->lanes_active[0]));
    for (uint32_t seat = 0; seat < the_pool->config->seats; seat++)
        describe_seat(seat);
    describe_lane(&the_pool->client.lane);
}
