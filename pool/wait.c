/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A caller that waits has four things to do, in this order: take what ended, run
 * its own tasks where that is quicker, see that somebody is awake for the rest,
 * and get out of the way, by looking for a few microseconds or by sleeping.
 *
 * What is quicker depends on where everybody is. A worker on another core that is
 * looking answers in less than a microsecond. If all sleep, the worker of the
 * caller's own core answers soonest, because it needs no other core to come out
 * of idle; but only if the caller leaves the core to it. A caller that comes
 * again within microseconds is better served by waking a worker elsewhere once,
 * which then goes on looking between its tasks.
 */
#include "pool/wait.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fault.h"
#include "base/sys.h"
#include "ipc/slot.h"
#include "ipc/wake.h"
#include "pool/estimate.h"
#include "pool/io.h"

#include <errno.h>
#include <sched.h>

enum {
    PROMPT_NS = 50000, /* a wait this soon after its submission is prompt */
    PROMPT_ENOUGH = 4, /* as many in a row are a habit */
    PROMPT_MOST = 8,
    HURRIED_NS = 20000,     /* callers that come again this soon are in a hurry */
    PAUSE_MOST_NS = 400000, /* longer ones count as this */
    SPIN_MOST_NS = 50000,   /* nobody looks longer than this for the end of a task */
    SPIN_SLACK_NS = 5000,
    VAIN_LOOKS = 8,           /* in a row, and looking does not pay at present, ... */
    LOOK_AGAIN = 16,          /* ... but for each so many-th wait */
    UNKNOWN_NS = 5000,        /* what a task is taken to need that never ran */
    FIRST_NAP_NS = 1000000,   /* then it wakes another worker, whoever says that he looks */
    ROUSED_NAP_NS = 5000000,  /* the same for who has just woken one. It has a core to come to, and
                               * ends after the kernel's next tick, which costs less */
    SECOND_NAP_NS = 10000000, /* then it asks the supervisor to look */
    NAP_NS = 200000000,       /* and looks itself whether there still is one */
    ROOM_NAP_NS = 1000000,
    ROOM_NAPS = 3,          /* then any room will do */
    KILL_NAP_NS = 10000000, /* from one try to tell the supervisor to the next */
};

/* True when the record's task has ended, whether or not it was reaped; then the
 * slot may even be another task's by now. */
static bool has_ended(const struct client *client, const struct record *record)
{
    uint64_t word = slot_load(&client->lane.slots[record->slot].word);
    return slot_ended(word) || slot_state(word) == SLOT_FREE ||
           slot_generation(word) != record->generation || record_state(record) != RECORD_OPEN;
}

/* The first of the group's tasks that is in this state, or NULL. */
static const struct record *first_that_is(const struct waiting *waiting, enum slot_state state)
{
    const struct client *client = waiting->client;
    for (size_t index = waiting->first_open; index < waiting->count; index++) {
        const struct record *record = group_record(waiting->group, index);
        if (record_state(record) == RECORD_OPEN &&
            slot_state(slot_load(&client->lane.slots[record->slot].word)) == state)
            return record;
    }
    return NULL;
}

bool wait_any_is(const struct waiting *waiting, enum slot_state state)
{
    return first_that_is(waiting, state) != NULL;
}

bool wait_no_workers(const mc_group *group)
{
    return atomic_load_explicit(&group->pool->client.gone, memory_order_relaxed) ||
           (atomic_load_explicit(&group->pool->control->hopeless, memory_order_relaxed) &
            (group_offered_to(group) | 1u << SEAT_CPU)) != 0;
}

/* ---- waking ---- */

/* True if some worker is not asleep and does not need our core. */
static bool awake_elsewhere(const struct waiting *waiting)
{
    const struct control *control = waiting->group->pool->control;
    const struct bells *bells = waiting->group->pool->bells;
    for (uint32_t seat = 0; seat < control->seat_count; seat++)
        if (atomic_load_explicit(&bells->seats[seat].state, memory_order_relaxed) !=
                SEAT_SLEEPING &&
            atomic_load_explicit(&control->rows[seat].cpu_plus_one, memory_order_relaxed) !=
                (uint32_t)waiting->cpu + 1)
            return true;
    return false;
}

