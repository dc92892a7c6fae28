/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The format of the shared memory. It is treated like a file format: fixed
 * widths, offsets instead of pointers, a magic number and a version, and every
 * field has one writer, named in its comment.
 *
 *   control   one per pool. Clients map it read-only; a worker may write its own
 *             seat's row and the page that workers share, nothing else.
 *   bells     one per pool, writable by all: who sleeps, and where work may be.
 *             Everything in it is a hint; wrong values cost time, not truth.
 *   lane      one per client, written by that client and by the workers.
 *   quarantine  one per pool: the tasks that killed workers.
 *
 * Every process allocates only in memory that it alone manages. What another
 * process wrote is loaded once into a local, checked, and then used.
 */
#ifndef IPC_LAYOUT_H
#define IPC_LAYOUT_H

#include <assert.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LAYOUT_VERSION = 1,
    CACHE_LINE = 64,
    PAGE_SIZE_BYTES = 4096,
    MAX_SEATS = 256,
    MAX_IO_SEATS = 64,
    PENDING_MOST = 16384, /* tasks that one I/O seat can have waiting */
    MAX_LANES = 256,
    MAX_HANDLERS = 1024,
    HANDLER_NAME_SIZE = 64,
    RUN_MAX = 32, /* tickets that a worker takes at once */
    MAX_SLOTS = 65536,
    SLOT_ARGS_SIZE = 128,    /* arguments up to this size lie in the slot */
    SLOT_RESULT_SIZE = 40,   /* results too */
    REPAIR_CAPACITY = 16384, /* a power of two >= MAX_SEATS * RUN_MAX * 2 */
    LOG_RECORDS = 64,
    LOG_TEXT_SIZE = 488,
    TRACE_MOST = 24,        /* return addresses that a worker leaves */
    QUARANTINE_MOST = 64,   /* tasks in quarantine that are remembered */
    QUARANTINE_ARGS = 1024, /* bytes of their arguments */
    DEFAULT_WEIGHT = 100,   /* of a client */
    MOST_WEIGHT = 10000,
    UNIT = 64, /* arenas are managed in units of this many bytes */
};

/* What kind of tasks a seat's worker takes. Those that wait for descriptors most of the
 * time have seats of their own, where nothing computes for long. */
enum seat_class { SEAT_CPU, SEAT_IO, SEAT_CLASSES };
enum { ALL_CLASSES = (1 << SEAT_CLASSES) - 1 }; /* in sets, one bit each */

static_assert(sizeof(_Atomic uint64_t) == 8 && sizeof(_Atomic uint32_t) == 4, "plain words");
static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "lock-free words");
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "waiters sleep on the low half of a slot's word");
static_assert(REPAIR_CAPACITY >= MAX_SEATS * RUN_MAX * 2, "repairs always fit");

/* One load, whatever the compiler thinks of it: for plain fields that another
 * process may change between a check and the use. */
#define LOAD_ONCE(field) (*(const volatile __typeof__(field) *)&(field))

#define LAYOUT_MAGIC_CONTROL UINT64_C(0x31304c5254434d43)
#define LAYOUT_MAGIC_LANE    UINT64_C(0x3130454e414c434d)

/* ---- lane ------------------------------------------------------------------ */

/* A ticket says "look at this slot": {lap : 16, handler : 16, generation : 16,
 * slot : 16}. The number of the lap makes a fresh entry recognisable by itself,
 * so that a consumer need not read the producer's tail; the handler lets it plan
 * before it touches the slot. The low three parts are the task's name. */
typedef uint64_t ticket_t;
typedef uint64_t name_t;

/* Single producer (the client), many consumers (the workers). */
struct ring_shared {
    alignas(CACHE_LINE) _Atomic uint64_t head; /* consumers, by CAS */
    alignas(CACHE_LINE) _Atomic uint64_t tail; /* producer */
    alignas(CACHE_LINE) _Atomic ticket_t entries[];
};

/* One task. The client writes the request before SUBMITTED, the worker that
 * won the slot the result before a terminal state; word decides whose turn it
 * is (see slot.h). */
