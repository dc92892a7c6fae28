/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The door of a pool that is served: connections from any process, and signals from
 * the operator. Whoever connects is a stranger until its first message says what it
 * wants; it has STRANGER_MS for that, and there are never more than STRANGERS: the
 * oldest has to go when another comes, so that nobody is kept out by those who wait.
 * Nothing here blocks, whatever strangers do.
 */
#include "pool/supervisor.h"

#include "base/error.h"
#include "base/fault.h"
#include "base/sys.h"
#include "ipc/tally.h"
#include "pool/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    STRANGER_MS = 1000,
    LISTEN_REST_MS = 100, /* after accept() failed for want of something */
    LANE_DESCRIPTORS = 5,
    SEAT_DESCRIPTORS = 4, /* of a worker and its heir */
    OTHER_DESCRIPTORS = 64,
};

static void tell_started(const struct supervisor *supervisor, const struct serve_options *serve)
{
    struct startup copy;
    startup_read(supervisor->config->startup, &copy);
    serve->started(serve->context, &copy);
}

void door_tell(struct supervisor *supervisor, enum serve_event event, const char *text)
{
    const struct serve_options *serve = supervisor->config->serve;
    if (event == SERVE_RELOADED)
        tally_count(&supervisor->control->totals.reloads);
    if (event == SERVE_KEPT) {
        log_write(supervisor->control, MC_LOG_ERROR, "the configuration stays as it was: %s", text);
        tally_count(&supervisor->control->totals.reloads_failed);
    }
    if (serve != NULL && serve->started != NULL &&
        (event == SERVE_READY || event == SERVE_RELOADED))
        tell_started(supervisor, serve);
    if (serve != NULL && serve->tell != NULL)
        serve->tell(serve->context, event, text);
}

/* Those that are kept from clients. */
static rlim_t descriptors_kept(const struct config *config)
{
    return (rlim_t)config->seats * SEAT_DESCRIPTORS + OTHER_DESCRIPTORS + STRANGERS;
}

uint64_t serve_descriptors(const struct config *config)
{
    return descriptors_kept(config) + (rlim_t)config->max_clients * LANE_DESCRIPTORS;
}

/* As many as all clients need, if the system allows that; else clients do without
 * before workers have to. */
static void reserve_descriptors(struct supervisor *supervisor)
{
    const struct config *config = supervisor->config;
    struct rlimit limit = {.rlim_cur = 0};
    rlim_t kept = descriptors_kept(config), wanted = serve_descriptors(config);
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < wanted) {
        limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
        (void)getrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_cur < wanted)
        log_write(supervisor->control, MC_LOG_WARNING,
                  "max-clients is %u, for which RLIMIT_NOFILE should be %llu, but it is %llu",
                  config->max_clients, (unsigned long long)wanted,
                  (unsigned long long)limit.rlim_cur);
    if (limit.rlim_cur > INT_MAX)
        limit.rlim_cur = INT_MAX;
    supervisor->descriptors_most = (int)(limit.rlim_cur > kept ? limit.rlim_cur - kept : 0);
}

int door_hear_signals(struct supervisor *supervisor)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
        return -errno;
    supervisor->signals =
        FAULT_CALL("door_signals", EMFILE, signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
    return supervisor->signals < 0 ? -errno : 0;
}

int door_open(struct supervisor *supervisor)
{
    const struct serve_options *serve = supervisor->config->serve;
    supervisor->listener = serve->listener;
    int flags = fcntl(supervisor->listener, F_GETFL);
    if (flags < 0 || fcntl(supervisor->listener, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    reserve_descriptors(supervisor);
    for (int i = 0; i < STRANGERS; i++)
        supervisor->strangers[i].socket = -1;
    supervisor->alive_due_ms = serve->alive_ms != 0 ? supervisor_now_ms() + serve->alive_ms : 0;
    int result = supervisor_watch(supervisor, supervisor->signals, WATCH_SIGNALS, 0);
    /* Connections wait in the listener's queue until the first worker is up. */
    return result < 0 ? result
                      : supervisor_watch(supervisor, supervisor->listener, WATCH_LISTENER, 0);
}

/* ---- who may come in ---- */

static bool privileged(const struct supervisor *supervisor, uid_t uid)
{
    return uid == 0 || uid == supervisor->uid;
}

/* The groups of who made the other end, its own one included. */
struct peer_groups {
    gid_t *ids;
    size_t count;
};

static struct peer_groups groups_of(int socket, const struct peer *peer)
{
    socklen_t size = 0;
    /* Without any it succeeds at once. */
    if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, &(gid_t){0}, &size) < 0 && errno != ERANGE)
        size = 0;
    struct peer_groups groups = {.ids = malloc(size + sizeof(gid_t))};
    if (groups.ids == NULL)
        return groups;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups.ids, &size) == 0)
        groups.count = size / sizeof(gid_t);
    groups.ids[groups.count++] = peer->gid;
    return groups;
}

