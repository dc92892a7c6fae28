/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The director: one round after another, each with a pool of its own, until the
 * time is over. The exit status is 0 if nothing was wrong.
 *
 *     soak [--minutes N] [--seed S]
 */
#include "tests/soak/soak.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    TURN_US = 20000,
    PROGRESS_MS = 10000,
    OPEN_MS = 10000,
    LEFT_MS = 6000,   /* after the opener's end: for clients to run what they may */
    ROUND_MS = 40000, /* after its time: for the round to be over */
    REPORT_MS = 1500, /* for clients to print what they see */
    MIB = 1 << 20,
    SUPERVISOR_GROWTH = 2 * MIB,
    WORKER_GROWTH = 24 * MIB,
    OPENER_GROWTH = 8 * MIB,
};

static uint64_t seed, began_ns, end_ns, printed_ns;
static unsigned rounds;
static bool logged; /* after the first complaint, not after each */
static uint64_t first_memory, last_memory;

static double ms_since(uint64_t since_ns)
{
    return (double)(now_ns() - since_ns) / 1e6;
}

/* ---- words ---- */

/* 3412000 as 3,412,000. */
static const char *grouped(uint64_t number, char text[32])
{
    char digits[32];
    int length = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)number), at = 0;
    for (int i = 0; i < length; i++) {
        text[at++] = digits[i];
        if ((length - i) % 3 == 1 && i + 1 < length)
            text[at++] = ',';
    }
    text[at] = '\0';
    return text;
}

static uint64_t total_kills(void)
{
    uint64_t total = 0;
    for (int i = 0; i < VICTIMS; i++)
        total += atomic_load(&board->kills[i]);
    return total;
}

static void print_progress(void)
{
    char tasks[32];
    printf("soak: %3.0f s, round %u, %s tasks, %llu kills (%llu workers, %llu clients, %llu "
           "zygotes, %llu supervisors, %llu openers), %llu stops, %llu repeated, longest stall "
           "%llu ms (%s), end seen within %llu ms\n",
           ms_since(began_ns) / 1000, rounds, grouped(atomic_load(&board->accepted), tasks),
           (unsigned long long)total_kills(),
           (unsigned long long)atomic_load(&board->kills[VICTIM_WORKER]),
           (unsigned long long)atomic_load(&board->kills[VICTIM_CLIENT]),
           (unsigned long long)atomic_load(&board->kills[VICTIM_ZYGOTE]),
           (unsigned long long)atomic_load(&board->kills[VICTIM_SUPERVISOR]),
           (unsigned long long)atomic_load(&board->kills[VICTIM_OPENER]),
           (unsigned long long)atomic_load(&board->stops),
           (unsigned long long)atomic_load(&board->repeated),
           (unsigned long long)(atomic_load(&board->longest_ns) / 1000000),
           atomic_load(&board->longest_what) != NULL ? atomic_load(&board->longest_what) : "none",
           (unsigned long long)(atomic_load(&board->longest_gone_ns) / 1000000));
    fflush(stdout);
}

static int print_closing_line(void)
{
    char tasks[32], kills[32];
    uint64_t wrong = atomic_load(&board->wrong), lost = atomic_load(&board->lost),
             duplicated = atomic_load(&board->duplicated), wedged = atomic_load(&board->wedged);
    printf("soak: %.1f minutes, %s tasks, %s kills, %llu lost, %llu duplicated, %llu wedged, "
           "longest stall %llu ms, memory %.1f -> %.1f MiB, seed %llu",
           ms_since(began_ns) / 60000, grouped(atomic_load(&board->accepted), tasks),
           grouped(total_kills(), kills), (unsigned long long)lost, (unsigned long long)duplicated,
           (unsigned long long)wedged,
           (unsigned long long)(atomic_load(&board->longest_ns) / 1000000),
           (double)first_memory / MIB, (double)last_memory / MIB, (unsigned long long)seed);
    if (wrong != 0)
        printf(", %llu otherwise wrong", (unsigned long long)wrong);
    printf("\n");
    return lost + duplicated + wedged + wrong == 0 ? 0 : 1;
}

/* ---- the plan of a round ---- */

static const char *const ending_names[ENDINGS] = {
    [END_CLOSE] = "closed when all have left",
    [END_CLOSE_BUSY] = "closed with tasks in flight",
    [END_TERMINATE] = "terminated",
    [END_LEAVE] = "left by its opener",
    [END_KILL_SUPERVISOR] = "its supervisor killed",
    [END_KILL_OPENER] = "its opener killed",
};

