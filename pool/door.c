/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The door of a pool that is served: connections from any process, and signals from
 * the operator. Whoever connects is a stranger until its first message says what it
 * wants; it has STRANGER_MS for that, and there are never more than STRANGERS.
 */
#include "pool/supervisor.h"

#include "base/error.h"
#include "base/fault.h"
#include "base/sys.h"
#include "pool/log.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { STRANGER_MS = 1000, GROUPS_MOST = 256 };

void door_tell(struct supervisor *supervisor, enum serve_event event, const char *text)
{
    const struct serve_options *serve = supervisor->config->serve;
    if (serve != NULL && serve->tell != NULL)
        serve->tell(serve->context, event, text);
}

int door_open(struct supervisor *supervisor)
{
    const struct serve_options *serve = supervisor->config->serve;
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
        return -errno;
    supervisor->signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (supervisor->signals < 0)
        return -errno;
    supervisor->listener = serve->listener;
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

static bool in_group(const struct serve_options *serve, gid_t gid)
{
    for (uint32_t i = 0; i < serve->group_count; i++)
        if (serve->groups[i] == gid)
            return true;
    return false;
}

static bool in_groups(const struct serve_options *serve, int socket, gid_t gid)
{
    gid_t groups[GROUPS_MOST];
    socklen_t size = sizeof(groups);
    if (in_group(serve, gid))
        return true;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0)
        return false;
    for (size_t i = 0; i < size / sizeof(groups[0]); i++)
        if (in_group(serve, groups[i]))
            return true;
    return false;
}

static bool admitted(const struct supervisor *supervisor, int socket, const struct peer *peer)
{
    const struct serve_options *serve = supervisor->config->serve;
    if (privileged(supervisor, peer->uid) || (serve->user_count == 0 && serve->group_count == 0))
        return true;
    for (uint32_t i = 0; i < serve->user_count; i++)
        if (serve->users[i] == peer->uid)
            return true;
    return in_groups(serve, socket, peer->gid);
}

/* ---- strangers ---- */

static void answer(int socket, uint32_t type, int status, const char *text)
{
    struct parcel parcel = {.message = {.type = type, .status = status}};
    snprintf(parcel.message.text, sizeof(parcel.message.text), "%s", text);
    (void)channel_send(socket, &parcel, MSG_DONTWAIT);
}

static void refuse(int socket, int status, const char *text)
{
    answer(socket, MESSAGE_REFUSED, status, text);
    close(socket);
}

static void let_knock(struct supervisor *supervisor, int socket)
{
    uint64_t now = supervisor_now_ms();
    for (uint32_t i = 0; i < STRANGERS; i++) {
        struct stranger *stranger = &supervisor->strangers[i];
        if (stranger->socket >= 0)
            continue;
        *stranger = (struct stranger){.socket = socket, .due_ms = now + STRANGER_MS};
        supervisor->strangers_due_ms =
            supervisor->strangers_due_ms != 0 ? supervisor->strangers_due_ms : stranger->due_ms;
        if (supervisor_watch(supervisor, socket, WATCH_STRANGER, i) < 0)
            sys_close(&stranger->socket);
        return;
    }
    refuse(socket, -EUSERS, "too many processes connect at once");
}

static void open_door(struct supervisor *supervisor)
{
    int socket =
        FAULT_CALL("door_accept", EMFILE, accept4(supervisor->listener, NULL, NULL, SOCK_CLOEXEC));
    struct peer peer;
    char text[128];
    if (socket < 0)
        return;
    if (channel_peer(socket, &peer) < 0) {
        close(socket);
    } else if (!admitted(supervisor, socket, &peer)) {
        snprintf(text, sizeof(text), "user %u is not among those that may attach", peer.uid);
        refuse(socket, -EACCES, text);
    } else if (supervisor->phase != PHASE_OPEN) {
        refuse(socket, -ESHUTDOWN,
               supervisor->phase < PHASE_OPEN ? "the pool is starting" : "the pool is closing");
    } else {
        let_knock(supervisor, socket);
    }
}

/* ---- what they want ---- */

