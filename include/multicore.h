/* SPDX-License-Identifier: BSD-3-Clause
 *
 * multicore - a persistent pool of worker processes for slow requests.
 *
 * A program names some handlers, opens a pool, and splits its slow work into
 * ranges that a fixed set of pinned worker processes runs side by side:
 *
 *     static int square(mc_task *task)
 *     {
 *         uint64_t sum = 0;
 *         for (uint64_t i = mc_task_start(task); i < mc_task_end(task); i++)
 *             sum += i * i;
 *         return mc_task_reply(task, &sum, sizeof(sum));
 *     }
 *
 *     struct mc_handler handlers[] = {{.name = "square", .run = square}};
 *     struct mc_pool_options options = {
 *         .size = sizeof(options), .handlers = handlers, .handler_count = 1};
 *     mc_pool *pool;
 *     mc_group *group;
 *     struct mc_result result = {.size = sizeof(result)};
 *
 *     mc_pool_open(&options, &pool);
 *     mc_group_open(pool, NULL, &group);
 *     mc_group_map(group, "square", 1000000, NULL, NULL, 0);
 *     while (mc_group_next(group, &result, -1) == 1)
 *         if (result.status == 0)
 *             total += *(const uint64_t *)result.data;
 *     mc_group_close(group);
 *     mc_pool_close(pool);
 *
 * This header is the reference. It is laid out in the order in which a user
 * meets things: errors, handlers, pools, modules, attaching, groups, results,
 * quarantine, event loops, the handler's side, waiting in a handler, structured values,
 * helpers.
 *
 * Conventions
 *   Errors      Functions that can fail return 0 (or a count) on success and a
 *               negative errno value on failure. Outputs come last and are not
 *               touched on failure. mc_error_message() says in a sentence what
 *               went wrong: the value, the limit and the way out.
 *   Options     Structs with a leading size: set it to sizeof the struct and
 *               leave the rest zero; zero always means the documented default.
 *   Closing     Closers accept NULL.
 *   Threads     A pool may be used by any number of threads. A group belongs
 *               to one thread at a time; different groups are independent.
 *   Fork        A forked child may use the inherited pool handle: it becomes a
 *               client of its own on first use (but see mc_pool_open() for the
 *               processes of another pool). Groups that it inherited fail
 *               with -ESTALE there, and result bytes that its parent was given
 *               are not mapped in it.
 *   Blocking    A function blocks only where its comment says so.
 *   Units       Sizes are in bytes, times in the unit that ends the name.
 *   Guests      The library never prints, never exits, installs no signal
 *               handler, and reads no environment variable.
 */
#ifndef MULTICORE_H
#define MULTICORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MC_VERSION_MAJOR 0
#define MC_VERSION_MINOR 1
#define MC_VERSION_PATCH 0

#if defined(__GNUC__)
#define MC_API                   __attribute__((visibility("default")))
#define MC_PRINTF(string, first) __attribute__((format(printf, string, first)))
#else
#define MC_API
#define MC_PRINTF(string, first)
#endif

typedef struct mc_pool mc_pool;     /* supervisor, zygote and workers */
typedef struct mc_group mc_group;   /* tasks whose results belong together */
typedef struct mc_task mc_task;     /* one unit of work, as its handler sees it */
typedef struct mc_writer mc_writer; /* writes one structured value */

/* ---- Errors and version -------------------------------------------------- */

/* What the last failing mc_ call of this thread has to say, in one sentence
 * without a newline. Never NULL; "" when nothing failed yet. The text stays
 * until the next failing call of the same thread. */
MC_API const char *mc_error_message(void);

/* Sets that message and returns status, so that worker_init can end with
 *     return mc_fail(-ENOENT, "no font %s", name);
 * Handlers use mc_task_fail(). */
MC_API int mc_fail(int status, const char *format, ...) MC_PRINTF(2, 3);

/* The version of the library that is linked, such as "0.1.0". */
MC_API const char *mc_version(void);

/* ---- Handlers ------------------------------------------------------------ */

/* Runs one task, from start to end, in a worker process (or in the caller,
 * when the machine is busy). Ordinary sequential code: it may block, allocate,
 * and use everything that worker_init set up. Returns 0 for success; any other
 * value is the task's status. Use mc_task_fail() to add a message. */
typedef int mc_handler_fn(mc_task *task);

enum mc_handler_flags {
    /* The handler may crash (a renderer, a plug-in): it never runs in the
     * calling process, where others run when the machine is busy, or when that
     * is quicker than waking a worker. Under load its groups narrow to one
     * worker instead. */
    MC_ISOLATED = 1 << 0,
    /* The handler may run on several threads of one process at once: inline
     * tasks then need no lock, and each calling thread has its own state from
     * worker_init. */
    MC_THREAD_SAFE = 1 << 1,
    /* Running a task twice does no harm. If its worker dies, it is run again by
     * another, until it has killed max_attempts of them. Without this flag a
     * task that was started is never started again. */
    MC_IDEMPOTENT = 1 << 2,
    /* The handler waits for descriptors or timers most of the time, and computes
     * for a moment in between. It runs in an I/O worker, which goes on with other
     * tasks while it waits; see mc_task_await_fd(). Never in the caller, so not with
     * MC_THREAD_SAFE. */
    MC_IO = 1 << 3,
};

/* Called once in a task that has run for longer than its soft time limit, in
 * its worker, from a signal handler: only functions that are async-signal-safe
 * may be called. Never called for tasks that run in the caller.
 *
 * The signal is SIGURG, which belongs to the library in workers: leave its
 * disposition alone there. It is sent for soft limits, for slow_task_ms, and when an
 * operator asks a served pool where its workers are (`multicore stack`); it makes some blocking
 * calls of a handler fail with EINTR although it restarts the others: nanosleep(), poll(),
 * epoll_wait() and the like; see signal(7). */