/* In turn, lest a short run has one kind only. */
static enum ending next_ending(void)
{
    static const enum ending endings[] = {
        END_CLOSE, END_KILL_SUPERVISOR, END_CLOSE_BUSY, END_KILL_OPENER, END_TERMINATE,  END_CLOSE,
        END_LEAVE, END_KILL_SUPERVISOR, END_CLOSE,      END_KILL_OPENER, END_CLOSE_BUSY, END_CLOSE};
    return endings[(rounds - 1) % (sizeof(endings) / sizeof(endings[0]))];
}

static void draw_options(struct chance *chance, struct plan *plan)
{
    static const char *const loads[] = {"", "", "", "0.01", "0.85", "50%"};
    struct mc_pool_options *options = &plan->options;
    options->size = sizeof(*options);
    options->handlers = handlers;
    options->handler_count = HANDLERS;
    options->worker_init = state_open;
    options->worker_exit = state_close;
    options->log = board_log;
    options->workers = 2 + draw(chance, WORKERS_MOST - 1);
    options->pinning = one_in(chance, 3) ? MC_PIN_NONE : MC_PIN_CORE;
    options->queue_depth = 16u << (2 * draw(chance, 3));
    options->max_payload = PAYLOAD_MOST;
    options->arena_size = PAYLOAD_MOST + draw(chance, 3) * (size_t)PAYLOAD_MOST;
    options->max_clients = one_in(chance, 3) ? CLIENTS_MOST + WORKERS_MOST + draw(chance, 8) : 0;
    options->close_timeout_ms = 100 + draw(chance, 1400);
    options->max_tasks_per_worker = one_in(chance, 2) ? 20 + draw(chance, 2000) : 0;
    options->max_worker_age_s = one_in(chance, 4) ? 1 : 0;
    options->max_worker_memory = one_in(chance, 4) && !SANITIZED ? 32 * MIB : 0;
    options->slow_task_ms = one_in(chance, 2) ? 10 + draw(chance, 50) : 0;
    snprintf(plan->load, sizeof(plan->load), "%s", loads[draw(chance, 6)]);
    options->refork_after = one_in(chance, 2) ? 1 + draw(chance, 3000) : 0;
    if (options->max_tasks_per_worker != 0 &&
        options->refork_after >= options->max_tasks_per_worker)
        options->refork_after = (unsigned)options->max_tasks_per_worker - 1;
}

static void draw_plan(void)
{
    struct plan *plan = &board->plan;
    struct chance chance;
    uint64_t left_ms = (end_ns - now_ns()) / 1000000;
    chance_init(&chance, seed, rounds);
    plan->seed = seed * 1000 + rounds;
    draw_options(&chance, plan);
    plan->clients = 4 + draw(&chance, CLIENTS_MOST - 3);
    plan->threads = 1 + draw(&chance, THREADS_MOST);
    uint64_t most_ms = (end_ns - began_ns) / 6000000; /* some rounds of a short run, too */
    plan->run_ms = 1000 + draw(&chance, most_ms < 5500 ? (uint32_t)most_ms : 5500);
    plan->kill_every_ms = 60 + draw(&chance, 160);
    plan->ending = next_ending();
    if (plan->run_ms > left_ms)
        plan->run_ms = (unsigned)left_ms;
    const struct mc_pool_options *options = &plan->options;
    printf("soak: round %u: %u clients of up to %u threads, %u workers%s, queue %u, arenas of %zu "
           "MiB, %u clients at most, load %s, recycling after %llu tasks, %u s, %zu MiB, slow "
           "after %u ms, a warm zygote after %u tasks, a kill each %u ms, in the end %s\n",
           rounds, plan->clients, plan->threads, options->workers,
           options->pinning == MC_PIN_NONE ? " (not pinned)" : "", options->queue_depth,
           options->arena_size / MIB, options->max_clients,
           plan->load[0] != '\0' ? plan->load : "any",
           (unsigned long long)options->max_tasks_per_worker, options->max_worker_age_s,
           options->max_worker_memory / MIB, options->slow_task_ms, options->refork_after,
           plan->kill_every_ms, ending_names[plan->ending]);
    fflush(stdout);
}

/* ---- one round ---- */

struct round {
    pid_t opener, killer;
    uint64_t began_ns, left_ns; /* when the opener had ended */
    uint64_t stuck_ns;
    struct measure before;
    bool judged_gone;
};

