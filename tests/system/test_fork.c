/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Clients that are forked: each a client of its own, none in another's way.
 * Children report by their exit status and on standard error.
 */
#include "tests/system/support.h"

#include "pool/pool.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>

enum { CHILDREN = 8, ROUND_TRIPS = 50 };

/* In a child: says what is wrong and ends it. */
#define CHILD_CHECK(condition)                                                                     \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "line %d: %s: %s\n", __LINE__, #condition, mc_error_message());        \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

static int echo(mc_task *task)
{
    size_t size;
    const void *args = mc_task_args(task, &size);
    board_count(&board->ended);
    return mc_task_reply(task, args, size);
}

static int blocked(mc_task *task)
{
    board_begin(number_of(task));
    gate_pass();
    board_end();
    return 0;
}

static const struct mc_handler handlers[] = {
    {.name = "echo", .run = echo},
    {.name = "blocked", .run = blocked},
};

static mc_pool *pool;

static void begin(unsigned max_clients)
{
    board_open();
    struct mc_pool_options options = pool_options(HANDLERS(handlers));
    options.max_clients = max_clients;
    pool = open_pool(&options);
}

static void expect_success(pid_t child)
{
    int status = await_exit(child);
    ck_assert_msg(status == 0, "child %d: status 0x%x", (int)child, (unsigned)status);
}

/* Round trips of small and large payloads, as a forked client. */
static void child_use(uint32_t mark)
{
    static uint32_t large[20000];
    for (uint32_t i = 0; i < ROUND_TRIPS; i++) {
        mc_group *group;
        struct mc_result result = {.size = sizeof(result)};
        size_t size = i % 5 == 0 ? sizeof(large) : sizeof(large[0]);
        large[0] = mark * 1000 + i;
        CHILD_CHECK(mc_group_open(pool, NULL, &group) == 0);
        CHILD_CHECK(mc_group_run(group, "echo", large, size) == 0);
        CHILD_CHECK(mc_group_wait(group, BOUND_MS) == 0);
        CHILD_CHECK(mc_group_result(group, 0, &result) == 0);
        CHILD_CHECK(result.status == 0 && result.data_size == size);
        CHILD_CHECK(memcmp(result.data, large, size) == 0);
        mc_group_close(group);
    }
}

START_TEST(a_child_uses_the_pool_through_a_lane_of_its_own)
{
    begin(0);
    mc_group *group = open_unhelped(pool);
    run_number(group, "echo", 1);
    wait_all(group);
    uint32_t lane = pool->client.index;
    pid_t child = fork();
    if (child == 0) {
        child_use(1);
        CHILD_CHECK(pool->client.index != lane);
        mc_pool_close(pool);
        _exit(0);
    }
    run_number(group, "echo", 2);
    wait_all(group);
    expect_success(child);
    run_number(group, "echo", 3);
    wait_all(group);
    ck_assert_uint_eq(failures(group), 0);
    mc_group_close(group);
    mc_pool_close(pool);
}
END_TEST

START_TEST(an_inherited_group_is_stale)
{
    begin(0);
    mc_group *group = open_unhelped(pool);
    run_number(group, "echo", 1);
    wait_all(group);
    run_number(group, "blocked", 2);
    pid_t child = fork();
    if (child == 0) {
        struct mc_result result = {.size = sizeof(result)};
        mc_writer *writer;
        mc_value value;
        for (int attached = 0; attached < 2; attached++) {
            CHILD_CHECK(mc_group_wait(group, 0) == -ESTALE);
            CHILD_CHECK(strstr(mc_error_message(), "before fork()") != NULL);
            CHILD_CHECK(mc_group_run(group, "echo", NULL, 0) == -ESTALE);
            CHILD_CHECK(mc_group_map(group, "echo", 5, NULL, NULL, 0) == -ESTALE);
            CHILD_CHECK(mc_group_cancel(group) == -ESTALE);
            CHILD_CHECK(mc_group_next(group, &result, 0) == -ESTALE);
            CHILD_CHECK(mc_group_result(group, 0, &result) == -ESTALE);
            CHILD_CHECK(mc_group_value(group, 0, &value) == -ESTALE);
            CHILD_CHECK(mc_group_writer(group, MC_JSON, &writer) == -ESTALE);
            mc_group_release(group, 0);
            child_use(2); /* from here on it is attached */
        }
        mc_group_close(group);
        mc_pool_close(pool);
        _exit(0);
    }
    expect_success(child);
    gate_open();
    wait_all(group);
    ck_assert_uint_eq(failures(group), 0);
    uint32_t number;
    memcpy(&number, result_of(group, 0).data, sizeof(number));
    ck_assert_uint_eq(number, 1);
    mc_group_close(group);
    mc_pool_close(pool);
}
END_TEST