typedef void mc_soft_limit_fn(mc_task *task);

struct mc_handler {
    const char *name; /* unique in the pool, 1 to 63 bytes */
    mc_handler_fn *run;
    uint32_t flags; /* enum mc_handler_flags */

    /* For MC_IDEMPOTENT: how many workers a task may kill before it is given up.
     * 0: 3. At most 100. */
    unsigned max_attempts;

    /* For how long a task may run, counted from its start. Past the soft limit
     * mc_task_overdue() says so, and on_soft_limit is called where it is given.
     * Past the other one its worker is killed and replaced, and the task ends
     * with -ETIMEDOUT. A group may set its own. Tasks that run in the caller are
     * never interrupted: mark what may hang as MC_ISOLATED. 0: no limit. Enforced
     * to about 20 ms, late rather than early. */
    unsigned soft_time_limit_ms;
    unsigned time_limit_ms;
    mc_soft_limit_fn *on_soft_limit;
};

/* ---- Pools --------------------------------------------------------------- */

enum mc_pinning {
    MC_PIN_CORE = 0, /* each worker stays on one core */
    MC_PIN_NONE = 1, /* the scheduler places workers within the usable cores */
};

enum mc_log_level {
    MC_LOG_ERROR = 1,
    MC_LOG_WARNING = 2,
    MC_LOG_INFO = 3,
};

/* Receives one line about the pool's life (a worker died, an option was read
 * as a percentage). Called only from inside mc_ calls, in the calling thread;
 * it may not call mc_ functions. */
typedef void mc_log_fn(void *context, int level, const char *line);

/* What I/O workers wait with. */
enum mc_io_engine {
    MC_IO_AUTO = 0,  /* io_uring where it is permitted, else epoll */
    MC_IO_URING = 1, /* else workers do not start */
    MC_IO_EPOLL = 2,
};

enum mc_pool_flags {
    /* Open although other threads are running. The children that the pool
     * forks may then inherit locks that those threads hold; only for programs
     * that know that their handlers and hooks need none of them. */
    MC_ALLOW_THREADS = 1 << 0,
};

struct mc_pool_options {
    size_t size; /* sizeof(struct mc_pool_options) */

    /* What the pool can run. Copied; at least one, at most 1024. */
    const struct mc_handler *handlers;
    size_t handler_count;

    /* Called in each worker before its first task, and once in a client
     * before its first inline task. *state is what mc_task_state() returns. A
     * negative errno return keeps that worker from starting; if no worker can
     * start, mc_pool_open() fails with that value. With refork_after it may find
     * a process that has done tasks. */
    int (*worker_init)(void *hook_context, void **state);
    /* Called in a worker that ends in an orderly way, and at mc_pool_close()
     * for the state of inline tasks. */
    void (*worker_exit)(void *state);
    void *hook_context;

    /* Number of workers, at most 256. 0: one per usable core, that is the
     * affinity mask, narrowed by the cpuset and the CPU quota of the cgroup. */
    unsigned workers;
    enum mc_pinning pinning;

    /* Number of workers for handlers that are MC_IO, at most 64. They are not pinned,
     * and not counted in workers. 0: one if there are such handlers, else none. */
    unsigned io_workers;
    enum mc_io_engine io_engine;

    /* The load up to which work is handed to workers, per usable core: "0.85"
     * or "85%" means that the 1-minute load average may reach 0.85 x cores,
     * not counting what this pool itself causes. Above it, groups run inline.
     * A bare number above 10 is read as a percentage, with a warning in the
     * log. NULL: always parallel. */
    const char *max_load_average;

    /* For how long a client's tasks may wait for a worker. When they have waited
     * longer, its groups run inline until all of those have been taken, and
     * groups for event loops are refused with -EBUSY: other clients' queues stay
     * short, and requests are turned away while they still can be answered. It is
     * noticed within a quarter of that time, or 250 ms. 0: no limit. */
    unsigned max_queue_delay_ms;

    /* Tasks that one client may have submitted and not yet collected; a power
     * of two from 16 to 65536. 0: 4096. */
    uint32_t queue_depth;
    /* Limits for the bytes of one task's arguments and of one result.
     * 0: 256 MiB. At most 1 GiB. */
    size_t max_payload;
    /* Address space that one client's arguments, and each worker's results for
     * that client, may fill. Memory is taken as it is used, and given back: by
     * a client as it collects, what is free above 64 MiB or the largest
     * arguments of late; by a worker when it has been idle for a second, all
     * that is free but for 1 MiB or so; of an attached client of another user,
     * when that leaves. 0: four times max_payload. At least max_payload, at most
     * 64 GiB. */
    size_t arena_size;
    /* Clients that may be attached at once: this process, each forked child
     * that uses the pool, each worker that submits tasks of its own.
     * 0: 256, which is also the most. */
    unsigned max_clients;

    /* How long mc_pool_close() lets accepted tasks go on before it kills the
     * workers. 0: 10,000. */
    unsigned close_timeout_ms;

    /* When a worker is replaced although nothing is wrong with it: after so many
     * tasks, so many seconds, or when so much private memory is resident. Its
     * successor is set up first, so that the seat is hardly empty. The first two
     * vary by up to a tenth from worker to worker, lest all leave at once. All are
     * looked at after a task, so that an idle worker stays; memory ten times a
     * second at most, and not in a worker's first second. 0: never. */
    uint64_t max_tasks_per_worker;
    unsigned max_worker_age_s;
    size_t max_worker_memory;

