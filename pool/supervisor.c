/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool/supervisor.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/sys.h"
#include "ipc/segment.h"
#include "ipc/wake.h"
#include "pool/log.h"
#include "pool/process.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    POLL_MS = 5,          /* while draining, or waiting for a lane's last task */
    KILL_WAIT_MS = 1000,  /* for killed processes to be gone */
    LEAVE_WAIT_MS = 1000, /* for workers to run worker_exit and leave */
    SAMPLE_MS = 250,
    SAMPLE_FOR_MS = 2000,
};

uint64_t supervisor_now_ms(void)
{
    return clock_ns() / 1000000;
}

int supervisor_watch(struct supervisor *supervisor, int fd, enum watched kind, uint32_t index)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)kind << 32 | index};
    return epoll_ctl(supervisor->epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/* ---- the load ---- */

static uint32_t seats_busy(const struct supervisor *supervisor)
{
    uint32_t busy = 0;
    for (uint32_t i = 0; i < supervisor->config->workers; i++)
        busy += atomic_load_explicit(&supervisor->control->rows[i].run_count,
                                     memory_order_relaxed) != 0;
    return busy;
}

static void sample_now(struct supervisor *supervisor)
{
    uint32_t busy = seats_busy(supervisor);
    uint64_t now = supervisor_now_ms();
    struct load_sample sample = {.own_busy_now = busy,
                                 .own_busy_milli =
                                     load_average_update(&supervisor->own_load, now, busy)};
    struct admission previous = admission_unpack(
        atomic_load_explicit(&supervisor->control->admission, memory_order_relaxed));
    struct admission next = config_admit(supervisor->config, &sample, previous);
    atomic_store_explicit(&supervisor->control->admission, admission_pack(next),
                          memory_order_release);
}

/* Somebody submits: sample now, and go on for a while. */
void supervisor_sample(struct supervisor *supervisor)
{
    if (!supervisor->config->policy.enabled)
        return;
    uint64_t now = supervisor_now_ms();
    supervisor->sample_until_ms = now + SAMPLE_FOR_MS;
    if (supervisor->sample_due_ms == 0) {
        sample_now(supervisor);
        supervisor->sample_due_ms = now + SAMPLE_MS;
    }
}

static void sample_due(struct supervisor *supervisor, uint64_t now)
{
    if (supervisor->sample_due_ms == 0 || now < supervisor->sample_due_ms)
        return;
    sample_now(supervisor);
    supervisor->sample_due_ms = now < supervisor->sample_until_ms ? now + SAMPLE_MS : 0;
}

/* ---- start ---- */

static int make_segments(struct supervisor *supervisor)
{
    const struct config *config = supervisor->config;
    uint64_t size = control_size(config->workers);
    supervisor->control_fd = segment_create("multicore-control", size);
    supervisor->bells_fd = segment_create("multicore-bells", sizeof(struct bells));
    if (supervisor->control_fd < 0 || supervisor->bells_fd < 0)
        return supervisor->control_fd < 0 ? supervisor->control_fd : supervisor->bells_fd;
    struct control *control = segment_map(supervisor->control_fd, size, true);
    supervisor->bells = segment_map(supervisor->bells_fd, sizeof(struct bells), true);
    if (control == NULL || supervisor->bells == NULL)
        return -errno;
    supervisor->control = control;
    control->magic = LAYOUT_MAGIC_CONTROL;
    control->version = LAYOUT_VERSION;
    control->seat_count = config->workers;
    control->lane_limit = config->max_clients;
    control->handler_count = config->handler_count;
    control->total_size = size;
    control->max_payload = config->max_payload;
    control->geometry = config->geometry;
    for (uint32_t i = 0; i < config->handler_count; i++) {
        memcpy(control->handlers[i].name, config->handlers[i].name, HANDLER_NAME_SIZE);
        control->handlers[i].flags = config->handlers[i].flags;
    }
    return segment_seal_writes(supervisor->control_fd);
}

static int start(struct supervisor *supervisor, int opener_socket, pid_t opener)
{
    supervisor->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (supervisor->epoll < 0)
        return -errno;
    supervisor->opener_pidfd = sys_pidfd_open(opener);
    if (supervisor->opener_pidfd < 0)
        return supervisor->opener_pidfd;
    int result = supervisor_watch(supervisor, supervisor->opener_pidfd, WATCH_OPENER, 0);
    if (result == 0)
        result = make_segments(supervisor);
    if (result == 0)
        result = keeper_start_zygote(supervisor);
    if (result < 0)
        return result;
    keeper_fill_seats(supervisor);
    return lanes_attach(supervisor, opener_socket, true);
}

/* ---- end ---- */

static void fail_opening(int socket, int status, const char *text)
{
    struct parcel parcel = {.message = {.type = MESSAGE_REFUSED, .status = status}};
    snprintf(parcel.message.text, sizeof(parcel.message.text), "%s", text);
    (void)channel_send(socket, &parcel, 0);
}

/* Kills what is left, and sees it dead: after our exit nothing of the pool is
 * left behind. */
_Noreturn static void end(struct supervisor *supervisor)
{
    supervisor->phase = PHASE_ENDED;
    keeper_kill_all(supervisor);
    uint64_t deadline = supervisor_now_ms() + KILL_WAIT_MS;
    while (!keeper_all_gone(supervisor) && supervisor_now_ms() < deadline) {
        for (uint32_t i = 0; i < supervisor->config->workers; i++) {
            sys_close(&supervisor->seats[i].socket);
            keeper_seat_event(supervisor, i, WATCH_SEAT_PID);
        }
        if (supervisor->zygote_pidfd >= 0)
            keeper_zygote_died(supervisor);
        (void)poll(NULL, 0, 1);
    }
    _exit(0);
}

static void drain(struct supervisor *supervisor, uint64_t now)
{
    bool late = now >= supervisor->phase_deadline_ms;
    if (supervisor->phase == PHASE_DRAINING) {
        bool idle = lanes_idle(supervisor);
        if (!idle && (late || keeper_hopeless(supervisor)))
            end(supervisor);
        if (!idle) {
            lanes_ring(supervisor); /* tickets of tasks that were helped linger */
            return;
        }
        supervisor->phase = PHASE_LEAVING;
        supervisor->phase_deadline_ms = now + LEAVE_WAIT_MS;
        atomic_store(&supervisor->control->closing, 2);
        wake_kick_all(supervisor->bells, supervisor->control);
        late = false;
    }
    if (keeper_all_gone(supervisor) || late)
        end(supervisor);
}

/* ---- loop ---- */

static int timeout_ms(struct supervisor *supervisor, uint64_t now, bool polling)
{
    uint64_t next = keeper_next_due(supervisor);
    if (supervisor->sample_due_ms != 0 && supervisor->sample_due_ms < next)
        next = supervisor->sample_due_ms;
    if (polling && now + POLL_MS < next)
        next = now + POLL_MS;
    if (next == UINT64_MAX)
        return -1;
    return next <= now ? 0 : (int)(next - now);
}

static void dispatch(struct supervisor *supervisor, uint64_t data)
{
    uint32_t index = (uint32_t)data;
    enum watched kind = (enum watched)(data >> 32);
    switch (kind) {
    case WATCH_OPENER:
        end(supervisor);
    case WATCH_ZYGOTE:
        if (supervisor->zygote_pidfd >= 0)
            keeper_zygote_died(supervisor);
        break;
    case WATCH_SEAT_PID:
    case WATCH_SEAT_SOCKET:
        keeper_seat_event(supervisor, index, kind);
        break;
    case WATCH_CLIENT_PID:
    case WATCH_CLIENT_SOCKET:
        lanes_client_event(supervisor, index, kind);
        break;
    }
    if (!supervisor->tenants[0].used || supervisor->tenants[0].dropping)
        end(supervisor); /* that was the opener, or its lane was given up */
}

static void loop(struct supervisor *supervisor)
{
    struct epoll_event events[32];
    for (;;) {
        uint64_t now = supervisor_now_ms();
        keeper_due(supervisor, now);
        sample_due(supervisor, now);
        bool polling = lanes_reclaim(supervisor);
        if (supervisor->phase >= PHASE_DRAINING) {
            drain(supervisor, now);
            polling = true;
        }
        if (supervisor->phase == PHASE_OPENING && keeper_hopeless(supervisor)) {
            fail_opening(supervisor->tenants[0].socket,
                         supervisor->init_status < 0 ? supervisor->init_status : -EIO,
                         supervisor->init_text);
            end(supervisor);
        }
        int count = epoll_wait(supervisor->epoll, events, 32, timeout_ms(supervisor, now, polling));
        FAULT_POINT("supervisor_event");
        for (int i = 0; i < count; i++)
            dispatch(supervisor, events[i].data.u64);
    }
}

void supervisor_run(const struct config *config, int opener_socket, pid_t opener)
{
    process_begin("mc-supervisor", &opener_socket, true);
    /* A static object: zeroed pages, which cost nothing until they are used. */
    static struct supervisor supervisor;
    supervisor.config = config;
    supervisor.pid = getpid();
    for (int i = 0; i < MAX_SEATS; i++)
        supervisor.seats[i].pidfd = supervisor.seats[i].socket = -1;
    supervisor.zygote_pidfd = supervisor.zygote_socket = -1;
    int result = start(&supervisor, opener_socket, opener);
    clock_calibrate_end();
    if (result < 0) {
        char text[128];
        snprintf(text, sizeof(text), "the pool's supervisor cannot start: %s", strerror(-result));
        fail_opening(opener_socket, result, text);
        end(&supervisor);
    }
    if (config->policy_warning != NULL)
        log_write(supervisor.control, MC_LOG_WARNING, "%s", config->policy_warning);
    loop(&supervisor);
    _exit(0);
}