void wait_announce(mc_group *group, bool single)
{
    mc_pool *pool = group->pool;
    struct client *client = &pool->client;
    uint64_t idle_since = atomic_load_explicit(&client->idle_since_ns, memory_order_relaxed);
    if (group->submitted_ns == 0)
        group->submitted_ns = clock_quick_ns();
    if (idle_since != 0) {
        uint64_t pause = group->submitted_ns - idle_since;
        uint32_t think = atomic_load_explicit(&client->think_ns, memory_order_relaxed);
        think = pause > PAUSE_MOST_NS ? PAUSE_MOST_NS : think - think / 4 + (uint32_t)pause / 4;
        atomic_store_explicit(&client->think_ns, think, memory_order_relaxed);
        atomic_store_explicit(&client->idle_since_ns, 0, memory_order_relaxed);
    }
    /* The first and so far only task of a caller that usually waits at once:
     * whom to wake is best decided when it does. */
    if (single && group->on_done == NULL &&
        atomic_load_explicit(&client->prompt[group_record(group, group->count - 1)->handler],
                             memory_order_relaxed) >= PROMPT_ENOUGH) {
        client_defer_wake(group);
        return;
    }
    atomic_store_explicit(&group->wake_deferred, false, memory_order_relaxed);
    group->roused =
        client_wake(pool, group_offered_to(group),
                    group->on_done != NULL ? WAKE_STRICT : WAKE_TRUSTING, -1, WAKE_OWN_CPU);
}

/* Now the caller does wait. One that will come again within microseconds wakes a
 * worker elsewhere, unless one is awake there already; any other leaves its own
 * core to the worker of that core. */
static void wake_deferred(struct waiting *waiting, bool hurried)
{
    mc_group *group = waiting->group;
    if (!atomic_load_explicit(&group->wake_deferred, memory_order_relaxed))
        return;
    atomic_store_explicit(&group->wake_deferred, false, memory_order_relaxed);
    group->roused = client_wake(group->pool, group_offered_to(group), WAKE_TRUSTING,
                                hurried ? -1 : waiting->cpu, waiting->cpu);
}

/* Whether the caller of this handler usually waits right after submitting. */
static void learn_habit(struct waiting *waiting)
{
    mc_group *group = waiting->group;
    if (group->submitted_ns == 0 || waiting->first_open == waiting->count)
        return;
    const struct record *record = group_record(group, waiting->first_open);
    _Atomic uint8_t *prompt = &waiting->client->prompt[record->handler];
    uint8_t habit = atomic_load_explicit(prompt, memory_order_relaxed);
    if (waiting->began_ns - group->submitted_ns > PROMPT_NS)
        habit = 0;
    else if (habit < PROMPT_MOST)
        habit++;
    atomic_store_explicit(prompt, habit, memory_order_relaxed);
    group->submitted_ns = 0;
}

/* ---- looking and sleeping ---- */

static void tell_cpu(struct waiting *waiting)
{
    struct client *client = waiting->client;
    waiting->cpu = sched_getcpu();
    if (atomic_load_explicit(&client->cpu_told, memory_order_relaxed) == waiting->cpu)
        return;
    atomic_store_explicit(&client->cpu_told, waiting->cpu, memory_order_relaxed);
    atomic_store_explicit(&client->lane.header->client_cpu, waiting->cpu, memory_order_relaxed);
}

/* How long it may pay to look for the end of this task; 0 when whoever runs it,
 * or will, needs our core. The slot itself is not looked at: see look(). */
static uint64_t look_ns(const struct waiting *waiting, const struct record *record)
{
    const mc_pool *pool = waiting->group->pool;
    if (pool->config->topology.usable < 2 || !awake_elsewhere(waiting))
        return 0;
    uint32_t usual = usual_ns(waiting->client, record);
    if (usual == 0)
        usual = UNKNOWN_NS;
    return usual > SPIN_MOST_NS ? 0 : usual + usual / 2 + SPIN_SLACK_NS;
}

/* The first look, when the end of a short task is due: how long that takes depends on where
 * the two cores are more than on anything else, so it is learned. */
static bool look_first(struct client *client, const struct record *record)
{
    uint32_t due = atomic_load_explicit(&client->end_due, memory_order_relaxed);
    for (uint32_t pauses = 0; pauses < due / DUE_STEPS; pauses++)
        sys_pause();
    bool ended = has_ended(client, record);
    estimate_due(&due, ended);
    atomic_store_explicit(&client->end_due, due, memory_order_relaxed);
    return ended;
}

/* True when the task ended while we looked. Each look takes the slot's cache line
 * away from the worker that is writing there, so they are spaced out. */
