/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Groups: the public functions that open, submit, wait, cancel and close.
 */
#include "pool/pool.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fault.h"
#include "base/probe.h"
#include "ipc/slot.h"
#include "pool/split.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

enum {
    SPARE_CHUNKS = 9,   /* a spare group has room for some 8,000 tasks at most */
    LINE_NS = 20000000, /* who waits longer for room in the arena gets what becomes free */
    EARLY = 64,         /* tasks of a map after which the first are announced */
};

int group_usable(const mc_group *group)
{
    const mc_pool *pool = group->pool;
    if (LIKELY(pool != NULL && pool_current(pool)))
        return 0;
    if (pool == NULL && !group->inherited)
        return error_set(-ESHUTDOWN, "the pool was closed");
    return error_set(-ESTALE, "the group was opened before fork(), in the parent: open one in "
                              "this process");
}

/* ---- opening and closing ---- */

/* Frees all but `kept` of the smalls, and empties that one. */
static void free_smalls(mc_group *group, int kept)
{
    struct smalls *smalls = group->smalls;
    if (kept != 0 && smalls != NULL) {
        struct smalls *first = smalls;
        smalls = smalls->older;
        first->older = NULL;
        first->used = 0;
    } else {
        group->smalls = NULL;
    }
    while (smalls != NULL) {
        struct smalls *older = smalls->older;
        free(smalls);
        smalls = older;
    }
}

static void drop_writer(mc_group *group)
{
    if (group->writing)
        writer_fini(group->writer);
    group->writing = false;
}

void group_free(mc_group *group)
{
    if (group == NULL)
        return;
    drop_writer(group);
    free(group->writer);
    free(group->arguments.sink.data);
    for (int chunk = 0; chunk < CHUNKS; chunk++)
        free(group->chunks[chunk]);
    free_smalls(group, 0);
    free(group->documents);
    free(group->completed);
    free(group);
}

/* A group that was closed a moment ago serves again, with its memory. With the
 * lock held. */
static mc_group *new_group(struct client *client)
{
    mc_group *group = client->spare;
    client->spare = NULL;
    if (group == NULL)
        return calloc(1, sizeof(*group));
    mc_group fresh = {.completed = group->completed,
                      .completed_capacity = group->completed_capacity,
                      .smalls = group->smalls};
    memcpy(fresh.chunks, group->chunks, sizeof(fresh.chunks));
    *group = fresh;
    return group;
}

/* Keeps a closed group for new_group() if it is a small one. With the lock held;
 * returns what is left to free. */
static mc_group *retire(struct client *client, mc_group *group)
{
    if (client->spare != NULL || group->chunks[SPARE_CHUNKS] != NULL || group->writer != NULL ||
        group->documents != NULL)
        return group;
    free_smalls(group, 1);
    client->spare = group;
    return NULL;
}

/* The supervisor samples only while somebody submits, so the number that is
 * published may be old: then this process samples for itself, once. */
static struct admission admit(mc_pool *pool)
{
    const struct config *config = pool->config;
    struct admission admission = {0};
    if (!config->policy.enabled)
        return admission;
    uint64_t now = clock_coarse_ms();
    admission =
        admission_unpack(atomic_load_explicit(&pool->control->admission, memory_order_acquire));
    if (!admission_stale(admission.taken_ms, now))
        return admission;
    client_poke(&pool->client);
    struct load_sample sample = {0};
    return config_admit(config, &sample, admission);
}

static int read_options(const struct mc_group_options *options, struct mc_group_options *known)
{
    if (options == NULL)
        return 0;
    if (options->size < sizeof(size_t))
        return error_set(-EINVAL,
                         "group options.size is %zu: set it to sizeof(struct "
                         "mc_group_options)",
                         options->size);
    memcpy(known, options, options->size < sizeof(*known) ? options->size : sizeof(*known));
    if ((unsigned)known->help > MC_HELP_NEVER)
        return error_set(-EINVAL, "help is %d: give MC_HELP_AUTO or MC_HELP_NEVER",
                         (int)known->help);
    if ((unsigned)known->on_full > MC_FULL_INLINE)
        return error_set(-EINVAL,
                         "on_full is %d: give MC_FULL_WAIT, MC_FULL_FAIL or MC_FULL_INLINE",
                         (int)known->on_full);
    if (known->time_limit_ms != 0 && known->soft_time_limit_ms > known->time_limit_ms)
        return error_set(-EINVAL,
                         "soft_time_limit_ms is %u: the time_limit_ms of %u would come first",
                         known->soft_time_limit_ms, known->time_limit_ms);
    return 0;
}

static void set_options(mc_group *group, const struct mc_group_options *known)
{
    group->help = known->help;
    group->urgent = known->urgent;
    group->interruptible = known->interruptible;
    group->on_done = known->on_done;
    group->context = known->context;
    group->soft_limit_ms = known->soft_time_limit_ms;
    group->time_limit_ms = known->time_limit_ms;
    group->start_within_ms = known->start_within_ms;
    group->limited =
        known->soft_time_limit_ms != 0 || known->time_limit_ms != 0 || known->start_within_ms != 0;
    group->on_full = known->on_full;
    group->full_timeout_ms = known->full_timeout_ms;
}

