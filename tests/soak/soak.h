/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A pool under load whose processes are killed at random, and the books that say
 * afterwards whether any task was lost, run twice or answered wrongly.
 *
 *   director   (main.c)     draws the options of a round, watches it, settles its books
 *   opener     (opener.c)   opens the pool, forks clients and replaces them
 *   clients    (client.c, batch.c, events.c)  threads with groups of all kinds
 *   handlers   (handlers.c) note what they begin and end
 *   killer     (killer.c)   kills, and stops for a moment, whom it draws
 *
 * The books are on the board: memory that belongs to no pool and that all of these
 * share. The director adopts orphans, so that all processes of a round are known
 * to it, and whatever is left behind.
 */
#ifndef TESTS_SOAK_SOAK_H
#define TESTS_SOAK_SOAK_H

#include "multicore.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

enum {
    WORKERS_MOST = 4,
    CLIENTS_MOST = 7, /* the opener is number 0 */
    THREADS_MOST = 4,
    TASKS_MOST = 1 << 22, /* in one round */
    LIVES_MOST = 1 << 14, /* clients in one round */
    PIDS = 1 << 16,
    LOG_LINES = 32,
    PAYLOAD_MOST = 8 << 20,
    ATTEMPTS_MOST = 5,
    SLOT_RESULT = 40,     /* results up to this size need no room */
    SEEN_WITHIN_MS = 500, /* the end of the pool, by everybody */
    WEDGED_MS = 10000,
};

/* ---- the board ------------------------------------------------------------ */

/* What became of a task; written by its client alone. */
enum fate {
    FATE_NONE,      /* the number was never used */
    FATE_OFFERED,   /* being submitted */
    FATE_REFUSED,   /* the submission failed: it must never begin */
    FATE_ACCEPTED,  /* it must end, unless its client dies */
    FATE_ENDED,     /* some time after its begin, or instead of it */
    FATE_PREVENTED, /* ended without a begin: too late, or cancelled */
    FATE_ABANDONED, /* its group was closed before it ended */
};

enum task_flags {
    TASK_AGAIN = 1 << 0,  /* idempotent */
    TASK_NESTED = 1 << 1, /* owner is a task, not a life */
};

struct task_note {
    _Atomic uint16_t begun, ended; /* by handlers */
    _Atomic uint8_t fate;
    uint8_t flags;
    bool succeeded;
    uint32_t owner;
};

/* A client process, from its begin to its end. */
struct life {
    pid_t pid;
    _Atomic uint32_t complete; /* it left in order: nothing of it may be open */
};

enum phase {
    PHASE_OPENING,
    PHASE_OPENED, /* idle, to be measured */
    PHASE_RUNNING,
    PHASE_STOPPING, /* no new groups; clients finish theirs and leave */
    PHASE_QUIET,    /* only the opener is left, to be measured again */
    PHASE_ENDING,   /* the pool is being closed, perhaps with tasks in flight */
};

enum ending {
    END_CLOSE,      /* after all clients have left */
    END_CLOSE_BUSY, /* in the midst of it */
    END_TERMINATE,
    END_LEAVE, /* the opener exits without a word */
    END_KILL_SUPERVISOR,
    END_KILL_OPENER,
    ENDINGS,
};

enum victim {
    VICTIM_WORKER,
    VICTIM_CLIENT,
    VICTIM_ZYGOTE,
    VICTIM_SUPERVISOR,
    VICTIM_OPENER,
    VICTIMS
};

/* What a thread of a client waits for. */
struct progress {
    _Atomic uint64_t since_ns; /* 0: for nothing */
    _Atomic int32_t pid, thread;
    const char *_Atomic what;
};

struct plan {
    uint64_t seed;
    struct mc_pool_options options;
    unsigned clients, threads;
    unsigned run_ms;
    unsigned kill_every_ms;
    enum ending ending;
    char load[8];
};

