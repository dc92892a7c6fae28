/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Submitting: the public functions that make tasks, one at a time or as the chunks of
 * a range. Here it is decided what to do when the lane is full; client.c puts the task
 * into the lane.
 */
#include "pool/pool.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/error.h"
#include "ipc/tally.h"
#include "pool/modules.h"
#include "pool/split.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

enum {
    LINE_NS = 20000000, /* who waits longer for room in the arena gets what becomes free */
    EARLY = 64,         /* tasks of a map after which the first are announced */
};

/* ---- one task ---- */

/* Programs name a handler by the same text again and again: what was found for its address
 * is right if that name is still this one. */
static int find_number(mc_pool *pool, const char *name)
{
    const struct config *config = pool->config;
    uintptr_t address = (uintptr_t)name;
    _Atomic uint32_t *found = &pool->found[(address ^ address >> 6) % FOUND_MOST];
    uint32_t number = atomic_load_explicit(found, memory_order_relaxed);
    if (number < config->handler_count && strcmp(config->handlers[number].name, name) == 0)
        return (int)number;
    int result = config_handler(config, name);
    if (result >= 0)
        atomic_store_explicit(found, (uint32_t)result, memory_order_relaxed);
    return result;
}

/* A worker that waits for the task: perhaps nobody else can take it. */
static bool may_have_to_run(const mc_group *group, uint32_t handler)
{
    const mc_pool *pool = group->pool;
    return group->on_done == NULL &&
           (pool->io != NULL || handler_seats(&pool->config->handlers[handler]) == SEAT_CPU);
}

static int find_handler(const mc_group *group, const char *name)
{
    mc_pool *pool = group->pool;
    if (name == NULL)
        return error_set(-EINVAL, "no handler was named");
    int number = find_number(pool, name);
    if (pool->in_worker && number >= 0 && may_have_to_run(group, (uint32_t)number)) {
        int result = modules_wake_here(pool->config, (uint32_t)number, pool->worker_states);
        if (result < 0)
            return result;
    }
    if (pool->away == NULL)
        return number;
    if (number < 0)
        return error_set(-ENOTCONN, "%s, and handler '%.64s' is not linked into this program",
                         pool->away, name);
    if ((pool->config->handlers[number].flags & MC_ISOLATED) != 0)
        return error_set(-ENOTCONN, "%s, and handler '%.64s' may not run in this program",
                         pool->away, name);
    return number;
}

static int no_room(const mc_group *group)
{
    return error_set(-EAGAIN,
                     "queue_depth (%u) tasks are in flight, or their arguments fill the arena "
                     "(arena_size is %llu): %s, or raise the limit",
                     group->pool->config->geometry.slot_count,
                     (unsigned long long)group->pool->config->geometry.arena_size,
                     group->on_done != NULL ? "dispatch, then try again"
                                            : "wait for tasks, and release their results");
}

static int no_way_out(const mc_group *group)
{
    return error_set(-EDEADLK,
                     "handlers that run in the caller fill the lane: queue_depth (%u) tasks are in "
                     "flight, or their arguments fill the arena, and no worker has any of them: "
                     "raise the limit, or mark the handlers as MC_ISOLATED",
                     group->pool->config->geometry.slot_count);
}

/* How long to wait for room, from the first time that there was none: -1 without
 * limit, 0 not at all. */
static int full_timeout_ms(const mc_group *group, uint64_t *deadline_ns)
{
    if (group->on_done != NULL || group->on_full == MC_FULL_FAIL)
        return 0;
    if (group->on_full == MC_FULL_INLINE || group->full_timeout_ms == 0)
        return -1;
    uint64_t now = clock_quick_ns();
    if (*deadline_ns == 0)
        *deadline_ns = now + group->full_timeout_ms * UINT64_C(1000000);
    if (now >= *deadline_ns)
        return 0;
    uint64_t left_ms = (*deadline_ns - now) / 1000000 + 1;
    return left_ms < INT_MAX ? (int)left_ms : INT_MAX;
}