struct slot {
    _Atomic uint64_t word; /* by CAS; generation, attempt, seat, flags, state */
    /* request: client */
    uint16_t handler;
    uint8_t args_format;
    uint8_t result_format; /* result: worker */
    uint32_t args_size;
    uint64_t start;
    uint64_t end;
    uint32_t args_unit; /* in units from the start of the lane; 0: in args[] */
    /* result: worker; cause: supervisor */
    uint32_t result_unit; /* the block's header; 0: in result[] */
    uint32_t result_size;
    int32_t status;
    union {
        uint64_t submitted_ticks; /* request; see tally.h */
        uint64_t run_ns;          /* result */
    };
    uint32_t worker_pid;
    uint16_t spin_us; /* request: how long to look for the client's next task before sleeping */
    uint16_t limited; /* request: 1 if the next three say something */

    /* not on the hot path */
    uint64_t start_by_ns;   /* request: by clock_ns(); 0: no limit */
    uint32_t soft_limit_ms; /* request; 0: the handler's */
    uint32_t time_limit_ms;
    int32_t death; /* supervisor: how the worker died, as for waitpid() */
    uint32_t reserved;
    uint8_t result[SLOT_RESULT_SIZE];
    uint8_t args[SLOT_ARGS_SIZE];
};
static_assert(sizeof(struct slot) == 256, "slots are four cache lines");
static_assert(offsetof(struct slot, start_by_ns) == CACHE_LINE, "the first line is the hot one");
static_assert(offsetof(struct slot, args) % CACHE_LINE == 0, "arguments are aligned");

/* Before each result in a worker's arena. The worker chains its blocks, newest
 * first, so that a successor finds those that are still in use. */
struct block {
    uint32_t magic;            /* worker */
    uint32_t units;            /* worker: length, header included */
    _Atomic uint32_t next;     /* worker: unit of the next older block, 0: none */
    _Atomic uint32_t released; /* client: 1 when it has no more use for it */
    uint64_t reserved[6];
};
static_assert(sizeof(struct block) == UNIT, "payloads are aligned to a unit");
enum { BLOCK_MAGIC = 0x4b4c424d };

struct lane_header {
    uint64_t magic; /* supervisor, at creation */
    uint32_t version;
    uint32_t index;
    uint64_t total_size;

    alignas(CACHE_LINE) _Atomic uint32_t any; /* bumped by workers: some awaited task ended */
    _Atomic uint32_t notified; /* set by workers when they send a byte, cleared by the client */

    alignas(CACHE_LINE) _Atomic int32_t client_cpu; /* client: where it last waited, -1 unknown */

    /* client and supervisor: bumped after running tasks were asked to stop, for workers
     * in whose seats tasks wait */
    alignas(CACHE_LINE) _Atomic uint32_t cancels;

    /* workers, each its own: unit of the newest block of its arena */
    alignas(CACHE_LINE) _Atomic uint32_t newest_block[MAX_SEATS];
    /* likewise: the units of its arena, from the first, of which some may have been
     * written, so that a successor knows what to give back */
    _Atomic uint32_t touched_units[MAX_SEATS];
    /* workers, each its own: 1 when it sleeps for good while large blocks of it are in
     * use; the client that releases one clears it, and wakes the worker */
    _Atomic uint32_t holding[MAX_SEATS];
    /* workers: a bit for each slot of whose end they tell the event loop, which clears it
     * before it looks at the slot */
    alignas(CACHE_LINE) _Atomic uint64_t told[MAX_SLOTS / 64];
};

/* Where the parts of a lane lie; the same for all lanes of a pool, and always
 * taken from process-private memory, never from the lane. */
struct lane_geometry {
    uint32_t slot_count;
    uint32_t ring_capacity; /* twice slot_count: tickets of helped tasks linger */
    uint32_t seat_count;
    uint64_t ring_offset[2 * SEAT_CLASSES]; /* normal and urgent, for each class of seats */
    uint64_t slots_offset;
    uint64_t arenas_offset; /* the client's, then one for each seat */
    uint64_t arena_size;
    uint64_t total_size;
};