/* An orphan that came to us, or one of the two that we forked. */
static void judge_end(struct round *round, pid_t pid, int status)
{
    bool struck = atomic_load(&board->killed[(unsigned)pid % PIDS]) != 0;
    if (pid == round->killer)
        round->killer = 0;
    if (pid == round->opener) {
        round->opener = 0;
        round->left_ns = now_ns();
    }
    if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL && !struck)
        complain(&board->wrong, "process %d died of signal %d", (int)pid, WTERMSIG(status));
    else if (WIFEXITED(status) && WEXITSTATUS(status) != 0 && !struck && !pool_over())
        complain(&board->wrong, "process %d ended with status %d", (int)pid, WEXITSTATUS(status));
}

/* True while there are any. */
static bool reap(struct round *round)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        judge_end(round, pid, status);
    return pid == 0;
}

static void kill_all(struct round *round)
{
    while (reap(round)) {
        struct process found[PROCESSES_MOST];
        unsigned count = processes_below(getpid(), found, PROCESSES_MOST);
        for (unsigned i = 0; i < count; i++)
            if (found[i].state != 'Z') {
                atomic_fetch_add(&board->killed[(unsigned)found[i].pid % PIDS], 1);
                (void)kill(found[i].pid, SIGKILL);
            }
        pause_us(5000);
    }
}

/* After its end nothing of the pool lives for longer than it takes to see it; who has
 * been killed needs a core to be gone, which is not the pool's affair. */
static void judge_gone(struct round *round)
{
    struct process found[PROCESSES_MOST];
    uint64_t gone = gone_ns();
    if (gone == 0 || round->judged_gone || seen_in_time(now_ns() - gone))
        return;
    round->judged_gone = true;
    unsigned count = processes_below(getpid(), found, PROCESSES_MOST);
    double ms = ms_since(gone);
    for (unsigned i = 0; i < count; i++)
        if (strncmp(found[i].name, "mc-", 3) == 0 && found[i].state != 'Z' && !found[i].exiting)
            complain(&board->wrong, "%s (%d) is in state %c %.0f ms after the end of its pool",
                     found[i].name, (int)found[i].pid, found[i].state, ms);
}

static void judge_growth(const char *what, uint64_t before, uint64_t after, uint64_t most)
{
    if (after > before + most && !SANITIZED)
        complain(&board->wrong, "the memory of the %s grew from %.1f to %.1f MiB", what,
                 (double)before / MIB, (double)after / MIB);
}

/* All clients have left; what workers hold for themselves may take a moment. */
static void measure_quiet(struct round *round)
{
    struct measure after;
    unsigned workers = board->plan.options.workers;
    unsigned lanes = 1 + 2 * workers, descriptors = round->before.descriptors + 8 * workers + 4;
    uint64_t since = now_ns();
    do {
        pause_us(20000);
        measure_take(round->opener, &after);
    } while ((after.lanes > lanes || after.descriptors > descriptors) && ms_since(since) < 3000);
    if (after.lanes > lanes || after.descriptors > descriptors)
        complain(&board->wrong,
                 "%u lanes and %u descriptors are left in the supervisor, which had "
                 "%u and %u",
                 after.lanes, after.descriptors, round->before.lanes, round->before.descriptors);
    judge_growth("supervisor", round->before.supervisor, after.supervisor, SUPERVISOR_GROWTH);
    judge_growth("zygote", round->before.zygote, after.zygote, SUPERVISOR_GROWTH);
    judge_growth("workers", round->before.worker, after.worker, WORKER_GROWTH);
    judge_growth("opener", round->before.opener, after.opener, OPENER_GROWTH);
    last_memory = after.supervisor + after.zygote + after.worker + after.opener;
    printf("soak: round %u: supervisor %.1f -> %.1f MiB, zygote %.1f -> %.1f, largest worker %.1f "
           "-> %.1f, opener %.1f -> %.1f, shared %.1f -> %.1f\n",
           rounds, (double)round->before.supervisor / MIB, (double)after.supervisor / MIB,
           (double)round->before.zygote / MIB, (double)after.zygote / MIB,
           (double)round->before.worker / MIB, (double)after.worker / MIB,
           (double)round->before.opener / MIB, (double)after.opener / MIB,
           (double)round->before.shared / MIB, (double)after.shared / MIB);
}

/* Those who still wait count too; clients report by themselves when they are wedged,
 * unless they cannot. */
static void look_at_progress(const struct round *round)
{
    uint64_t now = now_ns();
    for (unsigned i = 0; i < CLIENTS_MOST * THREADS_MOST; i++) {
        const struct progress *progress = &board->progress[i / THREADS_MOST][i % THREADS_MOST];
        uint64_t since = atomic_load(&progress->since_ns);
        pid_t pid = atomic_load(&progress->pid);
        if (since == 0 || now < since + (WEDGED_MS + 2000) * UINT64_C(1000000) ||
            kill(pid, 0) != 0 || atomic_exchange(&board->stuck, 1) != 0)
            continue;
        complain(&board->wedged, "client %u (%d) has been in %s for %.1f s, and does not say why",
                 i / THREADS_MOST, (int)pid, atomic_load(&progress->what), ms_since(since) / 1000);
    }
    if (ms_since(round->began_ns) > board->plan.run_ms + ROUND_MS &&
        atomic_exchange(&board->stuck, 1) == 0)
        complain(&board->wedged, "the round does not end (phase %d)", (int)phase());
}