/* Large arguments would find no room for ever while others take what small ones need.
 * Handlers in the caller are exempt: room may come only with their end. */
static bool needs_arena(const struct request *request)
{
    return request->size > SLOT_ARGS_SIZE && !help_in_handler();
}

static void join_line(struct client *client, mc_group *group, const struct request *request,
                      uint64_t *since_ns)
{
    uint64_t now = clock_quick_ns();
    if (*since_ns == 0)
        *since_ns = now;
    if (needs_arena(request) && now - *since_ns > LINE_NS && client->first_in_line == NULL)
        client->first_in_line = group;
}

static int try_submit(mc_group *group, const struct request *request)
{
    const mc_group *first = group->pool->client.first_in_line;
    if (UNLIKELY(first != NULL) && first != group && needs_arena(request))
        return -EAGAIN;
    return client_submit(group, request);
}

/* A pool that programs attach to may leave in the middle of a group, and another come:
 * what may run here does. With the lock held. */
COLD static bool runs_without_pool(mc_group *group, const struct request *request)
{
    const mc_pool *pool = group->pool;
    if (!pool->attached || group->on_done != NULL ||
        (pool->config->handlers[request->handler].flags & MC_ISOLATED) != 0 ||
        atomic_load_explicit(&pool->client.faulted, memory_order_relaxed))
        return false;
    group->busy = true;
    return true;
}

/* The pool is gone, and slots of lost tasks do not come back. Where programs attach to
 * it, or were to, a task that may run here does so without one. */
static int go_on_without(mc_group *group, const struct request *request)
{
    const mc_pool *pool = group->pool;
    if (pool->away != NULL || runs_without_pool(group, request))
        return help_run_at_once(group, request);
    return error_set(-ESHUTDOWN, "%s", client_why_gone(&pool->client));
}

COLD static int submit_or_wait(mc_group *group, const struct request *request)
{
    mc_pool *pool = group->pool;
    struct client *client = &pool->client;
    uint64_t deadline_ns = 0, stuck_since_ns = 0, waits_since_ns = 0;
    for (;;) {
        int result = try_submit(group, request);
        if (result != -EAGAIN)
            return result;
        size_t ended = group->ended;
        client_collect_everything(client);
        if (client->free_count > 0 && group->ended != ended)
            continue;
        result = try_submit(group, request);
        if (result != -EAGAIN)
            return result;
        int timeout_ms = full_timeout_ms(group, &deadline_ns);
        if (timeout_ms == 0)
            return no_room(group);
        if (help_runs_at_once(group, request))
            return help_run_at_once(group, request);
        if (client_gone(client))
            return go_on_without(group, request);
        if (help_is_deadlocked(group, &stuck_since_ns))
            return no_way_out(group);
        join_line(client, group, request, &waits_since_ns);
        bool offered = group->tickets_out != 0;
        pthread_mutex_unlock(&client->lock);
        if (offered)
            wait_announce(group, false);
        result = wait_for(group, GOAL_ROOM, timeout_ms);
        bool gone = result == 0 && client_check_gone(client);
        pthread_mutex_lock(&client->lock);
        if (gone)
            return go_on_without(group, request);
        if (result < 0 && result != -ETIMEDOUT)
            return result;
    }
}

/* Submits one, waiting for room if there is none. Called and returns with the
 * lock held. */
static int submit(mc_group *group, const struct request *request)
{
    struct client *client = &group->pool->client;
    int result = try_submit(group, request);
    if (LIKELY(result != -EAGAIN))
        return result;
    result = submit_or_wait(group, request);
    if (client->first_in_line == group)
        client->first_in_line = NULL;
    return result;
}

