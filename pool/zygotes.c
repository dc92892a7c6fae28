/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Where workers come from. A zygote that has modules to load says when it is ready;
 * the handlers that it found get numbers, and keep them for the supervisor's life.
 *
 * A new set-up gets a zygote of its own. When that is ready it is the target: each
 * worker of the other is followed by one of the new, seat by seat (keeper.c), and then
 * the other zygote ends. If the new one cannot load, or its workers cannot start, the
 * other is the target again, and seats that have changed hands change back.
 *
 * A warm zygote, which a worker has forked (refork.c), becomes the target in the same way,
 * with the same configuration: once, and again when it has died. So does one that the target
 * has forked to load a lazy module (lazy.c), which is as warm as the one it comes from.
 */
#include "pool/supervisor.h"

#include "base/error.h"
#include "base/fault.h"
#include "base/sys.h"
#include "pool/log.h"
#include "pool/zygote.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOAD_REST_MS = 1000 };
enum { FAILURES_MOST = 3 }; /* in a row, until nobody counts on the next */

struct zygote *zygotes_other(struct supervisor *supervisor)
{
    return &supervisor->zygotes[1 - supervisor->target];
}

struct zygote *zygotes_target(struct supervisor *supervisor)
{
    struct zygote *zygote = &supervisor->zygotes[supervisor->target];
    return zygote->socket >= 0 && zygote->ready ? zygote : NULL;
}

bool zygotes_fail(const struct supervisor *supervisor)
{
    return supervisor->zygotes[supervisor->target].failures >= FAILURES_MOST;
}

/* ---- start ---- */

int zygotes_watch(struct supervisor *supervisor, const struct zygote *zygote, int fd,
                  enum watched kind)
{
    return supervisor_watch(supervisor, fd, kind, (uint32_t)(zygote - supervisor->zygotes));
}

static int give_birth(struct supervisor *supervisor, struct zygote *zygote)
{
    int ends[2];
    zygote->started_ms = supervisor_now_ms();
    zygote->ready = zygote->config->serve == NULL;
    zygote->late = zygote->warm = zygote->forked = zygote->lazy = false;
    zygote->text[0] = '\0';
    zygote->status = 0;
    int result = channel_pair(ends);
    if (result < 0)
        return result;
    pid_t pid = sys_fork(SIGCHLD, false, NULL);
    if (pid == 0)
        zygote_run(zygote->config, supervisor->control, supervisor->bells, ends[1],
                   supervisor->pid);
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return (int)pid;
    }
    zygote->pid = pid;
    zygote->socket = ends[0];
    zygote->pidfd = result = sys_pidfd_open(pid);
    if (result >= 0)
        result = zygotes_watch(supervisor, zygote, zygote->pidfd, WATCH_ZYGOTE_PID);
    if (result == 0)
        result = zygotes_watch(supervisor, zygote, zygote->socket, WATCH_ZYGOTE_SOCKET);
    if (result < 0) {
        (void)keeper_end_child(pid);
        sys_close(&zygote->pidfd);
        sys_close(&zygote->socket);
    }
    return result;
}

/* In place of one that died, or could not be made. */
static int replace(struct supervisor *supervisor, struct zygote *zygote)
{
    int result = give_birth(supervisor, zygote);
    if (result < 0)
        zygote->failures++;
    else if (zygote->ready)
        zygote->failures = 0;
    return result;
}

static int begin(struct supervisor *supervisor, struct zygote *zygote, struct config *config)
{
    *zygote = (struct zygote){
        .config = config, .generation = ++supervisor->zygote_count, .pidfd = -1, .socket = -1};
    zygote->edition = zygote->set_up = zygote->generation;
    return give_birth(supervisor, zygote);
}

int zygotes_start(struct supervisor *supervisor, struct config *config)
{
    zygotes_other(supervisor)->pidfd = zygotes_other(supervisor)->socket = -1;
    return begin(supervisor, &supervisor->zygotes[supervisor->target], config);
}