bool lane_geometry_same(const struct lane_geometry *left, const struct lane_geometry *right);
void lane_geometry_set(struct lane_geometry *geometry, uint32_t slot_count, uint64_t arena_size,
                       uint32_t seat_count);

/* ---- bells ----------------------------------------------------------------- */

enum { MASK_WORDS = MAX_LANES / 64 };
static_assert(MAX_SEATS == MAX_LANES, "both masks have the same width");

enum seat_state { SEAT_BUSY = 0, SEAT_LOOKING = 1, SEAT_SLEEPING = 2 };

/* Each class of seats has its own, so that a sleeper of the other is none. */
struct bells {
    alignas(CACHE_LINE) _Atomic uint64_t lanes_active[MASK_WORDS]; /* may have tickets */
    alignas(CACHE_LINE) _Atomic uint64_t seats_sleeping[MASK_WORDS];
    struct {
        alignas(CACHE_LINE) _Atomic uint32_t state; /* enum seat_state; the futex */
    } seats[MAX_SEATS];
};
enum { BELLS_SIZE = SEAT_CLASSES * sizeof(struct bells) };

/* ---- control --------------------------------------------------------------- */

struct lane_entry { /* supervisor */
    alignas(CACHE_LINE) _Atomic uint32_t
        generation; /* odd: in use; workers drop what they know of older ones */
    _Atomic int32_t client_pid;
    _Atomic uint32_t client_uid;
    _Atomic uint32_t weight;   /* its share of the workers' time, beside the others' */
    _Atomic uint32_t queued;   /* when it was sampled last (queues.c): tickets in its rings, ... */
    _Atomic uint32_t delay_ms; /* ... and how long the oldest had been there, at least */
    _Atomic uint32_t late;     /* 1: for so long that it is to offer no more */
};

struct repair {                /* supervisor: a slot that lost its ticket with a dead worker */
    _Atomic uint64_t position; /* of this entry, plus 1, once it is complete */
    name_t name;
    uint32_t lane;
    uint32_t lane_generation;
};

struct log_record {            /* supervisor */
    _Atomic uint64_t sequence; /* number of the record + 1 once it is complete */
    int32_t level;
    uint32_t size;
    char text[LOG_TEXT_SIZE];
};

struct handler_entry { /* supervisor, before it counts the entry in handler_count */
    char name[HANDLER_NAME_SIZE];
    uint32_t flags;
    uint32_t max_attempts;
    uint32_t soft_limit_ms, time_limit_ms;
};

/* Where a worker is, the innermost first; written by it alone. */
struct trace {
    _Atomic uint32_t count; /* 0: it has not said */
    _Atomic uint64_t addresses[TRACE_MOST];
};

/* What one worker does; written by it alone, believed by the supervisor. The
 * tickets stand here before they leave the ring and until their tasks ended,
 * so that the death of the worker loses none. */
struct seat_row {
    alignas(CACHE_LINE) _Atomic int32_t pid; /* the kernel, at fork; supervisor clears */
    _Atomic int32_t heir_pid;                /* of who is to follow: the same two */
    _Atomic uint32_t cpu_plus_one;           /* where it is pinned; 0: nowhere */
    _Atomic int32_t zygote_pid; /* the kernel: of a zygote that this worker has forked; in the
                                   first row also of one that a zygote has */

    alignas(CACHE_LINE) _Atomic uint32_t run_count;
    uint32_t run_lane;
    uint32_t run_lane_generation;
    _Atomic uint32_t block_unit;    /* the result block in the making, 0: none */
    _Atomic uint64_t started_ticks; /* when the current task began, 0: none */
    _Atomic uint64_t tasks_done;
    _Atomic uint64_t busy_ns;
    _Atomic uint32_t leave;  /* supervisor: make room for your successor */
    _Atomic uint32_t doomed; /* supervisor: lane + 1 of a task for which the worker is about to be
                                killed, and therefore begins no other; 0: none */

