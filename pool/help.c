/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Helping: a caller runs its own tasks that no worker has begun. It claims them as a
 * worker would; so a task runs once, whoever is quicker.
 *
 * It does so when the load keeps its tasks in this process, when nobody else can run
 * them, when handing them over would cost more than they do, and to make room in a
 * full lane.
 */
#include "pool/wait.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fault.h"
#include "ipc/notify.h"
#include "ipc/slot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    CHEAP_TASKS = 16,
    CHEAP_NS = 20000,         /* work this little is done rather than handed over */
    STARVED_NS = 1000000,     /* after this, a caller of whom nobody runs a task helps */
    DEADLOCK_NS = 1000000000, /* that long no worker had anything that could make room */
};

/* ---- a task in the caller ---- */

static mc_pool *inline_pool(mc_task *task)
{
    mc_pool *pool = task->owner; /* which may be gone, and another be there */
    return pool->handle != NULL ? pool->handle : pool;
}

static const struct task_home inline_home = {task_heap_resize, task_heap_drop, inline_pool, NULL};

bool help_may_run(const mc_group *group, const struct record *record)
{
    const mc_pool *pool = group->pool;
    const struct handler *handler = &pool->config->handlers[record->handler];
    bool dangerous = (handler->flags & MC_ISOLATED) != 0 ||
                     slot_attempt(slot_load(&pool->client.lane.slots[record->slot].word)) != 0;
    return record_state(record) == RECORD_OPEN && group->on_done == NULL &&
           (!dangerous || (pool->in_worker && handler_seats(handler) == SEAT_CPU));
}

static bool too_late(const mc_group *group, const struct slot *slot)
{
    return group->start_within_ms != 0 && clock_ns() > slot->start_by_ns;
}

/* Tasks that this thread is running itself, within one another. */
static _Thread_local unsigned tasks_within;

bool help_in_handler(void)
{
    return tasks_within != 0;
}

/* What both kinds of tasks that run in the caller have in common. */
static void prepare(mc_pool *pool, const mc_group *group, mc_task *task, uint32_t number)
{
    const struct handler *handler = &pool->config->handlers[number];
    task->config = pool->config;
    task->handler = handler;
    task->home = &inline_home;
    task->owner = pool;
    task->is_inline = true;
    task_init(task);
    task->soft_limit_ms = group->soft_limit_ms != 0 ? group->soft_limit_ms : handler->soft_limit_ms;
}

/* Runs it, unless *result says why not, or will; returns for how long it ran. */
static uint64_t run_prepared(mc_pool *pool, mc_task *task, int *result)
{
    if (*result == 0)
        *result = pool_inline_enter(pool, task->handler, &task->states);
    uint64_t began = clock_quick_ns();
    task->began_ticks = clock_ticks();
    if (*result == 0) {
        tasks_within++;
        (void)task_run(task); /* nothing waits here */
        tasks_within--;
        pool_inline_leave(pool, task->handler);
    } else {
        task->status = *result;
    }
    return clock_quick_ns() - began;
}

/* Runs a task that this call claimed. The group may be another thread's by now, which
 * closes it meanwhile: then it has no pool any more, and the slot is freed with those of tasks
 * that were left behind. */
static void run_here(mc_pool *pool, mc_group *group, size_t index)
{
    struct client *client = &pool->client;
    struct record *record = group_record(group, index);
    struct slot *slot = &client->lane.slots[record->slot];
    mc_task task; /* large, and not cleared as a whole */
    prepare(pool, group, &task, record->handler);
    task.word = &slot->word;
    task.start = record->start;
    task.end = record->end;
    task.args_format = (enum mc_format)LOAD_ONCE(slot->args_format);
    task.attempt = slot_attempt(slot_load(&slot->word));
    /* Workers can write there, by accident. */
    int result = lane_arguments(&client->lane, slot, &task.args, &task.args_size) ? 0 : -EFAULT;
    if (task.attempt == 0 && too_late(group, slot))
        result = -ETIME;
    uint64_t run_ns = run_prepared(pool, &task, &result), word;
    enum slot_state outcome = task.status == 0   ? SLOT_DONE
                              : result == -ETIME ? SLOT_TIMED_OUT
                                                 : SLOT_FAILED;
    pthread_mutex_lock(&client->lock);
    bool ended = slot_end(&slot->word, 0, outcome, &word);
    if (!group->closed && record_state(record) == RECORD_OPEN) /* its word may be damaged */
        client_settle_inline(group, index, &task, outcome, result == 0, run_ns);
    else if (task.data != task.small)
        task_heap_drop(&task);
    pthread_mutex_unlock(&client->lock);
    if (ended) /* another thread may wait for its group */
        notify_ended(&client->lane, slot, slot_flags(word), -1);
}

