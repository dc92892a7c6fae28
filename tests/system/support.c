/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/system/support.h"

#include "base/clock.h"
#include "base/sys.h"
#include "pool/pool.h"

#include <dirent.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

struct board *board;

/* ---- the board ---- */

void board_open(void)
{
    board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(board, MAP_FAILED);
}

void board_count(_Atomic uint32_t *word)
{
    atomic_fetch_add(word, 1);
    sys_futex_wake(word, INT32_MAX);
}

bool board_await(_Atomic uint32_t *word, uint32_t least, int bound_ms)
{
    uint64_t deadline = clock_ns() + (uint64_t)bound_ms * 1000000;
    for (;;) {
        uint32_t seen = atomic_load(word);
        uint64_t now = clock_ns();
        if (seen >= least)
            return true;
        if (now >= deadline)
            return false;
        (void)sys_futex_wait(word, seen, deadline - now);
    }
}

void board_begin(uint32_t number)
{
    uint32_t running = atomic_fetch_add(&board->running, 1) + 1;
    uint32_t most = atomic_load(&board->most_running);
    while (running > most && !atomic_compare_exchange_weak(&board->most_running, &most, running)) {
    }
    board_count(&board->runs[number % BOARD_NUMBERS]);
    uint32_t place = atomic_fetch_add(&board->started, 1);
    atomic_store(&board->order[place % BOARD_NUMBERS], number);
    sys_futex_wake(&board->started, INT32_MAX);
}

void board_end(void)
{
    atomic_fetch_sub(&board->running, 1);
    board_count(&board->ended);
}

void gate_pass(void)
{
    (void)board_await(&board->gate, 1, 3 * BOUND_MS);
}

void gate_open(void)
{
    atomic_store(&board->gate, 1);
    sys_futex_wake(&board->gate, INT32_MAX);
}

/* ---- pools and groups ---- */

struct mc_pool_options pool_options(const struct mc_handler *handlers, size_t count)
{
    return (struct mc_pool_options){.size = sizeof(struct mc_pool_options),
                                    .handlers = handlers,
                                    .handler_count = count,
                                    .workers = 2};
}

mc_pool *open_pool(const struct mc_pool_options *options)
{
    mc_pool *pool = NULL;
    int result = mc_pool_open(options, &pool);
    ck_assert_msg(result == 0, "%d: %s", result, mc_error_message());
    return pool;
}

mc_pool *open_simple(const struct mc_handler *handlers, size_t count)
{
    struct mc_pool_options options = pool_options(handlers, count);
    return open_pool(&options);
}

mc_group *open_with(mc_pool *pool, struct mc_group_options options)
{
    mc_group *group = NULL;
    options.size = sizeof(options);
    int result = mc_group_open(pool, &options, &group);
    ck_assert_msg(result == 0, "%d: %s", result, mc_error_message());
    return group;
}

mc_group *open_group(mc_pool *pool)
{
    return open_with(pool, (struct mc_group_options){0});
}

mc_group *open_unhelped(mc_pool *pool)
{
    return open_with(pool, (struct mc_group_options){.help = MC_HELP_NEVER});
}

void run(mc_group *group, const char *handler, const void *args, size_t size)
{
    int result = mc_group_run(group, handler, args, size);
    ck_assert_msg(result == 0, "%s: %d: %s", handler, result, mc_error_message());
}

void run_number(mc_group *group, const char *handler, uint32_t number)
{
    run(group, handler, &number, sizeof(number));
}

void wait_all(mc_group *group)
{
    int result = mc_group_wait(group, BOUND_MS);
    ck_assert_msg(result == 0, "%d: %s", result, mc_error_message());
}

struct mc_result result_of(mc_group *group, size_t index)
{
    struct mc_result found = {.size = sizeof(found)};
    int result = mc_group_result(group, index, &found);
    ck_assert_msg(result == 0, "task %zu: %d: %s", index, result, mc_error_message());
    return found;
}

size_t failures(mc_group *group)
{
    size_t failed = 0;
    for (size_t index = 0; index < mc_group_size(group); index++)
        failed += result_of(group, index).status != 0;
    return failed;
}

void expect_error(int result, int expected, const char *words)
{
    ck_assert_msg(result == expected, "%d, not %d: %s", result, expected, mc_error_message());
    ck_assert_msg(strstr(mc_error_message(), words) != NULL, "'%s' says nothing of '%s'",
                  mc_error_message(), words);
}

uint32_t number_of(mc_task *task)
{
    size_t size;
    uint32_t number = 0;
    const void *args = mc_task_args(task, &size);
    if (size >= sizeof(number))
        memcpy(&number, args, sizeof(number));
    return number;
}

static bool all_asleep(const mc_pool *pool)
{
    for (uint32_t seat = 0; seat < pool->config->seats; seat++)
        if (atomic_load(&pool->bells[control_class(pool->control, seat)].seats[seat].state) !=
            SEAT_SLEEPING)
            return false;
    return true;
}

void expect_quiet(mc_pool *pool)
{
    uint64_t began = clock_ns();
    while (!all_asleep(pool)) {
        ck_assert_msg(ms_since(began) < BOUND_MS, "an idle pool does not go to sleep");
        pause_us(200);
    }
    const char *damage = lane_check(&pool->client.lane);
    ck_assert_msg(damage == NULL, "%s", damage);
}

bool await_workers(mc_pool *pool, int bound_ms)
{
    uint64_t began = clock_ns();
    while (atomic_load(&pool->control->seats_up) != pool->config->seats) {
        if (ms_since(began) > bound_ms)
            return false;
        pause_us(100);
    }
    return true;
}