    /* Of a task that somebody may want to end, or to repeat: written before
     * started_ticks, and true for the task of that name only. */
    alignas(CACHE_LINE) _Atomic name_t watched;
    _Atomic uint32_t soft_limit_ms; /* 0: nobody is to be told, or was told already */
    _Atomic uint32_t time_limit_ms; /* 0: none */
    _Atomic uint32_t attempt;       /* from 0 */

    alignas(CACHE_LINE) struct trace slow; /* of a task that runs for long */
    /* Somebody wants to know; see limits.h. */
    alignas(CACHE_LINE) _Atomic uint32_t trace_wanted; /* supervisor: how often it has asked */
    _Atomic uint32_t trace_answered;                   /* the last that `place` is for */
    struct trace place;
    alignas(CACHE_LINE) name_t run_names[RUN_MAX];
    alignas(PAGE_SIZE_BYTES) char end[];
};
static_assert(sizeof(struct seat_row) == PAGE_SIZE_BYTES, "rows are protected one by one");

/* How a handler fared in one seat; written by its worker alone. Times are counted in
 * spans of a quarter of an octave of ticks; see tally.h. */
enum { SPANS = 126 };
struct tally {
    _Atomic uint64_t ended, failed; /* the second are of the first */
    uint64_t reserved[2];
    _Atomic uint64_t waited[SPANS]; /* from submission to the first attempt */
    _Atomic uint64_t ran[SPANS];
};
static_assert(sizeof(struct tally) == 2048, "two handlers a page");

/* The tasks that wait in an I/O seat: begun, not ended, and not being run just now.
 * Written by its worker alone, believed by the supervisor. */
struct pending_entry {
    _Atomic uint32_t generation; /* of the lane; last written, first cleared; 0: nobody */
    uint32_t lane;
    name_t name;
};
struct pending_book {
    alignas(PAGE_SIZE_BYTES) _Atomic uint32_t used; /* entries that were ever written */
    _Atomic uint32_t waiting;                       /* tasks in all, ... */
    _Atomic uint32_t of_lane[MAX_LANES];            /* ... and of each lane */
    alignas(PAGE_SIZE_BYTES) struct pending_entry entries[PENDING_MOST];
};
static_assert(sizeof(struct pending_book) % PAGE_SIZE_BYTES == 0, "protected one by one");

/* What happened since the pool was opened. */
struct totals { /* supervisor */
    _Atomic uint64_t workers_started, workers_died, workers_retired;
    _Atomic uint64_t tasks_crashed, tasks_timed_out, tasks_killed, tasks_repeated;
    _Atomic uint64_t clients_attached, clients_refused, lanes_faulted;
    _Atomic uint64_t reloads, reloads_failed;
};

/* What the workers share among themselves, on a page of its own. */
struct control_shared {
    alignas(PAGE_SIZE_BYTES) _Atomic uint64_t repair_head[SEAT_CLASSES]; /* by CAS */
};
static_assert(sizeof(struct control_shared) == PAGE_SIZE_BYTES, "a page of its own");

struct control {
    uint64_t magic;
    uint32_t version;
    uint32_t seat_count;
    uint32_t io_seats; /* the last of these */
    uint32_t lane_limit;
    uint32_t handler_capacity;
    _Atomic uint32_t handler_count;    /* numbers stay what they are; there are only ever more */
    _Atomic uint32_t limit_milli;      /* of the load per core; 0: none */
    _Atomic uint32_t max_delay_ms;     /* in a queue, before its client is late; 0: none */
    _Atomic uint32_t handlers_edition; /* bumped after what is said of handlers changed */
    uint64_t total_size;
    uint64_t max_payload;
    struct lane_geometry geometry;

    alignas(CACHE_LINE) _Atomic uint32_t closing; /* 1: no new tasks, 2: workers leave */
    _Atomic uint32_t seats_up;
    _Atomic uint32_t hopeless;     /* classes of seats for which no worker can be started now */
    _Atomic uint32_t watching;     /* the supervisor looks at the rows now and then */
    _Atomic uint32_t bells_shared; /* 1 since others than the pool's own user can write them */
    _Atomic uint64_t admission;    /* admission_pack() */
    _Atomic uint64_t log_tail;
    _Atomic uint64_t repair_tail[SEAT_CLASSES];
    /* Bumped when the supervisor has looked at all lanes itself and those with work
     * are in lanes_due: what the bells say is everybody's to change, this is not. */
    _Atomic uint32_t alarm;
    _Atomic uint64_t lanes_due[SEAT_CLASSES][MAX_LANES / 64];