    /* After how many tasks of one worker the pool is made anew from it, so that what tasks
     * have built up in memory (caches, tables that are filled at the first use) is there
     * once for all workers, and in every worker from its first task on. The first that
     * has done so many forks between two tasks; workers are forks of that process from
     * then on, and those that are there are followed by such, one by one, each set up
     * before it takes over. No task is lost or repeated for it. At most 1,000,000,000,
     * and less than max_tasks_per_worker; 0: never.
     *
     * It happens once, in a pool that is served once after each reload, and again when
     * that process has died. A worker that has more than one thread is not taken, nor one
     * for handlers that are MC_IO; the log says why. If it fails, which the log says too,
     * all stays as it was, and another try comes after as many tasks, three in all.
     *
     * worker_init does not find a blank process then, but one that has run worker_init
     * and so many tasks, without worker_exit: static memory and the heap are as that worker
     * left them, *state is NULL as ever, and all descriptors but the standard output and
     * error streams are closed. Whatever static memory says of descriptors, connections,
     * threads or process ids has to be forgotten there, and generators of random numbers
     * other than those of libc have to be seeded. */
    unsigned refork_after;

    /* Tasks that run for longer are reported in the log once, with handler, age,
     * and the place where the worker is. 0: none. */
    unsigned slow_task_ms;

    mc_log_fn *log; /* NULL: no log */
    void *log_context;

    uint32_t flags; /* enum mc_pool_flags */

    /* For tests: a directory to read loadavg and pressure/cpu from instead of
     * /proc. */
    const char *proc_path;
};

/* Starts a pool. Blocks until the first worker is ready to run tasks, a few
 * milliseconds plus the time that worker_init takes.
 *
 * Call it after daemonising and before starting threads: workers are forked
 * from the state that the process has now. The pool ends with the process that
 * opened it, however that process ends. Workers keep the standard output and
 * error streams, and no other descriptor; what they need they open in
 * worker_init. Signal handlers and masks are not inherited. Of the handles that the
 * process had before, one from mc_pool_attach() connects by itself on first use there, as in
 * any forked child; that of an opened pool is only good for being closed there, and fails with
 * -ESTALE otherwise: use mc_task_pool().
 *
 * options is copied. On success *pool is to be closed with mc_pool_close().
 * Errors:
 *   -EINVAL   an option is out of range; the message names it
 *   -EBUSY    other threads are running, and MC_ALLOW_THREADS is not set
 *   -ENOMEM, -EMFILE, -EAGAIN   what the system had no more of
 *   other     what worker_init returned, when no worker could start */
MC_API int mc_pool_open(const struct mc_pool_options *options, mc_pool **pool);

/* Ends the pool: no new tasks are accepted, accepted ones run to their end for
 * up to close_timeout_ms, then workers are killed. Blocks that long at most,
 * plus 3 s for the processes to end. In a forked child it only detaches that child. Close all
 * groups first; a group that is still open only remains valid for mc_group_close(). NULL is
 * allowed. */
MC_API void mc_pool_close(mc_pool *pool);

/* The same, but workers are killed at once, whatever they run. */
MC_API void mc_pool_terminate(mc_pool *pool);

/* The number of workers that the pool keeps, without those for handlers that are MC_IO. */
MC_API unsigned mc_pool_workers(const mc_pool *pool);

/* Process ids of the workers that are running now, those for handlers that are MC_IO
 * last; 0 for a seat whose worker is being replaced. Fills up to count entries, returns
 * the number of seats. */
MC_API unsigned mc_pool_worker_pids(mc_pool *pool, pid_t *pids, unsigned count);

/* ---- Modules --------------------------------------------------------------- */

/* Handlers for `multicore serve` come in modules: shared objects that define
 *
 *     MC_MODULE = {
 *         MC_MODULE_HEAD("thumbnails"),
 *         .handlers = handlers,
 *         .handler_count = 2,
 *         .worker_init = open_fonts,
 *     };
 *
 * The functions of a module are called in processes of the pool only, never in a
 * client: at the start, or for a module that the configuration calls lazy when its first task
 * comes. All are optional. Those that return int return 0, or a negative errno,
 * best by way of mc_fail(), which ends the start with its message. A crash, or more time
 * than load-timeout of the configuration, ends it too, and is reported with the module and
 * what it was doing. docs/STARTUP.md tells more.
 *
 * Threads do not live on in workers: one that a module leaves behind is an error. */
#define MC_MODULE_ABI 2

/* A module, as its own functions see it. */
typedef struct mc_module_self mc_module_self;

struct mc_module {
    size_t size; /* these two: MC_MODULE_HEAD */
    unsigned abi;
    const char *name; /* unique in the pool, 1 to 63 bytes */

    /* As in struct mc_pool_options. Names are unique in the pool. */
    const struct mc_handler *handlers;
    size_t handler_count;
    /* Names of modules that must be there, and come first; ends with NULL. Only what these
     * export can be imported. */
    const char *const *requires;
    /* One of its handlers, which `multicore warmup` runs without arguments to see the
     * module work. NULL: none. */
    const char *warmup;

    /* Before any worker is made, each phase for all modules before the next one: looks at
     * its settings, ... */
    int (*configure)(mc_module_self *self);
    /* ... sets up what all workers share, which they then inherit copy-on-write. Modules
     * that do not need each other load at the same time, each in a thread that ends with
     * this function: what belongs to the whole process (its environment, directory, umask,
     * signals) or to a thread is for the other phases, ... */
    int (*load)(mc_module_self *self);
    /* ... and, when every module has loaded, does the rest. */
    int (*ready)(mc_module_self *self);

