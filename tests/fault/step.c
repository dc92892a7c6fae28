/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Kills at instructions instead of at places that somebody chose. A process is
 * single-stepped with ptrace, through the submission of a task and the wait for it in
 * a forked client, through its claim, run and end in a worker; every so many
 * instructions a new one, and killed there. The ledger must then be in order.
 *
 *   step [--every K] [--offset N] [--seconds S]
 *
 * Without --every, K is what fits into S seconds for each of the passages.
 */
#include "base/check.h"
#include "base/clock.h"
#include "base/fault.h"
#include "pool/pool.h"
#include "tests/fault/batch.h"
#include "tests/fault/troupe.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    SKIPPED = 77, /* what ctest takes for that */
    IDLE_MS = 50, /* a worker that sleeps as long has nothing to do */
    RECLAIM_MS = 3000,
    PROBE_STEPS = 200000,
};

static struct {
    unsigned every, offset;
    double seconds;
} options = {.seconds = 8};

static struct {
    unsigned kills, wrong[VERDICTS];
} total;

/* ---- stepping ---- */

static pid_t await_stop(pid_t pid, int *status, int bound_ms)
{
    uint64_t began = clock_ns();
    for (;;) {
        pid_t got = waitpid(pid, status, WNOHANG | __WALL);
        if (got != 0)
            return got;
        if (clock_ns() - began > (uint64_t)bound_ms * 1000000)
            return 0;
    }
}

/* Lets the process make up to count steps. Returns how many it made before it slept
 * longer than that, came to its end, or stopped by itself. */
static unsigned steps(pid_t pid, unsigned count, int sleep_ms)
{
    for (unsigned step = 0; step < count; step++) {
        int status = 0;
        if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) < 0 ||
            await_stop(pid, &status, sleep_ms) <= 0 || !WIFSTOPPED(status) ||
            WSTOPSIG(status) != SIGTRAP)
            return step;
    }
    return count;
}

/* A tracer has to be told of the end as well, before the parent is. */
static void end_traced(pid_t pid)
{
    int status;
    kill(pid, SIGKILL);
    while (waitpid(pid, &status, __WALL) == pid && !WIFSIGNALED(status) && !WIFEXITED(status)) {
    }
}

/* ---- the passages ---- */

struct passage {
    const char *name;
    unsigned workers;
    /* Brings a process to where it begins, traced and stopped; 0: it cannot be traced. */
    pid_t (*begin)(struct batch *batch, struct job job, size_t args_size);
    enum fault_role_number role;
    int sleep_ms; /* a sleep as long is the end */
    struct job job;
    size_t args_size;
};

/* A forked client attaches, and stops before it submits. */
static pid_t begin_client(struct batch *batch, struct job job, size_t args_size)
{
    pid_t child = fork();
    if (child == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        struct batch own;
        if (!batch_open(&own, 2, (struct mc_group_options){.help = MC_HELP_NEVER}))
            _exit(2);
        for (uint32_t i = 0; i < 2; i++)
            ledger->entries[own.first + i].traits |= FORGOTTEN;
        batch_run(&own, "work", 0, job, args_size);
        batch_wait(&own);
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
            _exit(3);
        raise(SIGSTOP);
        batch_run(&own, "work", 0, job, args_size);
        batch_wait(&own);
        raise(SIGSTOP);
        _exit(0);
    }
    int status = 0;
    if (child < 0 || await_stop(child, &status, WAIT_MS) != child || !WIFSTOPPED(status))
        return 0;
    return child;
}

/* The only worker is stopped where it sleeps, and finds a task when it goes on. */
static pid_t begin_worker(struct batch *batch, struct job job, size_t args_size)
{
    pid_t pid = 0;
    int status;
    uint64_t began = clock_ns();
    while (mc_pool_worker_pids(the_pool, &pid, 1) == 0 || pid == 0 ||
           atomic_load(&the_pool->bells->seats[0].state) != SEAT_SLEEPING)
        if (clock_ns() - began > (uint64_t)WAIT_MS * 1000000) {
            ledger_wrong(WEDGED, "the worker does not go to sleep");
            return 0;
        }
    if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) < 0)
        return 0;
    if (ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) < 0 || await_stop(pid, &status, WAIT_MS) != pid)
        return 0;
    (void)batch_run(batch, "work", 0, job, args_size);
    return pid;
}

static const struct passage passages[] = {
    {"client, small", 2, begin_client, ROLE_CHILD, WAIT_MS, {.reply = 20}, 30},
    {"client, large", 2, begin_client, ROLE_CHILD, WAIT_MS, {.reply = 100}, 200},
    {"worker, small", 1, begin_worker, ROLE_WORKER, IDLE_MS, {.reply = 20}, 30},
    {"worker, large", 1, begin_worker, ROLE_WORKER, IDLE_MS, {.reply = 100, .larger = 200}, 200},
};

