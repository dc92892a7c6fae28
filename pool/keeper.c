/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The zygote and the seats: asking for workers, letting them start, noticing
 * their death.
 */
#include "pool/supervisor.h"

#include "base/fault.h"
#include "base/sys.h"
#include "pool/log.h"
#include "pool/zygote.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

int keeper_start_zygote(struct supervisor *supervisor)
{
    int ends[2];
    int result = channel_pair(ends);
    if (result < 0)
        return result;
    pid_t pid = sys_fork(SIGCHLD, false, NULL);
    if (pid == 0)
        zygote_run(supervisor->config, supervisor->control, supervisor->bells, ends[1],
                   supervisor->pid);
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return (int)pid;
    }
    supervisor->zygote_pid = pid;
    supervisor->zygote_socket = ends[0];
    supervisor->zygote_pidfd = sys_pidfd_open(pid);
    supervisor->zygote_started_ms = supervisor_now_ms();
    if (supervisor->zygote_pidfd < 0)
        return supervisor->zygote_pidfd;
    return supervisor_watch(supervisor, supervisor->zygote_pidfd, WATCH_ZYGOTE, 0);
}

void keeper_zygote_died(struct supervisor *supervisor)
{
    int status;
    if (sys_pidfd_reap(supervisor->zygote_pidfd, &status) == -EAGAIN)
        return;
    sys_close(&supervisor->zygote_pidfd);
    sys_close(&supervisor->zygote_socket);
    if (supervisor->phase >= PHASE_LEAVING)
        return;
    log_write(supervisor->control, MC_LOG_WARNING, "the zygote (pid %d) died; starting another",
              (int)supervisor->zygote_pid);
    /* Seats that it was asked for see the end of their sockets, or their worker
     * was born and says so itself. */
    int result = keeper_start_zygote(supervisor);
    if (result < 0)
        log_write(supervisor->control, MC_LOG_ERROR, "no new zygote: %s", strerror(-result));
    keeper_fill_seats(supervisor);
}

/* A request that failed is made again after a rest. */
static void rest(struct seat *seat, uint32_t rest_ms)
{
    seat->life = LIFE_RESTING;
    seat->due_ms = supervisor_now_ms() + rest_ms;
}

static void ask(struct supervisor *supervisor, uint32_t index)
{
    struct seat *seat = &supervisor->seats[index];
    int ends[2];
    if (supervisor->zygote_socket < 0 || channel_pair(ends) < 0) {
        rest(seat, BACKOFF_FIRST_MS);
        return;
    }
    atomic_store(&supervisor->control->rows[index].pid, 0);
    seat->life = LIFE_ASKED;
    seat->pid = 0;
    seat->socket = ends[0];
    struct parcel parcel = {.message = {.type = MESSAGE_SPAWN, .index = index},
                            .descriptors = {ends[1]},
                            .descriptor_count = 1};
    int result = channel_send(supervisor->zygote_socket, &parcel, MSG_DONTWAIT);
    close(ends[1]);
    if (result == 0)
        result = supervisor_watch(supervisor, seat->socket, WATCH_SEAT_SOCKET, index);
    if (result < 0) {
        sys_close(&seat->socket);
        rest(seat, BACKOFF_FIRST_MS);
    }
}

/* The worker exists: from now on its death is known from its pidfd. */
static bool adopt(struct supervisor *supervisor, uint32_t index)
{
    struct seat *seat = &supervisor->seats[index];
    seat->pid = atomic_load(&supervisor->control->rows[index].pid);
    seat->pidfd = seat->pid > 0 ? sys_pidfd_open(seat->pid) : -ESRCH;
    return seat->pidfd >= 0 &&
           supervisor_watch(supervisor, seat->pidfd, WATCH_SEAT_PID, index) == 0;
}

