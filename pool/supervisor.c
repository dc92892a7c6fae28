/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool/supervisor.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fault.h"
#include "base/sys.h"
#include "ipc/segment.h"
#include "ipc/wake.h"
#include "pool/log.h"
#include "pool/process.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    POLL_MS = 5,         /* while draining, or waiting for a lane's last task */
    KILL_WAIT_MS = 1000, /* for killed processes to be gone */
};

uint64_t supervisor_now_ms(void)
{
    return clock_ns() / 1000000;
}

int supervisor_watch(struct supervisor *supervisor, int fd, enum watched kind, uint32_t index)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)kind << 32 | index};
    return FAULT_CALL("supervisor_watch", ENOMEM,
                      epoll_ctl(supervisor->epoll, EPOLL_CTL_ADD, fd, &event)) < 0
               ? -errno
               : 0;
}

void supervisor_unwatch(struct supervisor *supervisor, int fd)
{
    (void)epoll_ctl(supervisor->epoll, EPOLL_CTL_DEL, fd, NULL);
}

int supervisor_rewatch(struct supervisor *supervisor, int fd, enum watched kind, uint32_t index)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)kind << 32 | index};
    return epoll_ctl(supervisor->epoll, EPOLL_CTL_MOD, fd, &event) < 0 ? -errno : 0;
}

/* ---- start ---- */

static int make_segments(struct supervisor *supervisor)
{
    const struct config *config = supervisor->config;
    uint64_t size = control_size(config->seats, config->io_workers, config->handler_capacity);
    supervisor->control_fd = segment_create("multicore-control", size);
    supervisor->bells_fd = segment_create("multicore-bells", BELLS_SIZE);
    supervisor->quarantine_fd = segment_create("multicore-quarantine", sizeof(struct quarantine));
    const int made[] = {supervisor->control_fd, supervisor->bells_fd, supervisor->quarantine_fd};
    for (int i = 0; i < 3; i++)
        if (made[i] < 0)
            return made[i];
    struct control *control = segment_map(supervisor->control_fd, size, true);
    supervisor->bells = segment_map(supervisor->bells_fd, BELLS_SIZE, true);
    supervisor->quarantine =
        segment_map(supervisor->quarantine_fd, sizeof(struct quarantine), true);
    if (control == NULL || supervisor->bells == NULL || supervisor->quarantine == NULL)
        return -errno;
    supervisor->control = control;
    FAULT_POINT("control_format");
    control->magic = LAYOUT_MAGIC_CONTROL;
    control->version = LAYOUT_VERSION;
    control->seat_count = config->seats;
    control->io_seats = config->io_workers;
    control->handler_capacity = config->handler_capacity;
    control->lane_limit = config->max_clients;
    control->limit_milli = config->policy.enabled ? config->policy.limit_milli : 0;
    control->max_delay_ms = config->policy.max_delay_ms;
    control->total_size = size;
    control->max_payload = config->max_payload;
    control->geometry = config->geometry;
    zygotes_publish(supervisor);
    int result = segment_seal_seals(supervisor->bells_fd);
    if (result == 0)
        result = segment_seal_writes(supervisor->quarantine_fd);
    return result < 0 ? result : segment_seal_writes(supervisor->control_fd);
}

static int start(struct supervisor *supervisor)
{
    supervisor->epoll = FAULT_CALL("supervisor_epoll", EMFILE, epoll_create1(EPOLL_CLOEXEC));
    if (supervisor->epoll < 0)
        return -errno;
    int result = make_segments(supervisor);
    if (result == 0)
        result = zygotes_start(supervisor, supervisor->config);
    if (result == 0)
        keeper_fill_seats(supervisor);
    return result;
}

static int start_for(struct supervisor *supervisor, int opener_socket, pid_t opener)
{
    supervisor->opener_pidfd = sys_pidfd_open(opener);
    int result = supervisor->opener_pidfd < 0 ? supervisor->opener_pidfd : start(supervisor);
    if (result == 0)
        result = supervisor_watch(supervisor, supervisor->opener_pidfd, WATCH_OPENER, 0);
    return result < 0 ? result
                      : lanes_attach(supervisor, opener_socket, TENANT_OPENER, DEFAULT_WEIGHT);
}

/* ---- end ---- */

