/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fault/stage.h"

#include "base/check.h"
#include "tests/fault/allocations.h"
#include "tests/fault/look.h"
#include "tests/fault/scenes.h"
#include "tests/fault/troupe.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    STOP_MS = 30,    /* how long a stopped process stays so */
    RUN_MS = 30000,  /* no play takes longer */
    LEAVE_MS = 5000, /* for what is left after the play's process */
    DESCRIBE_MS = 300,
    DEAD_MOST = 64,
};

struct referee {
    struct run *run;
    pid_t opener;
    bool opener_ended, resumed;
    uint64_t began_ms, opener_ended_ms, struck_ms;
    pid_t dead[DEAD_MOST];
    unsigned dead_count;
};

static void describe_and_leave(int signal)
{
    troupe_describe();
}

/* The process that opens the pool and acts. */
static void act(const struct run *run)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGUSR1, describe_and_leave);
    atomic_store(&ledger->opener, getpid());
    if (run->recording)
        fault_record(true);
    else
        fault_set(&run->fault);
    long live = allocations_live();
    run->play->act();
    if (allocations_live() != live)
        ledger_wrong(LEAKED, "%ld allocations were not given back", allocations_live() - live);
    fflush(NULL);
    _exit(0);
}

/* False when no process is left. */
static bool reap(struct referee *referee)
{
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG | __WALL);
        if (pid <= 0)
            return pid == 0 || errno != ECHILD;
        if (WIFSIGNALED(status) && referee->dead_count < DEAD_MOST)
            referee->dead[referee->dead_count++] = pid;
        if (pid == referee->opener) {
            referee->opener_ended = true;
            referee->opener_ended_ms = now_ms();
            if (WIFSIGNALED(status) && pid != fault_victim())
                ledger_wrong(LOST, "the program was killed by signal %d", WTERMSIG(status));
        }
    }
}

static void resume(struct referee *referee)
{
    pid_t victim = fault_victim();
    if (victim == 0 || referee->resumed || referee->run->fault.signal != SIGSTOP)
        return;
    if (referee->struck_ms == 0)
        referee->struck_ms = now_ms();
    if (now_ms() - referee->struck_ms < STOP_MS)
        return;
    kill(victim, SIGCONT);
    referee->resumed = true;
}

/* Who is left, by name; their children come to us as they die. */
static void kill_all(void)
{
    pid_t children[64];
    for (int round = 0; round < 20; round++) {
        unsigned count = look_children(getpid(), children, 64);
        for (unsigned i = 0; i < count; i++)
            kill(children[i], SIGKILL);
        while (waitpid(-1, NULL, WNOHANG | __WALL) > 0) {
        }
        struct timespec pause = {.tv_nsec = 5000000};
        (void)nanosleep(&pause, NULL);
    }
}

static void name_those_left(char *text, size_t size)
{
    pid_t children[16];
    unsigned count = look_children(getpid(), children, 16);
    size_t used = 0;
    text[0] = '\0';
    for (unsigned i = 0; i < count && used < size; i++) {
        char name[32];
        look_name(children[i], name);
        used += (size_t)snprintf(text + used, size - used, " %s (%d)", name, (int)children[i]);
    }
}

/* Too late for everything: ask who can still answer, then end them. */
static void give_up(struct referee *referee)
{
    char left[120];
    name_those_left(left, sizeof(left));
    if (referee->opener_ended) {
        ledger_wrong(LEAKED, "left after the program:%s", left);
    } else {
        ledger_wrong(WEDGED, "the program does not end:%s", left);
        kill(referee->opener, SIGUSR1);
        struct timespec pause = {.tv_nsec = DESCRIBE_MS * 1000000L};
        (void)nanosleep(&pause, NULL);
    }
    kill_all();
}

static void watch(struct referee *referee)
{
    while (reap(referee)) {
        uint64_t now = now_ms();
        resume(referee);
        if (now - referee->began_ms > RUN_MS ||
            (referee->opener_ended && now - referee->opener_ended_ms > LEAVE_MS)) {
            give_up(referee);
            return;
        }
        struct timespec pause = {.tv_nsec = 500000};
        (void)nanosleep(&pause, NULL);
    }
}

static void referee_run(struct run *run)
{
    struct referee referee = {.run = run, .began_ms = now_ms()};
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)prctl(PR_SET_NAME, "referee");
    referee.opener = fork();
    if (referee.opener == 0)
        act(run);
    watch(&referee);
    struct disturbance disturbance = {.kills = run->fault.signal == SIGKILL && !run->recording,
                                      .fails = run->fault.signal == 0 && !run->recording,
                                      .role = run->fault.role,
                                      .victim = fault_victim(),
                                      .dead = referee.dead,
                                      .dead_count = referee.dead_count};
    disturbance.cuts = disturbance.fails && run->fault.role == ROLE_SUPERVISOR &&
                       strcmp(fault_title(run->fault.id), "channel_receive") == 0;
    ledger_judge(&disturbance);
}

void stage_prepare(struct run *run)
{
    run->memory = fault_memory_create();
    run->ledger = ledger_create();
}

void stage_begin(struct run *run)
{
    memset(run->ledger, 0, sizeof(*run->ledger));
    run->ledger->usual = run->usual;
    ledger = run->ledger;
    fault_use(run->memory);
    fault_set(NULL);
    fault_record(false);
    fflush(NULL);
    run->referee = fork();
    CHECK(run->referee >= 0);
    if (run->referee == 0) {
        referee_run(run);
        _exit(0);
    }
}