/* Clients may ask for what is here, so it is for a set-up that all workers have. */
void zygotes_publish(struct supervisor *supervisor)
{
    const struct config *config = supervisor->config;
    struct control *control = supervisor->control;
    for (uint32_t i = 0; i < config->handler_count; i++)
        control->handlers[i] = config_handler_entry(&config->handlers[i]);
    atomic_store_explicit(&control->handler_count, config->handler_count, memory_order_release);
    atomic_fetch_add_explicit(&control->handlers_edition, 1, memory_order_release);
}

/* ---- a new set-up ---- */

/* What lanes and seats are made of cannot change while they are in use. */
static const char *keep_fixed(struct config *fresh, const struct config *old)
{
    bool same = fresh->workers == old->workers && fresh->io_workers == old->io_workers &&
                fresh->max_payload == old->max_payload && fresh->max_clients == old->max_clients &&
                lane_geometry_same(&fresh->geometry, &old->geometry);
    fresh->workers = old->workers;
    fresh->io_workers = old->io_workers;
    fresh->seats = old->seats;
    fresh->max_payload = old->max_payload;
    fresh->max_clients = old->max_clients;
    fresh->geometry = old->geometry;
    return same ? ""
                : "workers, io-workers, queue-depth, max-payload, arena-size and max-clients stay "
                  "as they are until a restart";
}

/* Handlers keep their numbers, from the first that `to` does not have; whether they are
 * still there, the modules will say. Also the numbers of a set-up that was given up: tasks
 * inside of its workers' tasks may have them. */
static void keep_numbers(struct config *to, const struct config *from, uint32_t first)
{
    for (uint32_t i = first; i < from->handler_count; i++) {
        to->handlers[i] = from->handlers[i];
        to->handlers[i].run = NULL;
        to->handler_count = i + 1;
    }
}

/* However often it is asked for until it can begin, once is enough: it reads what is
 * configured by then. */
int zygotes_reload(struct supervisor *supervisor)
{
    if (supervisor->phase > PHASE_OPEN)
        return error_set(-ESHUTDOWN, "the pool is closing");
    supervisor->reload_wanted = supervisor->config->serve != NULL;
    return 0;
}

bool zygotes_may_change(const struct supervisor *supervisor)
{
    return supervisor->phase == PHASE_OPEN && !supervisor->moving &&
           supervisor->zygotes[1 - supervisor->target].config == NULL;
}

static void reload(struct supervisor *supervisor)
{
    const struct serve_options *serve = supervisor->config->serve;
    struct zygote *fresh = zygotes_other(supervisor);
    struct config *config = NULL;
    FAULT_POINT("reload_begin");
    supervisor->reload_wanted = false;
    door_tell(supervisor, SERVE_RELOADING, "");
    const struct serve_options *options =
        serve->reload != NULL ? serve->reload(serve->context) : serve;
    if (options == NULL || config_create(&options->pool, options, &config) < 0) {
        door_tell(supervisor, SERVE_KEPT, error_message());
        return;
    }
    const char *warning = keep_fixed(config, supervisor->config);
    if (warning[0] != '\0')
        log_write(supervisor->control, MC_LOG_WARNING, "%s", warning);
    keep_numbers(config, supervisor->config, 0);
    int result = begin(supervisor, fresh, config);
    fresh->fresh = true;
    if (result < 0) {
        door_tell(supervisor, SERVE_KEPT, strerror(-result));
        config_free(config);
        fresh->config = NULL;
    }
}

void zygotes_forget(struct supervisor *supervisor, struct zygote *zygote)
{
    if (supervisor->zygotes[0].config != supervisor->zygotes[1].config)
        config_free(zygote->config);
    *zygote = (struct zygote){.pidfd = -1, .socket = -1};
}

static void dismiss(struct zygote *zygote)
{
    if (zygote->pidfd >= 0)
        (void)sys_pidfd_kill(zygote->pidfd, SIGKILL);
}

static bool may_go_back(struct supervisor *supervisor)
{
    const struct zygote *old = zygotes_other(supervisor);
    return supervisor->moving && old->config != NULL && old->socket >= 0;
}