static void fail_opening(int socket, int status, const char *text)
{
    struct parcel parcel = {.message = {.type = MESSAGE_REFUSED, .status = status}};
    snprintf(parcel.message.text, sizeof(parcel.message.text), "%s", text);
    (void)channel_send(socket, &parcel, 0);
}

/* After our exit nothing of the pool is left behind. */
void supervisor_end(struct supervisor *supervisor, int status)
{
    supervisor->phase = PHASE_ENDED;
    FAULT_POINT("supervisor_end");
    keeper_kill_all(supervisor);
    uint64_t deadline = supervisor_now_ms() + KILL_WAIT_MS;
    while (!roster_all_gone(supervisor) && supervisor_now_ms() < deadline) {
        keeper_reap_all(supervisor);
        (void)poll(NULL, 0, 1);
    }
    if (supervisor->config->serve != NULL && status == 0)
        door_tell(supervisor, SERVE_ENDED, "");
    _exit(status);
}

void supervisor_drain(struct supervisor *supervisor, uint32_t timeout_ms)
{
    uint64_t deadline = supervisor_now_ms() + timeout_ms;
    if (supervisor->phase < PHASE_DRAINING) {
        supervisor->phase = PHASE_DRAINING;
        supervisor->phase_deadline_ms = deadline;
        atomic_store(&supervisor->control->closing, 1);
        if (supervisor->config->serve != NULL)
            door_tell(supervisor, SERVE_STOPPING, "");
    } else if (deadline < supervisor->phase_deadline_ms) {
        supervisor->phase_deadline_ms = deadline;
    }
}

/* No worker can be started. */
_Noreturn static void give_up_opening(struct supervisor *supervisor)
{
    int status = supervisor->init_status < 0 ? supervisor->init_status : -EIO;
    const char *why = supervisor->init_text[0] != '\0' ? supervisor->init_text
                                                       : "no process can be made for workers";
    if (supervisor->config->serve != NULL)
        door_tell(supervisor, SERVE_ENDED, why);
    else
        fail_opening(supervisor->tenants[0].socket, status, why);
    supervisor_end(supervisor, 1);
}

static void drain(struct supervisor *supervisor, uint64_t now)
{
    bool late = now >= supervisor->phase_deadline_ms;
    if (supervisor->phase == PHASE_DRAINING) {
        bool idle = lanes_idle(supervisor);
        if (!idle && (late || roster_all_hopeless(supervisor)))
            supervisor_end(supervisor, 0);
        if (!idle) {
            lanes_ring(supervisor); /* tickets of tasks that were helped linger */
            return;
        }
        supervisor->phase = PHASE_LEAVING;
        supervisor->phase_deadline_ms = now + LEAVE_WAIT_MS;
        keeper_dismiss_heirs(supervisor);
        atomic_store(&supervisor->control->closing, 2);
        keeper_kick_all(supervisor);
        late = false;
    }
    if (roster_all_gone(supervisor) || late)
        supervisor_end(supervisor, 0);
}

/* ---- loop ---- */

static void sooner(uint64_t *next, uint64_t due_ms)
{
    if (due_ms < *next)
        *next = due_ms;
}

static int timeout_ms(struct supervisor *supervisor, uint64_t now, bool polling)
{
    uint64_t next = relief_next_due(supervisor);
    sooner(&next, zygotes_next_due(supervisor));
    sooner(&next, lazy_next_due(supervisor));
    sooner(&next, door_next_due(supervisor));
    sooner(&next, lanes_next_due(supervisor));
    sooner(&next, queues_next_due(supervisor));
    if (supervisor->watch_due_ms != 0)
        sooner(&next, supervisor->watch_due_ms);
    if (polling && now + POLL_MS < next)
        next = now + POLL_MS;
    if (next == UINT64_MAX)
        return -1;
    if (next <= now)
        return 0;
    return next - now < INT_MAX ? (int)(next - now) : INT_MAX;
}