    struct totals totals;
    struct lane_entry lanes[MAX_LANES];
    struct log_record log[LOG_RECORDS];
    struct repair repairs[SEAT_CLASSES][REPAIR_CAPACITY];
    struct handler_entry handlers[MAX_HANDLERS];
    alignas(PAGE_SIZE_BYTES) struct control_shared shared;
    struct seat_row rows[];
    /* and behind them the tallies, by seat and handler, and the books of the I/O seats */
};
static_assert(sizeof(struct control) % PAGE_SIZE_BYTES == 0, "rows begin on a page");

/* ---- quarantine ------------------------------------------------------------ */

/* Arguments are their client's own affair, so this is a segment by itself; it is
 * given to those who may see them. */
struct quarantine_entry {      /* supervisor */
    _Atomic uint64_t sequence; /* number of the entry + 1 once it is complete */
    uint64_t time_ms;
    uint64_t start, end;
    uint64_t run_ns;
    uint64_t args_size;
    int32_t client_pid, worker_pid;
    int32_t wait_status;
    uint32_t attempts;
    uint32_t handler;
    uint32_t format;
    uint8_t args[QUARANTINE_ARGS];
};

struct quarantine {
    _Atomic uint64_t tail; /* how many there have been */
    struct quarantine_entry entries[QUARANTINE_MOST];
};

/* The tallies of one seat: whole pages, protected like its row. */
static inline uint64_t tallies_size(uint32_t handler_capacity)
{
    uint64_t size = (uint64_t)handler_capacity * sizeof(struct tally);
    return (size + PAGE_SIZE_BYTES - 1) / PAGE_SIZE_BYTES * PAGE_SIZE_BYTES;
}

static inline uint64_t control_size(uint32_t seat_count, uint32_t io_seats,
                                    uint32_t handler_capacity)
{
    return sizeof(struct control) +
           (sizeof(struct seat_row) + tallies_size(handler_capacity)) * seat_count +
           sizeof(struct pending_book) * io_seats;
}

/* What the places in `control` depend on. */
struct control_sizes {
    uint32_t seat_count, io_seats, handler_capacity;
};

static inline struct tally *control_tallies_at(const struct control *control,
                                               const struct control_sizes *sizes, uint32_t seat)
{
    char *behind = (char *)(uintptr_t)&control->rows[sizes->seat_count];
    return (struct tally *)(void *)(behind + tallies_size(sizes->handler_capacity) * seat);
}

static inline enum seat_class control_class_at(const struct control_sizes *sizes, uint32_t seat)
{
    return seat < sizes->seat_count - sizes->io_seats ? SEAT_CPU : SEAT_IO;
}

/* The book of an I/O seat. */
static inline struct pending_book *control_book_at(const struct control *control,
                                                   const struct control_sizes *sizes, uint32_t seat)
{
    void *behind = control_tallies_at(control, sizes, sizes->seat_count);
    return (struct pending_book *)behind + (seat - (sizes->seat_count - sizes->io_seats));
}

/* For the pool itself, by what `control` says of its sizes. */
static inline struct control_sizes control_sizes(const struct control *control)
{
    return (struct control_sizes){control->seat_count, control->io_seats,
                                  control->handler_capacity};
}

static inline struct tally *control_tallies(const struct control *control, uint32_t seat)
{
    struct control_sizes sizes = control_sizes(control);
    return control_tallies_at(control, &sizes, seat);
}

static inline enum seat_class control_class(const struct control *control, uint32_t seat)
{
    struct control_sizes sizes = control_sizes(control);
    return control_class_at(&sizes, seat);
}

static inline struct pending_book *control_book(const struct control *control, uint32_t seat)
{
    struct control_sizes sizes = control_sizes(control);
    return control_book_at(control, &sizes, seat);
}

#endif
