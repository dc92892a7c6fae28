/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What is known of one run: of each task, whether it was accepted, how often it ran
 * and how often its result came; and what was found to be wrong. It lies in memory
 * that all processes of the run share, so it outlives whoever is killed.
 */
#ifndef TESTS_FAULT_LEDGER_H
#define TESTS_FAULT_LEDGER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    LEDGER_TASKS = 4096,
    LEDGER_ERRORS = 16,
    LEDGER_TEXTS = 6,
    LEDGER_LINES = 24,
    LEDGER_EVENTS = 8,
    TEXT_SIZE = 240,
    WAIT_MS = 8000, /* nothing takes longer: what does is wedged */
};

/* What may become of a task though nobody was struck. */
enum trait {
    CRASHES = 1 << 0,     /* it kills its worker */
    CANCELLABLE = 1 << 1, /* it is cancelled, perhaps in time */
    DAMAGED = 1 << 2,     /* its slot was overwritten */
    LOSABLE = 1 << 3,     /* there may be no worker for it */
    FORGOTTEN = 1 << 4,   /* nobody asks for its result */
    NESTING = 1 << 5,     /* it needs the pool itself */
    ROOMLESS = 1 << 6,    /* there may be no room for its result */
    REPEATED = 1 << 7,    /* it is run again when its worker dies */
    OVERDUE = 1 << 8,     /* it runs for longer than it may */
    WAITING = 1 << 9,     /* it waits in its worker, with others that die with that */
};

struct entry {
    pid_t owner;
    uint32_t traits;
    uint32_t reply_size;
    bool counts; /* not so for the further items of a range */
    _Atomic uint32_t accepted, runs, results;
    _Atomic int32_t status;
    _Atomic pid_t worker;
    char error[160];
};

struct call_error {
    pid_t pid;
    int error;
    char call[80];
};

enum verdict { LOST, WEDGED, LEAKED, VERDICTS };

/* What a pool keeps in its supervisor and zygote while nothing happens. */
struct holdings {
    unsigned supervisor_fds, supervisor_maps, zygote_fds;
};

struct ledger {
    _Atomic uint32_t count;
    struct entry entries[LEDGER_TASKS];
    _Atomic uint32_t error_count;
    struct call_error errors[LEDGER_ERRORS];
    _Atomic uint32_t wrong[VERDICTS];
    _Atomic uint32_t text_count;
    char texts[LEDGER_TEXTS][TEXT_SIZE];

    _Atomic pid_t opener, child; /* who can be asked how things are */
    _Atomic uint32_t gate, started, met, hurried;
    _Atomic uint32_t init_fails;
    _Atomic uint32_t poolless;            /* the play itself sees to it that there is no pool */
    _Atomic uint32_t told[LEDGER_EVENTS]; /* by a server, each enum serve_event */
    char told_text[TEXT_SIZE];            /* the last words of those */
    _Atomic int32_t worker;               /* whom the wish is about */
    _Atomic uint32_t wish;                /* what a client wants done to it, enum wish */
    _Atomic uint32_t curtain;             /* it has ended */
    _Atomic uint32_t line_count;          /* of the pool's log, the last ones of it here */
    char lines[LEDGER_LINES][TEXT_SIZE];
    struct holdings holdings; /* found */
    struct holdings usual;    /* expected; zeros: not known yet */
};

extern struct ledger *ledger;

struct ledger *ledger_create(void);
/* Counts a verdict and keeps its words. */
void ledger_wrong(enum verdict verdict, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Keeps a line of the pool's log, for those who read of a verdict. */
void ledger_line(void *context, int level, const char *line);
/* Prints the verdicts' words, and the lines. */
void ledger_print(const struct ledger *from);
/* Notes a call that failed, and whose it was; true if it did not fail. */
bool ledger_call(int result, const char *call);
/* Room for count tasks; their numbers follow each other. */
uint32_t ledger_reserve(uint32_t count);

/* Until one of its words is at least that; false when the time is over. */
bool ledger_await(_Atomic uint32_t *word, uint32_t least, int bound_ms);

/* How the run was disturbed, for ledger_judge(). */
struct disturbance {
    bool kills, fails; /* by a signal, or by an errno; neither: stopped for a while */
    bool cuts;         /* the supervisor's connection to somebody, whom it then sees off */
    int role;          /* enum fault_role_number */
    pid_t victim;      /* 0: nobody */
    const pid_t *dead; /* processes that ended by a signal */
    unsigned dead_count;
};

/* Goes through all tasks and errors and complains of those that the disturbance
 * does not account for. */
void ledger_judge(const struct disturbance *disturbance);

#endif