    /* In each worker, as in struct mc_pool_options. */
    int (*worker_init)(mc_module_self *self, void **state);
    void (*worker_exit)(void *state);
};

#define MC_MODULE                                                                                  \
    MC_API extern const struct mc_module mc_module;                                                \
    MC_API const struct mc_module mc_module
#define MC_MODULE_HEAD(module_name)                                                                \
    .size = sizeof(struct mc_module), .abi = MC_MODULE_ABI, .name = (module_name)

/* A setting from the module's section of the configuration; NULL if it is not
 * there. The text lives as long as the process. */
MC_API const char *mc_module_setting(const mc_module_self *self, const char *key);

/* Offers something to the modules that require this one: a table of functions, or its
 * data. For configure, load and ready; the pointer stays the module's. */
MC_API void mc_module_export(mc_module_self *self, void *exported);

/* What a required module has exported; from load on that is what it exported in its own
 * load. In worker_init as well, where both are the worker's copies.
 *   -EPERM    `name` is not among what this module requires. The start fails with the
 *             message even if this is ignored, and whether or not that module is there
 *   -ENODATA  it has exported nothing so far */
MC_API int mc_module_import(mc_module_self *self, const char *name, void **exported);

/* ---- Attaching ------------------------------------------------------------- */

/* Some of these options mean what they do in struct mc_pool_options. */
struct mc_attach_options {
    size_t size; /* sizeof(struct mc_attach_options) */

    /* Handlers that are linked into this program too, under the names that they
     * have in the pool. They run here when the machine is busy, when that is
     * quicker than waking a worker, and while the pool is not there. The other
     * handlers of the pool can be used all the same; they never run here. */
    const struct mc_handler *handlers;
    size_t handler_count;
    int (*worker_init)(void *hook_context, void **state);
    void (*worker_exit)(void *state);
    void *hook_context;

    /* How long to wait for the supervisor's answer. 0: 1,000. */
    unsigned timeout_ms;
};

/* Connects to the pool that `multicore serve` offers at the socket `path`. Any
 * number of processes may, at once. options may be NULL.
 *
 * While the pool is absent, starting anew or full, that is no failure: groups run
 * inline as far as their handlers are linked into this program, and submitting any
 * other task fails with -ENOTCONN. mc_group_reason() says why. Each
 * mc_group_open() tries again, a few times a second at most, and waits for an answer
 * for 100 ms once; one that comes later is found by a later mc_group_open().
 * mc_pool_dispatch() tries too, without waiting. A group stays where it was opened. Only
 * what waiting does not mend is an error here:
 *   -EACCES    the pool does not admit this user
 *   -EPROTO    the pool is of another version; the message says both
 *   -EINVAL, -ENAMETOOLONG, -ENOMEM
 * *pool is to be closed with mc_pool_close(), which only detaches. A forked child
 * connects by itself on first use. Blocks for timeout_ms at most. */
MC_API int mc_pool_attach(const char *path, const struct mc_attach_options *options,
                          mc_pool **pool);

/* Whether an attached pool is there now; true for any other that is open. Does not
 * block, but for the first call in a forked child, which attaches that child. */
MC_API bool mc_pool_connected(mc_pool *pool);

/* ---- Groups -------------------------------------------------------------- */

enum mc_help {
    MC_HELP_AUTO = 0,  /* a waiting caller runs its own unclaimed tasks where
                          that is quicker than waiting for a worker */
    MC_HELP_NEVER = 1, /* the caller only waits (inline groups still run in it) */
};

/* The three built-in encodings of arguments and results. */
enum mc_format {
    MC_RAW = 0, /* bytes, given to the handler as they are */
    MC_JSON = 1,
    MC_MSGPACK = 2,
};

/* See "Event loops". */
typedef void mc_done_fn(mc_group *group, void *context);

/* When a lane is full; see on_full. */
enum mc_full {
    MC_FULL_WAIT = 0,   /* wait until a task has ended */
    MC_FULL_FAIL = 1,   /* fail with -EAGAIN */
    MC_FULL_INLINE = 2, /* run tasks in the caller meanwhile, of this group, or of
                           others that this thread submitted last to, unless they
                           are MC_HELP_NEVER and not MC_FULL_INLINE themselves;
                           wait if there are none that may */
};

struct mc_group_options {
    size_t size; /* sizeof(struct mc_group_options) */
    enum mc_help help;
    /* At most this many of the group's tasks run at once. 0: no limit. The next
     * ones start while the caller waits or dispatches. */
    unsigned max_parallel;
    /* Tasks go before those of groups without it. */
    bool urgent;
    /* Waits return -EINTR when a signal handler ran. Otherwise they go on. */
    bool interruptible;
    /* With on_done the group reports through mc_pool_fd() and
     * mc_pool_dispatch(), and its tasks never run in the caller. It is called
     * when all tasks submitted so far have ended; again after later ones, of which
     * mc_group_map() may have made none. */
    mc_done_fn *on_done;
    void *context;

    /* Limits for each task of the group, in place of its handler's; see struct
     * mc_handler. 0: the handler's. In a pool at a socket, whose handlers are
     * not the program's own, they can only be shorter. */
    unsigned soft_time_limit_ms;
    unsigned time_limit_ms;
    /* A task that has not started within this time of its submission never
     * does, and ends with -ETIME: when somebody reaches it, so that it ends no
     * sooner than a task in its place would have begun. A task that is tried
     * again is not asked. 0: no limit. */
    unsigned start_within_ms;

