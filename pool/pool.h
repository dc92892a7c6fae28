/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The pool as one client process knows it: the opener, one of its forked
 * children, or a worker that submits tasks of its own.
 *
 *   pool.c    opening, closing, fork
 *   inline.c  the states of tasks that run in the caller
 *   group.c   groups: opening, cancelling, closing
 *   submit.c  the requests of their tasks, and what to do when the lane is full
 *   client.c  the producing side of the lane: slots, arguments, tickets; telling the supervisor
 *   collect.c the ends of tasks, and their results, out of the lane
 *   result.c  what a program sees of them
 *   wait.c    waiting: waking, looking, sleeping
 *   help.c    running tasks in the caller
 *   events.c  the descriptor for event loops
 *   quarantine.c  the tasks that killed workers
 *   attach.c  pools at a socket, which come and go
 */
#ifndef POOL_POOL_H
#define POOL_POOL_H

#include "base/check.h"
#include "ipc/extents.h"
#include "ipc/lane.h"
#include "ipc/slot.h"
#include "ipc/wake.h"
#include "pool/config.h"
#include "pool/inline.h"
#include "pool/process.h"
#include "pool/task.h"

#include <pthread.h>
#include <sys/queue.h>

/* ---- one task, as the client remembers it ---- */

/* All of a record is written under the client's lock, `state` last (but who runs a task of
 * it here says so without, see record_runs_here()); the group's owner reads it without,
 * after it saw RECORD_ENDED. (Another thread that needs
 * room may reap it.) */
enum record_state {
    RECORD_OPEN,  /* it has a slot */
    RECORD_ENDED, /* the slot was freed, the result is ours */
};

enum data_place {
    DATA_NONE,
    DATA_SMALL, /* in the group's smalls */
    DATA_BLOCK, /* in the arena of the worker that wrote it */
    DATA_HEAP,
    DATA_TEXT, /* on the heap too: what went wrong, as a string */
};

struct record {
    uint32_t slot, generation; /* while open */
    uint16_t handler;
    _Atomic uint8_t state; /* enum record_state */
    uint8_t place;         /* enum data_place */
    uint8_t format;
    uint8_t outcome;      /* enum slot_state; while open, RUNNING: a thread of ours has it */
    _Atomic bool offered; /* it has a ticket, or runs here and counts like one that has */
    bool flagged;         /* its word says SLOT_WAITED_ANY */
    int status;
    int death; /* of its worker, as for waitpid(); -1: nobody knows */
    uint32_t pid;
    uint32_t size;
    uint64_t start, end;
    uint64_t run_ns;
    void *data;
};
static_assert(sizeof(struct record) == CACHE_LINE, "groups may have very many");

/* Results that came in the slot itself. */
struct smalls {
    struct smalls *older;
    uint32_t used;
    _Alignas(8) uint8_t bytes[4096 - 16];
};

enum { FIRST_CHUNK = 16, CHUNKS = 28 };

struct arguments { /* being written */
    struct sink sink;
    enum mc_format format;
};

struct mc_group {
    mc_pool *pool;             /* NULL once the pool was closed */
    mc_group *next, *previous; /* all groups of the client */
    bool inherited;            /* from the parent of this process */
    uint32_t guests;           /* callers of other groups that run a task of it now */
    bool closed;               /* the last guest frees it */
    pthread_t thread;          /* that submitted last */
    enum mc_help help;
    bool urgent, interruptible;
    mc_done_fn *on_done;
    void *context;
    bool reported; /* on_done was called for what there is, or nothing was asked for */
    bool in_done;  /* it stands among the client's that may be reported */
    TAILQ_ENTRY(mc_group) done_link;
    bool limited; /* it sets some of the next three */
    uint32_t soft_limit_ms, time_limit_ms, start_within_ms;
    enum mc_full on_full;
    uint32_t full_timeout_ms;

    struct admission admission;     /* at opening */
    struct admission_policy policy; /* that it was by */
    bool busy;                      /* the machine was */
    bool narrowed;                  /* a task came that may not run here */
    uint32_t max_parallel;          /* as asked for: tasks that run at once; 0: any number */
    uint32_t parallel_limit;        /* that, or less: tickets out at once; 0: any number */
    _Atomic unsigned offered_to;    /* classes of seats that it ever had tickets for; by the lock */