static bool look(const struct waiting *waiting, const struct record *record, uint64_t now)
{
    struct client *client = waiting->client;
    uint64_t budget = look_ns(waiting, record);
    if (budget == 0)
        return has_ended(client, record);
    if (look_first(client, record))
        return true;
    do {
        for (uint32_t looks = 0; looks < 8; looks++) {
            sys_pause();
            sys_pause();
            if (has_ended(client, record))
                return true;
        }
    } while (clock_quick_ns() < now + budget);
    return false;
}

/* Where many clients want the workers, looking is in vain: then it is tried now and
 * then only, until it pays again. */
static bool looks_pay(struct client *client)
{
    uint32_t vain = atomic_load_explicit(&client->vain_looks, memory_order_relaxed);
    if (LIKELY(vain < VAIN_LOOKS))
        return true;
    atomic_store_explicit(&client->vain_looks, vain + 1, memory_order_relaxed);
    return vain % LOOK_AGAIN == 0;
}

static void note_look(struct client *client, bool ended)
{
    uint32_t vain = atomic_load_explicit(&client->vain_looks, memory_order_relaxed);
    if (ended && vain != 0)
        atomic_store_explicit(&client->vain_looks, 0, memory_order_relaxed);
    else if (!ended && vain < VAIN_LOOKS)
        atomic_store_explicit(&client->vain_looks, vain + 1, memory_order_relaxed);
}

/* Asks whoever runs the record's task to tell of its end; false if it has ended.
 * Should the slot be another task's by now, that one is told of in vain once. */
static bool flag(struct client *client, const struct record *record, uint32_t flags, uint64_t *word)
{
    return slot_flag(&client->lane.slots[record->slot].word, flags, word) &&
           slot_generation(*word) == record->generation;
}

/* The same for all open tasks of the group. */
static bool flag_all(struct waiting *waiting)
{
    for (size_t index = waiting->first_open; index < waiting->count; index++) {
        struct record *record = group_record(waiting->group, index);
        uint64_t word;
        if (record_state(record) != RECORD_OPEN)
            continue;
        if (record->flagged ? has_ended(waiting->client, record)
                            : !flag(waiting->client, record, SLOT_WAITED_ANY, &word))
            return false;
        record->flagged = true;
    }
    return true;
}

/* True if the end of any of several tasks may change something. */
static bool any_counts(const struct waiting *waiting)
{
    return (waiting->goal == GOAL_NEXT || waiting->group->parallel_limit != 0) &&
           waiting->count - waiting->first_open > 1;
}

static int interrupted(void)
{
    return error_set(-EINTR, "a signal arrived during the wait");
}

/* Sleeps until a task that the goal depends on has ended; 0, -ETIMEDOUT, -EINTR. */
static int nap(struct waiting *waiting, const struct record *record, uint64_t nap_ns)
{
    struct client *client = waiting->client;
    _Atomic uint32_t *futex = &client->lane.header->any;
    uint32_t expected;
    if (!any_counts(waiting)) {
        uint64_t word;
        if (!flag(client, record, SLOT_WAITED, &word))
            return 0;
        futex = slot_futex(&client->lane.slots[record->slot].word);
        expected = (uint32_t)word;
    } else {
        expected = atomic_load_explicit(futex, memory_order_seq_cst);
        if (!flag_all(waiting))
            return 0;
    }
    FAULT_POINT("client_asleep");
    int result = sys_futex_wait(futex, expected, nap_ns);
    return result == -EAGAIN ? 0 : result;
}

void wait_settle_lost(mc_group *group)
{
    struct client *client = &group->pool->client;
    bool gone = atomic_load_explicit(&client->gone, memory_order_relaxed);
    unsigned lost =
        gone ? ALL_CLASSES
             : atomic_load_explicit(&group->pool->control->hopeless, memory_order_relaxed);
    for (size_t index = group->first_open; index < group->count; index++) {
        struct record *record = group_record(group, index);
        if (record_state(record) != RECORD_OPEN || record_runs_here(record) ||
            (lost >> handler_seats(&group->pool->config->handlers[record->handler]) & 1) == 0)
            continue;
        _Atomic uint64_t *slot = &client->lane.slots[record->slot].word;
        uint64_t word = slot_load(slot);
        if (slot_ended(word) || (slot_state(word) == SLOT_SUBMITTED && help_may_run(group, record)))
            continue;
        if (slot_cancel(slot, &word) || (gone && slot_state(word) == SLOT_RUNNING))
            client_settle_lost(group, index);
    }
}