COLD static int check_end(mc_group *group, const struct request *request)
{
    const mc_pool *pool = group->pool;
    bool gone =
        pool->away == NULL && atomic_load_explicit(&pool->client.gone, memory_order_relaxed);
    bool closing = atomic_load_explicit(&pool->control->closing, memory_order_relaxed) != 0;
    if ((!gone && !closing) || runs_without_pool(group, request))
        return 0;
    return error_set(-ESHUTDOWN, "%s",
                     gone ? client_why_gone(&pool->client) : "the pool is closing");
}

static inline int check_pool(mc_group *group, const struct request *request)
{
    const mc_pool *pool = group->pool;
    if (LIKELY(!atomic_load_explicit(&pool->client.gone, memory_order_relaxed) &&
               atomic_load_explicit(&pool->control->closing, memory_order_relaxed) == 0))
        return 0;
    return check_end(group, request);
}

static int check_request(mc_group *group, const char *handler, struct request *request)
{
    int result = group_usable(group);
    if (result < 0)
        return result;
    result = find_handler(group, handler);
    if (result < 0)
        return result;
    request->handler = (uint32_t)result;
    if (request->size > group->pool->config->max_payload)
        return error_set(-EMSGSIZE,
                         "the arguments for '%s' have %zu bytes; max_payload is %llu: raise it, "
                         "or pass less",
                         handler, request->size,
                         (unsigned long long)group->pool->config->max_payload);
    if (request->args == NULL && request->size > 0)
        return error_set(-EINVAL, "the arguments for '%s' are NULL with a size of %zu", handler,
                         request->size);
    if ((unsigned)request->format > MC_MSGPACK)
        return error_set(-EINVAL, "unknown format %d: give MC_RAW, MC_JSON or MC_MSGPACK",
                         (int)request->format);
    return 0;
}

static void stamp(const mc_group *group, struct request *request)
{
    size_t index = group->count;
    request->submitted_ticks = tally_is_timed(index) ? tally_stamp(index, clock_ticks()) : 0;
}

static int run(mc_group *group, const char *handler, struct request *request)
{
    int result = check_request(group, handler, request);
    if (result < 0)
        return result;
    struct client *client = &group->pool->client;
    stamp(group, request);
    pthread_mutex_lock(&client->lock);
    result = check_pool(group, request);
    if (result == 0)
        result = submit(group, request);
    client_publish(group);
    bool offered = group->tickets_out != 0, single = group->count - group->ended == 1;
    pthread_mutex_unlock(&client->lock);
    if (result == 0 && offered)
        wait_announce(group, single);
    return result;
}

/* Who dispatches cannot go on in the middle of a map: all of it must fit. With
 * the lock held. */
static int check_room(mc_group *group, struct split split)
{
    struct client *client = &group->pool->client;
    struct mc_range range;
    uint32_t chunks = 0;
    while (chunks <= MAX_SLOTS && split_next(&split, &range))
        chunks++;
    if (chunks > client->free_count)
        client_collect_everything(client);
    if (chunks <= client->free_count)
        return 0;
    return error_set(-EAGAIN,
                     "the map has %u chunks or more, and %u slots are free: dispatch, "
                     "then try again, or raise queue_depth or min_chunk",
                     chunks, client->free_count);
}

/* All that there is has ended, although nothing will. */
static void map_nothing(mc_group *group)
{
    group->reported = false;
    if (group->on_done == NULL)
        return;
    client_note_done(group);
    if (group->pool->client.self >= 0)
        (void)eventfd_write(group->pool->client.self, 1);
}