static bool in_group(const struct peer_groups *groups, gid_t gid)
{
    for (size_t i = 0; i < groups->count; i++)
        if (groups->ids[i] == gid)
            return true;
    return false;
}

static bool in_allowed_group(const struct serve_options *serve, int socket, const struct peer *peer)
{
    bool found = false;
    if (serve->group_count == 0)
        return false;
    struct peer_groups groups = groups_of(socket, peer);
    for (uint32_t i = 0; i < serve->group_count && !found; i++)
        found = in_group(&groups, serve->groups[i]);
    free(groups.ids);
    return found;
}

/* Its share of the workers' time, beside those of other clients. */
static uint32_t weight_of(const struct serve_options *serve, int socket, const struct peer *peer)
{
    uint32_t weight = DEFAULT_WEIGHT;
    if (serve->weight_count == 0)
        return weight;
    struct peer_groups groups = groups_of(socket, peer);
    for (uint32_t i = 0; i < serve->weight_count; i++) {
        const struct serve_weight *entry = &serve->weights[i];
        if (entry->group ? in_group(&groups, entry->id) : entry->id == peer->uid) {
            weight = entry->weight;
            break;
        }
    }
    free(groups.ids);
    return weight;
}

static bool admitted(const struct supervisor *supervisor, int socket, const struct peer *peer)
{
    const struct serve_options *serve = supervisor->config->serve;
    if (privileged(supervisor, peer->uid) || (serve->user_count == 0 && serve->group_count == 0))
        return true;
    for (uint32_t i = 0; i < serve->user_count; i++)
        if (serve->users[i] == peer->uid)
            return true;
    return in_allowed_group(serve, socket, peer);
}

/* ---- strangers ---- */

static void answer(int socket, uint32_t type, int status, const char *text)
{
    struct parcel parcel = {.message = {.type = type, .status = status}};
    snprintf(parcel.message.text, sizeof(parcel.message.text), "%s", text);
    (void)channel_send(socket, &parcel, MSG_DONTWAIT);
}

static void refuse(const struct supervisor *supervisor, int socket, int status, const char *text)
{
    tally_count(&supervisor->control->totals.clients_refused);
    answer(socket, MESSAGE_REFUSED, status, text);
    close(socket);
}

/* A place for one more; the oldest is sent away for it if need be. */
static uint32_t find_place(struct supervisor *supervisor)
{
    uint32_t oldest = 0;
    for (uint32_t i = 0; i < STRANGERS; i++) {
        const struct stranger *stranger = &supervisor->strangers[i];
        if (stranger->socket < 0)
            return i;
        if (stranger->due_ms < supervisor->strangers[oldest].due_ms)
            oldest = i;
    }
    refuse(supervisor, supervisor->strangers[oldest].socket, -EUSERS,
           "too many processes connect at once");
    supervisor->strangers[oldest].socket = -1;
    return oldest;
}

static bool serve_stranger(struct supervisor *supervisor, int socket);

static void let_knock(struct supervisor *supervisor, int socket)
{
    if (serve_stranger(supervisor, socket))
        return; /* it said at once what it wants */
    uint32_t index = find_place(supervisor);
    struct stranger *stranger = &supervisor->strangers[index];
    *stranger = (struct stranger){.socket = socket, .due_ms = supervisor_now_ms() + STRANGER_MS};
    supervisor->strangers_due_ms =
        supervisor->strangers_due_ms != 0 ? supervisor->strangers_due_ms : stranger->due_ms;
    if (supervisor_watch(supervisor, socket, WATCH_STRANGER, index) < 0)
        sys_close(&stranger->socket);
}

/* The listener would be readable for ever. */
static void rest(struct supervisor *supervisor)
{
    supervisor_unwatch(supervisor, supervisor->listener);
    supervisor->listen_due_ms = supervisor_now_ms() + LISTEN_REST_MS;
}

/* Why nobody can become a client now, or NULL. */
static const char *closed(const struct supervisor *supervisor)
{
    return supervisor->phase < PHASE_OPEN   ? "the pool is starting"
           : supervisor->phase > PHASE_OPEN ? "the pool is closing"
                                            : NULL;
}