    /* What a submission does when queue_depth tasks are in flight, or the
     * arguments do not fit into what is left of the arena. */
    enum mc_full on_full;
    /* For MC_FULL_WAIT: then fail with -EAGAIN. 0: no limit. */
    unsigned full_timeout_ms;
};

/* How a group's tasks are run. Whether the machine is busy is decided when the
 * group is opened; if it is, tasks of isolated handlers narrow the group as they
 * are submitted. */
enum mc_mode {
    MC_PARALLEL = 0, /* on all workers */
    MC_NARROW = 1,   /* on one worker at a time: the machine is busy, and the
                        tasks may not run in the caller */
    MC_INLINE = 2,   /* in the caller, inside waits */
};

/* Opens an empty group. options may be NULL. Does not block, except that the
 * first call in a forked child attaches that child to the pool (about 1 ms).
 * Errors: -EINVAL; -ENOMEM; -ESHUTDOWN when the pool is closing or gone, or this
 * process's shared memory was found damaged: the message says which;
 * -EUSERS when max_clients are attached; -ESTALE in a process of a pool, for one that was
 * opened before. With on_done also -EBUSY while this process's tasks wait for longer
 * than max_queue_delay_ms, and -EMFILE when a pool that came back cannot be among what
 * mc_pool_fd() watches. */
MC_API int mc_group_open(mc_pool *pool, const struct mc_group_options *options, mc_group **group);

/* Forgets a group: queued tasks are cancelled, running ones end into the void,
 * result bytes are released. Does not block. NULL is allowed. */
MC_API void mc_group_close(mc_group *group);

/* Submits one task: handler, and size bytes of raw arguments, which are copied
 * (args may be NULL when size is 0). Does not block while fewer than
 * queue_depth tasks are in flight and their arguments fit the arena; otherwise
 * it collects finished tasks and, if there are none, waits for one as
 * mc_group_wait() does; in a handler it runs this task instead.
 * Errors:
 *   -ENOENT     no handler of that name; the message lists those there are
 *   -ENOTCONN   the pool is not there, and the handler not linked into this program
 *   -EMSGSIZE   size is above max_payload
 *   -EAGAIN     no room, for a group with on_done, or as its on_full says
 *   -EINTR      there was no room yet: see interruptible
 *   -EDEADLK    in a handler that runs in the caller, for one that is MC_ISOLATED:
 *               what is in flight waits for that handler to end, so there will
 *               be no room
 *   -ESTALE     the group was opened before fork(), in the parent
 *   -ESHUTDOWN  the pool is closing or gone
 *   -ENOMEM */
MC_API int mc_group_run(mc_group *group, const char *handler, const void *args, size_t size);

enum mc_split {
    MC_SPLIT_GUIDED = 0, /* even chunks first, then ever smaller ones: evens
                            out ranges whose items differ in cost */
    MC_SPLIT_STATIC = 1, /* one chunk of equal size per worker */
};

struct mc_map_options {
    size_t size; /* sizeof(struct mc_map_options) */
    enum mc_split split;
    /* No chunk has fewer items than this (but for the last). 0: 1. */
    uint64_t min_chunk;
    /* No chunk has more items than this; it wins over min_chunk. 0: no limit. */
    uint64_t max_chunk;
};

/* Splits [0, items) into chunks and submits a task for each, all with the same
 * handler and arguments. Tasks are numbered in the order of the ranges. options
 * may be NULL. Blocking and errors as for mc_group_run(). A group with on_done
 * for whose chunks there are not enough free slots gets none of them; when it
 * fails midway for another reason, the tasks submitted so far stay in the group.
 * items of 0 submits nothing, which ends at once. */
MC_API int mc_group_map(mc_group *group, const char *handler, uint64_t items,
                        const struct mc_map_options *options, const void *args, size_t size);

/* The same two with arguments written as a structured value; see mc_writer
 * below. mc_group_writer() begins the arguments of the next task;
 * mc_group_run_value() and mc_group_map_value() submit them and end the
 * writer, also on failure. A group has one writer at a time; beginning a new
 * one drops an unused one.
 * Errors: as above, and those that were met while writing (-EMSGSIZE, -EINVAL
 * for a value that is not complete). */
MC_API int mc_group_writer(mc_group *group, enum mc_format format, mc_writer **writer);
MC_API int mc_group_run_value(mc_group *group, const char *handler, mc_writer *writer);
MC_API int mc_group_map_value(mc_group *group, const char *handler, uint64_t items,
                              const struct mc_map_options *options, mc_writer *writer);

/* Like mc_group_run(), for arguments that are encoded already. The handler
 * finds malformed ones when it reads them. */
MC_API int mc_group_run_encoded(mc_group *group, const char *handler, enum mc_format format,
                                const void *args, size_t size);

/* Waits until every task of the group has ended, running tasks itself where
 * the group's mode and help option say so. timeout_ms: -1 waits without limit,
 * 0 only collects. Returns 0 when all have ended, whatever their status.
 * Errors:
 *   -ETIMEDOUT  some have not; they go on, and can be waited for again
 *   -EINTR      see interruptible
 *   -ESTALE     the group was opened before fork(), in the parent
 * When the pool is gone, or this process's shared memory was found damaged and
 * given up, tasks that had started end with -EOWNERDEAD, others run inline or,
 * where they may not, end with -EOWNERDEAD too. */
MC_API int mc_group_wait(mc_group *group, int timeout_ms);

/* Cancels what has not started: those tasks end with -ECANCELED. Running ones
 * see mc_task_cancelled(). Does not block. Returns the number of tasks that
 * will never run, or -ESTALE. */
