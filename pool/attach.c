/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A pool at a socket may be there or not. The program's handle is a front: behind it
 * is the pool that is there now, or one that is away, whose groups run in the caller.
 * When a pool goes, the next mc_group_open() puts another behind the front; groups stay
 * where they were opened, and the pool of theirs is kept until they are closed.
 */
#include "pool/pool.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fault.h"
#include "base/sys.h"
#include "ipc/channel.h"
#include "ipc/segment.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    TIMEOUT_MS = 1000,
    PATIENCE_MS = 100,   /* for an answer, when a pool is to be found again */
    LOOK_MS = 20,        /* from one look for an answer to the next */
    RETRY_MS = 250,      /* from one attempt to connect to the next */
    UNHEARD_MS = 5000,   /* after that a connection that was not answered is given up */
    FORMERS_MOST = 1024, /* pools whose groups are still open; see keep() */
};

struct front {
    mc_pool *handle;
    struct config *local; /* the program's own handlers */
    struct sockaddr_un address;
    uint32_t timeout_ms;
    pthread_mutex_t lock; /* everything below */
    mc_pool *now;
    mc_pool *formers[FORMERS_MOST];
    uint32_t former_count;
    uint64_t retry_ms; /* when to connect again */
    int asked;         /* a connection whose answer is still to come, -1: none */
    uint64_t asked_ms; /* since when */
    bool awaited;      /* somebody has waited for that answer */
    int events;        /* epoll over those of the pools; -1 until asked for */
};

/* ---- without a pool ---- */

