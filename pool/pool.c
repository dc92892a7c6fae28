/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool/pool.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fault.h"
#include "base/sys.h"
#include "ipc/channel.h"
#include "ipc/segment.h"
#include "pool/log.h"
#include "pool/supervisor.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    CLOSE_SLACK_MS = 2500, /* for the supervisor to end, beyond close_timeout_ms */
    ATTACH_TIMEOUT_MS = 5000,
    SUPERVISOR_EXIT_MS = 500, /* from the end of its socket to its death */
};

const char *mc_error_message(void)
{
    return error_message();
}

int mc_fail(int status, const char *format, ...)
{
    char text[ERROR_MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    return error_set(status, "%s", text);
}

const char *mc_version(void)
{
    return "0.1.0";
}

/* ---- the parts ---- */

/* An atomic word that is 0 again in every forked child. */
static _Atomic uint32_t *mark_create(void)
{
    if (FAULT_FAILS("pool_mark", ENOMEM))
        return NULL;
    void *page =
        mmap(NULL, PAGE_SIZE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return NULL;
    if (madvise(page, PAGE_SIZE_BYTES, MADV_WIPEONFORK) < 0) {
        munmap(page, PAGE_SIZE_BYTES);
        return NULL;
    }
    return page;
}

/* Those of a pool behind a front are the handle's. */
static bool owns_inline_states(const mc_pool *pool)
{
    return pool->inline_states == &pool->own_inline_states;
}

mc_pool *pool_create(struct config *config, mc_pool *handle)
{
    mc_pool *pool = calloc(1, sizeof(*pool));
    if (pool == NULL)
        return NULL;
    pool->config = config;
    pool->pid = getpid();
    pool->depth = process_depth();
    pool->attach_socket = pool->supervisor_pidfd = -1;
    pool->client.socket = pool->client.notify = -1;
    pool->client.events = pool->client.self = -1;
    pool->mark = mark_create();
    pool->handle = handle;
    pool->inline_states = handle != NULL ? handle->inline_states : &pool->own_inline_states;
    if (pool->mark == NULL ||
        (owns_inline_states(pool) && !inline_init(pool->inline_states, config))) {
        if (pool->mark != NULL)
            munmap((void *)pool->mark, PAGE_SIZE_BYTES);
        free(pool);
        return NULL;
    }
    pthread_mutex_init(&pool->log_lock, NULL);
    return pool;
}

void pool_free(mc_pool *pool)
{
    if (pool == NULL)
        return;
    if (pool->bells != NULL && !pool->in_worker)
        munmap(pool->bells, BELLS_SIZE);
    if (pool->quarantine != NULL)
        munmap((void *)(uintptr_t)pool->quarantine, sizeof(struct quarantine));
    if (pool->control != NULL && !pool->in_worker)
        munmap((void *)(uintptr_t)pool->control, pool->control_bytes);
    if (owns_inline_states(pool))
        inline_fini(pool->inline_states);
    munmap((void *)pool->mark, PAGE_SIZE_BYTES);
    sys_close(&pool->supervisor_pidfd);
    sys_close(&pool->attach_socket);
    if (!pool->in_worker)
        config_free(pool->config);
    free(pool->away);
    free(pool);
}

static int check_welcome(const mc_pool *pool, const struct parcel *parcel)
{
    const struct message *message = &parcel->message;
    int count = parcel->descriptor_count;
    if (message->type == MESSAGE_REFUSED && message->status < 0)
        return error_set(message->status, "%s", message->text);
    if (message->type != MESSAGE_WELCOME || message->index >= MAX_LANES ||
        (pool->control == NULL ? count < 4 : count != 2))
        return error_set(-EPROTO, "the supervisor's answer makes no sense (type %u)",
                         message->type);
    return 0;
}

/* The segments that all clients share; a forked child has them already. */
static int map_common(mc_pool *pool, const struct parcel *parcel)
{
    uint64_t size = segment_size(parcel->descriptors[2]);
    if (size < sizeof(struct control))
        return error_set(-EPROTO, "the pool's shared memory is too small to be a pool's");
    pool->control_bytes = size;
    pool->control = segment_map(parcel->descriptors[2], size, false);
    pool->bells = segment_map(parcel->descriptors[3], BELLS_SIZE, true);
    if (parcel->descriptor_count == 5)
        pool->quarantine = segment_map(parcel->descriptors[4], sizeof(struct quarantine), false);
    if (pool->control == NULL || pool->bells == NULL)
        return error_system(-ENOMEM, "the pool's shared memory cannot be mapped");
    if (pool->control->magic != LAYOUT_MAGIC_CONTROL || pool->control->version != LAYOUT_VERSION ||
        size < control_size(pool->control->seat_count, pool->control->io_seats,
                            pool->control->handler_capacity) ||
        (pool->config != NULL && pool->control->seat_count != pool->config->seats))
        return error_set(-EPROTO, "the pool's shared memory is not what this library makes");
    pool->supervisor_pidfd = sys_pidfd_open(parcel->message.value);
    if (pool->opener && pool->supervisor_pidfd < 0)
        return error_system(pool->supervisor_pidfd, "the pool's supervisor cannot be watched");
    return 0;
}

static int read_welcome(mc_pool *pool, int socket, struct parcel *parcel,
                        const struct config *local)
{
    int result = check_welcome(pool, parcel);
    if (result == 0 && pool->control == NULL)
        result = map_common(pool, parcel);
    const struct control *control = pool->control;
    if (result == 0 && control != NULL && parcel->message.index >= control->lane_limit)
        result = error_set(-EPROTO, "the pool has %u lanes, and gave us number %u",
                           control->lane_limit, parcel->message.index);
    if (result == 0 && local != NULL)
        result = config_create_attached(pool->control, local, &pool->config);
    if (result < 0) {
        close(socket);
        return result;
    }
    int notify = parcel->descriptors[1];
    parcel->descriptors[1] = -1;
    return client_init(&pool->client, pool->config, socket, notify, parcel->descriptors[0],
                       parcel->message.index);
}

int pool_await_welcome(mc_pool *pool, int socket, int timeout_ms, const struct config *local)
{
    struct parcel parcel = {.descriptor_count = 0};
    int result;
    if (sys_await_input(socket, timeout_ms) == 0)
        result = error_set(-ETIMEDOUT, "the supervisor did not answer within %d ms", timeout_ms);
    else if (channel_receive(socket, &parcel, 0) <= 0)
        result = error_set(-ESHUTDOWN, "the pool's supervisor is gone");
    else {
        result = read_welcome(pool, socket, &parcel, local);
        socket = -1;
    }
    sys_close(&socket);
    parcel_drop(&parcel);
    return result;
}

/* ---- opening ---- */

/* Starts the supervisor as a grandchild, so that the host never has it as a
 * child to wait for. The intermediate process ends without SIGCHLD. */
static int start_supervisor(struct config *config, int ends[2])
{
    pid_t host = getpid();
    /* With other threads around, take glibc's fork: it at least leaves malloc
     * usable in the child. */
    pid_t middle = sys_thread_count() > 1 ? fork() : sys_fork(0, false, NULL);
    if (middle == 0) {
        pid_t supervisor = sys_fork(SIGCHLD, false, NULL);
        if (supervisor == 0)
            supervisor_run(config, ends[1], host);
        _exit(supervisor < 0 ? 1 : 0);
    }
    if (middle < 0)
        return error_system(middle == -1 ? -errno : (int)middle, "the pool cannot fork");
    int status;
    pid_t waited;
    do {
        waited = FAULT_CALL("pool_await_fork", EINTR, waitpid(middle, &status, __WALL));
    } while (waited < 0 && errno == EINTR);
    if (waited == middle && status != 0)
        return error_set(-EAGAIN, "the pool cannot fork its supervisor: too many processes");
    return 0;
}

int mc_pool_open(const struct mc_pool_options *options, mc_pool **pool)
{
    struct config *config;
    clock_calibrate_begin();
    int result = config_create(options, NULL, &config);
    if (result < 0)
        return result;
    unsigned threads = sys_thread_count();
    if (threads > 1 && !(config->flags & MC_ALLOW_THREADS)) {
        config_free(config);
        return error_set(-EBUSY,
                         "%u threads are running: open the pool before starting threads, or set "
                         "MC_ALLOW_THREADS if no handler needs a lock that they may hold",
                         threads);
    }
    mc_pool *made = pool_create(config, NULL);
    if (made == NULL) {
        config_free(config);
        return error_set(-ENOMEM, "no memory for the pool");
    }
    int ends[2];
    result = channel_pair(ends);
    if (result < 0) {
        error_system(result, "no socket for the pool");
        goto fail;
    }
    made->opener = true;
    result = start_supervisor(config, ends);
    sys_close(&ends[1]);
    if (result == 0)
        result = pool_await_welcome(made, ends[0], -1, NULL);
    else
        sys_close(&ends[0]);
    if (result < 0)
        goto fail;
    clock_calibrate_end();
    atomic_store_explicit(made->mark, MARK_READY, memory_order_release);
    pool_deliver_log(made);
    *pool = made;
    return 0;
fail:
    pool_free(made);
    return result;
}

/* ---- further clients: forked children and workers ---- */

static int attach(mc_pool *pool, int over)
{
    int ends[2];
    int result = channel_pair(ends);
    if (result < 0)
        return error_system(result, "no socket to attach to the pool with");
    struct parcel parcel = {
        .message = {.type = MESSAGE_ATTACH}, .descriptors = {ends[1]}, .descriptor_count = 1};
    result = channel_send(over, &parcel, 0);
    sys_close(&ends[1]);
    if (result == 0)
        return pool_await_welcome(pool, ends[0], ATTACH_TIMEOUT_MS, NULL);
    sys_close(&ends[0]);
    return error_set(-ESHUTDOWN, "the pool's supervisor is gone");
}

static void forget_descriptors(mc_pool *pool)
{
    struct client *client = &pool->client;
    pool->attach_socket = pool->supervisor_pidfd = -1;
    client->socket = client->notify = client->events = client->self = -1;
}

/* The lane is not mapped here. The socket is kept if it is the first client's: that of the
 * parent is of no use when the parent has gone. */
void pool_drop_inherited(mc_pool *pool)
{
    struct client *client = &pool->client;
    if (pool_estranged(pool))
        forget_descriptors(pool);
    client->lane.memory = NULL;
    if (pool->attach_socket < 0) {
        pool->attach_socket = client->socket;
        client->socket = -1;
    }
    for (mc_group *group = client->groups, *next; group != NULL; group = next) {
        next = group->next;
        group_inherit(group);
    }
    client->groups = NULL;
    client_fini(client);
}

/* The child of a fork becomes a client of its own; the inherited socket is only used to
 * send one end of its own. The pool does not outlive the opener, whose socket that is. */
static int reattach(mc_pool *pool)
{
    pool_drop_inherited(pool);
    pool->pid = getpid();
    pool->opener = false;
    inline_begin_anew(pool->inline_states);
    pthread_mutex_init(&pool->log_lock, NULL);
    if (pool_estranged(pool))
        return error_set(-ESTALE, "the pool was opened before this process became one of a pool's, "
                                  "and is of no use here: take mc_task_pool(), or attach to one");
    return attach(pool, pool->attach_socket);
}

int pool_ready(mc_pool *pool)
{
    for (;;) {
        uint32_t mark = atomic_load_explicit(pool->mark, memory_order_acquire);
        if (mark == MARK_READY)
            return 0;
        if (mark == MARK_ATTACHING) { /* another thread of this process does it */
            sched_yield();
            continue;
        }
        if (!atomic_compare_exchange_strong(pool->mark, &mark, MARK_ATTACHING))
            continue;
        int result = reattach(pool);
        atomic_store_explicit(pool->mark, result == 0 ? MARK_READY : MARK_FORKED,
                              memory_order_release);
        return result;
    }
}

mc_pool *pool_of_worker(struct config *config, struct control *control, struct bells *bells,
                        int socket, struct states *states)
{
    mc_pool *pool = pool_create(config, NULL);
    if (pool == NULL) {
        error_set(-ENOMEM, "no memory for the worker's own pool");
        return NULL;
    }
    pool->in_worker = true;
    pool->control = control;
    pool->bells = bells;
    pool->worker_states = states;
    if (attach(pool, socket) < 0) {
        pool_free(pool);
        return NULL;
    }
    atomic_store_explicit(pool->mark, MARK_READY, memory_order_release);
    return pool;
}

/* ---- closing ---- */

/* If this process adopts orphans, the supervisor has become its child. */
static void reap_supervisor(const mc_pool *pool)
{
    struct pollfd ended = {.fd = pool->supervisor_pidfd, .events = POLLIN};
    int status;
    if (poll(&ended, 1, SUPERVISOR_EXIT_MS) == 1)
        (void)sys_pidfd_reap(pool->supervisor_pidfd, &status);
}

static void end_pool(mc_pool *pool, uint32_t timeout_ms)
{
    struct parcel parcel = {.message = {.type = MESSAGE_CLOSE, .value = (int32_t)timeout_ms}};
    (void)channel_send(pool->client.socket, &parcel, 0);
    uint64_t deadline = clock_ns() / 1000000 + timeout_ms + CLOSE_SLACK_MS;
    for (;;) {
        uint64_t now = clock_ns() / 1000000;
        struct pollfd gone = {.fd = pool->client.socket, .events = POLLIN};
        if (now >= deadline)
            break;
        uint64_t left_ms = deadline - now;
        if (poll(&gone, 1, left_ms < INT_MAX ? (int)left_ms : INT_MAX) > 0 &&
            client_check_gone(&pool->client)) {
            reap_supervisor(pool);
            return;
        }
    }
    (void)sys_pidfd_kill(pool->supervisor_pidfd, SIGKILL); /* its workers die with it */
    reap_supervisor(pool);
}

void pool_detach(mc_pool *pool)
{
    while (pool->client.groups != NULL)
        group_orphan(pool->client.groups);
    if (owns_inline_states(pool))
        inline_end(pool->inline_states);
    client_fini(&pool->client);
    pool_free(pool);
}

static void close_within(mc_pool *pool, uint32_t timeout_ms)
{
    if (pool->front != NULL) {
        front_close(pool->front);
        pool_free(pool);
        return;
    }
    if (!pool_current(pool)) { /* a child that never used it */
        pool_drop_inherited(pool);
        pool_free(pool);
        return;
    }
    pool_deliver_log(pool);
    if (pool->opener)
        end_pool(pool, timeout_ms);
    pool_deliver_log(pool);
    pool_detach(pool);
}

void mc_pool_close(mc_pool *pool)
{
    if (pool != NULL)
        close_within(pool, pool->front != NULL ? 0 : pool->config->close_timeout_ms);
}

void mc_pool_terminate(mc_pool *pool)
{
    if (pool != NULL)
        close_within(pool, 0);
}

/* The pool itself, for a look; leave() follows. */
static mc_pool *enter(mc_pool *pool)
{
    return pool->front != NULL ? front_enter(pool->front) : pool;
}

static void leave(mc_pool *pool)
{
    if (pool->front != NULL)
        front_leave(pool->front);
}

static unsigned workers_of(const mc_pool *pool)
{
    return pool->away != NULL || pool->config == NULL ? 0 : pool->config->workers;
}

unsigned mc_pool_workers(const mc_pool *pool)
{
    mc_pool *handle = (mc_pool *)(uintptr_t)pool;
    unsigned workers = workers_of(enter(handle));
    leave(handle);
    return workers;
}

unsigned mc_pool_worker_pids(mc_pool *pool, pid_t *pids, unsigned count)
{
    const mc_pool *there = enter(pool);
    unsigned seats = workers_of(there) == 0 ? 0 : there->config->seats;
    for (uint32_t i = 0; i < count && i < seats; i++)
        pids[i] = atomic_load_explicit(&there->control->rows[i].pid, memory_order_relaxed);
    leave(pool);
    return seats;
}

bool mc_pool_connected(mc_pool *pool)
{
    mc_pool *there = enter(pool);
    bool connected =
        workers_of(there) != 0 && pool_ready(there) == 0 && !client_gone(&there->client);
    leave(pool);
    return connected;
}

/* ---- inline tasks ---- */

int pool_inline_enter(mc_pool *pool, const struct handler *handler, const struct states **states)
{
    if (!pool->in_worker)
        return inline_enter(pool->inline_states, handler, states);
    *states = pool->worker_states;
    return 0;
}

void pool_inline_leave(mc_pool *pool, const struct handler *handler)
{
    if (!pool->in_worker)
        inline_leave(pool->inline_states, handler);
}

/* ---- the log ---- */

void pool_deliver_log(mc_pool *pool)
{
    uint64_t tail = atomic_load_explicit(&pool->control->log_tail, memory_order_relaxed);
    if (pool->config->log == NULL || !pool->opener ||
        atomic_load_explicit(&pool->log_cursor, memory_order_relaxed) == tail)
        return;
    if (pthread_mutex_trylock(&pool->log_lock) != 0)
        return; /* another thread delivers */
    char text[LOG_TEXT_SIZE];
    int level;
    uint64_t cursor = atomic_load_explicit(&pool->log_cursor, memory_order_relaxed);
    while ((level = log_read(pool->control, &cursor, text)) != 0)
        pool->config->log(pool->config->log_context, level, text);
    atomic_store_explicit(&pool->log_cursor, cursor, memory_order_relaxed);
    pthread_mutex_unlock(&pool->log_lock);
}