static void dispatch(struct supervisor *supervisor, uint64_t data)
{
    uint32_t index = (uint32_t)data;
    enum watched kind = (enum watched)(data >> 32);
    switch (kind) {
    case WATCH_OPENER:
        supervisor_end(supervisor, 0);
    case WATCH_ZYGOTE_PID:
    case WATCH_ZYGOTE_SOCKET:
        zygotes_event(supervisor, index, kind);
        break;
    case WATCH_LISTENER:
    case WATCH_STRANGER:
    case WATCH_SIGNALS:
        door_event(supervisor, index, kind);
        break;
    case WATCH_SEAT_PID:
    case WATCH_SEAT_SOCKET:
    case WATCH_HEIR_PID:
    case WATCH_HEIR_SOCKET:
        keeper_seat_event(supervisor, index, kind);
        break;
    case WATCH_CLIENT_PID:
    case WATCH_CLIENT_SOCKET:
        lanes_client_event(supervisor, index, kind);
        break;
    }
    if (supervisor->opener_pidfd >= 0 &&
        (!supervisor->tenants[0].used || supervisor->tenants[0].dropping))
        supervisor_end(supervisor, 0); /* that was the opener, or its lane was given up */
}

static void loop(struct supervisor *supervisor)
{
    struct epoll_event events[32];
    for (;;) {
        uint64_t now = supervisor_now_ms();
        zygotes_due(supervisor, now);
        lazy_due(supervisor, now);
        relief_due(supervisor, now);
        door_due(supervisor, now);
        lanes_due(supervisor, now);
        queues_due(supervisor, now);
        watch_due(supervisor, now);
        bool polling = lanes_reclaim(supervisor);
        if (supervisor->phase >= PHASE_DRAINING) {
            drain(supervisor, now);
            polling = true;
        }
        if (supervisor->phase == PHASE_OPENING && roster_all_hopeless(supervisor))
            give_up_opening(supervisor);
        int count = FAULT_CALL(
            "supervisor_wait", EINTR,
            epoll_wait(supervisor->epoll, events, 32, timeout_ms(supervisor, now, polling)));
        FAULT_POINT("supervisor_event");
        for (int i = 0; i < count; i++)
            dispatch(supervisor, events[i].data.u64);
    }
}

/* A static object: zeroed pages, which cost nothing until they are used. But for a pool that a
 * worker opens they are what the supervisor of its own was when it forked the zygote. */
static struct supervisor *make(struct config *config)
{
    static struct supervisor supervisor;
    if (supervisor.config != NULL)
        memset(&supervisor, 0, sizeof(supervisor));
    supervisor.config = config;
    supervisor.pid = getpid();
    supervisor.uid = getuid();
    supervisor.opener_pidfd = supervisor.listener = supervisor.signals = -1;
    for (uint32_t i = 0; i < config->seats; i++)
        for (int which = 0; which < 2; which++)
            supervisor.seats[i].posts[which] =
                (struct post){.life = LIFE_EMPTY, .pidfd = -1, .socket = -1};
    for (int i = 0; i < 2; i++)
        supervisor.zygotes[i].pidfd = supervisor.zygotes[i].socket = -1;
    lazy_init(&supervisor);
    return &supervisor;
}

static void warn(const struct supervisor *supervisor)
{
    if (supervisor->config->policy_warning != NULL)
        log_write(supervisor->control, MC_LOG_WARNING, "%s", supervisor->config->policy_warning);
}

void supervisor_run(struct config *config, int opener_socket, pid_t opener)
{
    process_begin("mc-supervisor", &opener_socket, true);
    struct supervisor *supervisor = make(config);
    int result = start_for(supervisor, opener_socket, opener);
    clock_calibrate_end();
    if (result < 0) {
        char text[128];
        snprintf(text, sizeof(text), "the pool's supervisor cannot start: %s", strerror(-result));
        fail_opening(opener_socket, result, text);
        supervisor_end(supervisor, 1);
    }
    warn(supervisor);
    loop(supervisor);
    _exit(0);
}

int serve_run(const struct serve_options *options)
{
    struct config *config;
    clock_calibrate_begin();
    int result = config_create(&options->pool, options, &config);
    if (result < 0)
        return result;
    struct supervisor *supervisor = make(config);
    result = door_hear_signals(supervisor);
    if (result == 0)
        result = start(supervisor);
    if (result == 0)
        result = door_open(supervisor);
    clock_calibrate_end();
    if (result < 0) {
        zygotes_kill_all(supervisor);
        return error_system(result, "the supervisor cannot start");
    }
    warn(supervisor);
    loop(supervisor);
    return 0;
}
