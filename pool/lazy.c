/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Tasks of lazy modules, until these are loaded. A worker that comes to the ticket of such a
 * task gives it to us, and lets go of it when we have answered; so at any instant the ring, the
 * worker's row or we have it. The slot stays SUBMITTED meanwhile: it can be cancelled, and its
 * client can die, as ever.
 *
 * The module is loaded in a fork of the zygote (zygotes.c). As soon as the first worker has it,
 * the tickets go to the repair ring, a part at a time; a worker that has it not yet, and takes
 * one, gives it back. So they do when the module cannot be loaded, but then the answer is why,
 * and the worker fails the task. What waits for nothing is given back every few milliseconds,
 * whatever happened: nothing is kept for ever because of something that was missed here.
 *
 * I/O workers, in which tasks wait that would have to end first, are not followed by others:
 * they are told to set the module up themselves, when another worker has shown that it can be.
 */
#include "pool/supervisor.h"

#include "base/check.h"
#include "base/fault.h"
#include "ipc/slot.h"
#include "pool/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    RELEASE_MS = 10,
    AGAIN_MS = 10,               /* from the death of a process that was to load to the next one */
    DEATHS_MOST = 3,             /* of such, for no reason that the module gave */
    REFUSE_MS = 1000,            /* for which the tasks of a module that cannot be loaded fail */
    ROW_SHIFT = 48,              /* of the module's row + 1, above the name */
    NO_ROW = MODULES_MOST,       /* the module of a set-up that has gone */
    SPARE = REPAIR_CAPACITY / 2, /* for tickets that dead workers had, which must find room */
    GIVEN_MOST = 64,             /* while there are workers that may give them back */
};

#define NAME_MASK ((UINT64_C(1) << ROW_SHIFT) - 1)

void lazy_init(struct supervisor *supervisor)
{
    supervisor->lazy.loading = -1;
}

/* ---- tickets ---- */

static uint64_t bit(uint32_t row)
{
    return UINT64_C(1) << row;
}

/* False for the ticket of a task that has ended, and whose slot may be another's. */
static bool is_wanted(const struct tenant *tenant, name_t name)
{
    if (name_slot(name) >= tenant->geometry.slot_count)
        return false;
    uint64_t word = slot_load(&tenant->lane.slots[name_slot(name)].word);
    return name_current(name, word) && slot_state(word) == SLOT_SUBMITTED;
}

/* False without memory. */
static bool keep(struct supervisor *supervisor, struct tenant *tenant, name_t name, uint32_t row)
{
    if (!is_wanted(tenant, name)) /* or it would take the place of a ticket that is */
        return true;
    if (tenant->kept == NULL)
        tenant->kept = calloc(tenant->geometry.slot_count, sizeof(*tenant->kept));
    if (tenant->kept == NULL)
        return false;
    uint64_t *entry = &tenant->kept[name_slot(name)];
    if (*entry == 0) {
        tenant->kept_count++;
        supervisor->lazy.kept++;
    }
    *entry = name | (uint64_t)(row + 1) << ROW_SHIFT;
    return true;
}

void lazy_drop(struct supervisor *supervisor, struct tenant *tenant)
{
    supervisor->lazy.kept -= tenant->kept_count;
    tenant->kept_count = 0;
    free(tenant->kept);
    tenant->kept = NULL;
}

/* Some worker has started with all modules of the target. */
static bool is_proven(const struct supervisor *supervisor)
{
    return roster_any_of(supervisor, SEAT_CPU, false);
}

/* The module is about to be loaded. Where it is not, it may well be that a worker has it, or is
 * to set it up, or that the task has to fail for want of it. */
static bool is_awaited(const struct supervisor *supervisor, uint32_t row)
{
    const struct lazy *lazy = &supervisor->lazy;
    return row != NO_ROW &&
           ((lazy->wanted & bit(row)) != 0 || (lazy->loading == (int)row && !supervisor->moving));
}

static enum seat_class seats_of(const struct supervisor *supervisor, name_t name)
{
    uint32_t handler = name_handler(name);
    return handler < supervisor->config->handler_count
               ? handler_seats(&supervisor->config->handlers[handler])
               : SEAT_CPU;
}