MC_API int mc_group_cancel(mc_group *group);

/* The same, and by force: workers that run tasks of this group are killed and
 * replaced, and those tasks end with -ECANCELED. Only a task that was ending
 * anyway still ends as it does. Does not block: wait for the group to see it
 * done. Tasks that run in the caller go on. An I/O worker in which tasks of other
 * clients wait is not killed: there this is mc_group_cancel(). */
MC_API int mc_group_kill(mc_group *group);

/* The number of tasks that were submitted to the group. */
MC_API size_t mc_group_size(const mc_group *group);

/* How the group runs, and why, as a sentence. The text lives as long as the
 * group. */
MC_API enum mc_mode mc_group_mode(const mc_group *group);
MC_API const char *mc_group_reason(const mc_group *group);

/* ---- Results ------------------------------------------------------------- */

/* One ended task. The pointers stay valid until mc_group_close() or
 * mc_group_release() of that index. data is aligned to 8 bytes at least. */
struct mc_result {
    size_t size;    /* sizeof(struct mc_result), set by the caller */
    size_t index;   /* place in the order of submission, from 0 */
    int status;     /* 0, or what the handler returned, or one of
                         -EOWNERDEAD  its worker died while it ran
                         -ECANCELED   cancelled before it started, or killed, or
                                      not run again since it was cancelled
                         -ETIMEDOUT   over its time limit; its worker was killed
                         -ETIME       not started within start_within_ms
                         -EMSGSIZE    its result was above max_payload
                         -EFAULT      the shared memory it lay in was damaged */
    uint64_t start; /* the range, 0 and 0 for mc_group_run() */
    uint64_t end;
    const void *data; /* result bytes in place, NULL when there are none */
    size_t data_size;
    enum mc_format format;
    const char *error; /* what went wrong; "" when status is 0 */
    pid_t worker_pid;  /* who ran it; the caller's own pid for inline tasks,
                          0 when nobody did */
    uint64_t run_ns;   /* how long it ran */
};

/* The next result that has not been returned by this function, in the order of
 * completion. Waits like mc_group_wait(). Returns 1 and a result, 0 when all
 * were returned, or -ETIMEDOUT, -EINTR, -ESTALE. */
MC_API int mc_group_next(mc_group *group, struct mc_result *result, int timeout_ms);

/* The result of the index-th submitted task. Does not block.
 * Errors: -EAGAIN it has not ended (or was not collected yet: wait first),
 * -ERANGE no such task, -ESTALE. */
MC_API int mc_group_result(mc_group *group, size_t index, struct mc_result *result);

/* Gives the bytes of one result back before the group is closed. */
MC_API void mc_group_release(mc_group *group, size_t index);

/* ---- Quarantine ---------------------------------------------------------- */

/* A task that killed as many workers as it may: one, or max_attempts where its
 * handler is MC_IDEMPOTENT. It is not run again. */
struct mc_quarantined {
    size_t size;      /* sizeof(struct mc_quarantined), set by the caller */
    uint64_t number;  /* counts from 0 over the pool's life */
    uint64_t time_ms; /* since 1970 */
    char handler[64];
    uint64_t start, end; /* its range */
    pid_t client_pid;    /* who submitted it */
    pid_t worker_pid;    /* whom it killed last */
    int wait_status;     /* how that one died, as for waitpid() */
    unsigned attempts;   /* how many it killed */
    uint64_t run_ns;     /* how long the last of them ran it */
    enum mc_format format;
    size_t args_size; /* of its arguments, ... */
    size_t args_kept; /* ... of which so many are in args */
    unsigned char args[1024];
};

/* The index-th newest task in quarantine; the pool remembers 64 of all clients.
 * Returns 1 and the entry, or 0 when there are no more. Does not block.
 * Errors: -EINVAL without size, -ENOTSUP for those whom it does not concern: handlers,
 * and clients of another user than the pool's. */
MC_API int mc_pool_quarantine(mc_pool *pool, size_t index, struct mc_quarantined *entry);

/* ---- Event loops --------------------------------------------------------- */

/* A descriptor that is readable when mc_pool_dispatch() has something to do:
 * tasks of groups with on_done ended, or the pool went away. One per client
 * process, owned by the pool: watch it, do not read or close it. In a forked
 * child, ask again. Returns the descriptor or a negative errno. */
MC_API int mc_pool_fd(mc_pool *pool);

/* Collects what ended and calls on_done, in this thread, for each group whose
 * tasks have all ended. on_done may close its group and open others. Does not
 * block, but for as long as another thread's mc_group_open() waits for a pool that is
 * away. Returns the number of groups reported, or -ESHUTDOWN when the pool is
 * gone (after having reported every group). One thread at a time. */
MC_API int mc_pool_dispatch(mc_pool *pool);

/* ---- The handler's side -------------------------------------------------- */

/* The range of this task: [start, end); 0 and 0 for mc_group_run(). */
MC_API uint64_t mc_task_start(const mc_task *task);
MC_API uint64_t mc_task_end(const mc_task *task);

/* The argument bytes, in place, valid until the handler returns. */
MC_API const void *mc_task_args(const mc_task *task, size_t *size);

/* Sets the result by copying. A later reply replaces an earlier one.
 * Returns 0, so that a handler can end with it, or -EMSGSIZE above
 * max_payload, or -ENOSPC when the client's unreleased results fill the
 * worker's arena; then an earlier reply may be gone, too. Either failure is the
 * task's status if it is returned. */
MC_API int mc_task_reply(mc_task *task, const void *data, size_t size);