/* ---- processes ---- */

/* Reads state and parent from /proc/PID/stat; false if there is no such process. */
static bool read_stat(pid_t pid, char *state, pid_t *parent, char name[32])
{
    char path[64], line[512] = "";
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    bool read = fgets(line, sizeof(line), file) != NULL;
    fclose(file);
    const char *open = strchr(line, '('), *close = strrchr(line, ')');
    if (!read || open == NULL || close == NULL || close - open > 31)
        return false;
    memcpy(name, open + 1, (size_t)(close - open - 1));
    name[close - open - 1] = '\0';
    int number = 0;
    bool parsed = sscanf(close + 1, " %c %d", state, &number) == 2;
    *parent = number;
    return parsed;
}

bool process_lives(pid_t pid)
{
    char state = 0, name[32];
    pid_t parent;
    return read_stat(pid, &state, &parent, name) && state != 'Z' && state != 'X';
}

bool await_state(pid_t pid, char wanted)
{
    for (uint64_t began = clock_ns(); ms_since(began) < BOUND_MS; pause_us(200)) {
        char state, name[32];
        pid_t parent;
        if (read_stat(pid, &state, &parent, name) && state == wanted)
            return true;
    }
    return false;
}

static pid_t parent_of(pid_t pid)
{
    char state, name[32];
    pid_t parent = 0;
    return read_stat(pid, &state, &parent, name) ? parent : 0;
}

static pid_t find_child(pid_t parent, const char *name, pid_t but, bool zombie)
{
    DIR *directory = opendir("/proc");
    pid_t found = 0;
    for (struct dirent *entry; directory != NULL && (entry = readdir(directory)) != NULL;) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10), its_parent;
        char state, its_name[32];
        if (pid > 0 && pid != but && read_stat(pid, &state, &its_parent, its_name) &&
            its_parent == parent && (state == 'Z') == zombie &&
            strncmp(its_name, name, strlen(name)) == 0)
            found = pid;
    }
    if (directory != NULL)
        closedir(directory);
    return found;
}

pid_t child_named(pid_t parent, const char *name, pid_t but)
{
    return find_child(parent, name, but, false);
}

bool has_zombies(pid_t parent)
{
    return find_child(parent, "", 0, true) != 0;
}

/* False while somebody is missing. */
static bool family_look(mc_pool *pool, struct family *family)
{
    memset(family, 0, sizeof(*family));
    family->worker_count = mc_pool_worker_pids(pool, family->workers, FAMILY_MOST);
    ck_assert_uint_le(family->worker_count, FAMILY_MOST);
    for (unsigned i = 0; i < family->worker_count; i++) {
        pid_t parent = family->workers[i] > 0 ? parent_of(family->workers[i]) : 0;
        if (parent == 0 || !process_lives(family->workers[i]))
            return false;
        ck_assert(i == 0 || parent == family->supervisor);
        family->supervisor = parent;
    }
    family->zygote = child_named(family->supervisor, "mc-zygote", 0);
    return family->zygote > 0;
}

void family_find(mc_pool *pool, struct family *family)
{
    uint64_t began = clock_ns();
    while (!await_workers(pool, BOUND_MS) || !family_look(pool, family)) {
        ck_assert_msg(ms_since(began) < BOUND_MS, "the pool is not complete");
        pause_us(200);
    }
    char state, name[32];
    pid_t parent;
    ck_assert(read_stat(family->supervisor, &state, &parent, name));
    ck_assert_str_eq(name, "mc-supervisor");
}

void end_process(pid_t pid)
{
    uint64_t began = clock_ns();
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    while (process_lives(pid)) {
        ck_assert_msg(ms_since(began) < BOUND_MS, "process %d does not die", (int)pid);
        pause_us(50);
    }
}

bool family_await_end(const struct family *family, int bound_ms)
{
    uint64_t began = clock_ns();
    for (;;) {
        bool left = process_lives(family->supervisor) || process_lives(family->zygote);
        for (unsigned i = 0; i < family->worker_count; i++)
            left = left || process_lives(family->workers[i]);
        if (!left || ms_since(began) > bound_ms)
            return !left;
        pause_us(500);
    }
}

int await_exit(pid_t pid)
{
    uint64_t began = clock_ns();
    int status;
    pid_t ended;
    while ((ended = waitpid(pid, &status, WNOHANG)) == 0) {
        if (ms_since(began) > 3 * BOUND_MS) {
            kill(pid, SIGKILL);
            ck_abort_msg("process %d does not end", (int)pid);
        }
        pause_us(200);
    }
    ck_assert_int_eq(ended, pid);
    return status;
}

unsigned open_descriptors(void)
{
    return open_descriptors_of(getpid());
}

unsigned open_descriptors_of(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    DIR *directory = opendir(path);
    ck_assert_ptr_nonnull(directory);
    unsigned count = 0;
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

unsigned mapped_memfds(void)
{
    char line[512];
    unsigned count = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    ck_assert_ptr_nonnull(maps);
    while (fgets(line, sizeof(line), maps) != NULL)
        count += strstr(line, "memfd:") != NULL;
    fclose(maps);
    return count;
}

void pause_us(unsigned microseconds)
{
    struct timespec pause = {.tv_sec = microseconds / 1000000,
                             .tv_nsec = (long)(microseconds % 1000000) * 1000};
    (void)nanosleep(&pause, NULL);
}

double ms_since(uint64_t began_ns)
{
    return (double)(clock_ns() - began_ns) / 1e6;
}