struct board {
    /* of the whole run */
    _Atomic uint64_t accepted, kills[VICTIMS], stops;
    _Atomic uint64_t lost, duplicated, repeated, wedged, wrong;
    _Atomic uint64_t longest_ns, longest_gone_ns;
    const char *_Atomic longest_what;
    _Atomic uint64_t soft_limits; /* calls of on_soft_limit */
    _Atomic uint32_t told;        /* complaints that were printed */

    /* of the round */
    struct plan plan;
    _Atomic uint32_t phase;
    _Atomic uint32_t stuck;    /* somebody is wedged: the round is given up */
    _Atomic uint64_t gone_ns;  /* when the pool was killed; 0: it was not */
    _Atomic uint64_t delay_ns; /* how late a sleeper was woken: what the machine adds */
    _Atomic uint64_t next_task;
    _Atomic uint32_t next_life;
    _Atomic int32_t supervisor;
    _Atomic int64_t empties_offered, empties_begun; /* tasks without arguments have no number */
    struct progress progress[CLIENTS_MOST][THREADS_MOST];
    _Atomic int32_t clients[CLIENTS_MOST];
    _Atomic uint16_t killed[PIDS], crashed[PIDS]; /* by the pid's low bits */
    _Atomic uint32_t log_next;
    char log[LOG_LINES][256];
    struct life lives[LIVES_MOST];
    struct task_note tasks[TASKS_MOST];
};

extern struct board *board;

void board_open(void);
/* Forgets the last round. */
void board_clear(void);
/* Numbers for so many tasks in a row; 0 when there are no more. */
uint64_t board_tasks(uint32_t count, uint8_t flags, uint32_t owner);
void board_fate(uint64_t task, enum fate fate);
uint32_t board_life(void);
/* After the last process of the round is gone. */
void board_settle(void);
void board_log(void *context, int level, const char *line);
void board_print_log(void);

/* Something is not as it should be: says so on standard error, and counts it. */
void complain(_Atomic uint64_t *count, const char *format, ...) MC_PRINTF(2, 3);

static inline enum phase phase(void)
{
    return (enum phase)atomic_load(&board->phase);
}
static inline uint64_t gone_ns(void)
{
    return atomic_load(&board->gone_ns);
}
/* False if another process has taken a step already. */
bool phase_step(enum phase from, enum phase to);
/* The pool may refuse, and lose what it had begun. */
static inline bool pool_over(void)
{
    return phase() == PHASE_ENDING || gone_ns() != 0;
}
/* True if value is the largest so far. */
bool raise_to(_Atomic uint64_t *most, uint64_t value);
void note_stall(uint64_t ns, const char *what);

/* ---- chance and time ------------------------------------------------------ */

struct chance {
    uint64_t state;
};
void chance_init(struct chance *chance, uint64_t seed, uint64_t salt);
uint32_t draw(struct chance *chance, uint32_t below);
static inline bool one_in(struct chance *chance, uint32_t count)
{
    return draw(chance, count) == 0;
}

uint64_t now_ns(void);
void pause_us(unsigned microseconds);
/* The same, and notes how much longer it took. */
void pause_noting_us(unsigned microseconds);
/* False for what came later after the end of the pool than it may. */
bool seen_in_time(uint64_t after_ns);

/* ---- orders: what a task is to do ------------------------------------------ */

enum handler_number {
    H_PLAIN,
    H_ISOLATED,
    H_SAFE,
    H_AGAIN,
    H_AGAIN_ISOLATED,
    H_LIMITED,
    H_NEST,
    H_NEST_ISOLATED,
    H_VALUES,
    H_VALUES_ISOLATED,
    H_EMPTY,
    HANDLERS,
};
extern const struct mc_handler handlers[HANDLERS];
enum { LIMITED_MS = 60, LIMITED_SOFT_MS = 20, NEST_FAILED = 77 };

enum act {
    ACT_NOTHING,
    ACT_SPIN,
    ACT_SLEEP,
    ACT_FAIL,
    ACT_CRASH,
    ACT_LINGER, /* until it is cancelled, or the time is over */
};

