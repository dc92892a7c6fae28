/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A client that scribbles over its own lane loses it, with a reason. Workers and
 * other clients do not notice.
 */
#include "tests/system/support.h"

#include "base/clock.h"
#include "base/fault.h"
#include "ipc/blocks.h"
#include "ipc/slot.h"
#include "ipc/wake.h"
#include "pool/pool.h"

#include <signal.h>
#include <sys/wait.h>

enum { TASKS = 6, SLOTS = 64, ROUNDS = 10 };

static int blocked(mc_task *task)
{
    board_begin(number_of(task));
    gate_pass();
    board_end();
    return 0;
}

static int quick(mc_task *task)
{
    uint32_t number = number_of(task);
    return mc_task_reply(task, &number, sizeof(number));
}

static int large(mc_task *task)
{
    void *data;
    int result = mc_task_reply_alloc(task, 5000, &data);
    if (result == 0)
        memset(data, (int)number_of(task), 5000);
    return result;
}

static int crash(mc_task *task)
{
    return raise(SIGKILL);
}

static const struct mc_handler handlers[] = {
    {.name = "blocked", .run = blocked},
    {.name = "quick", .run = quick},
    {.name = "large", .run = large},
    {.name = "crash", .run = crash, .flags = MC_ISOLATED},
};

static mc_pool *pool;
static mc_group *gated; /* the opener's: it keeps both workers while the gate is shut */

/* ---- what is scribbled ---- */

static uint32_t random_state;

static uint32_t draw(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state;
}

static void fill(void *memory, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)memory)[i] = (uint8_t)(draw() >> 9);
}

static void everything(struct lane *lane)
{
    fill(lane->memory, lane->geometry->arenas_offset);
    for (uint32_t arena = 0; arena <= lane->geometry->seat_count; arena++)
        fill(lane->memory + lane_arena_offset(lane->geometry, arena), 10000);
}

static void places_of_arguments(struct lane *lane)
{
    for (uint32_t i = 0; i < SLOTS; i++)
        lane->slots[i].args_unit = draw() | 1;
}

static void sizes_of_arguments(struct lane *lane)
{
    for (uint32_t i = 0; i < SLOTS; i++)
        lane->slots[i].args_size = draw() | 1 << 20;
}

static void numbers_of_handlers(struct lane *lane)
{
    for (uint32_t i = 0; i < SLOTS; i++)
        lane->slots[i].handler = (uint16_t)(draw() | 0x8000);
}

static void words_of_slots(struct lane *lane)
{
    for (uint32_t i = 0; i < SLOTS; i++)
        atomic_store(&lane->slots[i].word, (uint64_t)draw() << 32 | draw());
}

static void heads_of_rings(struct lane *lane)
{
    for (int ring = 0; ring < LANE_RINGS; ring++)
        atomic_store(&lane->rings[ring].shared->head, (uint64_t)draw() << 20);
}

static void entries_of_rings(struct lane *lane)
{
    for (int ring = 0; ring < LANE_RINGS; ring++)
        fill((void *)lane->rings[ring].shared->entries, 2 * SLOTS * sizeof(ticket_t));
}

/* Tickets that look as they should, but for the slot. */
static void names_of_tickets(struct lane *lane)
{
    for (int ring = 0; ring < LANE_RINGS; ring++)
        for (uint32_t i = 0; i < 2 * SLOTS; i++)
            atomic_store(&lane->rings[ring].shared->entries[i],
                         UINT64_C(1) << 48 | (SLOTS + draw() % 60000));
}

/* The same, but for the handler, of which there are not that many. */
static void handlers_of_tickets(struct lane *lane)
{
    for (int ring = 0; ring < LANE_RINGS; ring++)
        for (uint32_t i = 0; i < 2 * SLOTS; i++)
            atomic_fetch_or(&lane->rings[ring].shared->entries[i], UINT64_C(0xffff) << 32);
}