static void go(struct supervisor *supervisor, uint32_t index)
{
    const struct topology *topology = &supervisor->config->topology;
    bool pinned = supervisor->config->pinning == MC_PIN_CORE;
    struct parcel parcel = {
        .message = {.type = MESSAGE_GO,
                    .value = pinned ? topology->cpus[index % topology->cpu_count] : -1}};
    if (adopt(supervisor, index))
        (void)channel_send(supervisor->seats[index].socket, &parcel, MSG_DONTWAIT);
    else
        sys_close(&supervisor->seats[index].socket); /* it sees that, and leaves */
}

static void open_seat(struct supervisor *supervisor, uint32_t index)
{
    supervisor->seats[index].record.failed_starts = 0;
    atomic_store(&supervisor->control->hopeless, 0);
    atomic_fetch_add(&supervisor->control->seats_up, 1);
    if (supervisor->phase == PHASE_OPENING) {
        supervisor->phase = PHASE_OPEN;
        lanes_welcome(supervisor, &supervisor->tenants[0]);
    }
}

static void describe_death(int status, char *text, size_t size)
{
    if (WIFSIGNALED(status))
        snprintf(text, size, "was killed by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(text, size, "exited with status %d", WEXITSTATUS(status));
}

/* Settles what the worker left and says when it is to be replaced. */
static void bury(struct supervisor *supervisor, uint32_t index, int status, enum seat_life was)
{
    struct seat *seat = &supervisor->seats[index];
    sweep_seat(supervisor, index, status);
    sys_close(&seat->pidfd);
    sys_close(&seat->socket);
    if (was == LIFE_UP)
        atomic_fetch_sub(&supervisor->control->seats_up, 1);
    if (supervisor->phase >= PHASE_LEAVING)
        return;
    if (was == LIFE_ASKED) { /* never born: the zygote died, or could not fork */
        rest(seat, BACKOFF_FIRST_MS);
        return;
    }
    uint32_t rest_ms = seat_rest_ms(&seat->record, was == LIFE_UP, supervisor_now_ms());
    char how[96];
    describe_death(status, how, sizeof(how));
    log_write(supervisor->control, MC_LOG_WARNING, "worker %d (seat %u) %s; the next one starts %s",
              (int)seat->pid, index, how, rest_ms == 0 ? "now" : "after a pause");
    rest(seat, rest_ms);
    if (was == LIFE_STARTING && supervisor->init_text[0] == '\0')
        snprintf(supervisor->init_text, sizeof(supervisor->init_text),
                 "worker %d %s while it started", (int)seat->pid, how);
    if (rest_ms == 0) {
        keeper_due(supervisor, seat->due_ms);
    } else if (keeper_hopeless(supervisor)) {
        atomic_store(&supervisor->control->hopeless, 1);
        lanes_alarm(supervisor);
    }
}

static void happen(struct supervisor *supervisor, uint32_t index, enum seat_happening happening,
                   int status)
{
    struct seat *seat = &supervisor->seats[index];
    enum seat_life was = seat->life;
    struct seat_step step = seat_step(was, happening);
    seat->life = step.next;
    switch (step.action) {
    case ACT_NOTHING:
    case ACT_REPORT:
        break;
    case ACT_ASK:
        ask(supervisor, index);
        break;
    case ACT_GO:
        go(supervisor, index);
        break;
    case ACT_OPEN:
        open_seat(supervisor, index);
        break;
    case ACT_SWEEP:
        bury(supervisor, index, status, was);
        break;
    case ACT_KILL:
        (void)sys_pidfd_kill(seat->pidfd, SIGKILL);
        break;
    }
}

static void socket_event(struct supervisor *supervisor, uint32_t index)
{
    struct seat *seat = &supervisor->seats[index];
    struct parcel parcel;
    int result = channel_receive(seat->socket, &parcel, MSG_DONTWAIT);
    if (result == -EAGAIN)
        return;
    if (result <= 0) {
        /* The end of the stream. Before HELLO nobody was born; later it is a
         * dying worker, or one that closed what it should not have. */
        sys_close(&seat->socket);
        if (seat->pidfd >= 0 || adopt(supervisor, index))
            (void)sys_pidfd_kill(seat->pidfd, SIGKILL);
        else
            happen(supervisor, index, HAPPENS_DEATH, 0);
        return;
    }
    struct message *message = &parcel.message;
    switch (message->type) {
    case MESSAGE_HELLO:
        happen(supervisor, index, HAPPENS_HELLO, 0);
        break;
    case MESSAGE_READY:
        happen(supervisor, index, HAPPENS_READY, 0);
        break;
    case MESSAGE_INIT_FAILED:
        supervisor->init_status = message->status;
        memcpy(supervisor->init_text, message->text, sizeof(message->text));
        log_write(supervisor->control, MC_LOG_ERROR, "worker_init failed in worker %d: %s",
                  (int)seat->pid, message->text);
        happen(supervisor, index, HAPPENS_INIT_FAILED, 0);
        break;
    case MESSAGE_WANT_LANE:
        lanes_send(supervisor, seat->socket, message->index, message->generation);
        break;
    case MESSAGE_LANE_FAULT:
        lanes_fault(supervisor, message->index, message->generation, message->text);
        break;
    case MESSAGE_ATTACH:
        lanes_admit(supervisor, &parcel);
        break;
    default:
        break;
    }
    parcel_drop(&parcel);
}

void keeper_seat_event(struct supervisor *supervisor, uint32_t index, enum watched kind)
{
    struct seat *seat = &supervisor->seats[index];
    if (kind == WATCH_SEAT_SOCKET) {
        if (seat->socket >= 0)
            socket_event(supervisor, index);
        return;
    }
    int status;
    if (seat->pidfd >= 0 && sys_pidfd_reap(seat->pidfd, &status) == 0)
        happen(supervisor, index, HAPPENS_DEATH, status);
}

void keeper_fill_seats(struct supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->config->workers; i++)
        happen(supervisor, i, HAPPENS_SPAWN, 0);
}