/* ---- one kill ---- */

/* Lanes of clients that are gone are given back. */
static void expect_reclaimed(void)
{
    uint64_t began = clock_ns();
    for (;;) {
        bool left = false;
        for (uint32_t lane = 1; lane < MAX_LANES; lane++)
            left = left || (atomic_load(&the_pool->control->lanes[lane].generation) & 1) != 0;
        if (!left)
            return;
        if (clock_ns() - began > (uint64_t)RECLAIM_MS * 1000000) {
            ledger_wrong(LEAKED, "the lane of a killed client is not given back");
            return;
        }
    }
}

static void others_still_work(void)
{
    struct batch batch;
    if (!batch_open(&batch, 4, (struct mc_group_options){.help = MC_HELP_NEVER}))
        return;
    batch_repeat(&batch, 4, "work", 0, (struct job){.reply = 1000}, 1000);
    batch_finish(&batch);
}

static void judge(const struct passage *passage, pid_t victim, unsigned step)
{
    struct disturbance disturbance = {.kills = true, .role = passage->role, .victim = victim};
    ledger_judge(&disturbance);
    bool wrong = false;
    for (int verdict = 0; verdict < VERDICTS; verdict++) {
        total.wrong[verdict] += ledger->wrong[verdict] != 0;
        wrong = wrong || ledger->wrong[verdict] != 0;
    }
    if (!wrong)
        return;
    fprintf(stderr, "step: %s, killed after %u instructions\n", passage->name, step);
    ledger_print(ledger);
}

/* Kills after count steps. Returns how many it came to, 0 when it could not be
 * traced. */
static unsigned kill_after(const struct passage *passage, unsigned count)
{
    struct batch batch = {0};
    memset(ledger, 0, sizeof(*ledger));
    if (!batch_open(&batch, 1, (struct mc_group_options){.help = MC_HELP_NEVER}))
        return 0;
    pid_t victim = passage->begin(&batch, passage->job, passage->args_size);
    if (victim == 0) {
        batch_close(&batch);
        return 0;
    }
    unsigned made = steps(victim, count, passage->sleep_ms);
    end_traced(victim);
    batch_finish(&batch);
    others_still_work();
    expect_reclaimed();
    judge(passage, victim, made);
    total.kills++;
    return made == 0 ? 1 : made;
}

/* ---- sweeping ---- */

/* The sum of all runs is length * length / every / 2 steps. */
static unsigned affordable(unsigned length, double step_seconds)
{
    double every = (double)length * length / 2 * step_seconds / options.seconds;
    return every < 1 ? 1 : (unsigned)every + 1;
}

/* False when tracing is not permitted. */
static bool sweep(const struct passage *passage)
{
    struct mc_pool_options pool_options = troupe_options();
    pool_options.workers = passage->workers;
    if (!troupe_open(&pool_options))
        return true;
    others_still_work();
    uint64_t began = clock_ns();
    unsigned length = kill_after(passage, PROBE_STEPS);
    double step_seconds = (double)(clock_ns() - began) / 1e9 / (length == 0 ? 1 : length);
    unsigned every = options.every != 0 ? options.every : affordable(length, step_seconds);
    for (unsigned step = options.offset % every; length != 0 && step < length; step += every)
        if (kill_after(passage, step) == 0)
            break;
    printf("step: %s: %u instructions, one in %u\n", passage->name, length, every);
    fflush(stdout);
    memset(ledger, 0, sizeof(*ledger));
    troupe_expect_throughput(passage->workers > 1);
    troupe_expect_sound();
    troupe_close();
    judge(passage, 0, length);
    return length != 0;
}

int main(int argc, char **argv)
{
    static const struct option known[] = {{"every", 1, NULL, 'e'},
                                          {"offset", 1, NULL, 'o'},
                                          {"seconds", 1, NULL, 's'},
                                          {NULL, 0, NULL, 0}};
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (option == 'e')
            options.every = (unsigned)atoi(optarg);
        else if (option == 'o')
            options.offset = (unsigned)atoi(optarg);
        else if (option == 's')
            options.seconds = atof(optarg);
        else
            return 2;
    }
    ledger = ledger_create();
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1); /* so that the workers are our descendants */
    for (size_t i = 0; i < sizeof(passages) / sizeof(passages[0]); i++)
        if (!sweep(&passages[i])) {
            printf("step: skipped: processes cannot be traced here\n");
            return SKIPPED;
        }
    printf("step: %u kills, %u lost, %u wedged, %u leaked\n", total.kills, total.wrong[LOST],
           total.wrong[WEDGED], total.wrong[LEAKED]);
    return total.wrong[LOST] + total.wrong[WEDGED] + total.wrong[LEAKED] == 0 ? 0 : 1;
}