static const struct way {
    const char *name;
    void (*scribble)(struct lane *lane);
} ways[] = {
    {"everything", everything},
    {"places of arguments", places_of_arguments},
    {"sizes of arguments", sizes_of_arguments},
    {"numbers of handlers", numbers_of_handlers},
    {"words of slots", words_of_slots},
    {"heads of rings", heads_of_rings},
    {"entries of rings", entries_of_rings},
    {"names of tickets", names_of_tickets},
    {"handlers of tickets", handlers_of_tickets},
};

enum { WAYS = sizeof(ways) / sizeof(ways[0]) };

/* ---- clients ---- */

/* In a child: the lane is given up soon, and new groups say why. */
static void expect_verdict(const char *what)
{
    for (uint64_t began = clock_ns(); ms_since(began) < BOUND_MS; pause_us(1000)) {
        mc_group *group = NULL;
        int result = mc_group_open(pool, NULL, &group);
        mc_group_close(group);
        if (result == -ESHUTDOWN && strstr(mc_error_message(), "damaged") != NULL)
            return;
        if (result < 0) {
            fprintf(stderr, "%s: %d, %s\n", what, result, mc_error_message());
            _exit(3);
        }
    }
    fprintf(stderr, "%s: the lane is not given up\n", what);
    _exit(4);
}

/* Some tasks wait in the queue while their lane is scribbled over; then workers
 * may come. Every one ends. */
static void child_scribble(const struct way *way)
{
    struct mc_group_options options = {.size = sizeof(options), .help = MC_HELP_NEVER};
    mc_group *group = NULL;
    if (mc_group_open(pool, &options, &group) < 0)
        _exit(1);
    for (uint32_t number = 0; number < TASKS; number++)
        (void)mc_group_run(group, number % 2 == 0 ? "quick" : "large", &number, sizeof(number));
    way->scribble(&pool->client.lane);
    gate_open();
    int result = mc_group_wait(group, BOUND_MS);
    if (result < 0) {
        fprintf(stderr, "%s: %d, %s\n", way->name, result, mc_error_message());
        _exit(2);
    }
    struct mc_result found = {.size = sizeof(found)};
    for (size_t index = 0; index < TASKS; index++)
        if (mc_group_result(group, index, &found) == 0)
            (void)strlen(found.error);
    expect_verdict(way->name);
    mc_group_close(group);
    mc_pool_close(pool);
    _exit(0);
}

/* Uses the pool until the other is done; nothing of it may fail. */
static void child_behave(void)
{
    uint32_t rounds = 0;
    struct mc_result found = {.size = sizeof(found)};
    while (atomic_load(&board->words[0]) == 0 || rounds < ROUNDS) {
        mc_group *group = NULL;
        if (mc_group_open(pool, NULL, &group) < 0)
            _exit(1);
        for (uint32_t number = 0; number < TASKS; number++)
            if (mc_group_run(group, number % 2 == 0 ? "quick" : "large", &number, sizeof(number)) <
                0)
                _exit(2);
        if (mc_group_wait(group, BOUND_MS) < 0)
            _exit(3);
        for (uint32_t number = 0; number < TASKS; number++) {
            if (mc_group_result(group, number, &found) < 0 || found.status != 0)
                _exit(4);
            if (*(const uint8_t *)found.data != number)
                _exit(5);
        }
        mc_group_close(group);
        rounds++;
    }
    _exit(0);
}

/* ---- the opener ---- */

static char logged[LOG_TEXT_SIZE];

static void note_log(void *context, int level, const char *line)
{
    if (strstr(line, "given up") != NULL)
        snprintf(logged, sizeof(logged), "%s", line);
}

static void begin(void)
{
    board_open();
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    options.queue_depth = SLOTS;
    options.max_payload = 100000;
    options.log = note_log;
    pool = open_pool(&options);
    ck_assert(await_workers(pool, BOUND_MS));
}

/* The supervisor may not have come to it yet; the log comes with our own calls. */
static void await_log(void)
{
    for (uint64_t began = clock_ns(); logged[0] == '\0' && ms_since(began) < BOUND_MS;) {
        mc_group_close(open_group(pool));
        pause_us(1000);
    }
}