START_TEST(a_child_that_closes_the_pool_only_detaches)
{
    begin(0);
    struct family family;
    family_find(pool, &family);
    (void)mc_pool_fd(pool);
    for (int used = 0; used < 2; used++) {
        pid_t child = fork();
        if (child == 0) {
            if (used)
                child_use(3);
            mc_pool_close(pool);
            _exit(0);
        }
        expect_success(child);
    }
    mc_group *group = open_unhelped(pool);
    run_number(group, "echo", 1);
    wait_all(group);
    ck_assert_uint_eq(failures(group), 0);
    ck_assert(process_lives(family.supervisor));
    mc_group_close(group);
    mc_pool_close(pool);
    ck_assert(family_await_end(&family, BOUND_MS));
}
END_TEST

/* The descriptors of a pool, as numbers that are open now and were not before. */
static unsigned open_below(const bool *before, int limit)
{
    unsigned count = 0;
    for (int fd = 0; fd < limit; fd++)
        count += fcntl(fd, F_GETFD) != -1 && !before[fd];
    return count;
}

START_TEST(closing_in_a_child_leaves_no_descriptor_or_mapping)
{
    enum { LIMIT = 256 };
    bool before[LIMIT];
    for (int fd = 0; fd < LIMIT; fd++)
        before[fd] = fcntl(fd, F_GETFD) != -1;
    begin(0);
    (void)mc_pool_fd(pool);
    for (int used = 0; used < 2; used++) {
        pid_t child = fork();
        if (child == 0) {
            if (used)
                child_use(4);
            if (used)
                (void)mc_pool_fd(pool);
            mc_pool_close(pool);
            if (open_below(before, LIMIT) != 0 || mapped_memfds() != 0) {
                fprintf(stderr, "used %d: %u descriptors and %u mappings are left\n", used,
                        open_below(before, LIMIT), mapped_memfds());
                _exit(1);
            }
            _exit(0);
        }
        expect_success(child);
    }
    mc_pool_close(pool);
}
END_TEST

START_TEST(prefork_children_work_side_by_side)
{
    begin(0);
    pid_t children[CHILDREN];
    for (uint32_t i = 0; i < CHILDREN; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            child_use(i);
            _exit(0);
        }
    }
    child_use(CHILDREN); /* and their parent too */
    for (int i = 0; i < CHILDREN; i++)
        expect_success(children[i]);
    ck_assert_uint_eq(atomic_load(&board->ended), (CHILDREN + 1) * ROUND_TRIPS);
    expect_quiet(pool);
    mc_pool_close(pool);
}
END_TEST

START_TEST(a_grandchild_is_a_client_too)
{
    begin(0);
    pid_t child = fork();
    if (child == 0) {
        child_use(1);
        pid_t grandchild = fork();
        if (grandchild == 0) {
            child_use(2);
            mc_pool_close(pool);
            _exit(0);
        }
        int status;
        CHILD_CHECK(waitpid(grandchild, &status, 0) == grandchild && status == 0);
        child_use(3);
        _exit(0);
    }
    expect_success(child);
    mc_pool_close(pool);
}
END_TEST