/* Sets the result to size bytes that the handler then writes in place,
 * aligned to 64 bytes. Fails like mc_task_reply(). */
MC_API int mc_task_reply_alloc(mc_task *task, size_t size, void **data);

/* Ends a task in failure: keeps the message, drops any reply, and returns
 * status, so that a handler can write
 *     return mc_task_fail(task, -ENOENT, "no page %d", page);
 * A status of 0 becomes -EINVAL. */
MC_API int mc_task_fail(mc_task *task, int status, const char *format, ...) MC_PRINTF(3, 4);

/* What worker_init left in *state. */
MC_API void *mc_task_state(const mc_task *task);

/* True once the group was cancelled or closed: a long handler may stop early. */
MC_API bool mc_task_cancelled(const mc_task *task);

/* True once the task has run for longer than its soft time limit. */
MC_API bool mc_task_overdue(const mc_task *task);

/* Which run of an idempotent task this is: 1, or more after workers died of it. */
MC_API unsigned mc_task_attempt(const mc_task *task);

/* True when the task runs in the process that submitted it. */
MC_API bool mc_task_inline(const mc_task *task);

/* The pool, for groups of the handler's own. A handler that waits for them runs
 * them itself if nobody else does, so that nesting cannot deadlock. NULL if this
 * worker cannot attach to it. It is this worker's: one that is forked from it
 * (refork_after) has its own, and for a pointer that was kept only -ESTALE. */
MC_API mc_pool *mc_task_pool(mc_task *task);

/* ---- Waiting in a handler -------------------------------------------------- */

/* A handler that is MC_IO does not block. It asks to be called back, by the functions
 * below, and returns MC_PENDING; its worker goes on with other tasks, of which 16,384
 * can wait in one worker, and calls back when there is something to do:
 *
 *     static int answer(mc_task *task, unsigned events, void *context)
 *     {
 *         struct request *request = context;
 *         if (events & MC_EVENT_END)
 *             return give_up(task, request);
 *         ssize_t size = read(request->socket, ...);
 *         ...
 *         return mc_task_reply(task, ...);
 *     }
 *
 *     static int ask(mc_task *task)
 *     {
 *         ...
 *         int result = mc_task_await_fd(task, request->socket, MC_EVENT_READ, answer, request);
 *         return result < 0 ? result : MC_PENDING;
 *     }
 *
 * A task may await a descriptor and a timer at once, and be woken besides; whichever
 * comes first calls back, and then it awaits nothing until it asks again. The task,
 * its arguments and its replies stay until it has ended: by returning something else
 * than MC_PENDING, from the handler or from a call-back.
 *
 * Time limits count from the task's start. Past the soft one on_soft_limit is called,
 * here not from a signal handler; past the other one the task ends with -ETIMEDOUT, and
 * its worker lives on, unless it is one call that has run for that long; where tasks of
 * other clients wait there too, for as long as the handler's own time_limit_ms. A worker
 * that dies takes all tasks that wait in it along: they end with -EOWNERDEAD, or are run
 * again where the handler is MC_IDEMPOTENT.
 *
 * A handler that waits for a group of its own by mc_group_wait() holds its own call up,
 * but not the other tasks of its worker, which are called within that wait. It goes on when
 * its group has ended and they have returned: one of them may wait, too, and for longer,
 * whatever the timeout of the first. So it had better await mc_pool_fd(). The wait is
 * -EDEADLK where 64 calls wait within one another, or where the task that is waited for is
 * itself held up by this call. Tasks of handlers that are not MC_IO are left to other workers,
 * unless none has begun one for a while.
 *
 * The functions below are for the handler and its call-backs, in the worker's own thread
 * of control: not for threads that they start. */
#define MC_PENDING (-0x4d43)

enum mc_event {
    MC_EVENT_READ = 1 << 0,   /* the descriptor is readable, or at its end */
    MC_EVENT_WRITE = 1 << 1,  /* writable */
    MC_EVENT_HANGUP = 1 << 2, /* an error, or nobody at the other end: read() will tell */
    MC_EVENT_TIMER = 1 << 3,  /* the time is up */
    MC_EVENT_WAKE = 1 << 4,   /* mc_task_wake() */
    /* The task was cancelled, or is over its time limit: the last call. Give back what
     * the task holds; the status that is returned counts where it was cancelled. */
    MC_EVENT_END = 1 << 5,
};

/* Called back in the task's worker, with what happened: a set of enum mc_event. */
typedef int mc_resume_fn(mc_task *task, unsigned events, void *context);

/* Calls back when the descriptor is ready for one of events (MC_EVENT_READ,
 * MC_EVENT_WRITE). The descriptor stays the handler's: it must not be closed while it
 * is awaited. Several tasks may await the same one. Replaces what was awaited before,
 * but for a timer; a task has one resume and context, those that were given last. Does not
 * block.
 * Errors: -ENOTSUP in a handler that is not MC_IO, -EINVAL if events or resume are not
 * given, -EBADF, -ENOMEM, and with epoll -EMFILE and -ENOSPC; then the task awaits no
 * descriptor. */
MC_API int mc_task_await_fd(mc_task *task, int fd, unsigned events, mc_resume_fn *resume,
                            void *context);
/* Calls back after timeout_ms; 0: at the next turn, after others. Replaces an earlier
 * timer. Does not block. Errors: -ENOTSUP, -EINVAL, as above. */
MC_API int mc_task_await_timer(mc_task *task, unsigned timeout_ms, mc_resume_fn *resume,
                               void *context);