void keeper_due(struct supervisor *supervisor, uint64_t now_ms)
{
    if (supervisor->phase >= PHASE_LEAVING)
        return;
    for (uint32_t i = 0; i < supervisor->config->workers; i++)
        if (supervisor->seats[i].life == LIFE_RESTING && supervisor->seats[i].due_ms <= now_ms)
            happen(supervisor, i, HAPPENS_DUE, 0);
}

uint64_t keeper_next_due(const struct supervisor *supervisor)
{
    uint64_t next = UINT64_MAX;
    for (uint32_t i = 0; i < supervisor->config->workers; i++)
        if (supervisor->seats[i].life == LIFE_RESTING && supervisor->seats[i].due_ms < next)
            next = supervisor->seats[i].due_ms;
    return next;
}

bool keeper_hopeless(const struct supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->config->workers; i++)
        if (supervisor->seats[i].life != LIFE_RESTING ||
            supervisor->seats[i].record.failed_starts == 0)
            return false;
    return true;
}

bool keeper_all_gone(const struct supervisor *supervisor)
{
    if (supervisor->phase == PHASE_ENDED && supervisor->zygote_pidfd >= 0)
        return false;
    for (uint32_t i = 0; i < supervisor->config->workers; i++)
        if (supervisor->seats[i].pidfd >= 0 || supervisor->seats[i].socket >= 0)
            return false;
    return true;
}

void keeper_kill_all(struct supervisor *supervisor)
{
    if (supervisor->zygote_pidfd >= 0)
        (void)sys_pidfd_kill(supervisor->zygote_pidfd, SIGKILL);
    for (uint32_t i = 0; i < supervisor->config->workers; i++)
        if (supervisor->seats[i].pidfd >= 0)
            (void)sys_pidfd_kill(supervisor->seats[i].pidfd, SIGKILL);
}