static void open_door(struct supervisor *supervisor)
{
    struct sockaddr_storage from; /* unnamed; channel_peer() tells more */
    socklen_t size = sizeof(from);
    int socket =
        FAULT_CALL("door_accept", EMFILE,
                   accept4(supervisor->listener, (struct sockaddr *)&from, &size, SOCK_CLOEXEC));
    struct peer peer;
    char text[128];
    if (socket < 0) {
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
            rest(supervisor);
        return;
    }
    if (channel_peer(socket, &peer) < 0) {
        close(socket);
    } else if (!admitted(supervisor, socket, &peer)) {
        snprintf(text, sizeof(text), "user %u is not among those that may attach", peer.uid);
        refuse(supervisor, socket, -EACCES, text);
    } else if (closed(supervisor) != NULL && !privileged(supervisor, peer.uid)) {
        refuse(supervisor, socket, -ESHUTDOWN, closed(supervisor));
    } else { /* the operator may also want to know what takes so long */
        let_knock(supervisor, socket);
    }
}

/* ---- what they want ---- */

/* Descriptors are the lowest that are free. */
static bool crowded(const struct supervisor *supervisor, int socket)
{
    int probe = FAULT_CALL("door_probe", EMFILE, fcntl(socket, F_DUPFD_CLOEXEC, 0));
    if (probe >= 0)
        close(probe);
    return probe < 0 || probe > supervisor->descriptors_most - LANE_DESCRIPTORS;
}

static void attach(struct supervisor *supervisor, int socket, const struct peer *peer)
{
    uint32_t most = supervisor->config->serve->max_clients_per_user;
    char text[128];
    if (closed(supervisor) != NULL) {
        refuse(supervisor, socket, -ESHUTDOWN, closed(supervisor));
        return;
    }
    if (crowded(supervisor, socket)) {
        refuse(supervisor, socket, -EMFILE,
               "the pool has no descriptors for another client (RLIMIT_NOFILE)");
        return;
    }
    if (most != 0 && peer->uid != 0 && lanes_of_user(supervisor, peer->uid) >= most) {
        snprintf(text, sizeof(text), "user %u has %u clients, which is max-clients-per-user",
                 peer->uid, most);
        refuse(supervisor, socket, -EUSERS, text);
        return;
    }
    uint32_t weight = weight_of(supervisor->config->serve, socket, peer);
    int index = lanes_attach(supervisor, socket, TENANT_ATTACHED, weight);
    if (index >= 0)
        lanes_welcome(supervisor, &supervisor->tenants[index]);
}

static void observe(struct supervisor *supervisor, int socket, bool again)
{
    queues_show(supervisor);
    if (again) {
        answer(socket, MESSAGE_DONE, 0, "");
        close(socket);
        return;
    }
    struct parcel parcel = {
        .message = {.type = MESSAGE_WELCOME, .value = supervisor->pid},
        .descriptors = {supervisor->control_fd, supervisor->bells_fd, supervisor->quarantine_fd},
        .descriptor_count = 3};
    (void)channel_send(socket, &parcel, MSG_DONTWAIT);
    close(socket);
}

static void end_task(struct supervisor *supervisor, int socket, const struct message *message)
{
    char text[64];
    int result = watch_end(supervisor, message->value, message->generation, message->status == 1);
    snprintf(text, sizeof(text),
             result == -ESRCH           ? "the pool has no worker %d"
             : message->generation != 0 ? "worker %d does not run that task any more"
                                        : "worker %d runs no task",
             message->value);
    answer(socket, MESSAGE_DONE, result, result < 0 ? text : "");
    close(socket);
}

static void trace(struct supervisor *supervisor, int socket, pid_t worker)
{
    char text[64];
    int result = watch_trace(supervisor, worker);
    snprintf(text, sizeof(text), "the pool has no worker %d", (int)worker);
    answer(socket, MESSAGE_DONE, result, result < 0 ? text : "");
    close(socket);
}

/* What only the operator may ask for. */
static void command(struct supervisor *supervisor, int socket, const struct message *message)
{
    int result = 0;
    switch (message->type) {
    case MESSAGE_OBSERVE:
        observe(supervisor, socket, message->value == 1);
        return;
    case MESSAGE_TRACE:
        trace(supervisor, socket, message->value);
        return;
    case MESSAGE_RELOAD:
        result = zygotes_reload(supervisor);
        break;
    case MESSAGE_DRAIN:
        supervisor_drain(supervisor, message->value < 0 ? supervisor->config->close_timeout_ms
                                                        : (uint32_t)message->value);
        break;
    case MESSAGE_END:
        end_task(supervisor, socket, message);
        return;
    default:
        result =
            error_set(-EOPNOTSUPP, "this pool (%s) does not know request %u: use the same version",
                      mc_version(), message->type);
        break;
    }
    answer(socket, MESSAGE_DONE, result, result < 0 ? error_message() : "");
    close(socket);
}

