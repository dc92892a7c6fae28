/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Visits every fault point that the build knows of. First each play runs undisturbed,
 * which tells who comes where and how often; then once for every place, process and
 * kind of trouble: killed, stopped for a while, or told that a system call failed.
 * After each run the ledger must be in order and no process or descriptor be left.
 *
 *   fault [--list] [--point NAME] [--role ROLE] [--signal KILL|STOP|ERRNO]
 *         [--play NAME] [--short] [--part N/OF] [--jobs N] [--verbose]
 *
 * --short stops nobody, kills at first passings only, and does one third of all: another
 * one each day, which it prints, and --part repeats.
 */
#include "base/fault.h"

#include "base/check.h"
#include "base/clock.h"
#include "tests/fault/stage.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    JOBS_MOST = 16,
    RECORDINGS = 3,
    RECORDINGS_MOST = 12,
    POINTS_MOST = 1024,
    PLAYS_MOST = 24,
    TRIES = 4,      /* some places are come to only now and then */
    CALL_HITS = 12, /* a system call is made from many places */
};

static struct {
    const char *point, *role, *play;
    int signal; /* -1: all of them */
    unsigned part, parts;
    unsigned jobs;
    bool list, verbose, brief;
} options = {.signal = -1, .parts = 1};

static uint32_t hits[PLAYS_MOST][POINTS_MOST][FAULT_ROLES];
static unsigned rounds; /* of recording */
static struct run runs[JOBS_MOST];
static struct holdings usual[2]; /* of a pool that is not served, and of one that is */

static struct {
    unsigned kills, killed, stopped, failed, missed;
    unsigned wrong[VERDICTS];
} total;

/* ---- what is reached ---- */

static bool reached(uint32_t id)
{
    for (unsigned play = 0; play < play_count; play++)
        for (int role = 0; role < FAULT_ROLES; role++)
            if (hits[play][id][role] != 0)
                return true;
    return false;
}

/* ---- recording ---- */

static void report(const struct run *run, const char *what)
{
    fprintf(stderr, "fault: %s\n", what);
    ledger_print(run->ledger);
}

static bool take_verdicts(const struct run *run)
{
    bool wrong = false;
    for (int verdict = 0; verdict < VERDICTS; verdict++) {
        total.wrong[verdict] += run->ledger->wrong[verdict] != 0;
        wrong = wrong || run->ledger->wrong[verdict] != 0;
    }
    return wrong;
}

static void await(struct run *run)
{
    int status = 0;
    while (waitpid(run->referee, &status, 0) < 0 && errno == EINTR) {
    }
    if (status != 0)
        ledger_wrong(WEDGED, "the referee ended with status %#x", (unsigned)status);
    run->referee = 0;
}

/* What the pool holds is the same in all plays, but for one that is served. */
static void learn_holdings(const struct run *from)
{
    if (from->ledger->holdings.supervisor_fds != 0)
        usual[from->play->served] = from->ledger->holdings;
}

static void record(unsigned play)
{
    struct run *run = &runs[0];
    char text[64];
    *run = (struct run){.play = &plays[play],
                        .recording = true,
                        .usual = usual[plays[play].served],
                        .memory = run->memory,
                        .ledger = run->ledger};
    stage_begin(run);
    await(run);
    snprintf(text, sizeof(text), "play '%s', undisturbed", run->play->name);
    if (take_verdicts(run))
        report(run, text);
    learn_holdings(run);
    for (uint32_t id = 0; id < fault_count(); id++)
        for (int role = 0; role < FAULT_ROLES; role++)
            hits[play][id][role] += fault_hits(id, (enum fault_role_number)role);
}

/* A slow play is for what the others do not come to. */
static bool worth_playing(unsigned play, uint32_t id, int role)
{
    if (hits[play][id][role] == 0)
        return false;
    for (unsigned other = 0; plays[play].slow && other < play_count; other++)
        if (!plays[other].slow && hits[other][id][role] != 0)
            return false;
    return true;
}

static bool chosen_play(unsigned play)
{
    return options.play == NULL || strcmp(options.play, plays[play].name) == 0;
}

/* Some places are come to only when the scheduler wills. */
static void record_all(void)
{
    bool missing = true;
    for (rounds = 0; rounds < RECORDINGS || (missing && rounds < RECORDINGS_MOST); rounds++) {
        for (unsigned play = 0; play < play_count; play++)
            if (chosen_play(play))
                record(play);
        missing = false;
        for (uint32_t id = 0; id < fault_count(); id++)
            missing = missing || (options.play == NULL && !reached(id));
    }
}