static void shut_gate(void)
{
    atomic_store(&board->gate, 0);
    atomic_store(&board->started, 0);
    gated = open_unhelped(pool);
    run_number(gated, "blocked", 0);
    run_number(gated, "blocked", 1);
    ck_assert(board_await(&board->started, 2, BOUND_MS));
}

static void expect_gated_fine(void)
{
    wait_all(gated);
    ck_assert_uint_eq(failures(gated), 0);
    mc_group_close(gated);
}

START_TEST(a_scribbler_loses_its_lane_and_nobody_else_notices)
{
    begin();
    pid_t before[2], after[2];
    ck_assert_uint_eq(mc_pool_worker_pids(pool, before, 2), 2);
    for (uint32_t i = 0; i < 2 * WAYS; i++) {
        const struct way *way = &ways[i % WAYS];
        atomic_store(&board->words[0], 0);
        logged[0] = '\0';
        shut_gate();
        random_state = 77 + i;
        pid_t good = fork();
        if (good == 0)
            child_behave();
        pid_t bad = fork();
        if (bad == 0)
            child_scribble(way);
        int status = await_exit(bad);
        ck_assert_msg(status == 0, "%s: status 0x%x", way->name, (unsigned)status);
        board_count(&board->words[0]);
        status = await_exit(good);
        ck_assert_msg(status == 0, "%s: the other client: 0x%x", way->name, (unsigned)status);
        expect_gated_fine();
        await_log();
        ck_assert_msg(strstr(logged, "damaged") != NULL || strstr(logged, "not there") != NULL ||
                          strstr(logged, "request") != NULL,
                      "%s: '%s'", way->name, logged);
    }
    ck_assert_uint_eq(mc_pool_worker_pids(pool, after, 2), 2);
    ck_assert_mem_eq(before, after, sizeof(before));
    expect_quiet(pool);
    mc_pool_close(pool);
}
END_TEST

/* In a child: stops the worker that has just taken its task. */
static void child_be_served(void)
{
    struct mc_group_options options = {.size = sizeof(options), .help = MC_HELP_NEVER};
    mc_group *group = NULL;
    if (mc_group_open(pool, &options, &group) < 0)
        _exit(1);
    atomic_store(&board->words[1], pool->client.index);
    fault_arm("worker_taken", SIGSTOP, 1);
    (void)mc_group_run(group, "large", NULL, 0);
    for (;;)
        pause();
}

/* Workers remember that the lane in this place was damaged once. */
static void damage_a_lane(void)
{
    shut_gate();
    pid_t bad = fork();
    if (bad == 0)
        child_scribble(&ways[3]);
    ck_assert_int_eq(await_exit(bad), 0);
    expect_gated_fine();
}

/* The worker goes on when the lane is gone, the other one sleeps again, and there seems to be
 * work in that lane: so it looks whether to wake the other, before it runs what it took. */
static void serve_who_goes(void)
{
    fault_arm(NULL, 0, 0); /* forgets the last strike */
    pid_t child = fork();
    if (child == 0)
        child_be_served();
    for (uint64_t began = clock_ns(); !fault_struck() && ms_since(began) < BOUND_MS;)
        pause_us(1000);
    ck_assert(fault_struck());
    uint32_t index = atomic_load(&board->words[1]);
    const _Atomic uint32_t *generation = &pool->control->lanes[index].generation;
    uint32_t its = atomic_load(generation);
    kill(child, SIGKILL);
    (void)await_exit(child);
    for (uint64_t began = clock_ns(); atomic_load(generation) == its && ms_since(began) < BOUND_MS;)
        pause_us(1000);
    ck_assert_uint_ne(atomic_load(generation), its);
    for (uint64_t began = clock_ns();
         !wake_anyone_sleeping(pool->bells) && ms_since(began) < BOUND_MS;)
        pause_us(1000);
    ck_assert(wake_anyone_sleeping(pool->bells));
    wake_mark_lane(pool->bells, index);
    kill(fault_victim(), SIGCONT);
}