/* From now on workers come from this one. */
static void aim_at(struct supervisor *supervisor, struct zygote *zygote)
{
    if (supervisor->config != zygote->config)
        lazy_forget(supervisor);
    supervisor->target = (int)(zygote - supervisor->zygotes);
    supervisor->config = zygote->config;
    atomic_store(&supervisor->control->limit_milli,
                 zygote->config->policy.enabled ? zygote->config->policy.limit_milli : 0);
    atomic_store(&supervisor->control->max_delay_ms, zygote->config->policy.max_delay_ms);
}

static void give_up(struct supervisor *supervisor, const char *why, bool died)
{
    struct zygote *failed = &supervisor->zygotes[supervisor->target],
                  *old = zygotes_other(supervisor);
    if (!may_go_back(supervisor)) {
        if (supervisor->moving && failed->lazy) { /* then it is followed by one without */
            lazy_failed(supervisor, -EIO, why, died);
            dismiss(failed);
        }
        return;
    }
    keep_numbers(old->config, failed->config, old->config->handler_count);
    keeper_stay(supervisor);
    supervisor->moving = false;
    aim_at(supervisor, old);
    switch (supervisor->move) {
    case MOVE_SET_UP:
        door_tell(supervisor, SERVE_KEPT, why);
        break;
    case MOVE_WARM:
        forks_failed(supervisor, old, why);
        break;
    case MOVE_LAZY:
        lazy_failed(supervisor, -EIO, why, died);
        break;
    case MOVE_BACK: /* which was no move */
        break;
    }
    supervisor->move = MOVE_BACK;
    if (failed->pidfd >= 0)
        dismiss(failed);
    else
        zygotes_forget(supervisor, failed); /* no death of it is to come */
}

void zygotes_give_up(struct supervisor *supervisor, const char *why)
{
    give_up(supervisor, why, false);
}

/* ---- what a zygote says ---- */

static void learn_handler(struct zygote *zygote, const struct message *message)
{
    struct handler_entry entry;
    struct config *config = zygote->config;
    uint32_t number = message->index;
    memcpy(&entry, message->text, sizeof(entry));
    entry.name[HANDLER_NAME_SIZE - 1] = '\0';
    if (number >= config->handler_capacity || number > config->handler_count)
        return;
    struct handler *handler = &config->handlers[number];
    memcpy(handler->name, entry.name, sizeof(handler->name));
    handler->flags = entry.flags;
    handler->max_attempts = entry.max_attempts;
    handler->soft_limit_ms = entry.soft_limit_ms;
    handler->time_limit_ms = entry.time_limit_ms;
    if (number == config->handler_count)
        config->handler_count++;
}

static void loaded(struct supervisor *supervisor, struct zygote *zygote, const char *awake)
{
    zygote->ready = true;
    zygote->failures = 0;
    memcpy(&zygote->awake, awake, sizeof(zygote->awake));
    if (zygote == zygotes_other(supervisor) && (zygote->fresh || zygote->forked)) {
        zygote->fresh = false;
        aim_at(supervisor, zygote);
        if (zygotes_other(supervisor)->pidfd < 0)
            zygotes_forget(supervisor, zygotes_other(supervisor)); /* no death of it is to come */
        supervisor->moving = true;
        supervisor->move = zygote->lazy ? MOVE_LAZY : zygote->forked ? MOVE_WARM : MOVE_SET_UP;
    } else if (!supervisor->moving) {
        zygotes_publish(supervisor);
    }
    keeper_fill_seats(supervisor);
}

/* False when there is nothing more to hear for now. */
static bool hear(struct supervisor *supervisor, struct zygote *zygote)
{
    struct parcel parcel;
    int result = channel_receive(zygote->socket, &parcel, MSG_DONTWAIT);
    if (result == -EAGAIN)
        return false;
    if (zygote->pidfd < 0 && !forks_adopt(supervisor, zygote)) {
        if (result > 0)
            parcel_drop(&parcel);
        forks_abandon(supervisor, zygote, -EIO,
                      "the process that was to fork it could not, or died", true);
        return false;
    }
    if (result <= 0) { /* its death follows */
        sys_close(&zygote->socket);
        dismiss(zygote);
        return false;
    }
    switch (parcel.message.type) {
    case MESSAGE_HANDLER:
        learn_handler(zygote, &parcel.message);
        break;
    case MESSAGE_LOADED:
        loaded(supervisor, zygote, parcel.message.text);
        break;
    case MESSAGE_SPAWN_FAILED:
        keeper_unborn(supervisor, &parcel.message);
        break;
    case MESSAGE_LOAD_FAILED:
        zygote->status = parcel.message.status;
        snprintf(zygote->text, sizeof(zygote->text), "%s", parcel.message.text);
        break;
    default:
        break;
    }
    parcel_drop(&parcel);
    return true;
}