/* What may be given back at one time. */
struct round {
    uint32_t room;
    bool served[SEAT_CLASSES]; /* a worker of these seats could take it */
};

/* True if the entry needs to be kept no longer. */
static bool let_go(struct supervisor *supervisor, const struct tenant *tenant, uint64_t entry,
                   struct round *round)
{
    name_t name = entry & NAME_MASK;
    enum seat_class seats = seats_of(supervisor, name);
    if (!is_wanted(tenant, name))
        return true;
    if (round->room == 0 || !round->served[seats] ||
        is_awaited(supervisor, (uint32_t)(entry >> ROW_SHIFT) - 1) ||
        !sweep_may_repair(supervisor, seats, SPARE))
        return false;
    FAULT_POINT("lazy_release");
    sweep_repair(supervisor, tenant, seats, name);
    round->room--;
    return true;
}

static void release(struct supervisor *supervisor)
{
    const struct zygote *target = &supervisor->zygotes[supervisor->target];
    const uint32_t most = roster_all_follow(supervisor, target) ? REPAIR_CAPACITY : GIVEN_MOST;
    struct round round = {
        .room = most,
        .served = {[SEAT_CPU] = roster_any_of(supervisor, SEAT_CPU, true),
                   [SEAT_IO] = is_proven(supervisor) && roster_any_of(supervisor, SEAT_IO, true)}};
    for (uint32_t i = 0; i < supervisor->config->max_clients; i++) {
        struct tenant *tenant = &supervisor->tenants[i];
        for (uint32_t slot = 0; tenant->kept_count > 0 && slot < tenant->geometry.slot_count;
             slot++) {
            uint64_t *entry = &tenant->kept[slot];
            if (*entry == 0 || !let_go(supervisor, tenant, *entry, &round))
                continue;
            *entry = 0;
            tenant->kept_count--;
            supervisor->lazy.kept--;
        }
    }
    if (round.room < most)
        lanes_ring(supervisor);
}

/* ---- modules ---- */

static void want(struct supervisor *supervisor, uint32_t row)
{
    const struct zygote *target = &supervisor->zygotes[supervisor->target];
    if (supervisor->lazy.loading != (int)row && (target->awake & bit(row)) == 0)
        supervisor->lazy.wanted |= bit(row);
}

/* What the worker is told about the ticket. */
static void answer(struct supervisor *supervisor, struct tenant *tenant, name_t name, uint32_t row,
                   enum seat_class seats, struct message *message)
{
    const struct zygote *target = &supervisor->zygotes[supervisor->target];
    if (seats == SEAT_IO && row != NO_ROW && (target->awake & bit(row)) != 0 &&
        is_proven(supervisor)) {
        message->status = 1;
        return;
    }
    const struct lazy_failure *failure =
        row < MODULES_MOST ? &supervisor->lazy.failures[row] : NULL;
    if (failure != NULL && failure->until_ms > supervisor_now_ms()) {
        message->status = failure->status;
        memcpy(message->text, failure->text, sizeof(failure->text));
        return;
    }
    if (!keep(supervisor, tenant, name, row)) /* so it goes round until there is */
        sweep_repair(supervisor, tenant, seats, name);
    if (row != NO_ROW)
        want(supervisor, row);
}

void lazy_defer(struct supervisor *supervisor, uint32_t seat, int which,
                const struct message *message)
{
    const struct post *post = &supervisor->seats[seat].posts[which];
    struct parcel parcel = {.message = {.type = MESSAGE_DEFERRED}};
    struct tenant *tenant = lanes_find(supervisor, message->index, message->generation);
    uint32_t row = (uint32_t)message->value;
    name_t name;
    memcpy(&name, message->text, sizeof(name));
    enum seat_class seats = control_class(supervisor->control, seat);
    if (post->set_up != supervisor->zygotes[supervisor->target].set_up ||
        row >= supervisor->config->module_count)
        row = NO_ROW; /* its rows are not ours */
    if (tenant != NULL && !tenant->dropping)
        answer(supervisor, tenant, name & NAME_MASK, row, seats, &parcel.message);
    FAULT_POINT("lazy_answer");
    channel_tell(post->socket, &parcel);
}