    struct document **documents; /* by index, for mc_group_value() */
    size_t document_count;
    size_t count;              /* submitted */
    _Atomic size_t ended;      /* changed with the lock held, like first_open */
    _Atomic size_t first_open; /* all before it have ended */
    size_t next_offer;         /* all before it have a ticket, or need none */
    uint32_t tickets_out;
    size_t kill_before; /* of the tasks before it some are to be killed, and were not yet */

    size_t returned;                /* of `completed` */
    _Atomic size_t completed_count; /* written under the lock */

    bool roused;                /* somebody was woken for what was announced last */
    _Atomic bool wake_deferred; /* a submitted task was not announced to any sleeper yet */
    uint64_t submitted_ns;      /* the first since the last wait */

    bool writing;
    struct mc_writer *writer;
    struct arguments arguments;

    /* From here on all of it stays when a closed group serves again: see new_group(). */

    /* Records never move, since results point into them: chunk k holds
     * FIRST_CHUNK << k of them. */
    struct record *chunks[CHUNKS];
    struct smalls *smalls; /* the newest */
    uint32_t *completed;   /* indexes in the order of completion, for mc_group_next() */
    size_t capacity;       /* of both; all chunks up to there are full */
    char reason[192];
};

/* One bit each. Whoever adds one makes itself known by a wake-up afterwards. */
static inline unsigned group_offered_to(const mc_group *group)
{
    return atomic_load_explicit(&group->offered_to, memory_order_relaxed);
}

static inline struct record *group_record(const mc_group *group, size_t index)
{
    unsigned chunk = 63u - (unsigned)__builtin_clzll(index / FIRST_CHUNK + 1);
    size_t before = (((size_t)1 << chunk) - 1) * FIRST_CHUNK;
    return &group->chunks[chunk][index - before];
}

/* Under the lock, or by who may run the group's tasks. */
static inline bool record_runs_here(const struct record *record)
{
    return record->outcome == SLOT_RUNNING;
}
static inline enum record_state record_state(const struct record *record)
{
    return (enum record_state)atomic_load_explicit(&record->state, memory_order_acquire);
}

/* Every function that uses a group's lane begins with this: 0, -ESHUTDOWN or
 * -ESTALE. */
int group_usable(const mc_group *group);
/* The pool is being closed: the group keeps its results' texts, nothing else. */
void group_orphan(mc_group *group);
/* We are in a forked child, and the group is its parent's. */
void group_inherit(mc_group *group);
void group_free(mc_group *group);
/* What its writer, if any, has written is dropped. */
void group_drop_writer(mc_group *group);
/* Tells the supervisor of kills that it could not be told of before. With the lock held. */
void group_kill_again(mc_group *group);

/* ---- the lane's producing side ---- */

struct slot_book {
    uint32_t generation;
    uint32_t extent; /* of the arguments; 0: in the slot */
    /* whose task it is, while an event loop is told of its end; otherwise NULL */
    mc_group *group;
    size_t record;
};

struct client {
    pthread_mutex_t lock; /* everything below, and all groups' records */
    int socket;
    int notify;
    int events; /* epoll over both and self, -1 until asked for */
    int self;   /* eventfd: we cancelled something */
    uint32_t index;
    struct lane lane;
    struct extents arguments;
    uint32_t large_units; /* the largest arguments that were freed within about a second */
    uint64_t large_ms;    /* when that was */
    struct slot_book *books;
    uint32_t *free_slots; /* last freed, first used */
    uint32_t free_count;
    uint32_t *abandoned; /* slots of tasks that nobody waits for any more */
    uint32_t abandoned_count;
    /* Has waited long for room in the arena: nobody else takes any meanwhile. Written
     * under the lock; its own thread compares it without. */
    mc_group *_Atomic first_in_line;
    mc_group *groups;
    mc_group *spare; /* a closed one, for the next to be opened */
    /* Groups with on_done that had all ended when they came here: more may have been
     * submitted since. */
    TAILQ_HEAD(done_groups, mc_group) done;
    bool kills_due;            /* some group has kill_before */
    uint64_t surveyed_ms;      /* when an event loop looked at all groups last */
    _Atomic bool any_deferred; /* some group may have wake_deferred */
    /* per handler */
    _Atomic uint32_t *estimate_ns; /* usual run time; 0: unknown */
    _Atomic uint8_t *prompt;       /* how reliably a wait follows its submission at once */
    /* the client's habits; hints only, so races between threads are harmless */
    _Atomic uint64_t idle_since_ns; /* when the last wait ended, 0: not since the last submit */
    _Atomic uint32_t think_ns;      /* usual time from there to the next submission */
    _Atomic uint32_t end_due;       /* of a short task that is waited for; see estimate_due() */
    _Atomic uint32_t vain_looks;    /* in a row; see looks_pay() */
    _Atomic int cpu_told;
    _Atomic bool gone;             /* the supervisor is, or it gave our lane up */
    _Atomic bool accused, faulted; /* somebody says why; `fault` does */
    char fault[256];
    _Atomic uint64_t checked_ms; /* when that was last looked at */
};

