/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One lane, with all that work on it in one process: its client, a worker, a
 * successor of that worker, the supervisor. The input is a list of steps: each
 * either lets one of them do something, or overwrites bytes of the lane, as any
 * of the others might. Whatever the lane says, nobody may read or write outside
 * of it, hang, or lose its own books.
 *
 * The lane lies between two pages that cannot be touched.
 */
#include "base/error.h"
#include "base/sys.h"
#include "ipc/channel.h"
#include "ipc/segment.h"
#include "ipc/slot.h"
#include "pool/pool.h"
#include "pool/supervisor.h"
#include "pool/work.h"
#include "tests/fuzz/disturb.h"
#include "tests/fuzz/values.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    SLOTS = 8,
    SEATS = 2,
    ARENA = 8192,
    PAYLOAD_MOST = 4096,
    ARGS_MOST = 640, /* of every slot at once, they fit the arena */
    STEPS_MOST = 100,
    TASKS_MOST = 200,
    /* Rings this small are empty by then, and each step may have given new tickets to all that
     * a worker had taken. */
    ROUNDS_MOST = STEPS_MOST * RUN_MAX + 500,
    GENERATION = 1,
};

static struct config config;
static struct control *control;
static struct bells bells[SEAT_CLASSES];
static uint8_t *memory;
static struct lane lane;
static struct worker worker;
static mc_task own_task;
static struct supervisor supervisor;
static mc_pool pool;
static mc_group *group;
static int worker_end, keeper_end; /* of the worker's socket */
static bool waited;                /* once for each input: it takes a millisecond */

/* ---- handlers ---- */

static int walk(mc_task *task)
{
    mc_value value;
    size_t size;
    const uint8_t *args = mc_task_args(task, &size);
    uint64_t sum = mc_task_start(task);
    for (size_t i = 0; i < size; i++)
        sum += args[i];
    int result = mc_task_value(task, &value);
    if (result < 0)
        return result;
    sum += values_walk(value, 0);
    return mc_task_reply(task, &sum, sizeof(sum));
}

static int echo(mc_task *task)
{
    mc_value value;
    mc_writer *writer;
    int result = mc_task_value(task, &value);
    if (result == 0)
        result = mc_task_writer(task, &writer);
    return result == 0 ? values_write(writer, value) : result;
}

static int large(mc_task *task)
{
    size_t size, wanted;
    void *data;
    const uint8_t *args = mc_task_args(task, &size);
    wanted = size >= 2 ? 16 * args[0] + args[1] : 1000;
    int result = mc_task_reply_alloc(task, wanted, &data);
    if (result == 0 && wanted != 0)
        memset(data, 'x', wanted);
    return result;
}

static int fail(mc_task *task)
{
    size_t size;
    const uint8_t *args = mc_task_args(task, &size);
    return mc_task_fail(task, -(int)size, "%.*s", (int)size, (const char *)args);
}

static int number(mc_task *task)
{
    size_t size;
    int32_t status = 0;
    const uint8_t *args = mc_task_args(task, &size);
    memcpy(&status, args, size < sizeof(status) ? size : sizeof(status));
    return status;
}

static struct handler handlers[] = {
    {.name = "walk", .run = walk},     {.name = "echo", .run = echo},
    {.name = "large", .run = large},   {.name = "fail", .run = fail},
    {.name = "number", .run = number},
};

enum { HANDLERS = sizeof(handlers) / sizeof(handlers[0]) };

/* ---- set-up ---- */