START_TEST(a_client_that_goes_while_its_task_begins_takes_no_worker_along)
{
    pid_t before[2], after[2];
    fault_open();
    begin();
    ck_assert_uint_eq(mc_pool_worker_pids(pool, before, 2), 2);
    for (int round = 0; round < 6; round++) {
        damage_a_lane();
        expect_quiet(pool);
        serve_who_goes();
        expect_quiet(pool);
    }
    ck_assert_uint_eq(mc_pool_worker_pids(pool, after, 2), 2);
    ck_assert_mem_eq(before, after, sizeof(before));
    mc_pool_close(pool);
}
END_TEST

/* Damage that only the successor of a worker sees. */
static void child_break_chains(void)
{
    struct mc_group_options options = {.size = sizeof(options), .help = MC_HELP_NEVER};
    mc_group *group = NULL;
    if (mc_group_open(pool, &options, &group) < 0)
        _exit(1);
    for (uint32_t number = 0; number < 2 * TASKS; number++)
        (void)mc_group_run(group, "large", &number, sizeof(number));
    (void)mc_group_wait(group, BOUND_MS);
    for (uint32_t seat = 0; seat < 2; seat++)
        atomic_store(&pool->client.lane.header->newest_block[seat], 12345678);
    for (int i = 0; i < 2; i++) {
        (void)mc_group_run(group, "crash", NULL, 0);
        (void)mc_group_wait(group, BOUND_MS);
    }
    for (uint32_t number = 0; number < 2 * TASKS; number++)
        (void)mc_group_run(group, "quick", &number, sizeof(number));
    if (mc_group_wait(group, BOUND_MS) < 0)
        _exit(2);
    expect_verdict("chains");
    _exit(0);
}

START_TEST(a_damaged_chain_of_results_costs_its_client_the_lane)
{
    begin();
    pid_t bad = fork();
    if (bad == 0)
        child_break_chains();
    ck_assert_int_eq(await_exit(bad), 0);
    ck_assert(await_workers(pool, BOUND_MS));
    mc_group *group = open_unhelped(pool);
    for (uint32_t number = 0; number < 40; number++)
        run_number(group, "large", number);
    wait_all(group);
    ck_assert_uint_eq(failures(group), 0);
    mc_group_close(group);
    expect_quiet(pool);
    mc_pool_close(pool);
}
END_TEST

/* What it had before stays readable; what is queued runs here where it may. */
static void child_keeps_results(void)
{
    struct mc_group_options options = {.size = sizeof(options), .help = MC_HELP_NEVER};
    mc_group *group = NULL, *queued = NULL;
    struct mc_result large = {.size = sizeof(large)}, found = {.size = sizeof(found)};
    uint32_t number = 42;
    if (mc_group_open(pool, &options, &group) < 0 || mc_group_open(pool, &options, &queued) < 0)
        _exit(1);
    (void)mc_group_run(group, "large", &number, sizeof(number));
    if (mc_group_wait(group, BOUND_MS) < 0 || mc_group_result(group, 0, &large) < 0)
        _exit(2);
    (void)mc_group_run(queued, "blocked", NULL, 0);
    (void)mc_group_run(queued, "blocked", NULL, 0);
    (void)board_await(&board->started, 2, BOUND_MS);
    (void)mc_group_run(queued, "quick", &number, sizeof(number));
    (void)mc_group_run(queued, "crash", NULL, 0);
    client_fault(&pool->client, "it is damaged for a test");
    expect_verdict("own word");
    if (mc_group_wait(queued, BOUND_MS) < 0)
        _exit(3);
    for (size_t index = 0; index < 4; index++) {
        if (mc_group_result(queued, index, &found) < 0)
            _exit(4);
        if (index == 2 ? found.status != 0 || found.worker_pid != getpid()
                       : found.status != -EOWNERDEAD || strstr(found.error, "a test") == NULL)
            _exit(5);
    }
    if (mc_group_run(group, "quick", NULL, 0) != -ESHUTDOWN ||
        strstr(mc_error_message(), "for a test") == NULL)
        _exit(6);
    gate_open();
    for (int i = 0; i < 50; i++) { /* the supervisor lets go of the lane meanwhile */
        if (((const uint8_t *)large.data)[4999] != number)
            _exit(7);
        pause_us(1000);
    }
    _exit(0);
}