struct request {
    uint32_t handler;
    enum mc_format format;
    uint64_t start, end;
    uint64_t submitted_ticks; /* see tally.h */
    const void *args;
    size_t size;
};

/* Takes socket and notify over, on failure too. */
int client_init(struct client *client, const struct config *config, int socket, int notify,
                int lane_fd, uint32_t index);
void client_fini(struct client *client);

/* With the lock held. */
int client_submit(mc_group *group, const struct request *request); /* -EAGAIN: no room */
/* After some of these: says how many tickets wait. */
void client_publish(mc_group *group);
/* Sees that somebody looks at what was offered to these classes of seats, one bit each. True if
 * it had to wake somebody for each. */
bool client_wake(mc_pool *pool, unsigned offered_to, enum wake_trust trust, int near_cpu,
                 int avoid_cpu);
/* Gives tickets to tasks that had to wait for others of their group; somebody is to be
 * woken for them yet. */
void client_offer_more(mc_group *group);
/* The same for all groups that somebody is to be woken for: their own callers come to
 * that when they wait for them. */
void client_announce_deferred(mc_pool *pool);
/* Its task has ended, and all of it was copied. */
void client_free_slot(struct client *client, uint32_t index);
/* Reaps what ended, in order only up to the first that did not, or all. */
void client_collect(mc_group *group, bool all);
void client_collect_everything(struct client *client);
/* Reaps what the event loop was told of. */
void client_collect_told(struct client *client);
/* All of a group with on_done has ended: it may be reported. */
void client_note_done(mc_group *group);
/* Somebody is to be woken for what the group offers, when its caller waits. */
void client_defer_wake(mc_group *group);
void client_abandon(struct client *client, struct record *record);
/* Slots of abandoned tasks come back when those end. */
void client_collect_abandoned(struct client *client);
/* ran: the handler was called. */
void client_settle_inline(mc_group *group, size_t index, const mc_task *task,
                          enum slot_state outcome, bool ran, uint64_t run_ns);
/* A task that this process runs without a slot: before, false when there is no memory
 * for it; and afterwards. */
bool client_expect_unplaced(mc_group *group);
void client_settle_unplaced(mc_group *group, const struct request *request, const mc_task *task,
                            bool ran, uint64_t run_ns);
/* Ends an open task that will never run, or whose worker is gone. */
void client_settle_lost(mc_group *group, size_t index);
void client_release(mc_group *group, size_t index);
/* max_parallel is not reached. With the lock held. */
bool client_may_run_more(const mc_group *group);
/* True for a task that the machine's load keeps in this process. */
bool client_runs_here_only(const mc_group *group, const struct record *record);
bool client_check_gone(struct client *client);
/* Why, as part of a sentence; only for a client that is gone. */
const char *client_why_gone(const struct client *client);
/* We found our lane damaged, and give it up. */
COLD void client_fault(struct client *client, const char *why);
/* The same, but asks the kernel only now and then. */
bool client_gone(struct client *client);
void client_poke(struct client *client);
/* Has the supervisor kill whoever runs the record's task; false if it cannot be told now. */
bool client_kill(struct client *client, const struct record *record);
/* A task is not begun: looks whether our rings are sound, and if so, pokes. */
void client_complain(struct client *client);

/* ---- waiting ---- */

enum goal { GOAL_ALL, GOAL_NEXT, GOAL_ROOM };
int wait_for(mc_group *group, enum goal goal, int timeout_ms);
/* After tickets were pushed: has somebody look at them, now or, if it is a single
 * task and all that is open, when the caller waits. */
void wait_announce(mc_group *group, bool single);

/* The pool is gone, or has no worker and gets none: what waits for one is lost, unless it
 * may run here, which a caller that waits sees to. With the lock held. */
void wait_settle_lost(mc_group *group);

/* ---- helping ---- */

