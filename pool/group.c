/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Groups: the public functions that open, close, wait, cancel and ask.
 */
#include "pool/pool.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fault.h"
#include "base/probe.h"
#include "ipc/slot.h"
#include "ipc/wake.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

enum { SPARE_CHUNKS = 9 }; /* a spare group has room for some 8,000 tasks at most */

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

/* ---- opening ---- */

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

void group_drop_writer(mc_group *group)
{
    if (group->writing)
        writer_fini(group->writer);
    group->writing = false;
}

void group_free(mc_group *group)
{
    if (group == NULL)
        return;
    group_drop_writer(group);
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
    memset(group, 0, offsetof(mc_group, chunks));
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

/* Whatever the load is: tasks of ours may have waited for too long. */
static struct admission consider_delay(const mc_pool *pool, struct admission admission)
{
    const struct lane_entry *entry = &pool->control->lanes[pool->client.index];
    if (atomic_load_explicit(&entry->late, memory_order_relaxed) != 0) {
        admission.busy = true;
        admission.cause = ADMISSION_DELAY;
        admission.measured_milli = atomic_load_explicit(&entry->delay_ms, memory_order_relaxed);
    }
    return admission;
}

/* The supervisor samples only while somebody submits, so the number that is
 * published may be old: then this process samples for itself, once. */
static struct admission admit(mc_pool *pool, const struct admission_policy *policy)
{
    struct admission admission = {0};
    if (!policy->enabled && policy->max_delay_ms == 0)
        return admission;
    uint64_t now = clock_coarse_ms();
    admission =
        admission_unpack(atomic_load_explicit(&pool->control->admission, memory_order_acquire));
    if (!admission_stale(admission.taken_ms, now))
        return consider_delay(pool, admission);
    client_poke(&pool->client);
    struct load_sample sample = {0};
    return policy->enabled ? config_admit(pool->config, policy, &sample, admission) : admission;
}

static int read_options(const struct mc_group_options *options, struct mc_group_options *known)
{
    if (options == NULL)
        return 0;
    if (options->size < sizeof(size_t) || options->size % sizeof(void *) != 0)
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
    group->reported = true; /* nothing was asked for yet */
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
    struct admission_policy policy = config_policy_now(pool->control);
    struct admission admission = admit(pool, &policy);
    if (admission.cause == ADMISSION_DELAY && known.on_done != NULL && !pool->in_worker)
        return error_set(-EBUSY,
                         "tasks of this client have waited for %u ms, above max_queue_delay_ms "
                         "%u: turn the request away, or try again later",
                         admission.measured_milli, policy.max_delay_ms);
    pthread_mutex_lock(&pool->client.lock);
    client_collect_abandoned(&pool->client);
    mc_group *made = new_group(&pool->client);
    if (made != NULL) {
        made->pool = pool;
        set_options(made, &known);
        made->admission = admission;
        made->policy = policy;
        made->busy = (admission.busy && !pool->in_worker) || pool->away != NULL;
        made->narrowed = made->busy && known.on_done != NULL;
        made->max_parallel = known.max_parallel;
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

/* ---- cancelling ---- */

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

/* Workers in whose seats tasks wait, rather than run, look at them. */
static void tell_of_cancels(const mc_group *group)
{
    const mc_pool *pool = group->pool;
    if ((group_offered_to(group) >> SEAT_IO & 1) == 0)
        return;
    atomic_fetch_add_explicit(&pool->client.lane.header->cancels, 1, memory_order_seq_cst);
    for (uint32_t seat = pool->config->workers; seat < pool->config->seats; seat++)
        (void)wake_seat(&pool->bells[SEAT_IO], seat);
}

/* Of the tasks before this one some are to be killed yet: whoever waits or dispatches tries again.
 */
static void kill_later(mc_group *group, size_t before)
{
    group->kill_before = before;
    group->pool->client.kills_due = true;
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
            kill_later(group, group->count);
    }
    tell_of_cancels(group);
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
            kill_later(group, before);
    }
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

/* ---- closing ---- */

/* Takes the group off the client's list. With the lock held, where there is one. */
static void unlink_group(mc_group *group)
{
    if (group->next != NULL)
        group->next->previous = group->previous;
    if (group->previous != NULL)
        group->previous->next = group->next;
    else
        group->pool->client.groups = group->next;
    if (group->in_done)
        TAILQ_REMOVE(&group->pool->client.done, group, done_link);
    group->in_done = false;
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

/* ---- waiting, asking ---- */

int mc_group_wait(mc_group *group, int timeout_ms)
{
    int result = group_usable(group);
    if (result < 0)
        return result;
    pool_deliver_log(group->pool);
    return wait_for(group, GOAL_ALL, timeout_ms);
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
    return admission_reason(group->admission, &group->policy, mc_group_mode(group), own->reason,
                            sizeof(own->reason));
}
