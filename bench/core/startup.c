/* SPDX-License-Identifier: BSD-3-Clause
 *
 * From nothing to the first result. Both figures are taken in a process of
 * their own that has just been executed: what the library keeps is cold, the
 * pages of its files are warm.
 */
#include "probes.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ITEMS = 1000, WORKERS = 2 };

static enum outcome run_self(const char *option, unsigned samples)
{
    enum outcome outcome = MEASURED;
    for (unsigned i = 0; outcome == MEASURED && i < samples; i++) {
        const char *const arguments[] = {child_self(), option, NULL};
        outcome = child_run(BOTH_CPUS, arguments);
    }
    return outcome;
}

enum outcome startup_library(const struct probe *probe, unsigned samples)
{
    (void)probe;
    return run_self("--child-startup", samples);
}

enum outcome startup_floor(const struct probe *probe, unsigned samples)
{
    (void)probe;
    return run_self("--child-floor-startup", samples);
}

static void print_ms(enum figure_id figure, uint64_t began, uint64_t ended)
{
    printf("%s %.6f\n", figures[figure].name, (double)(ended - began) / 1e6);
}

int startup_library_child(void)
{
    struct mc_result result = {.size = sizeof(result)};
    mc_pool *pool;
    mc_group *group;
    uint64_t began = now_ns();
    if (!subject_open(&pool))
        return 1;
    if (mc_group_open(pool, NULL, &group) < 0 ||
        mc_group_map(group, "sum", ITEMS, NULL, NULL, 0) < 0 ||
        mc_group_next(group, &result, -1) != 1 || result.status != 0)
        return 1;
    print_ms(STARTUP_FIRST_RESULT, began, now_ns());
    mc_group_close(group);
    subject_close();
    return 0;
}

/* ---- the floor: as many processes, and one round trip ---- */

struct board {
    _Atomic uint32_t asked;
    _Atomic uint32_t answered;
};

static void await(_Atomic uint32_t *word)
{
    while (atomic_load(word) == 0)
        syscall(SYS_futex, word, FUTEX_WAIT, 0, NULL, NULL, 0);
}

static void announce(_Atomic uint32_t *word)
{
    atomic_store(word, 1);
    syscall(SYS_futex, word, FUTEX_WAKE, WORKERS, NULL, NULL, 0);
}

static void answer_and_rest(struct board *board)
{
    await(&board->asked);
    announce(&board->answered);
    for (;;)
        pause();
}

/* Each process ends with the one that made it, which may have ended already. */
static void follow(pid_t parent)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(0);
}

/* A supervisor with a zygote and workers, which are all its children. */
static void supervise(struct board *board)
{
    pid_t own = getpid();
    for (int i = 0; i < 1 + WORKERS; i++) {
        pid_t pid = fork();
        if (pid < 0)
            _exit(1);
        if (pid > 0)
            continue;
        follow(own);
        if (i > 0)
            answer_and_rest(board);
        for (;;)
            pause();
    }
    for (;;)
        pause();
}

static pid_t start_supervisor(struct board *board, _Atomic pid_t *supervisor)
{
    pid_t middle = fork();
    if (middle == 0) {
        pid_t pid = fork();
        if (pid == 0)
            supervise(board);
        atomic_store(supervisor, pid);
        _exit(pid < 0 ? 1 : 0);
    }
    int status = 1;
    if (middle < 0)
        return -1;
    while (waitpid(middle, &status, 0) < 0 && errno == EINTR) {
    }
    return status == 0 ? atomic_load(supervisor) : -1;
}

int startup_floor_child(void)
{
    struct shared {
        struct board board;
        _Atomic pid_t supervisor;
    } * shared;
    uint64_t began = now_ns();
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return 1;
    pid_t supervisor = start_supervisor(&shared->board, &shared->supervisor);
    if (supervisor < 0)
        return 1;
    announce(&shared->board.asked);
    await(&shared->board.answered);
    print_ms(FLOOR_STARTUP, began, now_ns());
    fflush(stdout);
    kill(supervisor, SIGKILL);
    return 0;
}