/* ---- in a handler, when the lane is full ---- */

bool help_runs_at_once(const mc_group *group, const struct request *request)
{
    const mc_pool *pool = group->pool;
    return (tasks_within != 0 || pool->in_worker) && group->on_done == NULL &&
           !(pool->config->handlers[request->handler].flags & MC_ISOLATED) &&
           (group->parallel_limit == 0 || group->tickets_out < group->parallel_limit);
}

/* Called and returns with the lock held. */
int help_run_at_once(mc_group *group, const struct request *request)
{
    mc_pool *pool = group->pool;
    struct client *client = &pool->client;
    _Atomic uint64_t word = slot_word(SLOT_RUNNING, 0, 0, 0, 0); /* nobody cancels it */
    mc_task task;
    void *args = NULL; /* as aligned as in a lane */
    if (!client_expect_unplaced(group) || posix_memalign(&args, UNIT, request->size + 1) != 0)
        return error_set(-ENOMEM, "no memory for task %zu of the group", group->count);
    if (request->size > 0)
        memcpy(args, request->args, request->size);
    prepare(pool, group, &task, request->handler);
    task.word = &word;
    task.start = request->start;
    task.end = request->end;
    task.args_format = request->format;
    task.args = args;
    task.args_size = (uint32_t)request->size;
    task.attempt = 0;
    pthread_mutex_unlock(&client->lock);
    int result = 0;
    uint64_t run_ns = run_prepared(pool, &task, &result);
    pthread_mutex_lock(&client->lock);
    client_settle_unplaced(group, request, &task, result == 0, run_ns);
    free(args);
    return 0;
}

/* True if a task of this client is with a worker, or offered to them. With the lock
 * held. */
static bool any_outside(const struct client *client)
{
    if (client->abandoned_count != 0)
        return true;
    for (const mc_group *group = client->groups; group != NULL; group = group->next)
        for (size_t index = group->first_open; index < group->count; index++) {
            const struct record *record = group_record(group, index);
            uint64_t word = slot_load(&client->lane.slots[record->slot].word);
            if (record_state(record) == RECORD_OPEN &&
                (slot_state(word) == SLOT_SUBMITTED ? record->offered : slot_seat(word) != 0))
                return true;
        }
    return false;
}

/* With the lock held. Other handlers in this process may be slow, or wait for room as
 * we do; from here only the clock can tell. */
bool help_is_deadlocked(const mc_group *group, uint64_t *since_ns)
{
    uint64_t now = clock_quick_ns();
    if (tasks_within == 0 || any_outside(&group->pool->client))
        *since_ns = 0;
    else if (*since_ns == 0)
        *since_ns = now;
    return *since_ns != 0 && now - *since_ns > DEADLOCK_NS;
}

/* ---- claiming ---- */

/* Of a group that may not run more than so many at once, only tasks that are on
 * offer are taken; others only if they are for this process alone, and one more may run. */
static bool within_limit(const mc_group *group, const struct record *record)
{
    return group->parallel_limit == 0 || record->offered ||
           (client_runs_here_only(group, record) && client_may_run_more(group));
}

/* With the lock held, if there is max_parallel. */
static bool claim_here(mc_group *group, size_t index)
{
    struct record *record = group_record(group, index);
    uint64_t word;
    /* Whether it has killed a worker meanwhile, the claim itself decides. */
    enum slot_claims claims = group->pool->in_worker ? CLAIM_ANY : CLAIM_FIRST;
    if (!help_may_run(group, record) || !within_limit(group, record) ||
        !slot_claim(&group->pool->client.lane.slots[record->slot].word,
                    name_make(record->handler, record->generation, record->slot), 0, claims, &word))
        return false;
    record->outcome = SLOT_RUNNING;
    if (group->max_parallel != 0 && !record->offered) {
        record->offered = true;
        group->tickets_out++;
    }
    FAULT_POINT("client_claimed");
    return true;
}

/* Those that only the caller may run are taken in order; of those offered to workers,
 * which begin at the front, the last. */