static void *between_guards(size_t size)
{
    uint8_t *all =
        mmap(NULL, size + 2 * PAGE_SIZE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(all != MAP_FAILED);
    EXPECT(mprotect(all + PAGE_SIZE_BYTES, size, PROT_READ | PROT_WRITE) == 0);
    return all + PAGE_SIZE_BYTES;
}

static void view_lane(struct lane *view)
{
    view->memory = memory;
    view->geometry = &config.geometry;
    view->header = (struct lane_header *)(void *)memory;
    for (int ring = 0; ring < LANE_RINGS; ring++)
        ring_init(&view->rings[ring], memory + config.geometry.ring_offset[ring],
                  config.geometry.ring_capacity);
    view->slots = (struct slot *)(void *)(memory + config.geometry.slots_offset);
}

/* The books are the ordinary ones; only the mapping is exchanged. */
static void make_client(void)
{
    static _Atomic uint32_t mark = MARK_READY;
    int fd = segment_create("fuzz-lane", config.geometry.total_size);
    void *header = segment_map(fd, PAGE_SIZE_BYTES, true);
    EXPECT(header != NULL);
    lane_format(&config.geometry, header, 0);
    munmap(header, PAGE_SIZE_BYTES);
    pool.config = &config;
    pool.control = control;
    pool.bells = bells;
    pool.mark = &mark;
    pool.pid = getpid();
    pool.attach_socket = pool.supervisor_pidfd = -1;
    pool.inline_states = &pool.own_inline_states;
    EXPECT(inline_init(pool.inline_states, &config));
    EXPECT(client_init(&pool.client, &config, -1, -1, fd, 0) == 0);
    lane_unmap(&pool.client.lane);
    close(fd);
}

/* A worker that ended a task which it was to be killed for leaves by itself. Its client
 * may want that of its own tasks at any time: it is no damage. */
int raise(int signal)
{
    EXPECT(signal == SIGKILL);
    return 0;
}

static struct quarantine quarantine;

static void set_up(void)
{
    int ends[2];
    config = (struct config){.handlers = handlers,
                             .handler_count = HANDLERS,
                             .handler_capacity = HANDLERS,
                             .workers = SEATS,
                             .seats = SEATS,
                             .max_payload = PAYLOAD_MOST,
                             .max_clients = 2};
    config.topology.usable = 1; /* nobody looks for long */
    config.topology.cpu_count = 1;
    lane_geometry_set(&config.geometry, SLOTS, ARENA, SEATS);
    control = between_guards(control_size(SEATS, 0, HANDLERS));
    control->seat_count = SEATS;
    control->handler_capacity = HANDLERS;
    memory = between_guards(config.geometry.total_size);
    make_client();
    EXPECT(channel_pair(ends) == 0);
    worker_end = ends[0];
    keeper_end = ends[1];
    worker.config = &config;
    worker.control = control;
    worker.bells = bells;
    worker.row = &control->rows[0];
    worker.tallies = control_tallies(control, 0);
    worker.socket = worker_end;
    worker.cpu = -1;
    worker.estimate_ns = calloc(HANDLERS, sizeof(*worker.estimate_ns));
    EXPECT(worker.estimate_ns != NULL);
    own_task.config = &config;
    own_task.home = &worker_home;
    own_task.owner = &worker;
    worker.task = &own_task;
    worker.pool_bells = bells;
    views_init(&worker.views, &config, control, bells, 0, worker_end);
    supervisor.config = &config;
    supervisor.control = control;
    supervisor.bells = bells;
    supervisor.epoll = -1;
    supervisor.quarantine = &quarantine;
    for (int i = 0; i < SEATS; i++)
        for (int which = 0; which < 2; which++)
            supervisor.seats[i].posts[which] = (struct post){.pidfd = -1, .socket = -1};
}

static int take_over(void)
{
    return blocks_init(&worker.views.table[0].blocks, memory,
                       lane_arena_offset(&config.geometry, 1), config.geometry.arena_size,
                       &lane.header->newest_block[0], &lane.header->touched_units[0],
                       &control->rows[0].block_unit);
}

static void reset_client(void)
{
    struct client *client = &pool.client;
    group_free(client->spare);
    client->spare = NULL;
    client->groups = NULL;
    TAILQ_INIT(&client->done);
    client->kills_due = false;
    client->any_deferred = false;
    client->surveyed_ms = 0;
    extents_fini(&client->arguments);
    EXPECT(extents_init(&client->arguments, ARENA / UNIT) == 0);
    memset(client->books, 0, SLOTS * sizeof(*client->books));
    for (uint32_t i = 0; i < SLOTS; i++)
        client->free_slots[i] = SLOTS - 1 - i;
    client->free_count = SLOTS;
    client->abandoned_count = 0;
    client->gone = client->accused = client->faulted = false;
    client->checked_ms = 0;
    view_lane(&client->lane);
}

/* A fresh lane, as after WELCOME, that the worker has mapped. */
static void begin(void)
{
    memset(memory, 0, config.geometry.total_size);
    lane_format(&config.geometry, memory, 0);
    view_lane(&lane);
    memset(control->rows, 0, SEATS * sizeof(struct seat_row));
    memset(bells, 0, sizeof(bells));
    atomic_store(&control->shared.repair_head[SEAT_CPU], 0);
    atomic_store(&control->repair_tail[SEAT_CPU], 0);
    atomic_store(&control->hopeless, 0);
    atomic_store(&control->lanes[0].generation, GENERATION);
    struct view *view = &worker.views.table[0];
    view->generation = GENERATION;
    view->faulted = 0;
    view->notify = -1;
    view_lane(&view->lane);
    EXPECT(take_over() == 0);
    worker.current = NULL;
    worker.current_ring = LANE_NORMAL;
    reset_client();
    int ends[2];
    EXPECT(channel_pair(ends) == 0);
    pool.client.socket = ends[0];
    supervisor.tenants[0] = (struct tenant){.used = true,
                                            .socket = ends[1],
                                            .pidfd = -1,
                                            .lane_fd = -1,
                                            .notify = -1,
                                            .notify_client = -1,
                                            .generation = GENERATION};
    view_lane(&supervisor.tenants[0].lane);
    group = NULL;
    waited = false;
}

static void end(void)
{
    struct parcel parcel;
    mc_group_close(group);
    EXPECT(extents_check(&pool.client.arguments));
    if (worker.views.table[0].generation != 0) {
        EXPECT(extents_check(&worker.views.table[0].blocks.extents));
        blocks_fini(&worker.views.table[0].blocks);
    }
    while (channel_receive(keeper_end, &parcel, MSG_DONTWAIT) == 1)
        parcel_drop(&parcel);
    sys_close(&supervisor.tenants[0].socket);
    sys_close(&pool.client.socket);
}

/* ---- overwriting ---- */

/* Places that mean something, more often than they would be hit by chance. */
static size_t place(struct input *input)
{
    uint8_t what = input_byte(input), which = input_byte(input);
    switch (what % 6) {
    case 0: /* heads, tails and entries */
        return config.geometry.ring_offset[what / 6 % 2] + which % 3 * CACHE_LINE +
               which / 3 % 16 * 8;
    case 1: /* words of slots */
        return config.geometry.slots_offset + which % SLOTS * sizeof(struct slot);
    case 2: /* the rest of them */
        return config.geometry.slots_offset + which % SLOTS * sizeof(struct slot) +
               what / 6 % 32 * 4;
    case 3:
        return (which & 0x80) != 0 ? offsetof(struct lane_header, told)
                                   : offsetof(struct lane_header, newest_block) + which % SEATS * 4;
    case 4: /* headers of blocks */
        return lane_arena_offset(&config.geometry, what / 6 % (SEATS + 1)) + which / 4 * UNIT +
               which % 4 * 4;
    default:
        return (what / 6 << 8 | which) * 16 % config.geometry.total_size;
    }
}

static void overwrite(struct input *input, bool change)
{
    size_t at = place(input), left = config.geometry.total_size - at;
    const uint8_t *bytes;
    size_t size = input_byte(input) % 16 + 1;
    size = input_bytes(input, size < left ? size : left, &bytes);
    for (size_t i = 0; i < size; i++)
        memory[at + i] = (uint8_t)(bytes[i] ^ (change ? memory[at + i] : 0));
}

/* A word that is plausible but for one thing. */
static void overwrite_word(struct input *input)
{
    uint8_t which = input_byte(input), state = input_byte(input);
    _Atomic uint64_t *word = &lane.slots[which % SLOTS].word;
    uint64_t old = atomic_load(word);
    atomic_store(word, slot_word((enum slot_state)(state & 0xf), which >> 4, state >> 4,
                                 slot_attempt(old), slot_generation(old)));
}

/* ---- the client's steps ---- */

static void on_done(mc_group *done, void *context)
{
}

static void submit(struct input *input)
{
    struct mc_group_options options = {.size = sizeof(options), .help = MC_HELP_AUTO};
    uint8_t how = input_byte(input);
    const uint8_t *args;
    if (group == NULL) {
        options.urgent = (how & 0x40) != 0;
        options.max_parallel = (how & 0x80) != 0 ? 2 : 0;
        options.on_done = how == 0xff ? on_done : NULL;
        if (mc_group_open(&pool, &options, &group) < 0)
            return;
    }
    size_t size = input_bytes(input, input_number(input, 2) % ARGS_MOST, &args);
    if (pool.client.free_count != 0 && mc_group_size(group) < TASKS_MOST)
        (void)mc_group_run_encoded(group, handlers[how % HANDLERS].name,
                                   (enum mc_format)(how / 8 % 3), args, size);
}

static void look_at(const struct mc_result *result, mc_group *of)
{
    uint64_t sum = strlen(result->error);
    mc_value value;
    for (size_t i = 0; i < result->data_size; i++)
        sum += ((const uint8_t *)result->data)[i];
    if (result->data != NULL && mc_group_value(of, result->index, &value) == 0)
        sum += values_walk(value, 0);
    EXPECT(sum != UINT64_MAX);
}

static void collect(struct input *input)
{
    uint8_t how = input_byte(input);
    struct mc_result result = {.size = sizeof(result)};
    if (group == NULL)
        return;
    (void)mc_group_wait(group, 0);
    while (mc_group_next(group, &result, 0) == 1)
        look_at(&result, group);
    for (size_t index = 0; index < mc_group_size(group); index++) {
        if (mc_group_result(group, index, &result) == 0)
            look_at(&result, group);
        if ((how >> (index % 8) & 1) != 0)
            mc_group_release(group, index);
    }
}

/* As if no worker could be started: the client runs what it may itself, and
 * settles the rest. */
static void run_inline(void)
{
    if (group == NULL || waited)
        return;
    waited = true;
    atomic_store(&control->hopeless, 1);
    (void)mc_group_wait(group, 1);
    atomic_store(&control->hopeless, 0);
}

/* ---- the steps of the others ---- */

static void let_work(void)
{
    if (worker.views.table[0].generation == 0)
        return; /* it saw that the lane is gone */
    int rounds = 0;
    while (rounds < ROUNDS_MOST && work_once(&worker))
        rounds++;
    EXPECT(disturbed || rounds < ROUNDS_MOST);
}

static void run_names(struct input *input)
{
    name_t names[4];
    uint8_t count = input_byte(input) % 4 + 1;
    if (worker.views.table[0].generation == 0)
        return;
    for (uint8_t i = 0; i < count; i++)
        names[i] = input_number(input, 6);
    worker.row->run_lane = 0;
    run_noted(&worker, &worker.views.table[0], names, count);
}

static void replace_worker(void)
{
    struct view *view = &worker.views.table[0];
    if (view->generation == 0)
        return;
    blocks_fini(&view->blocks);
    if (take_over() == 0)
        return;
    views_fault(&worker.views, 0, view->generation, "damaged");
    view->generation = 0;
}

/* Its row is believed to be a row of ours, but may be half-written. */
static void sweep(struct input *input)
{
    struct seat_row *row = worker.row;
    uint32_t before = atomic_load(&row->run_count);
    atomic_store(&row->run_count, before != 0 ? before : input_byte(input) % (RUN_MAX + 8));
    row->run_lane = input_byte(input) % 3;
    row->run_lane_generation = GENERATION;
    atomic_store(&row->block_unit, (uint32_t)input_number(input, 4));
    for (int i = 0; i < 4; i++)
        row->run_names[i] = input_number(input, 6);
    sweep_seat(&supervisor, 0, (int)input_number(input, 4));
    EXPECT(atomic_load(&row->run_count) == 0);
}

/* The supervisor reads what worker and client told it. A lane that it drops stays
 * mapped, as if another seat still worked on it; our worker is quick. */
static void supervise(bool drop)
{
    struct parcel parcel;
    struct view *view = &worker.views.table[0];
    control->rows[1].run_lane = 0;
    atomic_store(&control->rows[1].run_count, 1);
    if (drop)
        sys_close(&supervisor.tenants[0].socket);
    lanes_client_event(&supervisor, 0, WATCH_CLIENT_SOCKET);
    while (channel_receive(keeper_end, &parcel, MSG_DONTWAIT) == 1) {
        /* Whoever writes there can give a task a limit. */
        EXPECT(parcel.message.type == MESSAGE_LANE_FAULT || parcel.message.type == MESSAGE_WATCH);
        if (parcel.message.type == MESSAGE_LANE_FAULT)
            lanes_fault(&supervisor, parcel.message.index, parcel.message.generation,
                        parcel.message.text);
        parcel_drop(&parcel);
    }
    (void)lanes_idle(&supervisor);
    lanes_ring(&supervisor);
    lanes_alarm(&supervisor);
    if (supervisor.tenants[0].dropping && view->generation != 0) {
        blocks_fini(&view->blocks);
        view->generation = 0;
    }
}

static void step(struct input *input)
{
    switch (input_byte(input) % 16) {
    case 0:
    case 1:
        overwrite(input, false);
        break;
    case 2:
        overwrite(input, true);
        break;
    case 3:
    case 4:
        overwrite_word(input);
        break;
    case 5:
    case 6:
    case 7:
        submit(input);
        break;
    case 8:
    case 9:
        let_work();
        break;
    case 10:
        run_names(input);
        break;
    case 11:
        collect(input);
        break;
    case 12:
        replace_worker();
        break;
    case 13:
        sweep(input);
        break;
    case 14:
        supervise((input_byte(input) & 7) == 7);
        break;
    case 15:
        switch (input_byte(input) % 4) {
        case 0:
            mc_group_close(group);
            group = NULL;
            break;
        case 1:
            if (group != NULL)
                (void)mc_group_cancel(group);
            break;
        case 2:
            (void)mc_pool_dispatch(&pool);
            break;
        default:
            run_inline();
            break;
        }
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    if (memory == NULL)
        set_up();
    begin();
    disturb_begin(memory, config.geometry.total_size, (uint32_t)input_number(&input, 2) + 1);
    for (int steps = 0; steps < STEPS_MOST && input.left != 0; steps++)
        step(&input);
    disturb_end();
    end();
    return 0;
}