static void begin(struct supervisor *supervisor, uint64_t now_ms)
{
    struct lazy *lazy = &supervisor->lazy;
    uint32_t row = (uint32_t)__builtin_ctzll(lazy->wanted);
    int result = forks_by_target(supervisor, row);
    if (result == 0) {
        lazy->wanted &= ~bit(row);
        lazy->loading = (int)row;
        lazy->began_ms = now_ms;
    } else if (result != -EAGAIN) { /* else what is in the way is an event, when it ends */
        lazy->due_ms = now_ms + AGAIN_MS;
    }
}

void lazy_loaded(struct supervisor *supervisor, uint64_t awake)
{
    struct lazy *lazy = &supervisor->lazy;
    struct config *config = supervisor->config;
    for (uint32_t row = 0; row < config->module_count; row++)
        if ((awake & bit(row)) != 0) {
            config->modules[row].lazy = false; /* for zygotes to come */
            lazy->failures[row].deaths = 0;
        }
    if (lazy->loading >= 0 && (awake & bit((uint32_t)lazy->loading)) != 0)
        log_write(supervisor->control, MC_LOG_INFO,
                  "module '%.63s' was loaded for its first task, which waited for %llu ms",
                  config->startup->modules[lazy->loading].name,
                  (unsigned long long)(supervisor_now_ms() - lazy->began_ms));
    lazy->loading = -1;
}

void lazy_failed(struct supervisor *supervisor, int status, const char *why, bool died)
{
    struct lazy *lazy = &supervisor->lazy;
    if (lazy->loading < 0)
        return;
    uint32_t row = (uint32_t)lazy->loading;
    struct lazy_failure *failure = &lazy->failures[row];
    lazy->loading = -1;
    if (died && ++failure->deaths < DEATHS_MOST) {
        lazy->wanted |= bit(row);
        lazy->due_ms = supervisor_now_ms() + AGAIN_MS;
        return;
    }
    failure->deaths = 0;
    failure->until_ms = supervisor_now_ms() + REFUSE_MS;
    failure->status = status;
    snprintf(failure->text, sizeof(failure->text), "%s", why);
    log_write(
        supervisor->control, MC_LOG_ERROR,
        "a lazy module cannot be loaded, and its tasks fail; the next after %d ms has it tried "
        "again: %s",
        REFUSE_MS, why);
}

void lazy_forget(struct supervisor *supervisor)
{
    struct lazy *lazy = &supervisor->lazy;
    lazy->wanted = 0;
    lazy->loading = -1;
    memset(lazy->failures, 0, sizeof(lazy->failures));
    for (uint32_t i = 0; i < supervisor->config->max_clients; i++) {
        struct tenant *tenant = &supervisor->tenants[i];
        for (uint32_t slot = 0; tenant->kept_count > 0 && slot < tenant->geometry.slot_count;
             slot++)
            if (tenant->kept[slot] != 0)
                tenant->kept[slot] = (tenant->kept[slot] & NAME_MASK) | (uint64_t)(NO_ROW + 1)
                                                                            << ROW_SHIFT;
    }
}

/* ---- in time ---- */

void lazy_due(struct supervisor *supervisor, uint64_t now_ms)
{
    struct lazy *lazy = &supervisor->lazy;
    if (lazy->loading >= 0 && !forks_is_growing(supervisor)) /* whatever became of it */
        lazy_failed(supervisor, -EIO, "the process that was to load it is gone", true);
    if (lazy->wanted != 0 && lazy->loading < 0 && lazy->due_ms <= now_ms)
        begin(supervisor, now_ms);
    if (lazy->kept != 0 && lazy->release_ms <= now_ms) {
        lazy->release_ms = now_ms + RELEASE_MS;
        release(supervisor);
    }
}

uint64_t lazy_next_due(const struct supervisor *supervisor)
{
    const struct lazy *lazy = &supervisor->lazy;
    uint64_t next = lazy->kept != 0 ? lazy->release_ms : UINT64_MAX;
    if (lazy->wanted != 0 && lazy->loading < 0 && lazy->due_ms > supervisor_now_ms() &&
        lazy->due_ms < next)
        next = lazy->due_ms;
    return next;
}