/* ---- what to do ---- */

struct visit {
    unsigned play;
    struct fault fault;
    unsigned tries;
};

static struct visit *visits;
static unsigned visit_count, visit_room;

static void plan(struct visit visit)
{
    if (visit_count == visit_room) {
        visit_room = visit_room == 0 ? 256 : 2 * visit_room;
        visits = realloc(visits, visit_room * sizeof(*visits));
        CHECK(visits != NULL);
    }
    visits[visit_count++] = visit;
}

static void plan_signal(unsigned play, uint32_t id, enum fault_role_number role, int signal,
                        int countdown)
{
    if (options.signal < 0 || options.signal == signal)
        plan((struct visit){play, {id, role, signal, countdown}, 0});
}

/* At the first passing, and where there are many also at later ones. */
static void plan_signals(unsigned play, uint32_t id, enum fault_role_number role, int often)
{
    int passings[] = {1, 2, often / 4, often / 2, often * 3 / 4};
    int last = 0;
    for (size_t i = 0; i < sizeof(passings) / sizeof(passings[0]); i++) {
        if (passings[i] <= last || (i > 0 && (passings[i] > often || options.brief)))
            continue;
        last = passings[i];
        plan_signal(play, id, role, SIGKILL, last);
        if (!options.brief && (last == 1 || last == often / 2))
            plan_signal(play, id, role, SIGSTOP, last);
    }
}

/* A system call that may fail is made from many places, so each of the first
 * passings counts; of allocations all do. */
static void plan_place(unsigned play, uint32_t id, enum fault_role_number role)
{
    int often = (int)(hits[play][id][role] / rounds);
    plan_signals(play, id, role, often);
    if (fault_point(id)->kind != FAULT_FAILING)
        return;
    int most = strcmp(fault_point(id)->name, "allocation") == 0 ? often : CALL_HITS;
    for (int hit = 1; hit <= most && (hit == 1 || hit <= often); hit++)
        plan_signal(play, id, role, 0, hit);
}

static bool chosen(uint32_t id, int role)
{
    return (options.point == NULL || strstr(fault_title(id), options.point) != NULL) &&
           (options.role == NULL || strcmp(options.role, fault_role_names[role]) == 0);
}

static void plan_all(void)
{
    for (uint32_t id = 0; id < fault_count(); id++)
        for (int role = 0; role < FAULT_ROLES; role++)
            for (unsigned play = 0; play < play_count; play++)
                if (worth_playing(play, id, role) && chosen(id, role))
                    plan_place(play, id, (enum fault_role_number)role);
    /* The short form does one part, evenly spread. */
    unsigned kept = 0;
    for (unsigned i = 0; i < visit_count; i++)
        if (i % options.parts == options.part)
            visits[kept++] = visits[i];
    visit_count = kept;
}

/* ---- doing it ---- */

static const char *signal_name(int signal)
{
    return signal == 0 ? "ERRNO" : signal == SIGKILL ? "KILL" : "STOP";
}

static void describe(const struct visit *visit, char *text, size_t size)
{
    snprintf(text, size, "--play %s --point '%s' --role %s --signal %s (passing %d)",
             plays[visit->play].name, fault_title(visit->fault.id),
             fault_role_names[visit->fault.role], signal_name(visit->fault.signal),
             visit->fault.countdown);
}

static void begin(struct run *run, const struct visit *visit)
{
    run->play = &plays[visit->play];
    run->fault = visit->fault;
    run->recording = false;
    run->usual = usual[run->play->served];
    stage_begin(run);
}

/* True if it is to be done again, because nobody came there. */
static bool finish(const struct run *run, struct visit *visit)
{
    char text[200];
    fault_use(run->memory);
    bool struck = fault_struck() != 0;
    describe(visit, text, sizeof(text));
    if (take_verdicts(run))
        report(run, text);
    else if (options.verbose)
        fprintf(stderr, "fault: %s%s\n", text, struck ? "" : ": nobody came");
    if (struck) {
        total.kills++;
        total.killed += visit->fault.signal == SIGKILL;
        total.stopped += visit->fault.signal == SIGSTOP;
        total.failed += visit->fault.signal == 0;
        return false;
    }
    visit->tries++;
    visit->fault.countdown = 1;
    if (visit->tries < TRIES)
        return true;
    total.missed++;
    return false;
}