static void serve_message(struct supervisor *supervisor, int socket, struct message *message)
{
    struct peer peer;
    char text[160];
    if (channel_peer(socket, &peer) < 0) {
        close(socket);
    } else if (message->index != LAYOUT_VERSION) {
        snprintf(text, sizeof(text),
                 "this program has multicore %.20s (layout %u), and the pool %s (layout %d): "
                 "use the same version",
                 message->text, message->index, mc_version(), LAYOUT_VERSION);
        refuse(supervisor, socket, -EPROTO, text);
    } else if (message->type == MESSAGE_CONNECT) {
        attach(supervisor, socket, &peer);
    } else if (privileged(supervisor, peer.uid)) {
        command(supervisor, socket, message);
    } else {
        refuse(supervisor, socket, -EACCES, "only root and the pool's own user may do that");
    }
}

/* Takes socket over, unless nothing was said yet: then false. */
static bool serve_stranger(struct supervisor *supervisor, int socket)
{
    struct parcel parcel;
    int result = channel_receive_plain(socket, &parcel, MSG_DONTWAIT);
    if (result == -EAGAIN)
        return false;
    supervisor_unwatch(supervisor, socket); /* it may become a client's, or nobody's */
    if (result == -EPROTO)
        refuse(supervisor, socket, -EPROTO, "that is no message of a program with this multicore");
    else if (result <= 0)
        close(socket);
    else
        serve_message(supervisor, socket, &parcel.message);
    return true;
}

static void hear_stranger(struct supervisor *supervisor, uint32_t index)
{
    struct stranger *stranger = &supervisor->strangers[index];
    if (stranger->socket >= 0 && serve_stranger(supervisor, stranger->socket))
        stranger->socket = -1;
}

/* ---- signals ---- */

static void hear_signal(struct supervisor *supervisor)
{
    struct signalfd_siginfo info;
    if (FAULT_CALL("door_signal", EINTR, read(supervisor->signals, &info, sizeof(info))) !=
        sizeof(info))
        return;
    if (info.ssi_signo == SIGHUP) {
        if (zygotes_reload(supervisor) < 0)
            log_write(supervisor->control, MC_LOG_ERROR, "no reload: %s", error_message());
    } else { /* the second time without patience */
        supervisor_drain(supervisor, supervisor->phase >= PHASE_DRAINING
                                         ? 0
                                         : supervisor->config->close_timeout_ms);
    }
}

void door_event(struct supervisor *supervisor, uint32_t index, enum watched kind)
{
    if (kind == WATCH_LISTENER)
        open_door(supervisor);
    else if (kind == WATCH_STRANGER)
        hear_stranger(supervisor, index);
    else
        hear_signal(supervisor);
}

/* ---- in time ---- */

static void send_away(struct supervisor *supervisor, uint64_t now_ms)
{
    uint64_t next = 0;
    for (int i = 0; i < STRANGERS; i++) {
        struct stranger *stranger = &supervisor->strangers[i];
        if (stranger->socket >= 0 && stranger->due_ms <= now_ms)
            sys_close(&stranger->socket);
        else if (stranger->socket >= 0 && (next == 0 || stranger->due_ms < next))
            next = stranger->due_ms;
    }
    supervisor->strangers_due_ms = next;
}

/* The log goes to the callback in this process, which is the operator's. */
static void deliver_log(struct supervisor *supervisor)
{
    char text[LOG_TEXT_SIZE];
    int level;
    const struct config *config = supervisor->config;
    while ((level = log_read(supervisor->control, &supervisor->log_cursor, text)) != 0)
        if (config->log != NULL)
            config->log(config->log_context, level, text);
}

void door_due(struct supervisor *supervisor, uint64_t now_ms)
{
    const struct serve_options *serve = supervisor->config->serve;
    if (serve == NULL)
        return;
    deliver_log(supervisor);
    if (supervisor->strangers_due_ms != 0 && supervisor->strangers_due_ms <= now_ms)
        send_away(supervisor, now_ms);
    if (supervisor->listen_due_ms != 0 && supervisor->listen_due_ms <= now_ms)
        supervisor->listen_due_ms =
            supervisor_watch(supervisor, supervisor->listener, WATCH_LISTENER, 0) < 0
                ? now_ms + LISTEN_REST_MS
                : 0;
    if (supervisor->alive_due_ms != 0 && supervisor->alive_due_ms <= now_ms) {
        supervisor->alive_due_ms = now_ms + serve->alive_ms;
        door_tell(supervisor, SERVE_ALIVE, "");
    }
}

uint64_t door_next_due(const struct supervisor *supervisor)
{
    const uint64_t dues[] = {supervisor->strangers_due_ms, supervisor->alive_due_ms,
                             supervisor->listen_due_ms};
    uint64_t next = UINT64_MAX;
    for (int i = 0; i < 3; i++)
        if (dues[i] != 0 && dues[i] < next)
            next = dues[i];
    return next;
}