/* Uses the pool when its parent, a client, is gone, and the supervisor has noticed. */
static void be_orphan(pid_t parent)
{
    const struct lane_entry *entry = &pool->control->lanes[pool->client.index];
    for (int ms = 0; ms < BOUND_MS && atomic_load(&entry->client_pid) == parent; ms++)
        pause_us(1000);
    CHILD_CHECK(getppid() != parent && atomic_load(&entry->client_pid) != parent);
    child_use(2);
    pid_t child = fork();
    if (child == 0) {
        child_use(3);
        _exit(0);
    }
    int status;
    CHILD_CHECK(waitpid(child, &status, 0) == child && status == 0);
    board_count(&board->words[0]);
    _exit(0);
}

START_TEST(a_grandchild_is_a_client_also_when_its_parent_is_gone)
{
    begin(0);
    pid_t child = fork();
    if (child == 0) {
        child_use(1);
        pid_t parent = getpid();
        if (fork() == 0)
            be_orphan(parent);
        _exit(0);
    }
    expect_success(child);
    ck_assert(board_await(&board->words[0], 1, BOUND_MS));
    mc_pool_close(pool);
}
END_TEST

static void lose_pool(void)
{
    const struct mc_group_options options = {.size = sizeof(options), .help = MC_HELP_NEVER};
    struct mc_result result = {.size = sizeof(result)};
    mc_group *group;
    CHILD_CHECK(mc_group_open(pool, &options, &group) == 0);
    CHILD_CHECK(mc_group_run(group, "blocked", NULL, 0) == 0);
    CHILD_CHECK(mc_group_wait(group, BOUND_MS) == 0);
    CHILD_CHECK(mc_group_result(group, 0, &result) == 0 && result.status == -EOWNERDEAD);
    board_count(&board->words[0]);
    _exit(0);
}

START_TEST(a_pool_ends_with_its_opener_whoever_has_its_socket)
{
    board_open();
    pid_t opener = fork();
    if (opener == 0) {
        pool = open_simple(HANDLERS(handlers));
        if (fork() == 0)
            lose_pool();
        (void)board_await(&board->started, 1, BOUND_MS);
        raise(SIGKILL);
    }
    (void)await_exit(opener);
    ck_assert(board_await(&board->words[0], 1, BOUND_MS));
}
END_TEST

START_TEST(a_child_of_a_child_that_never_used_the_pool_is_a_client_too)
{
    begin(0);
    pid_t child = fork();
    if (child == 0) {
        pid_t grandchild = fork();
        if (grandchild == 0) {
            child_use(1);
            _exit(0);
        }
        int status;
        CHILD_CHECK(waitpid(grandchild, &status, 0) == grandchild && status == 0);
        _exit(0);
    }
    expect_success(child);
    mc_pool_close(pool);
}
END_TEST

START_TEST(more_clients_than_allowed_are_refused_until_one_is_gone)
{
    begin(2);
    pid_t first = fork();
    if (first == 0) {
        child_use(1);
        board_count(&board->words[0]);
        (void)board_await(&board->words[1], 1, BOUND_MS);
        _exit(0);
    }
    ck_assert(board_await(&board->words[0], 1, BOUND_MS));
    pid_t second = fork();
    if (second == 0) {
        mc_group *group = NULL;
        CHILD_CHECK(mc_group_open(pool, NULL, &group) == -EUSERS);
        CHILD_CHECK(strstr(mc_error_message(), "max_clients") != NULL && group == NULL);
        CHILD_CHECK(mc_pool_fd(pool) == -EUSERS);
        board_count(&board->words[1]);
        for (int tries = 0; tries < BOUND_MS && mc_group_open(pool, NULL, &group) != 0; tries++)
            pause_us(1000);
        CHILD_CHECK(group != NULL);
        mc_group_close(group);
        child_use(2);
        _exit(0);
    }
    expect_success(first);
    expect_success(second);
    mc_pool_close(pool);
}
END_TEST