static void attach(struct supervisor *supervisor, int socket, const struct peer *peer)
{
    uint32_t most = supervisor->config->serve->max_clients_per_user;
    char text[128];
    if (most != 0 && peer->uid != 0 && lanes_of_user(supervisor, peer->uid) >= most) {
        snprintf(text, sizeof(text), "user %u has %u clients, which is max-clients-per-user",
                 peer->uid, most);
        refuse(socket, -EUSERS, text);
        return;
    }
    int index = lanes_attach(supervisor, socket, TENANT_ATTACHED);
    if (index >= 0)
        lanes_welcome(supervisor, &supervisor->tenants[index]);
}

static void observe(struct supervisor *supervisor, int socket)
{
    struct parcel parcel = {
        .message = {.type = MESSAGE_WELCOME, .value = supervisor->pid},
        .descriptors = {supervisor->control_fd, supervisor->bells_fd, supervisor->quarantine_fd},
        .descriptor_count = 3};
    (void)channel_send(socket, &parcel, MSG_DONTWAIT);
    close(socket);
}

/* What only the operator may ask for. */
static void command(struct supervisor *supervisor, int socket, const struct message *message)
{
    switch (message->type) {
    case MESSAGE_OBSERVE:
        observe(supervisor, socket);
        return;
    case MESSAGE_RELOAD:
        zygotes_reload(supervisor);
        break;
    case MESSAGE_DRAIN:
        supervisor_drain(supervisor, message->value < 0 ? supervisor->config->close_timeout_ms
                                                        : (uint32_t)message->value);
        break;
    default:
        break;
    }
    answer(socket, MESSAGE_DONE, 0, "");
    close(socket);
}

static void serve_stranger(struct supervisor *supervisor, int socket, struct parcel *parcel)
{
    struct message *message = &parcel->message;
    struct peer peer;
    char text[160];
    if (channel_peer(socket, &peer) < 0) {
        close(socket);
    } else if (message->index != LAYOUT_VERSION) {
        snprintf(text, sizeof(text),
                 "this program has multicore %.20s (layout %u), and the pool %s (layout %d): "
                 "use the same version",
                 message->text, message->index, mc_version(), LAYOUT_VERSION);
        refuse(socket, -EPROTO, text);
    } else if (message->type == MESSAGE_CONNECT) {
        attach(supervisor, socket, &peer);
    } else if (privileged(supervisor, peer.uid)) {
        command(supervisor, socket, message);
    } else {
        refuse(socket, -EACCES, "only root and the pool's own user may do that");
    }
}

static void hear_stranger(struct supervisor *supervisor, uint32_t index)
{
    struct stranger *stranger = &supervisor->strangers[index];
    struct parcel parcel;
    if (stranger->socket < 0)
        return;
    int result = channel_receive(stranger->socket, &parcel, MSG_DONTWAIT);
    if (result == -EAGAIN)
        return;
    int socket = stranger->socket;
    stranger->socket = -1;
    supervisor_unwatch(supervisor, socket);
    if (result <= 0) {
        close(socket);
        return;
    }
    serve_stranger(supervisor, socket, &parcel);
    parcel_drop(&parcel);
}

/* ---- signals ---- */

static void hear_signal(struct supervisor *supervisor)
{
    struct signalfd_siginfo info;
    if (read(supervisor->signals, &info, sizeof(info)) != sizeof(info))
        return;
    if (info.ssi_signo == SIGHUP)
        zygotes_reload(supervisor);
    else /* the second time without patience */
        supervisor_drain(supervisor, supervisor->phase >= PHASE_DRAINING
                                         ? 0
                                         : supervisor->config->close_timeout_ms);
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
    if (supervisor->alive_due_ms != 0 && supervisor->alive_due_ms <= now_ms) {
        supervisor->alive_due_ms = now_ms + serve->alive_ms;
        door_tell(supervisor, SERVE_ALIVE, "");
    }
}

uint64_t door_next_due(const struct supervisor *supervisor)
{
    uint64_t strangers = supervisor->strangers_due_ms, alive = supervisor->alive_due_ms;
    if (strangers == 0 || (alive != 0 && alive < strangers))
        strangers = alive;
    return strangers == 0 ? UINT64_MAX : strangers;
}