/* The task whose end is waited for next. Who waits for all had best sleep on the
 * last, and be woken once; unless each end lets another task be offered. */
static const struct record *awaited(const struct waiting *waiting)
{
    const mc_group *group = waiting->group;
    size_t index = waiting->first_open;
    if (waiting->goal == GOAL_ROOM && waiting->room_index > index)
        index = waiting->room_index;
    else if (waiting->goal == GOAL_ALL && group->parallel_limit == 0)
        index = waiting->count - 1;
    while (index > waiting->first_open && has_ended(waiting->client, group_record(group, index)))
        index--; /* nobody tells of it any more */
    return group_record(group, index);
}

/* A worker could run something of these classes, and does not; the bells might say otherwise. */
static bool some_seat_idle(const struct control *control, unsigned classes)
{
    for (uint32_t seat = 0; seat < control->seat_count; seat++)
        if ((classes >> control_class(control, seat) & 1) != 0 &&
            atomic_load_explicit(&control->rows[seat].pid, memory_order_relaxed) != 0 &&
            atomic_load_explicit(&control->rows[seat].run_count, memory_order_relaxed) == 0)
            return true;
    return false;
}

/* Others wait for us to find room, which their tasks may leave. */
static bool heads_line(const struct waiting *waiting)
{
    return waiting->goal == GOAL_ROOM &&
           atomic_load_explicit(&waiting->client->first_in_line, memory_order_relaxed) ==
               waiting->group;
}

/* Runs a task of another group for the room that it takes; false if there is none. Workers
 * that all wait for room would wait for each other. A client that ran another task from
 * within one would come here again from that, and so on. */
static bool make_room(const struct waiting *waiting)
{
    const mc_group *group = waiting->group;
    bool in_worker = group->pool->in_worker;
    return (in_worker || !help_in_handler()) &&
           help_any_group(group->pool, in_worker || group->on_full == MC_FULL_INLINE);
}

static bool is_held_up(const mc_group *group, const struct record *record)
{
    return io_awaits_itself(group->pool->io,
                            name_make(record->handler, record->generation, record->slot));
}

/* A task that is waited for in a call within its own, and so cannot end; or NULL. Who waits for
 * the next of several may get another. */
static const struct record *held_up(const struct waiting *waiting)
{
    const mc_group *group = waiting->group;
    const struct record *record = awaited(waiting);
    if (waiting->goal == GOAL_ALL || waiting->open == 1)
        return is_held_up(group, record) ? record : NULL;
    if (waiting->goal == GOAL_ROOM)
        return NULL;
    for (size_t index = waiting->first_open; index < waiting->count; index++) {
        const struct record *other = group_record(group, index);
        if (record_state(other) == RECORD_OPEN && !is_held_up(group, other))
            return NULL;
    }
    return record;
}

/* In an I/O worker: its other tasks wait for this one, and perhaps this one for them. */
static int drive(const struct waiting *waiting)
{
    const mc_group *group = waiting->group;
    struct io *io = group->pool->io;
    const struct record *own = first_that_is(waiting, SLOT_SUBMITTED);
    bool full = waiting->first_open == waiting->count;
    if (own != NULL && (group->parallel_limit == 0 || own->offered) &&
        handler_seats(&group->pool->config->handlers[own->handler]) == SEAT_IO) {
        name_t name = name_make(own->handler, own->generation, own->slot);
        return io_drive(io, &name, false);
    }
    const struct record *stuck = full ? NULL : held_up(waiting);
    if (stuck != NULL)
        return error_set(-EDEADLK,
                         "a task of handler '%s' is waited for in a call that holds it up: "
                         "await mc_pool_fd() there",
                         group->pool->config->handlers[stuck->handler].name);
    return io_drive(io, NULL, full);
}

/* In all groups: the caller may wait for room that those of others take. */
static void settle_lost(struct client *client)
{
    pthread_mutex_lock(&client->lock);
    for (mc_group *group = client->groups; group != NULL; group = group->next)
        wait_settle_lost(group);
    pthread_mutex_unlock(&client->lock);
}

static int await_others(struct waiting *waiting)
{
    const mc_group *group = waiting->group;
    struct timespec room = {.tv_nsec = ROOM_NAP_NS};
    if (nanosleep(&room, NULL) < 0 && group->interruptible)
        return interrupted();
    waiting->naps++;
    if (client_check_gone(waiting->client) ||
        atomic_load_explicit(&group->pool->control->hopeless, memory_order_relaxed) != 0)
        settle_lost(waiting->client);
    return 0;
}