/* With the lock held; from here on other threads may reap its tasks. */
static void link_group(mc_group *group)
{
    struct client *client = &group->pool->client;
    group->next = client->groups;
    if (group->next != NULL)
        group->next->previous = group;
    client->groups = group;
}

int mc_group_open(mc_pool *pool, const struct mc_group_options *options, mc_group **group)
{
    return pool->front != NULL ? front_open_group(pool->front, options, group)
                               : group_open(pool, options, group);
}

int group_open(mc_pool *pool, const struct mc_group_options *options, mc_group **group)
{
    int result = pool_ready(pool);
    if (result < 0)
        return result;
    pool_deliver_log(pool);
    if (pool->away == NULL && client_gone(&pool->client))
        return error_set(-ESHUTDOWN, "%s", client_why_gone(&pool->client));
    if (atomic_load_explicit(&pool->control->closing, memory_order_relaxed) != 0)
        return error_set(-ESHUTDOWN, "the pool is closing");
    struct mc_group_options known = {0};
    result = read_options(options, &known);
    if (result < 0)
        return result;
    if (pool->away != NULL && known.on_done != NULL)
        return error_set(-ENOTCONN, "%s, and groups with on_done need it", pool->away);
    struct admission admission = admit(pool);
    pthread_mutex_lock(&pool->client.lock);
    client_collect_abandoned(&pool->client);
    mc_group *made = new_group(&pool->client);
    if (made != NULL) {
        made->pool = pool;
        set_options(made, &known);
        made->admission = admission;
        made->busy = (admission.busy && !pool->in_worker) || pool->away != NULL;
        made->narrowed = made->busy && known.on_done != NULL;
        made->parallel_limit = made->narrowed ? 1 : known.max_parallel;
        link_group(made);
    }
    pthread_mutex_unlock(&pool->client.lock);
    if (made == NULL)
        return error_set(-ENOMEM, "no memory for a group");
    PROBE5(admit, made->busy, made->narrowed, made->admission.cause, made->admission.measured_milli,
           made->parallel_limit);
    *group = made;
    return 0;
}

/* True if the task will never run. One that runs is asked to stop. Between the two steps
 * its worker may have died, and the task been queued again; after the second it is not
 * queued any more. */
static bool cancel_one(_Atomic uint64_t *slot, uint64_t *word)
{
    while (!slot_cancel(slot, word)) {
        FAULT_POINT("client_cancelling");
        if (!slot_flag(slot, SLOT_CANCEL, word) || slot_state(*word) != SLOT_SUBMITTED)
            return false;
    }
    return true;
}

/* Cancels what is queued, and asks what runs to stop, or has its worker killed;
 * returns how many of the former. With the lock held. */
static int cancel_all(mc_group *group, bool by_force)
{
    struct client *client = &group->pool->client;
    int cancelled = 0;
    for (size_t index = group->first_open; index < group->count; index++) {
        struct record *record = group_record(group, index);
        uint64_t word;
        if (record_state(record) != RECORD_OPEN)
            continue;
        _Atomic uint64_t *slot = &client->lane.slots[record->slot].word;
        if (cancel_one(slot, &word))
            cancelled++;
        else if (by_force && slot_state(word) == SLOT_RUNNING && slot_seat(word) != 0 &&
                 !client_kill(client, record))
            group->kill_before = group->count;
    }
    return cancelled;
}

void group_kill_again(mc_group *group)
{
    struct client *client = &group->pool->client;
    size_t before = group->kill_before;
    group->kill_before = 0;
    for (size_t index = group->first_open; index < before; index++) {
        struct record *record = group_record(group, index);
        uint64_t word = slot_load(&client->lane.slots[record->slot].word);
        if (record_state(record) == RECORD_OPEN && slot_state(word) == SLOT_RUNNING &&
            slot_seat(word) != 0 && !client_kill(client, record))
            group->kill_before = before;
    }
}

/* Takes the group off the client's list. With the lock held, where there is one. */
static void unlink_group(mc_group *group)
{
    if (group->next != NULL)
        group->next->previous = group->previous;
    if (group->previous != NULL)
        group->previous->next = group->next;
    else
        group->pool->client.groups = group->next;
    group->pool = NULL;
}

/* Frees the results, but for the blocks: the lane is not, or no more, ours. */
static void free_heap(mc_group *group)
{
    for (size_t index = 0; index < group->count; index++) {
        struct record *record = group_record(group, index);
        if (record->place == DATA_BLOCK)
            record->place = DATA_NONE;
        if (record_state(record) == RECORD_ENDED)
            client_release(group, index);
    }
}

void group_orphan(mc_group *group)
{
    free_heap(group);
    unlink_group(group);
}

void group_inherit(mc_group *group)
{
    /* The results' blocks are the parent's to release. */
    group->inherited = true;
    group->pool = NULL;
}