static void report_stuck(struct round *round)
{
    if (round->stuck_ns == 0) {
        round->stuck_ns = now_ns();
    } else if (ms_since(round->stuck_ns) > REPORT_MS) {
        processes_print(getpid());
        board_print_log();
        kill_all(round);
    }
}

static void tell_left(struct round *round)
{
    complain(&board->wrong, "processes are left %d ms after the opener's end", LEFT_MS);
    processes_print(getpid());
    kill_all(round);
}

/* A child that does not outlive the director: a killer without one would find its victims
 * among all processes of the machine. */
static pid_t fork_child(void)
{
    pid_t director = getpid(), child = fork();
    if (child == 0 && (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != director))
        _exit(1);
    return child;
}

static bool open_round(struct round *round)
{
    fflush(NULL);
    round->opener = fork_child();
    if (round->opener == 0)
        opener_run();
    while (phase() == PHASE_OPENING && reap(round) && ms_since(round->began_ns) < OPEN_MS)
        pause_us(500);
    if (phase() == PHASE_OPENING)
        return false;
    measure_take(round->opener, &round->before);
    if (first_memory == 0)
        first_memory = round->before.supervisor + round->before.zygote + round->before.worker +
                       round->before.opener;
    atomic_store(&board->phase, PHASE_RUNNING);
    round->killer = fork_child();
    if (round->killer == 0) {
        killer_run(round->opener);
        _exit(0);
    }
    return true;
}

static void turn(struct round *round)
{
    if (phase() == PHASE_QUIET && round->killer == 0 && atomic_load(&board->stuck) == 0) {
        measure_quiet(round);
        atomic_store(&board->phase, PHASE_ENDING);
    }
    if (atomic_load(&board->next_task) > TASKS_MOST - 100000)
        (void)phase_step(PHASE_RUNNING, PHASE_STOPPING);
    judge_gone(round);
    look_at_progress(round);
    if (atomic_load(&board->stuck) != 0)
        report_stuck(round);
    else if (round->left_ns != 0 && ms_since(round->left_ns) > LEFT_MS)
        tell_left(round);
    if (ms_since(printed_ns) >= PROGRESS_MS) {
        printed_ns = now_ns();
        print_progress();
    }
    pause_noting_us(TURN_US);
}

static void run_round(void)
{
    struct round round = {.began_ns = now_ns()};
    rounds++;
    board_clear();
    draw_plan();
    if (!open_round(&round)) {
        complain(&board->wrong, "no pool within %d ms", OPEN_MS);
        kill_all(&round);
        return;
    }
    while (reap(&round))
        turn(&round);
    if (atomic_load(&board->stuck) == 0)
        board_settle();
    if (atomic_load(&board->told) != 0 && !logged)
        board_print_log();
    logged = atomic_load(&board->told) != 0;
}

/* ---- the command line ---- */

static void usage(void)
{
    fprintf(stderr, "usage: soak [--minutes N] [--seed S]\n");
    exit(2);
}

static double read_arguments(int count, char **arguments)
{
    double minutes = 1;
    seed = (uint64_t)time(NULL) % 1000000;
    for (int i = 1; i < count; i += 2) {
        char *end = NULL;
        if (i + 1 == count)
            usage();
        if (strcmp(arguments[i], "--minutes") == 0)
            minutes = strtod(arguments[i + 1], &end);
        else if (strcmp(arguments[i], "--seed") == 0)
            seed = strtoull(arguments[i + 1], &end, 10);
        if (end == NULL || end == arguments[i + 1] || *end != '\0')
            usage();
    }
    if (!(minutes > 0 && minutes < 10000))
        usage();
    return minutes;
}

int main(int count, char **arguments)
{
    double minutes = read_arguments(count, arguments);
    struct rlimit no_core = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &no_core); /* some tasks crash on purpose */
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    board_open();
    began_ns = printed_ns = now_ns();
    end_ns = began_ns + (uint64_t)(minutes * 60e9);
    printf("soak: %.1f minutes, seed %llu\n", minutes, (unsigned long long)seed);
    while (now_ns() + UINT64_C(500000000) < end_ns)
        run_round();
    return print_closing_line();
}