/* True in a handler that this thread runs itself. */
bool help_in_handler(void);
/* In a handler, when the lane is full: what fills it may be waiting for this very
 * handler to end. True for a task that is to run at once then, in this thread. */
bool help_runs_at_once(const mc_group *group, const struct request *request);
int help_run_at_once(mc_group *group, const struct request *request);
/* The same for tasks that must not run here: true when nothing that is in flight will
 * make room, as it seems. *since_ns is 0 before the first look. */
bool help_is_deadlocked(const mc_group *group, uint64_t *since_ns);

/* ---- the pool ---- */

enum fork_mark { MARK_FORKED = 0, MARK_ATTACHING = 1, MARK_READY = 2 };

enum { FOUND_MOST = 64 };
struct mc_pool {
    bool attached;       /* it is behind a front */
    mc_pool *handle;     /* not NULL: the one that the program has in its place */
    struct front *front; /* not NULL: this is only a handle for the pools behind it */
    uint32_t pins;       /* its front's: it is being looked at without the lock */
    bool heard;          /* likewise: its events are among those of the front */
    char *away;          /* not NULL: there is no pool, and why; tasks run here */
    struct config *config;
    /* Numbers of handlers, by the addresses that their names had when they were asked for. */
    _Atomic uint32_t found[FOUND_MOST];
    const struct control *control;
    uint64_t control_bytes; /* of that mapping */
    struct bells *bells;
    const struct quarantine *quarantine; /* NULL in a worker */
    _Atomic uint32_t *mark;              /* on a page that a fork wipes */
    pid_t pid;
    unsigned depth;    /* of the process that has its descriptors; see process.h */
    bool opener;       /* closing ends the pool */
    bool in_worker;    /* config, control and bells are the worker's */
    int attach_socket; /* in forked children: that of their first ancestor, to ask over; or -1 */
    int supervisor_pidfd;
    _Atomic uint64_t log_cursor;
    pthread_mutex_t log_lock;
    struct client client;

    struct inline_states own_inline_states;
    struct inline_states *inline_states; /* those, or behind a front its handle's */
    struct states *worker_states;        /* in a worker */
    struct io *io;                       /* in an I/O worker */
};

/* The worker's own pool object; NULL with a message when it cannot attach. */
mc_pool *pool_of_worker(struct config *config, struct control *control, struct bells *bells,
                        int socket, struct states *states);
/* The state for inline tasks of this thread, made on first use; with the lock
 * that belongs to it held until pool_inline_leave(). */
int pool_inline_enter(mc_pool *pool, const struct handler *handler, const struct states **states);
void pool_inline_leave(mc_pool *pool, const struct handler *handler);
/* Hands waiting log records to the callback. */
void pool_deliver_log(mc_pool *pool);

/* Makes a forked child a client of its own; 0 at once otherwise. */
int pool_ready(mc_pool *pool);

/* A pool object that is no client yet; takes config over. handle: of the front that it is
 * behind, or NULL. */
mc_pool *pool_create(struct config *config, mc_pool *handle);
void pool_free(mc_pool *pool);
/* Receives the supervisor's answer, and makes the client of it. Takes socket over, on
 * failure too. local: what an attaching program is linked with, else NULL. */
int pool_await_welcome(mc_pool *pool, int socket, int timeout_ms, const struct config *local);
/* What a forked child has of its parent's client is dropped. */
void pool_drop_inherited(mc_pool *pool);
/* It is from before this process became one of a pool, which closed its descriptors. */
static inline bool pool_estranged(const mc_pool *pool)
{
    return pool->depth != process_depth();
}
/* Ends this process's part in the pool. */
void pool_detach(mc_pool *pool);

/* ---- pools that come and go (attach.c) ---- */

int front_open_group(struct front *front, const struct mc_group_options *options, mc_group **group);
int front_fd(struct front *front);
int front_dispatch(struct front *front);
void front_close(struct front *front);
/* The pool that is there now, or one that is not there; as long as the lock is held. */
mc_pool *front_enter(struct front *front);
void front_leave(struct front *front);

/* In one pool that is no front. */
int group_open(mc_pool *pool, const struct mc_group_options *options, mc_group **group);
int events_fd(mc_pool *pool);
/* The number of groups reported, or a negative errno. *over: the pool is gone, and every
 * group was reported. */
int events_dispatch(mc_pool *pool, bool *over);

static inline bool pool_current(const mc_pool *pool)
{
    return atomic_load_explicit(pool->mark, memory_order_acquire) == MARK_READY;
}

#endif