static void *map_private(size_t size)
{
    void *memory = FAULT_FAILS("attach_map", ENOMEM) ? MAP_FAILED
                                                     : mmap(NULL, size, PROT_READ | PROT_WRITE,
                                                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static int copy_local(const struct config *local, struct config **copy)
{
    struct config *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return error_set(-ENOMEM, "no memory for the options");
    *made = *local;
    made->handlers = calloc(local->handler_capacity, sizeof(*made->handlers));
    made->modules = calloc(1, sizeof(*made->modules));
    if (made->handlers == NULL || made->modules == NULL) {
        config_free(made);
        return error_set(-ENOMEM, "no memory for the handlers");
    }
    memcpy(made->handlers, local->handlers, local->handler_count * sizeof(*made->handlers));
    made->modules[0] = local->modules[0];
    *copy = made;
    return 0;
}

/* Memory of our own takes the place of the pool's; nobody else has it. */
static int furnish(mc_pool *pool)
{
    struct control *control = map_private(control_size(1, 0, 0));
    pool->control = control;
    pool->control_bytes = control_size(1, 0, 0);
    pool->bells = map_private(BELLS_SIZE);
    if (control == NULL || pool->bells == NULL)
        return error_set(-ENOMEM, "no memory for tasks that run here");
    atomic_store(&control->hopeless, ALL_CLASSES);
    int lane = segment_create("multicore-local", pool->config->geometry.total_size);
    if (lane < 0)
        return error_system(lane, "no memory for tasks that run here");
    struct lane_header *header = segment_map(lane, PAGE_SIZE_BYTES, true);
    int result = header == NULL ? error_set(-ENOMEM, "no memory for tasks that run here") : 0;
    if (result == 0) {
        lane_format(&pool->config->geometry, header, 0);
        munmap(header, PAGE_SIZE_BYTES);
        result = client_init(&pool->client, pool->config, -1, -1, lane, 0);
    }
    close(lane);
    atomic_store(&pool->client.gone, true);
    return result;
}

/* A pool that is not there, because of the last error. */
static mc_pool *make_away(const struct front *front)
{
    char *why = NULL;
    struct config *config = NULL;
    if (asprintf(&why, "the pool at %s is not there: %s", front->address.sun_path,
                 error_message()) < 0)
        return NULL;
    mc_pool *pool =
        copy_local(front->local, &config) < 0 ? NULL : pool_create(config, front->handle);
    if (pool == NULL) {
        config_free(config);
        free(why);
        return NULL;
    }
    pool->away = why;
    if (furnish(pool) < 0) {
        pool_free(pool);
        return NULL;
    }
    atomic_store_explicit(pool->mark, MARK_READY, memory_order_release);
    return pool;
}

/* ---- with one ---- */

/* Without patience the socket does not block later either, where nobody relies on that. */
static int reach(const struct front *front, uint32_t patience_ms)
{
    int type = SOCK_SEQPACKET | SOCK_CLOEXEC | (patience_ms == 0 ? SOCK_NONBLOCK : 0);
    int socket_fd = FAULT_CALL("attach_socket", EMFILE, socket(AF_UNIX, type, 0));
    struct timeval patience = {.tv_sec = patience_ms / 1000,
                               .tv_usec = (suseconds_t)(patience_ms % 1000) * 1000};
    if (socket_fd < 0)
        return error_system(-errno, "no socket to attach with");
    (void)setsockopt(socket_fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    if (FAULT_CALL("attach_connect", ECONNREFUSED,
                   connect(socket_fd, (const struct sockaddr *)&front->address,
                           sizeof(front->address))) == 0)
        return socket_fd;
    int result = -errno;
    close(socket_fd);
    return error_set(result, "%s", strerror(-result));
}

static void introduce(int socket)
{
    struct parcel parcel = {.message = {.type = MESSAGE_CONNECT, .index = LAYOUT_VERSION}};
    snprintf(parcel.message.text, sizeof(parcel.message.text), "%s", mc_version());
    /* It may have been refused already: then the answer says why. */
    (void)channel_send(socket, &parcel, 0);
}

/* A supervisor that is starting answers when its first worker is up. Nobody is to wait
 * here for that long: the connection is kept, and looked at again. */
static int await_answer(struct front *front, uint64_t now_ms, uint32_t patience_ms)
{
    if (front->asked < 0) {
        int socket = reach(front, patience_ms);
        if (socket < 0)
            return socket;
        introduce(socket);
        front->asked = socket;
        front->asked_ms = now_ms;
        front->awaited = false;
    }
    if (front->awaited)
        patience_ms = 0;
    front->awaited = front->awaited || patience_ms != 0;
    if (sys_await_input(front->asked, (int)patience_ms) > 0)
        return 0;
    if (now_ms - front->asked_ms > UNHEARD_MS)
        sys_close(&front->asked);
    return error_set(-ETIMEDOUT, "its supervisor has not answered yet");
}

static int connect_pool(struct front *front, uint64_t now_ms, uint32_t patience_ms, mc_pool **pool)
{
    int result = await_answer(front, now_ms, patience_ms);
    if (result < 0)
        return result;
    int socket = front->asked;
    front->asked = -1;
    mc_pool *made = pool_create(NULL, front->handle);
    if (made == NULL) {
        close(socket);
        return error_set(-ENOMEM, "no memory for the pool");
    }
    made->attached = true;
    result = pool_await_welcome(made, socket, (int)front->timeout_ms, front->local);
    if (result < 0) {
        pool_free(made);
        return result;
    }
    atomic_store_explicit(made->mark, MARK_READY, memory_order_release);
    *pool = made;
    return 0;
}

/* When to try again, after an attempt that failed. */
static uint64_t pause_ms(const struct front *front, int result, uint32_t patience_ms)
{
    if (front->asked >= 0)
        return front->awaited ? LOOK_MS : 0; /* at once by the first that may wait */
    return result == -EAGAIN && patience_ms != 0 ? UNHEARD_MS : RETRY_MS; /* it took its time */
}

/* ---- the one behind the front ---- */

/* If it fails, the event loop would wait for ever for what happens in that pool: then no
 * group with on_done is opened there. */
static int listen_to(const struct front *front, mc_pool *pool)
{
    struct epoll_event event = {.events = EPOLLIN};
    if (front->events < 0 || pool->away != NULL || pool->heard)
        return 0;
    int fd = events_fd(pool);
    if (fd < 0)
        return fd;
    if (FAULT_CALL("attach_listen", ENOMEM, epoll_ctl(front->events, EPOLL_CTL_ADD, fd, &event)) <
        0)
        return error_system(-errno, "the event loop cannot watch the pool");
    pool->heard = true;
    return 0;
}

static bool has_groups(mc_pool *pool)
{
    pthread_mutex_lock(&pool->client.lock);
    bool has = pool->client.groups != NULL;
    pthread_mutex_unlock(&pool->client.lock);
    return has;
}

/* Another thread may fork at any moment. The child has what this thread had stored by then, in
 * this order, and frees every pool that it finds: so at no moment is one noted in two places,
 * or noted and freed. In no place it costs the child some memory. */
static void in_this_order(void)
{
    atomic_thread_fence(memory_order_release);
}

static mc_pool *take_former(struct front *front, uint32_t index)
{
    mc_pool *taken = front->formers[index], *last = front->formers[front->former_count - 1];
    front->former_count--;
    in_this_order();
    front->formers[index] = last;
    in_this_order();
    return taken;
}

static void forget_formers(struct front *front)
{
    for (uint32_t i = front->former_count; i-- > 0;)
        if (front->formers[i]->pins == 0 && !has_groups(front->formers[i]))
            pool_detach(take_former(front, i));
}

static void put(struct front *front, mc_pool *pool)
{
    mc_pool *former = front->now;
    front->now = pool;
    in_this_order();
    if (former != NULL) {
        front->formers[front->former_count] = former;
        in_this_order();
        front->former_count++;
    }
    (void)listen_to(front, pool); /* or when it matters */
}

static bool is_there(mc_pool *pool)
{
    return pool->away == NULL && !client_gone(&pool->client) &&
           atomic_load_explicit(&pool->control->closing, memory_order_relaxed) == 0;
}

/* Whether another attempt may succeed where this one failed. */
static bool may_mend(int result)
{
    return result != -EACCES && result != -EPROTO && result != -EPERM;
}

/* Open groups rely on what they know of their handlers, so that changes only when there
 * are none. With the lock held, without which no group is opened. */
static void learn_handlers(const struct front *front)
{
    mc_pool *pool = front->now;
    uint32_t edition = atomic_load_explicit(&pool->control->handlers_edition, memory_order_relaxed);
    if (UNLIKELY(edition != pool->config->handlers_edition))
        config_learn_handlers(pool->config, pool->control, front->local, !has_groups(pool));
}

/* With the lock held. patience_ms: 0 does not block. */
static int renew_within(struct front *front, uint32_t patience_ms)
{
    uint64_t now = clock_ns() / 1000000;
    mc_pool *pool = NULL;
    forget_formers(front);
    if (front->now != NULL && is_there(front->now)) {
        learn_handlers(front);
        return 0;
    }
    if ((front->now != NULL && front->now->away != NULL && now < front->retry_ms) ||
        front->former_count == FORMERS_MOST)
        return 0;
    int result = connect_pool(front, now, patience_ms, &pool);
    front->retry_ms = clock_ns() / 1000000 + pause_ms(front, result, patience_ms);
    if (result < 0 && (front->now == NULL || front->now->away == NULL)) {
        pool = make_away(front);
        if (pool == NULL)
            return -ENOMEM;
    }
    if (pool != NULL)
        put(front, pool);
    return result;
}

static int renew(struct front *front)
{
    bool again = front->now != NULL && front->timeout_ms > PATIENCE_MS;
    return renew_within(front, again ? PATIENCE_MS : front->timeout_ms);
}

/* The same for an event loop, which does not wait. A forked child that has not used the pool
 * yet has none to renew. */
static void renew_at_once(struct front *front)
{
    if (front->now != NULL)
        (void)renew_within(front, 0);
}

/* ---- forks ---- */

static void drop_pool(mc_pool *pool)
{
    pool_drop_inherited(pool);
    pool_free(pool);
}

/* A forked child has none of its parent's connections. */
static void begin_anew(struct front *front)
{
    if (pool_estranged(front->handle))
        front->asked = front->events = -1;
    front->handle->depth = process_depth();
    pthread_mutex_init(&front->lock, NULL);
    while (front->former_count > 0)
        drop_pool(take_former(front, front->former_count - 1));
    mc_pool *now = front->now;
    front->now = NULL;
    in_this_order();
    if (now != NULL)
        drop_pool(now);
    front->retry_ms = 0;
    sys_close(&front->asked);
    sys_close(&front->events);
    inline_begin_anew(front->handle->inline_states);
    atomic_store_explicit(front->handle->mark, MARK_READY, memory_order_release);
}

static void lock(struct front *front)
{
    uint32_t forked = MARK_FORKED;
    if (atomic_compare_exchange_strong(front->handle->mark, &forked, MARK_ATTACHING))
        begin_anew(front);
    while (!pool_current(front->handle)) /* another thread begins anew */
        sys_pause();
    pthread_mutex_lock(&front->lock);
}

/* ---- what the handle does ---- */

mc_pool *front_enter(struct front *front)
{
    lock(front);
    if (front->now == NULL)
        (void)renew(front);
    return front->now != NULL ? front->now : front->handle;
}

void front_leave(struct front *front)
{
    pthread_mutex_unlock(&front->lock);
}

static bool has_events(const struct mc_group_options *options)
{
    size_t known = offsetof(struct mc_group_options, on_done) + sizeof(options->on_done);
    return options != NULL && options->size >= known && options->on_done != NULL;
}

int front_open_group(struct front *front, const struct mc_group_options *options, mc_group **group)
{
    lock(front);
    int result = renew(front);
    /* It may go between the look and the opening: then once more. */
    for (int attempt = 0; front->now != NULL && attempt < 2; attempt++) {
        result = has_events(options) ? listen_to(front, front->now) : 0;
        if (result == 0)
            result = group_open(front->now, options, group);
        if (result != -ESHUTDOWN)
            break;
        (void)renew(front);
    }
    front_leave(front);
    return result;
}

int front_fd(struct front *front)
{
    int result = 0;
    lock(front);
    if (front->events < 0)
        front->events = FAULT_CALL("attach_epoll", EMFILE, epoll_create1(EPOLL_CLOEXEC));
    if (front->events < 0)
        result = error_system(-errno, "no descriptor for the event loop");
    else if (front->now != NULL)
        result = listen_to(front, front->now);
    for (uint32_t i = 0; result == 0 && i < front->former_count; i++)
        result = listen_to(front, front->formers[i]);
    if (result == 0)
        result = front->events;
    front_leave(front);
    return result;
}

/* A pool that is gone would be readable for ever. Only for one whose dispatch said so, since
 * then all of its groups were reported. */
static void unlisten(const struct front *front, const mc_pool *pool)
{
    if (pool->client.events >= 0 && front->events >= 0)
        (void)epoll_ctl(front->events, EPOLL_CTL_DEL, pool->client.events, NULL);
}

/* The callbacks may open groups, so the lock is not held meanwhile; the pools are
 * pinned instead. */
int front_dispatch(struct front *front)
{
    mc_pool *pools[FORMERS_MOST + 1];
    bool over[FORMERS_MOST + 1] = {false};
    uint32_t count = 0;
    int reported = 0;
    lock(front);
    renew_at_once(front);
    memcpy(pools, front->formers, front->former_count * sizeof(mc_pool *));
    count = front->former_count;
    if (front->now != NULL)
        pools[count++] = front->now;
    for (uint32_t i = 0; i < count; i++)
        pools[i]->pins++;
    front_leave(front);
    for (uint32_t i = 0; i < count; i++) {
        int result = pools[i]->away != NULL ? 0 : events_dispatch(pools[i], &over[i]);
        reported += result > 0 ? result : 0;
    }
    lock(front);
    for (uint32_t i = 0; i < count; i++) {
        pools[i]->pins--;
        if (over[i])
            unlisten(front, pools[i]);
    }
    renew_at_once(front);
    front_leave(front);
    return reported;
}

void front_close(struct front *front)
{
    lock(front);
    for (uint32_t i = 0; i < front->former_count; i++)
        pool_detach(front->formers[i]);
    if (front->now != NULL)
        pool_detach(front->now);
    sys_close(&front->asked);
    sys_close(&front->events);
    front_leave(front);
    inline_end(front->handle->inline_states);
    config_free(front->local);
    free(front);
}

static int read_path(struct front *front, const char *path)
{
    size_t length = path == NULL ? 0 : strlen(path);
    if (length == 0)
        return error_set(-EINVAL, "the path of the pool's socket is empty");
    if (length >= sizeof(front->address.sun_path))
        return error_set(-ENAMETOOLONG, "the path of the pool's socket has %zu bytes: at most %zu",
                         length, sizeof(front->address.sun_path) - 1);
    front->address.sun_family = AF_UNIX;
    memcpy(front->address.sun_path, path, length + 1);
    return 0;
}

int mc_pool_attach(const char *path, const struct mc_attach_options *options, mc_pool **pool)
{
    struct front *front = calloc(1, sizeof(*front));
    clock_calibrate_begin();
    if (front == NULL)
        return error_set(-ENOMEM, "no memory for the pool");
    front->events = front->asked = -1;
    pthread_mutex_init(&front->lock, NULL);
    int result = read_path(front, path);
    if (result == 0)
        result = config_create_local(options, &front->local);
    front->handle = result == 0 ? pool_create(NULL, NULL) : NULL;
    if (front->handle == NULL) {
        config_free(front->local);
        free(front);
        return result < 0 ? result : error_set(-ENOMEM, "no memory for the pool");
    }
    bool timed = options != NULL && options->size >= sizeof(*options) && options->timeout_ms != 0;
    front->timeout_ms = timed ? options->timeout_ms : TIMEOUT_MS;
    front->handle->front = front;
    front->handle->inline_states->config = front->local;
    atomic_store_explicit(front->handle->mark, MARK_READY, memory_order_release);
    result = renew(front);
    clock_calibrate_end();
    if (front->now == NULL || (result < 0 && !may_mend(result))) {
        mc_pool_close(front->handle);
        return result;
    }
    *pool = front->handle;
    return 0;
}