START_TEST(a_child_is_connected_by_a_connection_of_its_own)
{
    begin(2); /* the parent, and one more */
    pid_t child = fork();
    if (child == 0) {
        CHILD_CHECK(mc_pool_connected(pool));
        pid_t grandchild = fork();
        if (grandchild == 0)
            _exit(mc_pool_connected(pool) ? 1 : 0);
        int status;
        CHILD_CHECK(waitpid(grandchild, &status, 0) == grandchild && status == 0);
        CHILD_CHECK(mc_pool_connected(pool));
        _exit(0);
    }
    expect_success(child);
    ck_assert(mc_pool_connected(pool));
    mc_pool_close(pool);
}
END_TEST

START_TEST(a_child_learns_that_the_pool_has_ended)
{
    begin(0);
    pid_t child = fork();
    if (child == 0) {
        mc_group *group = NULL;
        child_use(1);
        board_count(&board->words[0]);
        (void)board_await(&board->words[1], 1, BOUND_MS);
        CHILD_CHECK(mc_group_open(pool, NULL, &group) == -ESHUTDOWN);
        mc_pool_close(pool);
        _exit(0);
    }
    pid_t late = fork();
    if (late == 0) { /* attaches only when there is nothing left */
        mc_group *group = NULL;
        (void)board_await(&board->words[1], 1, BOUND_MS);
        CHILD_CHECK(mc_group_open(pool, NULL, &group) == -ESHUTDOWN);
        CHILD_CHECK(mc_pool_fd(pool) == -ESHUTDOWN);
        mc_pool_close(pool);
        _exit(0);
    }
    ck_assert(board_await(&board->words[0], 1, BOUND_MS));
    mc_pool_close(pool);
    board_count(&board->words[1]);
    expect_success(child);
    expect_success(late);
}
END_TEST

enum { SIGNAL_US = 20000, SIGNALS_MOST = 8000000 / SIGNAL_US };

static void note_signal(int signal)
{
    if (atomic_fetch_add(&board->words[2], 1) == SIGNALS_MOST)
        _exit(1); /* it waits for longer than for an answer */
}

START_TEST(a_child_that_signals_interrupt_does_not_wait_for_an_answer_for_ever)
{
    begin(0);
    struct family family;
    family_find(pool, &family);
    kill(family.supervisor, SIGSTOP);
    ck_assert(await_state(family.supervisor, 'T'));
    pid_t child = fork();
    if (child == 0) {
        struct sigaction action = {.sa_handler = note_signal};
        const struct itimerval often = {.it_interval.tv_usec = SIGNAL_US,
                                        .it_value.tv_usec = SIGNAL_US};
        mc_group *group = NULL;
        (void)sigaction(SIGALRM, &action, NULL);
        (void)setitimer(ITIMER_REAL, &often, NULL);
        CHILD_CHECK(mc_group_open(pool, NULL, &group) == -ETIMEDOUT);
        _exit(0);
    }
    int status = await_exit(child);
    kill(family.supervisor, SIGCONT);
    ck_assert_int_eq(status, 0);
    ck_assert_uint_gt(atomic_load(&board->words[2]), 10);
    mc_pool_close(pool);
}
END_TEST

TEST_MAIN(fork, a_child_uses_the_pool_through_a_lane_of_its_own, an_inherited_group_is_stale,
          a_child_that_closes_the_pool_only_detaches,
          closing_in_a_child_leaves_no_descriptor_or_mapping, prefork_children_work_side_by_side,
          a_grandchild_is_a_client_too, a_grandchild_is_a_client_also_when_its_parent_is_gone,
          a_pool_ends_with_its_opener_whoever_has_its_socket,
          a_child_of_a_child_that_never_used_the_pool_is_a_client_too,
          more_clients_than_allowed_are_refused_until_one_is_gone,
          a_child_is_connected_by_a_connection_of_its_own, a_child_learns_that_the_pool_has_ended,
          a_child_that_signals_interrupt_does_not_wait_for_an_answer_for_ever)