void mc_group_close(mc_group *group)
{
    if (group == NULL)
        return;
    if (group_usable(group) < 0) { /* of a closed pool, or of our parent's */
        free_heap(group);
        if (group->pool != NULL)
            unlink_group(group); /* the list is about to be dropped */
        group_free(group);
        return;
    }
    struct client *client = &group->pool->client;
    pthread_mutex_lock(&client->lock);
    if (group->first_open < group->count) {
        (void)cancel_all(group, false);
        client_collect(group, true);
    }
    for (size_t index = 0; index < group->count; index++) {
        struct record *record = group_record(group, index);
        if (record_state(record) == RECORD_ENDED)
            client_release(group, index);
        else
            client_abandon(client, record);
    }
    unlink_group(group);
    group->closed = group->guests != 0;
    group = group->closed ? NULL : retire(client, group);
    pthread_mutex_unlock(&client->lock);
    group_free(group);
}

/* ---- submitting ---- */

static int find_handler(const mc_group *group, const char *name)
{
    const mc_pool *pool = group->pool;
    if (name == NULL)
        return error_set(-EINVAL, "no handler was named");
    int number = config_handler(pool->config, name);
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
    return request->size > SLOT_ARGS_SIZE && !wait_in_handler();
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

static int submit_or_wait(mc_group *group, const struct request *request)
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
        if (wait_runs_at_once(group, request))
            return wait_run_at_once(group, request);
        if (client_gone(client))
            return error_set(-ESHUTDOWN, "the pool is gone");
        if (wait_is_deadlocked(group, &stuck_since_ns))
            return no_way_out(group);
        join_line(client, group, request, &waits_since_ns);
        bool offered = group->tickets_out != 0;
        pthread_mutex_unlock(&client->lock);
        if (offered)
            wait_announce(group, false);
        result = wait_for(group, GOAL_ROOM, timeout_ms);
        if (result == 0 && client_check_gone(client)) /* slots of lost tasks do not come back */
            result = error_set(-ESHUTDOWN, "the pool is gone");
        pthread_mutex_lock(&client->lock);
        if (result < 0 && result != -ETIMEDOUT)
            return result;
    }
}

/* Submits one, waiting for room if there is none. Called and returns with the
 * lock held. */
static int submit(mc_group *group, const struct request *request)
{
    struct client *client = &group->pool->client;
    int result = submit_or_wait(group, request);
    if (UNLIKELY(client->first_in_line == group))
        client->first_in_line = NULL;
    return result;
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
    if (group->pool->away == NULL &&
        atomic_load_explicit(&group->pool->client.gone, memory_order_relaxed))
        return error_set(-ESHUTDOWN, "%s", client_why_gone(&group->pool->client));
    if (atomic_load_explicit(&group->pool->control->closing, memory_order_relaxed) != 0)
        return error_set(-ESHUTDOWN, "the pool is closing");
    return 0;
}

static int run(mc_group *group, const char *handler, struct request *request)
{
    int result = check_request(group, handler, request);
    if (result < 0)
        return result;
    struct client *client = &group->pool->client;
    pthread_mutex_lock(&client->lock);
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
    if (group->on_done != NULL)
        result = check_room(group, split);
    while (result == 0 && split_next(&split, &range)) {
        request->start = range.start;
        request->end = range.end;
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
    drop_writer(group);
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

/* ---- waiting, cancelling, asking ---- */

int mc_group_wait(mc_group *group, int timeout_ms)
{
    int result = group_usable(group);
    if (result < 0)
        return result;
    pool_deliver_log(group->pool);
    return wait_for(group, GOAL_ALL, timeout_ms);
}

static int cancel(mc_group *group, bool by_force)
{
    int result = group_usable(group);
    if (result < 0)
        return result;
    pthread_mutex_lock(&group->pool->client.lock);
    result = cancel_all(group, by_force);
    client_collect(group, true);
    if (group->on_done != NULL && group->pool->client.self >= 0)
        (void)eventfd_write(group->pool->client.self, 1);
    pthread_mutex_unlock(&group->pool->client.lock);
    return result;
}

int mc_group_cancel(mc_group *group)
{
    return cancel(group, false);
}

int mc_group_kill(mc_group *group)
{
    return cancel(group, true);
}

size_t mc_group_size(const mc_group *group)
{
    return group->count;
}

enum mc_mode mc_group_mode(const mc_group *group)
{
    if (!group->busy)
        return MC_PARALLEL;
    return group->narrowed ? MC_NARROW : MC_INLINE;
}

const char *mc_group_reason(const mc_group *group)
{
    mc_group *own = (mc_group *)(uintptr_t)group;
    if (group->pool == NULL)
        return "the group's pool was closed, or is the parent's";
    if (group->pool->away != NULL) {
        snprintf(own->reason, sizeof(own->reason), "inline: %s", group->pool->away);
        return own->reason;
    }
    return admission_reason(group->admission, &group->pool->config->policy, mc_group_mode(group),
                            own->reason, sizeof(own->reason));
}