/* ---- death ---- */

/* Of one that did not say it. */
static void describe_death(const struct zygote *zygote, int status, char *text, size_t size)
{
    char where[160];
    int used;
    startup_blame(zygote->config->startup, where, sizeof(where));
    if (zygote->late)
        used = snprintf(text, size, "loading the modules took over %u ms (load-timeout)",
                        zygote->config->load_timeout_ms);
    else if (WIFSIGNALED(status))
        used = snprintf(text, size, "loading the modules ended with signal %d (%s)",
                        WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        used = snprintf(text, size, "loading the modules ended the process with status %d",
                        WEXITSTATUS(status));
    if (where[0] != '\0' && (size_t)used < size)
        snprintf(text + used, size - (size_t)used, ": %s", where);
}

/* It has not said why, and no module is to blame, or it was killed: another may fare better. */
static bool died_by_chance(const struct zygote *zygote, int status)
{
    char where[160];
    startup_blame(zygote->config->startup, where, sizeof(where));
    return zygote->status == 0 && !zygote->late &&
           (where[0] == '\0' || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
}

/* It never came to make a worker. */
static void died_loading(struct supervisor *supervisor, struct zygote *zygote, int status)
{
    const char *why = zygote->text;
    if (zygote->forked && !zygote->lazy) {
        forks_abandon(supervisor, zygote, -EIO, "it died before it was ready", true);
        return;
    }
    if (zygote->text[0] == '\0')
        describe_death(zygote, status, zygote->text, sizeof(zygote->text));
    if (zygote->lazy) {
        const struct zygote failed = *zygote; /* whose text lives on */
        forks_abandon(supervisor, zygote, failed.status < 0 ? failed.status : -EIO, failed.text,
                      died_by_chance(zygote, status));
    } else if (zygote == zygotes_other(supervisor)) {
        if (zygote->fresh)
            door_tell(supervisor, SERVE_KEPT, why);
        zygotes_forget(supervisor, zygote);
    } else if (supervisor->phase == PHASE_OPENING) {
        door_tell(supervisor, SERVE_ENDED, why);
        supervisor_end(supervisor, 1);
    } else if (may_go_back(supervisor)) { /* it was ready once, died, and is not any more */
        give_up(supervisor, why, true);
    } else {
        zygote->failures++;
        log_write(supervisor->control, MC_LOG_ERROR, "the zygote (pid %d) cannot start: %s",
                  (int)zygote->pid, why);
    }
}

static void died(struct supervisor *supervisor, struct zygote *zygote)
{
    int status;
    if (sys_pidfd_reap(zygote->pidfd, &status) == -EAGAIN)
        return;
    while (zygote->socket >= 0 && !zygote->ready && hear(supervisor, zygote)) {
    } /* its last words */
    sys_close(&zygote->pidfd);
    sys_close(&zygote->socket);
    if (supervisor->phase >= PHASE_LEAVING)
        return;
    if (!zygote->ready) {
        died_loading(supervisor, zygote, status);
        return;
    }
    if (zygote == zygotes_other(supervisor)) { /* it has had its day */
        zygotes_forget(supervisor, zygote);
        return;
    }
    if (zygote->forked && may_go_back(supervisor)) {
        give_up(supervisor, "it died before all workers were its own", true);
        return;
    }
    if (zygote->warm)
        zygote->refork_failures++;
    log_write(supervisor->control, MC_LOG_WARNING, "the zygote (pid %d) died; starting another",
              (int)zygote->pid);
    /* Seats that it was asked for see the end of their sockets, or their worker
     * was born and says so itself. */
    int result = replace(supervisor, zygote);
    if (result < 0)
        log_write(supervisor->control, MC_LOG_ERROR, "no new zygote: %s", strerror(-result));
    keeper_fill_seats(supervisor);
}

void zygotes_event(struct supervisor *supervisor, uint32_t which, enum watched kind)
{
    struct zygote *zygote = &supervisor->zygotes[which];
    if (kind == WATCH_ZYGOTE_SOCKET && zygote->socket >= 0)
        (void)hear(supervisor, zygote);
    if (kind == WATCH_ZYGOTE_PID && zygote->pidfd >= 0)
        died(supervisor, zygote);
}

/* ---- in time ---- */

static uint64_t rest_ms(const struct zygote *zygote)
{
    return zygote->config->serve != NULL ? LOAD_REST_MS : BACKOFF_FIRST_MS;
}

/* There is no way back any more. Of a zygote that has one module more it is enough to know that
 * its workers start: those that are busy may be followed when they are done. */
static bool may_stop_moving(const struct supervisor *supervisor, const struct zygote *target)
{
    return supervisor->move == MOVE_LAZY ? roster_any_of(supervisor, SEAT_CPU, false)
                                         : roster_all_follow(supervisor, target);
}

void zygotes_due(struct supervisor *supervisor, uint64_t now_ms)
{
    struct zygote *target = &supervisor->zygotes[supervisor->target],
                  *old = zygotes_other(supervisor);
    if (supervisor->phase >= PHASE_LEAVING)
        return;
    if (target->pidfd < 0 && now_ms >= target->started_ms + rest_ms(target) &&
        replace(supervisor, target) == 0) /* it was impossible a moment ago */
        keeper_fill_seats(supervisor);
    for (int i = 0; i < 2; i++) {
        struct zygote *zygote = &supervisor->zygotes[i];
        if (zygote->pidfd >= 0 && !zygote->ready && !zygote->late &&
            now_ms >= zygote->started_ms + zygote->config->load_timeout_ms) {
            zygote->late = true;
            dismiss(zygote);
        }
    }
    if (supervisor->moving && may_stop_moving(supervisor, target)) {
        FAULT_POINT("reload_end");
        supervisor->moving = target->lazy = false;
        zygotes_publish(supervisor);
        dismiss(old);
        if (supervisor->move == MOVE_SET_UP)
            door_tell(supervisor, SERVE_RELOADED, "");
        else if (supervisor->move == MOVE_LAZY)
            lazy_loaded(supervisor, target->awake);
        else if (target->warm) /* else it has died, and the other with it */
            log_write(supervisor->control, MC_LOG_INFO,
                      "all workers are forks of what worker %d (seat %u) was", (int)target->parent,
                      target->seat);
    }
    if (supervisor->reload_wanted && zygotes_may_change(supervisor))
        reload(supervisor);
}

uint64_t zygotes_next_due(const struct supervisor *supervisor)
{
    uint64_t next = UINT64_MAX;
    if (supervisor->phase >= PHASE_LEAVING)
        return next;
    for (int i = 0; i < 2; i++) {
        const struct zygote *zygote = &supervisor->zygotes[i];
        if (zygote->config == NULL || (zygote->forked && zygote->pidfd < 0))
            continue; /* who is about to be forked is not waited for by the clock */
        uint64_t due = zygote->pidfd < 0 ? zygote->started_ms + rest_ms(zygote)
                       : !zygote->ready && !zygote->late
                           ? zygote->started_ms + zygote->config->load_timeout_ms
                           : UINT64_MAX;
        next = due < next ? due : next;
    }
    return next;
}

/* ---- the end ---- */

bool zygotes_all_gone(const struct supervisor *supervisor)
{
    return supervisor->zygotes[0].pidfd < 0 && supervisor->zygotes[1].pidfd < 0;
}

void zygotes_kill_all(struct supervisor *supervisor)
{
    for (int i = 0; i < 2; i++) {
        struct zygote *zygote = &supervisor->zygotes[i];
        if (zygote->forked && zygote->pidfd < 0)
            (void)forks_adopt(supervisor, zygote);
        dismiss(zygote);
    }
}

void zygotes_reap_all(struct supervisor *supervisor)
{
    for (int i = 0; i < 2; i++)
        if (supervisor->zygotes[i].pidfd >= 0)
            died(supervisor, &supervisor->zygotes[i]);
}