static void visit_all(void)
{
    struct visit *current[JOBS_MOST] = {0};
    unsigned next = 0, running = 0;
    while (next < visit_count || running > 0) {
        for (unsigned i = 0; i < options.jobs && next < visit_count; i++)
            if (runs[i].referee == 0) {
                current[i] = &visits[next++];
                begin(&runs[i], current[i]);
                running++;
            }
        int status;
        pid_t ended = waitpid(-1, &status, 0);
        for (unsigned i = 0; i < options.jobs; i++) {
            if (runs[i].referee != ended)
                continue;
            ledger = runs[i].ledger;
            if (status != 0)
                ledger_wrong(WEDGED, "the referee ended with status %#x", (unsigned)status);
            runs[i].referee = 0;
            running--;
            if (finish(&runs[i], current[i])) {
                begin(&runs[i], current[i]);
                running++;
            }
        }
    }
}

/* Returns how many places no play comes to. */
static unsigned check_reached(void)
{
    unsigned missing = 0;
    for (uint32_t id = 0; id < fault_count(); id++)
        if (!reached(id)) {
            printf("not reached: %s\n", fault_title(id));
            missing++;
        }
    return missing;
}

static void list(void)
{
    for (uint32_t id = 0; id < fault_count(); id++) {
        printf("%-56s", fault_title(id));
        for (int role = 0; role < FAULT_ROLES; role++)
            for (unsigned play = 0; play < play_count; play++)
                if (hits[play][id][role] != 0)
                    printf(" %s/%s:%u", fault_role_names[role], plays[play].name,
                           hits[play][id][role] / rounds);
        printf("\n");
    }
}

/* ---- the command line ---- */

static int read_signal(const char *name)
{
    for (int signal = 0; signal <= SIGSTOP; signal++)
        if ((signal == 0 || signal == SIGKILL || signal == SIGSTOP) &&
            strcmp(signal_name(signal), name) == 0)
            return signal;
    fprintf(stderr, "fault: --signal is KILL, STOP or ERRNO\n");
    exit(2);
}

static void read_options(int argc, char **argv)
{
    static const struct option known[] = {{"point", 1, NULL, 'p'},   {"role", 1, NULL, 'r'},
                                          {"signal", 1, NULL, 's'},  {"play", 1, NULL, 'a'},
                                          {"part", 1, NULL, 'n'},    {"jobs", 1, NULL, 'j'},
                                          {"short", 0, NULL, 'b'},   {"list", 0, NULL, 'l'},
                                          {"verbose", 0, NULL, 'v'}, {NULL, 0, NULL, 0}};
    options.jobs = 2 * (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (option) {
        case 'p':
            options.point = optarg;
            break;
        case 'r':
            options.role = optarg;
            break;
        case 's':
            options.signal = read_signal(optarg);
            break;
        case 'a':
            options.play = optarg;
            break;
        case 'n':
            if (sscanf(optarg, "%u/%u", &options.part, &options.parts) != 2 || options.parts == 0)
                exit(2);
            break;
        case 'j':
            options.jobs = (unsigned)atoi(optarg);
            break;
        case 'b':
            options.brief = true;
            options.parts = 3;
            options.part = (unsigned)(time(NULL) / 86400 % 3);
            break;
        case 'l':
            options.list = true;
            break;
        case 'v':
            options.verbose = true;
            break;
        default:
            exit(2);
        }
    }
    if (options.jobs == 0 || options.jobs > JOBS_MOST)
        options.jobs = JOBS_MOST;
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    fault_open();
    CHECK(fault_count() <= POINTS_MOST && play_count <= PLAYS_MOST);
    for (unsigned i = 0; i < JOBS_MOST; i++)
        stage_prepare(&runs[i]);
    plays_begin();
    record_all();
    unsigned missing = 0;
    if (options.list)
        list();
    else {
        plan_all();
        visit_all();
        missing = options.play == NULL ? check_reached() : 0;
    }
    plays_end();
    if (options.parts > 1)
        printf("fault: %s--part %u/%u\n", options.brief ? "--short " : "", options.part,
               options.parts);
    printf("fault: %u killed, %u stopped, %u calls failed; %u times nobody came\n", total.killed,
           total.stopped, total.failed, total.missed);
    printf("fault: %u points, %u kills, %u lost, %u wedged, %u leaked\n", fault_count(),
           total.kills, total.wrong[LOST], total.wrong[WEDGED], total.wrong[LEAKED]);
    return missing + total.wrong[LOST] + total.wrong[WEDGED] + total.wrong[LEAKED] == 0 ? 0 : 1;
}