/* Sees that somebody is awake, and waits until something may have changed. */
static int rest(struct waiting *waiting, uint64_t now)
{
    mc_group *group = waiting->group;
    struct client *client = waiting->client;
    int driven = group->pool->io != NULL ? drive(waiting) : 0;
    if (driven < 0)
        return driven;
    if (waiting->goal == GOAL_ROOM) { /* which tasks of the caller's other groups may have */
        client_announce_deferred(group->pool);
        if (make_room(waiting)) {
            waiting->naps++;
            return 0;
        }
    }
    if (waiting->first_open == waiting->count) /* waits for room that others take */
        return await_others(waiting);
    const struct record *record = awaited(waiting);
    tell_cpu(waiting);
    bool hurried = atomic_load_explicit(&client->think_ns, memory_order_relaxed) < HURRIED_NS;
    if (!hurried)
        wake_deferred(waiting, false);
    if (waiting->goal != GOAL_ROOM && looks_pay(client)) {
        bool ended = look(waiting, record, now);
        note_look(client, ended);
        if (ended)
            return 0;
    }
    wake_deferred(waiting, true);
    if (waiting->naps == 1 && wait_any_is(waiting, SLOT_SUBMITTED))
        (void)client_wake(group->pool, group_offered_to(group), WAKE_ANYWAY, -1, waiting->cpu);
    /* Where nobody sleeps nobody needs to be woken in a moment. */
    if (waiting->naps == 0 && !help_may_run(group, record) &&
        !wake_anyone_sleeping(group->pool->bells))
        waiting->naps = 1;
    uint64_t nap_ns = waiting->naps == 0   ? group->roused ? ROUSED_NAP_NS : FIRST_NAP_NS
                      : waiting->naps == 1 ? SECOND_NAP_NS
                                           : NAP_NS;
    waiting->naps++;
    if (waiting->deadline_ns != UINT64_MAX && waiting->deadline_ns - now < nap_ns)
        nap_ns = waiting->deadline_ns - now;
    if (group->kill_before != 0 && nap_ns > KILL_NAP_NS)
        nap_ns = KILL_NAP_NS;
    /* Nobody tells us of the end of others' tasks. */
    if ((waiting->shared || heads_line(waiting) || group->pool->io != NULL) && nap_ns > ROOM_NAP_NS)
        nap_ns = ROOM_NAP_NS;
    int result = nap(waiting, record, nap_ns);
    if (result == -EINTR && group->interruptible)
        return interrupted();
    /* Signals may come more often than naps end. */
    if (result != -ETIMEDOUT && result != -EINTR)
        return 0;
    if (client_check_gone(client) || wait_no_workers(group)) {
        settle_lost(client);
    } else if (waiting->naps > 1 && some_seat_idle(group->pool->control, group_offered_to(group)) &&
               wait_any_is(waiting, SLOT_SUBMITTED)) {
        client_complain(client);
    }
    return 0;
}

/* With the lock held. */
static bool reached(const struct waiting *waiting)
{
    const mc_group *group = waiting->group;
    switch (waiting->goal) {
    case GOAL_ALL:
        return group->ended == group->count;
    case GOAL_NEXT:
        return group->completed_count > group->returned || group->ended == group->count;
    case GOAL_ROOM:
        return group->first_open > waiting->room_index || group->ended >= waiting->ended_enough ||
               (group->on_full == MC_FULL_INLINE && group->ended > waiting->ended_before) ||
               (waiting->shared && waiting->client->free_count > waiting->free_least) ||
               ((group->first_open == group->count || heads_line(waiting)) && waiting->naps > 0) ||
               waiting->naps > ROOM_NAPS;
    }
    return false;
}

/* What free slots there are, and whose tasks have the others. With the lock held. */
static void note_room(struct waiting *waiting)
{
    uint32_t free_now = waiting->client->free_count;
    waiting->shared |= waiting->client->lane.geometry->slot_count - free_now > waiting->open;
    if (free_now < waiting->free_least)
        waiting->free_least = free_now;
}