/* Calls back when another handler of this worker calls mc_task_wake() for it: for a queue
 * of tasks that wait for something that the worker has, such as a connection. Does not
 * block. Errors: -ENOTSUP, -EINVAL, as above. */
MC_API int mc_task_await_wake(mc_task *task, mc_resume_fn *resume, void *context);
/* Has a task of the same worker that has returned MC_PENDING called back, soon, with
 * MC_EVENT_WAKE, whatever it awaits. Once for any number of calls before that; nothing
 * for one that has not returned MC_PENDING yet, or none that is MC_IO. The task must not have
 * ended: its object may be another's by then. */
MC_API void mc_task_wake(mc_task *task);

/* ---- Structured values --------------------------------------------------- */

/* Arguments and results can be JSON or MessagePack. Both are read as the same
 * tree, and written with the same calls, so that a handler need not know which
 * of them its caller chose.
 *
 * Limits: 64 levels of depth; announced lengths are checked against the bytes
 * that are there before anything is allocated. */

enum mc_type {
    MC_NIL,
    MC_BOOL,
    MC_INT,  /* integers from INT64_MIN to INT64_MAX */
    MC_UINT, /* integers above INT64_MAX, MessagePack only */
    MC_DOUBLE,
    MC_STRING, /* UTF-8 */
    MC_BYTES,  /* MessagePack, and raw payloads as a whole */
    MC_ARRAY,
    MC_MAP, /* keys are strings */
};

/* A node of a decoded tree; small, to be passed by value. Valid as long as the
 * bytes it was decoded from, which it points into. The members are private. */
typedef struct mc_value {
    const void *codec_;
    const void *node_;
} mc_value;

/* Decodes this task's arguments, once per task, as the caller encoded them.
 * Raw ones are one MC_BYTES value. Malformed ones: -EBADMSG with the offset in
 * the message, or -EMSGSIZE for a limit; a handler does well to return it. */
MC_API int mc_task_value(mc_task *task, mc_value *value);

/* Begins the result as a structured value, in the format of the arguments
 * (MessagePack where those are raw). The value is complete when the handler
 * returns 0; one that is not fails the task with -EINVAL. Replaces an earlier
 * reply. */
MC_API int mc_task_writer(mc_task *task, mc_writer **writer);

/* Decodes a result. The tree belongs to the group, until mc_group_close() or
 * mc_group_release(). Errors as mc_task_value(). */
MC_API int mc_group_value(mc_group *group, size_t index, mc_value *value);

MC_API enum mc_type mc_value_type(mc_value value);
/* Scalars: -EINVAL when the type is another, -ERANGE when the number does not
 * fit. Integers convert to double; mc_value_uint() takes non-negative MC_INT. */
MC_API int mc_value_bool(mc_value value, bool *out);
MC_API int mc_value_int(mc_value value, int64_t *out);
MC_API int mc_value_uint(mc_value value, uint64_t *out);
MC_API int mc_value_double(mc_value value, double *out);
/* Bytes in place; strings are not terminated by a zero byte. */
MC_API int mc_value_string(mc_value value, const char **out, size_t *size);
MC_API int mc_value_bytes(mc_value value, const void **out, size_t *size);
/* Elements of an array or map; 0 for anything else. */
MC_API size_t mc_value_count(mc_value value);
/* -ERANGE past the end, -EINVAL when it is no array (no map). */
MC_API int mc_value_at(mc_value array, size_t index, mc_value *out);
MC_API int mc_value_entry(mc_value map, size_t index, mc_value *key, mc_value *out);
/* Looks through the map, and takes the first of equal keys. -ENOENT when the key
 * is missing; the message names it. */
MC_API int mc_value_get(mc_value map, const char *key, mc_value *out);

/* Writing. Errors are kept: the first is returned by every later call and by
 * the call that ends the writer, so that a sequence may be checked once.
 * Containers are announced with their number of elements, then filled; those
 * of a map are pairs of a string and a value. JSON has no bytes, no NaN, no
 * infinity, no integer above INT64_MAX and no key twice: -EINVAL. */
MC_API int mc_write_nil(mc_writer *writer);
MC_API int mc_write_bool(mc_writer *writer, bool value);
MC_API int mc_write_int(mc_writer *writer, int64_t value);
MC_API int mc_write_uint(mc_writer *writer, uint64_t value);
MC_API int mc_write_double(mc_writer *writer, double value);
MC_API int mc_write_string(mc_writer *writer, const char *text);
MC_API int mc_write_text(mc_writer *writer, const char *text, size_t size);
MC_API int mc_write_bytes(mc_writer *writer, const void *data, size_t size);
MC_API int mc_write_array(mc_writer *writer, size_t count);
MC_API int mc_write_map(mc_writer *writer, size_t count);

/* ---- Helpers ------------------------------------------------------------- */

struct mc_range {
    uint64_t start;
    uint64_t end;
};

/* Splits [0, items) into at most parts ranges of equal size, none with fewer
 * than min_chunk items but for the last: 80 items in 4 parts are 0-20, 20-40,
 * 40-60, 60-80; with a minimum of 30: 0-30, 30-60, 60-80; with 100: 0-80.
 * Fills up to count entries of ranges, returns how many there are in all.
 * Pure; parts and min_chunk of 0 count as 1. */
MC_API size_t mc_ranges(uint64_t items, unsigned parts, uint64_t min_chunk, struct mc_range *ranges,
                        size_t count);

/* The number of usable cores: affinity mask, cpuset and CPU quota of the
 * cgroup. At least 1. */
MC_API unsigned mc_usable_cores(void);

#ifdef __cplusplus
}
#endif
#endif
