/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Kills whom it draws: workers mostly, also while they start; forked clients, the
 * zygote; at the end of some rounds the supervisor or the opener. Others it stops
 * for a moment.
 */
#include "tests/soak/soak.h"

#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Through a descriptor, so that it is this process that is struck, and not one that
 * was given its number meanwhile. */
static bool strike(pid_t pid, int signal)
{
    int descriptor = (int)syscall(SYS_pidfd_open, pid, 0);
    struct process found[PROCESSES_MOST];
    bool struck = false;
    if (descriptor < 0)
        return false;
    unsigned count = processes_below(getppid(), found, PROCESSES_MOST);
    for (unsigned i = 0; i < count && !struck; i++)
        if (found[i].pid == pid && found[i].state != 'Z') {
            if (signal == SIGKILL)
                atomic_fetch_add(&board->killed[(unsigned)pid % PIDS], 1);
            struck = syscall(SYS_pidfd_send_signal, descriptor, signal, NULL, 0) == 0;
        }
    close(descriptor);
    return struck;
}

static bool is_victim(const struct process *process, enum victim kind, pid_t opener)
{
    switch (kind) {
    case VICTIM_WORKER: /* young ones have the name of the zygote still */
        return strncmp(process->name, "mc-worker", 9) == 0;
    case VICTIM_ZYGOTE:
        return strcmp(process->name, "mc-zygote") == 0;
    case VICTIM_SUPERVISOR:
        return strcmp(process->name, "mc-supervisor") == 0;
    case VICTIM_OPENER:
        return process->pid == opener;
    case VICTIM_CLIENT:
        return process->parent == opener && strncmp(process->name, "mc-", 3) != 0;
    default:
        return false;
    }
}

static pid_t choose(struct chance *chance, enum victim kind, pid_t opener)
{
    struct process found[PROCESSES_MOST];
    unsigned count = processes_below(getppid(), found, PROCESSES_MOST), fit = 0;
    for (unsigned i = 0; i < count; i++)
        if (found[i].pid != getpid() && found[i].state != 'Z' && is_victim(&found[i], kind, opener))
            found[fit++] = found[i];
    return fit == 0 ? 0 : found[draw(chance, fit)].pid;
}

static void kill_one(struct chance *chance, enum victim kind, pid_t opener)
{
    pid_t pid = choose(chance, kind, opener);
    if (pid > 0 && strike(pid, SIGKILL))
        atomic_fetch_add(&board->kills[kind], 1);
}

static void stop_one(struct chance *chance, pid_t opener)
{
    pid_t pid = choose(chance, (enum victim)draw(chance, VICTIMS), opener);
    if (pid <= 0 || !strike(pid, SIGSTOP))
        return;
    atomic_fetch_add(&board->stops, 1);
    pause_us(1000 * (1 + draw(chance, 50)));
    (void)strike(pid, SIGCONT);
}

static void step(struct chance *chance, pid_t opener)
{
    uint32_t kind = draw(chance, 100);
    unsigned times = one_in(chance, 12) ? 1 + draw(chance, 6) : 1; /* now and then a salve */
    for (; times > 0; times--) {
        if (kind < 62)
            kill_one(chance, VICTIM_WORKER, opener);
        else if (kind < 80)
            kill_one(chance, VICTIM_CLIENT, opener);
        else if (kind < 87)
            kill_one(chance, VICTIM_ZYGOTE, opener);
        else
            stop_one(chance, opener);
        pause_us(draw(chance, 3000));
    }
}

/* From here on everybody has SEEN_WITHIN_MS to notice. */
static void end_pool(struct chance *chance, enum victim kind, pid_t opener)
{
    pid_t pid = choose(chance, kind, opener);
    atomic_store(&board->gone_ns, now_ns());
    if (pid > 0 && strike(pid, SIGKILL))
        atomic_fetch_add(&board->kills[kind], 1);
}

void killer_run(pid_t opener)
{
    const struct plan *plan = &board->plan;
    struct chance chance;
    uint64_t end_ns = now_ns() + plan->run_ms * UINT64_C(1000000);
    chance_init(&chance, plan->seed, 3);
    while (phase() == PHASE_RUNNING && now_ns() < end_ns && atomic_load(&board->stuck) == 0) {
        pause_us(1000 * (plan->kill_every_ms / 2 + draw(&chance, plan->kill_every_ms)));
        if (phase() == PHASE_RUNNING)
            step(&chance, opener);
    }
    if (atomic_load(&board->stuck) != 0)
        return;
    if (plan->ending == END_KILL_SUPERVISOR)
        end_pool(&chance, VICTIM_SUPERVISOR, opener);
    else if (plan->ending == END_KILL_OPENER)
        end_pool(&chance, VICTIM_OPENER, opener);
    else
        phase_step(PHASE_RUNNING, PHASE_STOPPING);
    /* While the others leave, or the pool is closed with tasks in flight. */
    while (phase() >= PHASE_STOPPING && phase() < PHASE_QUIET && gone_ns() == 0) {
        pause_us(1000 * draw(&chance, 2 * plan->kill_every_ms));
        if (phase() < PHASE_QUIET && gone_ns() == 0 && plan->ending != END_LEAVE)
            kill_one(&chance, VICTIM_WORKER, opener);
    }
}