static bool claim_any(const struct waiting *waiting, size_t *claimed)
{
    mc_group *group = waiting->group;
    bool forward = group->busy;
    size_t span = waiting->count - waiting->first_open;
    for (size_t step = 0; step < span; step++) {
        *claimed = forward ? waiting->first_open + step : waiting->count - 1 - step;
        if (claim_here(group, *claimed))
            return true;
    }
    return false;
}

bool help_group(struct waiting *waiting)
{
    mc_group *group = waiting->group;
    struct client *client = waiting->client;
    size_t index;
    if (group->max_parallel != 0)
        pthread_mutex_lock(&client->lock);
    bool claimed = claim_any(waiting, &index);
    if (group->max_parallel != 0)
        pthread_mutex_unlock(&client->lock);
    if (claimed)
        run_here(group->pool, group, index);
    if (claimed && group->pool->io != NULL)
        waiting->alone_ns = clock_quick_ns();
    return claimed;
}

/* True for a group whose tasks this thread runs to make room for another's: those that
 * only this process may run, since when those fill the queue, nobody else makes room, and so
 * where no worker will; or, with any, those of every group that does not leave them to workers. */
static bool gives_room(const mc_group *group, bool any)
{
    return pthread_equal(group->thread, pthread_self()) && group->count != 0 &&
           (group->busy || wait_no_workers(group) ||
            (any && (group->help != MC_HELP_NEVER || group->on_full == MC_FULL_INLINE)));
}

static void part(struct client *client, mc_group *group)
{
    pthread_mutex_lock(&client->lock);
    bool last = --group->guests == 0 && group->closed;
    pthread_mutex_unlock(&client->lock);
    if (last)
        group_free(group);
}

bool help_any_group(mc_pool *pool, bool any)
{
    struct client *client = &pool->client;
    mc_group *group;
    size_t index = 0;
    bool claimed = false;
    pthread_mutex_lock(&client->lock);
    for (group = client->groups; group != NULL; group = group->next) {
        if (!gives_room(group, any))
            continue;
        for (index = group->first_open; index < group->count && !claimed; index++)
            claimed = claim_here(group, index);
        if (claimed)
            break;
    }
    if (claimed)
        group->guests++;
    pthread_mutex_unlock(&client->lock);
    if (!claimed)
        return false;
    FAULT_POINT("client_guest");
    run_here(pool, group, index - 1);
    part(client, group);
    return true;
}

/* ---- whether it pays ---- */

/* Nobody runs a task of the group, and has not for so long. */
static bool starves(const struct waiting *waiting, uint64_t now, uint64_t for_ns)
{
    return now - waiting->alone_ns > for_ns && !wait_any_is(waiting, SLOT_RUNNING);
}

/* A worker need not wait for another, or all would wait for each other. In an I/O worker
 * everything else stands still meanwhile, and a crash takes others' tasks along: so there it
 * does only what would perhaps never be done, and between two such tasks others are called. */
static bool pays_in_worker(const struct waiting *waiting, const struct record *first, uint64_t now)
{
    const mc_pool *pool = waiting->group->pool;
    bool isolated = (pool->config->handlers[first->handler].flags & MC_ISOLATED) != 0;
    if (pool->io != NULL)
        return starves(waiting, now, isolated ? DEADLOCK_NS : STARVED_NS);
    return !isolated || starves(waiting, now, STARVED_NS);
}

bool help_pays(const struct waiting *waiting, uint64_t now)
{
    const mc_group *group = waiting->group;
    if (group->on_done != NULL || waiting->first_open == waiting->count)
        return false;
    if ((group->busy && !group->narrowed) || wait_no_workers(group))
        return true;
    if (waiting->goal == GOAL_ROOM && group->on_full == MC_FULL_INLINE)
        return true;
    const struct record *first = group_record(group, waiting->first_open);
    if (group->pool->in_worker)
        return pays_in_worker(waiting, first, now);
    uint32_t usual = usual_ns(waiting->client, first);
    if (waiting->deadline_ns != UINT64_MAX && now + usual > waiting->deadline_ns)
        return false;
    if (group->busy) /* some of its tasks may only run here */
        return true;
    if (group->help == MC_HELP_NEVER)
        return false;
    size_t open = waiting->count - waiting->first_open;
    if (usual != 0 && open <= CHEAP_TASKS && open * usual <= CHEAP_NS)
        return true;
    return starves(waiting, now, STARVED_NS);
}