/* Reaps what ended, and looks where that leaves the goal. */
static void collect(struct waiting *waiting)
{
    mc_group *group = waiting->group;
    struct client *client = waiting->client;
    /* The usual case of a look too early needs no lock; but after a nap it is seen whether the
     * task's word is one that it may have. */
    if (waiting->naps == 0 && waiting->goal == GOAL_ALL && group->parallel_limit == 0 &&
        group->kill_before == 0 && waiting->first_open < waiting->count &&
        !has_ended(client, group_record(group, waiting->first_open)))
        return;
    pthread_mutex_lock(&client->lock);
    if (UNLIKELY(waiting->group->kill_before != 0))
        group_kill_again(waiting->group);
    if (waiting->goal == GOAL_ROOM)
        client_collect_everything(client);
    else
        client_collect(group, waiting->goal == GOAL_NEXT || group->parallel_limit != 0);
    waiting->first_open = group->first_open;
    waiting->count = group->count;
    waiting->open = group->count - group->ended;
    if (waiting->goal == GOAL_ROOM)
        note_room(waiting);
    waiting->reached = reached(waiting);
    pthread_mutex_unlock(&client->lock);
}

/* Only looks. Who polls waits for nobody to be woken. */
static int poll_once(struct waiting *waiting)
{
    mc_group *group = waiting->group;
    if (waiting->reached)
        return 0;
    if (client_check_gone(waiting->client)) {
        pthread_mutex_lock(&waiting->client->lock);
        wait_settle_lost(group);
        pthread_mutex_unlock(&waiting->client->lock);
        collect(waiting);
        return waiting->reached ? 0 : -ETIMEDOUT; /* some run here, or are yet to */
    }
    if (group->wake_deferred) {
        const struct record *record = group_record(group, waiting->first_open);
        atomic_store_explicit(&waiting->client->prompt[record->handler], 0, memory_order_relaxed);
        wait_announce(group, false);
    }
    return -ETIMEDOUT;
}

static int wait_until(struct waiting *waiting, int timeout_ms)
{
    waiting->began_ns = waiting->alone_ns = clock_quick_ns();
    if (timeout_ms > 0)
        waiting->deadline_ns = waiting->began_ns + (uint64_t)timeout_ms * 1000000;
    learn_habit(waiting);
    uint64_t now = waiting->began_ns;
    int result = 0;
    while (result == 0 && !waiting->reached) {
        if (!help_pays(waiting, now) || !help_group(waiting))
            result = rest(waiting, now);
        collect(waiting);
        if (waiting->reached)
            break;
        now = clock_quick_ns();
        if (result == 0 && now >= waiting->deadline_ns)
            result = -ETIMEDOUT;
    }
    /* Without a nap `now` is a few microseconds old at most: near enough for a
     * habit, and free. */
    if (waiting->naps > 0)
        now = clock_quick_ns();
    atomic_store_explicit(&waiting->client->idle_since_ns, now, memory_order_relaxed);
    return waiting->reached ? 0 : result;
}

int wait_for(mc_group *group, enum goal goal, int timeout_ms)
{
    struct waiting waiting = {.group = group,
                              .client = &group->pool->client,
                              .goal = goal,
                              .deadline_ns = UINT64_MAX,
                              .room_index = SIZE_MAX,
                              .ended_before =
                                  atomic_load_explicit(&group->ended, memory_order_relaxed),
                              .ended_enough = SIZE_MAX,
                              .free_least = UINT32_MAX};
    /* What was submitted a moment ago is hardly begun: then the first look would
     * only be in the way of the worker. */
    if (goal == GOAL_ALL && timeout_ms != 0 && group->submitted_ns != 0) {
        waiting.first_open = atomic_load_explicit(&group->first_open, memory_order_relaxed);
        waiting.count = group->count;
        waiting.open = waiting.count - waiting.first_open;
    }
    if (waiting.first_open == waiting.count)
        collect(&waiting);
    /* One slot would do; but who fills the queue once fills it again, and had
     * better not be woken for each task. */
    waiting.room_index = waiting.first_open + (waiting.count - waiting.first_open) / 2;
    if (waiting.open != 0)
        waiting.ended_enough = waiting.count - waiting.open + (waiting.open + 1) / 2;
    int result = 0;
    if (!waiting.reached)
        result = timeout_ms == 0 ? poll_once(&waiting) : wait_until(&waiting, timeout_ms);
    group->submitted_ns = 0;
    if (result == -ETIMEDOUT)
        return error_set(result, "%zu of %zu tasks have not ended within %d ms", waiting.open,
                         waiting.count, timeout_ms);
    return result;
}