struct order {
    uint64_t task;
    uint32_t size;  /* of the arguments, this included */
    uint32_t reply; /* of the result */
    uint32_t us;    /* to spin, sleep or linger */
    uint8_t act;
    uint8_t reserved[3];
};

enum { SALT_ARGS = 1, SALT_REPLY = 2 };
void pattern_fill(void *data, size_t size, uint64_t task, uint64_t salt);
bool pattern_check(const void *data, size_t size, uint64_t task, uint64_t salt);

int state_open(void *context, void **state);
void state_close(void *state);
/* How long this thread has run tasks itself. */
uint64_t inline_ns(void);

/* ---- clients --------------------------------------------------------------- */

/* What a thread submitted with one call: one task, or the chunks of a map. */
struct job {
    uint64_t task;  /* the first; 0: no arguments, so no number */
    uint32_t items; /* of a map; 0: one task */
    uint32_t seen;  /* items whose tasks have ended */
    uint32_t reply, size;
    uint8_t handler, act, format;
    bool whole; /* all of the map was accepted */
};

enum { BATCH_JOBS = 300, BATCH_TASKS = 1200 };

/* A group, and what is known of its tasks. */
struct batch {
    struct thread *thread;
    mc_group *group;
    struct mc_group_options options;
    struct job jobs[BATCH_JOBS];
    uint32_t job_count;
    uint16_t job_of[BATCH_TASKS]; /* by index in the group */
    bool settled[BATCH_TASKS];
    uint32_t task_count, settled_count;
    bool cancelled, killed, done;
    uint64_t began_ns;
};

struct thread {
    mc_pool *pool;
    unsigned client, number;
    uint32_t life;
    struct chance chance;
    struct progress *progress;
    uint8_t *buffer; /* for arguments */
    bool over;       /* the pool is */
    unsigned depth;  /* of batches within one another */
    uint64_t inline_before;
};

/* Around a call that may block. */
void call_begin(struct thread *thread, const char *what);
void call_end(struct thread *thread);

/* A task that ended with its worker: somebody killed that worker, and no other task
 * died of the same kill. */
void check_death(const struct mc_result *result);

/* Opens a group with options that are drawn; false if the pool is over, or has no
 * room for another client. on_done NULL: the thread waits by itself. */
bool batch_open(struct batch *batch, struct thread *thread, mc_done_fn *on_done);
/* Submits something; false if there is no room, or the pool is over. */
bool batch_submit(struct batch *batch);
/* Books one that has ended. */
void batch_settle(struct batch *batch, const struct mc_result *result);
/* Books all that have ended; when all must have, says so if one has not. */
void batch_settle_all(struct batch *batch, bool all_ended);
void batch_close(struct batch *batch);
/* All of this: submits, cancels, waits in one way or another, closes. */
void batch_run(struct thread *thread);
void events_run(struct thread *thread);
/* Runs the threads of client `number` until the round or the pool is over. */
void client_run(mc_pool *pool, unsigned number);
void opener_run(void);
void killer_run(pid_t opener);

/* ---- processes -------------------------------------------------------------- */

struct process {
    pid_t pid, parent;
    char state, name[32];
    bool exiting; /* killed, and waits for a core to be gone */
};
enum { PROCESSES_MOST = 512 };

/* All descendants of a process, itself not included. */
unsigned processes_below(pid_t root, struct process *found, unsigned room);
void processes_print(pid_t root);

struct measure {
    uint64_t supervisor, zygote, worker, opener; /* private memory; of workers the largest */
    uint64_t shared;                             /* what the pool's segments take */
    unsigned descriptors, lanes;                 /* of the supervisor */
};
void measure_take(pid_t opener, struct measure *measure);
/* The round's pool as this process sees it: rows, slots, bells. */
void pool_print(const mc_pool *pool);
unsigned own_descriptors(void);
unsigned own_segments(void);

#endif