static int map(mc_group *group, const char *handler, uint64_t items,
               const struct mc_map_options *options, struct request *request)
{
    struct mc_map_options known = {0};
    if (options != NULL && options->size < sizeof(size_t))
        return error_set(-EINVAL,
                         "map options.size is %zu: set it to sizeof(struct "
                         "mc_map_options)",
                         options->size);
    if (options != NULL)
        memcpy(&known, options, options->size < sizeof(known) ? options->size : sizeof(known));
    if ((unsigned)known.split > MC_SPLIT_STATIC)
        return error_set(-EINVAL, "split is %d: give MC_SPLIT_GUIDED or MC_SPLIT_STATIC",
                         (int)known.split);
    int result = check_request(group, handler, request);
    if (result < 0)
        return result;
    struct client *client = &group->pool->client;
    struct split split;
    struct mc_range range;
    split_init(&split, items, group->pool->config->workers, known.split, known.min_chunk,
               known.max_chunk);
    size_t before = group->count;
    pthread_mutex_lock(&client->lock);
    result = check_pool(group, request);
    if (result == 0 && group->on_done != NULL)
        result = check_room(group, split);
    if (result == 0 && items == 0)
        map_nothing(group);
    while (result == 0 && split_next(&split, &range)) {
        request->start = range.start;
        request->end = range.end;
        stamp(group, request);
        result = submit(group, request);
        if (group->count - before == EARLY &&
            group->tickets_out != 0) /* many: somebody may begin meanwhile */
            wait_announce(group, false);
    }
    client_publish(group);
    bool offered = group->tickets_out != 0;
    pthread_mutex_unlock(&client->lock);
    if (offered)
        wait_announce(group, false);
    return result;
}

int mc_group_run(mc_group *group, const char *handler, const void *args, size_t size)
{
    struct request request = {.args = args, .size = size};
    return run(group, handler, &request);
}

int mc_group_map(mc_group *group, const char *handler, uint64_t items,
                 const struct mc_map_options *options, const void *args, size_t size)
{
    struct request request = {.args = args, .size = size};
    return map(group, handler, items, options, &request);
}

int mc_group_run_encoded(mc_group *group, const char *handler, enum mc_format format,
                         const void *args, size_t size)
{
    struct request request = {.args = args, .size = size, .format = format};
    return run(group, handler, &request);
}

/* ---- structured arguments ---- */

static int grow_arguments(struct sink *sink, size_t capacity)
{
    uint8_t *data = realloc(sink->data, capacity);
    if (data == NULL)
        return error_set(-ENOMEM, "no memory for %zu bytes of arguments", capacity);
    sink->data = data;
    sink->capacity = capacity;
    return 0;
}

int mc_group_writer(mc_group *group, enum mc_format format, mc_writer **writer)
{
    int result = group_usable(group);
    if (result < 0)
        return result;
    group_drop_writer(group);
    if (group->writer == NULL)
        group->writer = malloc(sizeof(*group->writer));
    if (group->writer == NULL)
        return error_set(-ENOMEM, "no memory for a writer");
    struct sink *sink = &group->arguments.sink;
    sink->size = 0;
    sink->limit = group->pool->config->max_payload;
    sink->grow = grow_arguments;
    memset(group->writer, 0, sizeof(*group->writer));
    result = writer_init(group->writer, format, sink);
    if (result < 0)
        return result;
    group->arguments.format = format;
    group->writing = true;
    *writer = group->writer;
    return 0;
}

/* Ends the writer, and makes the request of what was written. */
static int written(mc_group *group, const mc_writer *writer, struct request *request)
{
    if (!group->writing || writer != group->writer)
        return error_set(-EINVAL, "this is not the group's writer: begin one with "
                                  "mc_group_writer()");
    group->writing = false;
    request->format = group->arguments.format;
    int result = writer_finish(group->writer);
    request->args = group->arguments.sink.data;
    request->size = group->arguments.sink.size;
    return result;
}

int mc_group_run_value(mc_group *group, const char *handler, mc_writer *writer)
{
    struct request request = {0};
    int result = written(group, writer, &request);
    return result < 0 ? result : run(group, handler, &request);
}

int mc_group_map_value(mc_group *group, const char *handler, uint64_t items,
                       const struct mc_map_options *options, mc_writer *writer)
{
    struct request request = {0};
    int result = written(group, writer, &request);
    return result < 0 ? result : map(group, handler, items, options, &request);
}