START_TEST(a_client_without_lane_keeps_its_results_and_runs_what_it_may)
{
    begin();
    pid_t child = fork();
    if (child == 0)
        child_keeps_results();
    ck_assert_int_eq(await_exit(child), 0);
    expect_quiet(pool);
    mc_pool_close(pool);
}
END_TEST

/* Its task is said to run in a seat that is not there. */
static void child_waits_for_nobody(void)
{
    struct mc_group_options options = {.size = sizeof(options), .help = MC_HELP_NEVER};
    struct mc_result found = {.size = sizeof(found)};
    mc_group *group = NULL;
    uint32_t number = 0;
    if (mc_group_open(pool, &options, &group) < 0 ||
        mc_group_run(group, "blocked", &number, sizeof(number)) < 0 ||
        !board_await(&board->started, 1, BOUND_MS))
        _exit(1);
    _Atomic uint64_t *word = &pool->client.lane.slots[group_record(group, 0)->slot].word;
    atomic_store(word, slot_word(SLOT_RUNNING, 0, pool->config->seats + 1, 0,
                                 slot_generation(atomic_load(word))));
    if (mc_group_wait(group, BOUND_MS / 4) < 0 || mc_group_result(group, 0, &found) < 0)
        _exit(2);
    _exit(found.status == -EFAULT ? 0 : 3);
}

START_TEST(a_wait_ends_when_nobody_can_have_its_task)
{
    begin();
    pid_t child = fork();
    if (child == 0)
        child_waits_for_nobody();
    ck_assert_int_eq(WEXITSTATUS(await_exit(child)), 0);
    gate_open();
    expect_quiet(pool);
    mc_pool_close(pool);
}
END_TEST

START_TEST(an_event_loop_hears_that_its_lane_was_given_up)
{
    begin();
    pid_t child = fork();
    if (child == 0) {
        int fd = mc_pool_fd(pool);
        if (fd < 0)
            _exit(1);
        (void)ring_push(&pool->client.lane.rings[LANE_NORMAL], name_make(0, 0, 60000));
        client_poke(&pool->client);
        for (uint64_t began = clock_ns(); ms_since(began) < BOUND_MS; pause_us(1000))
            if (mc_pool_dispatch(pool) == -ESHUTDOWN)
                _exit(strstr(mc_error_message(), "not there") != NULL ? 0 : 2);
        _exit(3);
    }
    ck_assert_int_eq(await_exit(child), 0);
    expect_quiet(pool);
    mc_pool_close(pool);
}
END_TEST

START_TEST(the_pool_ends_with_the_lane_of_its_opener)
{
    begin();
    struct family family;
    family_find(pool, &family);
    client_fault(&pool->client, "it is damaged for a test");
    ck_assert(family_await_end(&family, BOUND_MS));
    mc_group *group;
    expect_error(mc_group_open(pool, NULL, &group), -ESHUTDOWN, "for a test");
    mc_pool_close(pool);
}
END_TEST

TEST_MAIN(hostile_lane, a_scribbler_loses_its_lane_and_nobody_else_notices,
          a_client_that_goes_while_its_task_begins_takes_no_worker_along,
          a_damaged_chain_of_results_costs_its_client_the_lane,
          a_client_without_lane_keeps_its_results_and_runs_what_it_may,
          a_wait_ends_when_nobody_can_have_its_task, an_event_loop_hears_that_its_lane_was_given_up,
          the_pool_ends_with_the_lane_of_its_opener)
