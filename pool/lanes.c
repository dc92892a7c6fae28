/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Clients and their lanes, as the supervisor keeps them.
 */
#include "pool/supervisor.h"

#include "base/error.h"
#include "base/fault.h"
#include "base/sys.h"
#include "ipc/notify.h"
#include "ipc/segment.h"
#include "ipc/slot.h"
#include "ipc/tally.h"
#include "ipc/wake.h"
#include "pool/log.h"
#include "pool/process.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* How often the supervisor itself looks whether work lies while a worker is idle, for
 * as long as clients of other users are attached: who waits complains sooner, but an
 * event loop does not wait. */
enum { LOOK_MS = 50 };
enum { LAST_WORDS_MOST = 64 }; /* messages of a client that is dead */
enum { EMPTY_MS = 20 };        /* usually a lane is empty long before that */

static void refuse(const struct supervisor *supervisor, int socket, int status, const char *text)
{
    struct parcel parcel = {.message = {.type = MESSAGE_REFUSED, .status = status}};
    tally_count(&supervisor->control->totals.clients_refused);
    snprintf(parcel.message.text, sizeof(parcel.message.text), "%s", text);
    (void)channel_send(socket, &parcel, MSG_DONTWAIT);
}

static int make_lane(struct supervisor *supervisor, struct tenant *tenant, uint32_t index)
{
    const struct lane_geometry *geometry = &tenant->geometry;
    tenant->geometry = supervisor->config->geometry;
    tenant->lane_fd = segment_create("multicore-lane", geometry->total_size);
    if (tenant->lane_fd < 0)
        return tenant->lane_fd;
    int result = segment_seal_seals(tenant->lane_fd);
    if (result < 0)
        return result;
    void *header = segment_map(tenant->lane_fd, PAGE_SIZE_BYTES, true);
    if (header == NULL)
        return -errno;
    lane_format(geometry, header, index);
    munmap(header, PAGE_SIZE_BYTES);
    result = lane_map(&tenant->lane, geometry, tenant->lane_fd);
    if (result < 0)
        return result;
    int ends[2];
    if (FAULT_CALL("lane_notify_pair", EMFILE,
                   socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends)) < 0)
        return -errno;
    tenant->notify = ends[0];
    tenant->notify_client = ends[1];
    return 0;
}

/* Closing does not end the watch on a socket of which somebody else still has this
 * end, such as the client that sent it; and its number is soon another's. */
static void close_client(const struct supervisor *supervisor, struct tenant *tenant)
{
    (void)epoll_ctl(supervisor->epoll, EPOLL_CTL_DEL, tenant->socket, NULL);
    sys_close(&tenant->socket);
    sys_close(&tenant->pidfd);
    sys_close(&tenant->notify_client);
}

/* Its client is of another user than those that are trusted. */
static bool is_strangers(const struct supervisor *supervisor, const struct tenant *tenant)
{
    return tenant->tenancy != TENANT_OPENER && tenant->uid != 0 && tenant->uid != supervisor->uid;
}

/* To give a file's memory back takes its lock, which everybody who can write it may hold for as
 * long as he likes, in a write that reads from a file system of his own; and who waits for it
 * cannot be killed. So it is done by a process that nobody waits for, or hardly. Without one the
 * memory goes back when nobody has the lane's descriptor any more. */
static void empty_apart(struct supervisor *supervisor, struct tenant *tenant)
{
    pid_t pid = sys_fork(SIGCHLD, false, NULL);
    if (pid == 0) {
        process_begin("mc-emptier", &tenant->lane_fd, false);
        segment_punch(tenant->lane_fd, tenant->geometry.total_size);
        _exit(0);
    }
    if (pid < 0)
        return;
    tenant->emptier = pid;
    tenant->pidfd = sys_pidfd_open(pid);
    if (supervisor->emptiers++ == 0 && sys_await_input(tenant->pidfd, EMPTY_MS) == 1)
        return;
    /* lanes_reclaim() looks after each event. */
    (void)supervisor_watch(supervisor, tenant->pidfd, WATCH_CLIENT_PID,
                           (uint32_t)(tenant - supervisor->tenants));
}

/* Whoever else has the lane's descriptor, its memory goes back to the system: true when that is
 * done. Until then its place is taken, or one client after another could leave some behind. */
static bool is_emptied(struct supervisor *supervisor, struct tenant *tenant)
{
    if (tenant->faulted) /* its client lives, and still reads the results that it has */
        return true;
    if (!is_strangers(supervisor, tenant)) {
        segment_punch(tenant->lane_fd, tenant->geometry.total_size);
        return true;
    }
    if (tenant->emptier == 0)
        empty_apart(supervisor, tenant);
    if (tenant->emptier == 0)
        return true;
    if (waitpid(tenant->emptier, NULL, WNOHANG | __WALL) == 0)
        return false;
    supervisor->emptiers--;
    return true;
}

static void free_lane(struct tenant *tenant)
{
    lane_unmap(&tenant->lane);
    sys_close(&tenant->lane_fd);
    sys_close(&tenant->notify);
    sys_close(&tenant->pidfd);
    tenant->used = tenant->dropping = false;
}

static int find_free(struct supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->config->max_clients; i++)
        if (!supervisor->tenants[i].used)
            return (int)i;
    return -EUSERS;
}

static void publish(struct supervisor *supervisor, uint32_t index, uint32_t generation, pid_t pid)
{
    struct lane_entry *entry = &supervisor->control->lanes[index];
    atomic_store_explicit(&entry->client_pid, pid, memory_order_relaxed);
    atomic_store_explicit(&entry->weight, supervisor->tenants[index].weight, memory_order_relaxed);
    atomic_store_explicit(&entry->client_uid, supervisor->tenants[index].uid, memory_order_relaxed);
    atomic_store_explicit(&entry->generation, generation, memory_order_release);
}

/* Others than the pool's own user can write the bells. */
static bool bells_shared(const struct supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->config->max_clients; i++) {
        const struct tenant *tenant = &supervisor->tenants[i];
        if (tenant->used && is_strangers(supervisor, tenant))
            return true;
    }
    return false;
}

/* Whether a client changes anything for those who sleep. What it made true stays true: who had
 * the bells once may keep them. */
static void note_sharing(struct supervisor *supervisor)
{
    bool shared = bells_shared(supervisor);
    if (shared && supervisor->look_due_ms == 0)
        supervisor->look_due_ms = supervisor_now_ms() + LOOK_MS;
    if (atomic_fetch_or(&supervisor->control->bells_shared, shared) == 0 && shared)
        keeper_kick_all(supervisor); /* they sleep in the belief that only friends have them */
}

/* Takes socket over, on failure too. Returns the lane's index. */
int lanes_attach(struct supervisor *supervisor, int socket, enum tenancy tenancy, uint32_t weight)
{
    char text[128];
    int index = supervisor->phase >= PHASE_DRAINING ? -ESHUTDOWN : find_free(supervisor);
    if (index < 0) {
        snprintf(text, sizeof(text),
                 index == -EUSERS
                     ? "%u clients are attached, which is max_clients: close some, or raise it"
                     : "the pool is closing",
                 supervisor->config->max_clients);
        refuse(supervisor, socket, index, text);
        close(socket);
        return index;
    }
    struct tenant *tenant = &supervisor->tenants[index];
    uint32_t generation = tenant->generation + 1;
    *tenant = (struct tenant){.used = true,
                              .tenancy = tenancy,
                              .weight = weight,
                              .socket = socket,
                              .generation = generation | 1,
                              .pidfd = -1,
                              .lane_fd = -1,
                              .notify = -1,
                              .notify_client = -1};
    struct peer peer;
    int result = channel_peer(socket, &peer);
    if (result == 0) {
        tenant->pid = peer.pid;
        tenant->uid = peer.uid;
        tenant->pidfd = channel_peer_pidfd(socket);
        result = tenant->pidfd < 0 ? tenant->pidfd : make_lane(supervisor, tenant, (uint32_t)index);
    }
    if (result == 0)
        result = supervisor_watch(supervisor, socket, WATCH_CLIENT_SOCKET, (uint32_t)index);
    if (result == 0)
        result = supervisor_watch(supervisor, tenant->pidfd, WATCH_CLIENT_PID, (uint32_t)index);
    if (result < 0) {
        snprintf(text, sizeof(text), "the client's shared memory: %s", strerror(-result));
        refuse(supervisor, socket, result, text);
        free_lane(tenant);
        close_client(supervisor, tenant);
        return result;
    }
    tally_count(&supervisor->control->totals.clients_attached);
    queues_forget(supervisor, (uint32_t)index);
    publish(supervisor, (uint32_t)index, tenant->generation, tenant->pid);
    note_sharing(supervisor);
    return index;
}

uint32_t lanes_of_user(const struct supervisor *supervisor, uid_t uid)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < supervisor->config->max_clients; i++)
        count += supervisor->tenants[i].used && supervisor->tenants[i].tenancy == TENANT_ATTACHED &&
                 supervisor->tenants[i].uid == uid;
    return count;
}

/* The quarantine holds arguments of all clients. */
static int descriptors_for(const struct supervisor *supervisor, const struct tenant *tenant)
{
    if (tenant->tenancy == TENANT_FORK)
        return 2;
    return is_strangers(supervisor, tenant) ? 4 : 5;
}

void lanes_welcome(struct supervisor *supervisor, struct tenant *tenant)
{
    struct parcel parcel = {.message = {.type = MESSAGE_WELCOME,
                                        .index = (uint32_t)(tenant - supervisor->tenants),
                                        .generation = tenant->generation,
                                        .value = supervisor->pid},
                            .descriptors = {tenant->lane_fd, tenant->notify_client,
                                            supervisor->control_fd, supervisor->bells_fd,
                                            supervisor->quarantine_fd},
                            .descriptor_count = descriptors_for(supervisor, tenant)};
    channel_tell(tenant->socket, &parcel);
    sys_close(&tenant->notify_client);
}

struct tenant *lanes_find(struct supervisor *supervisor, uint32_t index, uint32_t generation)
{
    if (index >= MAX_LANES)
        return NULL;
    struct tenant *tenant = &supervisor->tenants[index];
    return tenant->used && tenant->generation == generation ? tenant : NULL;
}

struct tenant *lanes_find_any(struct supervisor *supervisor, uint32_t index, uint32_t generation)
{
    if (index >= MAX_LANES)
        return NULL;
    struct tenant *tenant = &supervisor->tenants[index];
    uint32_t now = tenant->dropping ? tenant->generation - 1 : tenant->generation;
    return tenant->used && generation == now ? tenant : NULL;
}

struct tenant *lanes_find_run(struct supervisor *supervisor, const struct seat_row *row)
{
    return lanes_find_any(supervisor, row->run_lane, row->run_lane_generation);
}

void lanes_send(struct supervisor *supervisor, int socket, uint32_t index, uint32_t generation)
{
    struct parcel parcel = {
        .message = {.type = MESSAGE_LANE, .index = index, .generation = generation}};
    struct tenant *tenant = lanes_find(supervisor, index, generation);
    if (tenant == NULL || tenant->dropping) {
        parcel.message.status = -ENOENT;
    } else {
        parcel.message.value = is_strangers(supervisor, tenant);
        parcel.descriptors[0] = tenant->lane_fd;
        parcel.descriptors[1] = tenant->notify;
        parcel.descriptor_count = 2;
    }
    channel_tell(socket, &parcel);
}

/* What runs is asked to stop: nobody waits for it. */
static void cancel_tasks(struct tenant *tenant)
{
    uint64_t word;
    for (uint32_t i = 0; i < tenant->lane.geometry->slot_count; i++) {
        _Atomic uint64_t *slot = &tenant->lane.slots[i].word;
        if (!slot_cancel(slot, &word) && slot_state(word) == SLOT_RUNNING)
            (void)slot_flag(slot, SLOT_CANCEL, &word);
    }
    atomic_fetch_add_explicit(&tenant->lane.header->cancels, 1, memory_order_seq_cst);
}

/* The client is gone: nobody begins its tasks any more; the lane goes when the
 * last running one has ended. */
static void client_gone(struct supervisor *supervisor, struct tenant *tenant)
{
    uint32_t index = (uint32_t)(tenant - supervisor->tenants);
    if (tenant->dropping) { /* whose lane was given up before */
        if (tenant->faulted)
            cancel_tasks(tenant);
        close_client(supervisor, tenant);
        tenant->faulted = false;
        (void)lanes_reclaim(supervisor);
        return;
    }
    /* What workers wrote there is the pool's memory, and stays while the client lives,
     * which therefore keeps its place: or one could have any number of such lanes. */
    if (!tenant->faulted || tenant->tenancy != TENANT_ATTACHED)
        close_client(supervisor, tenant);
    tenant->dropping = true;
    tenant->generation++;
    lazy_drop(supervisor, tenant);
    publish(supervisor, index, tenant->generation, 0);
    FAULT_POINT("lane_drop");
    if (!tenant->faulted) /* else it settles them itself */
        cancel_tasks(tenant);
    lanes_ring(supervisor); /* it may have died while it was waking somebody */
    (void)lanes_reclaim(supervisor);
}

void lanes_fault(struct supervisor *supervisor, uint32_t index, uint32_t generation,
                 const char *why)
{
    struct tenant *tenant = lanes_find(supervisor, index, generation);
    if (tenant == NULL || tenant->dropping)
        return; /* another was quicker */
    log_write(supervisor->control, MC_LOG_ERROR, "the lane of client %d was given up: %s",
              (int)tenant->pid, why);
    struct parcel parcel = {.message = {.type = MESSAGE_FAULTED}};
    snprintf(parcel.message.text, sizeof(parcel.message.text), "%s", why);
    (void)channel_send(tenant->socket, &parcel, MSG_DONTWAIT);
    tenant->faulted = true;
    tally_count(&supervisor->control->totals.lanes_faulted);
    client_gone(supervisor, tenant);
}

/* The row is looked at first: what it lets go of before it ends is in the book by then, and
 * stays there until it has ended. */
static bool lane_worked_on(const struct supervisor *supervisor, uint32_t index)
{
    for (uint32_t seat = 0; seat < supervisor->config->seats; seat++) {
        const struct seat_row *row = &supervisor->control->rows[seat];
        if (atomic_load_explicit(&row->run_count, memory_order_acquire) != 0 &&
            row->run_lane == index)
            return true;
        if (control_class(supervisor->control, seat) == SEAT_IO &&
            atomic_load_explicit(&control_book(supervisor->control, seat)->of_lane[index],
                                 memory_order_acquire) != 0)
            return true;
    }
    return false;
}

static bool any_work(const struct lane *lane)
{
    return lane_has_work(lane, SEAT_CPU) || lane_has_work(lane, SEAT_IO);
}

bool lanes_reclaim(struct supervisor *supervisor)
{
    bool left = false;
    for (uint32_t i = 0; i < supervisor->config->max_clients; i++) {
        struct tenant *tenant = &supervisor->tenants[i];
        if (!tenant->dropping)
            continue;
        if (lane_worked_on(supervisor, i))
            left = true;
        else if (tenant->socket < 0 && is_emptied(supervisor, tenant))
            free_lane(tenant);
    }
    return left;
}

bool lanes_idle(const struct supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->config->max_clients; i++) {
        const struct tenant *tenant = &supervisor->tenants[i];
        if (tenant->used &&
            ((!tenant->dropping && (tenant->kept_count != 0 || any_work(&tenant->lane))) ||
             lane_worked_on(supervisor, i)))
            return false;
    }
    const struct control *control = supervisor->control;
    for (int seats = 0; seats < SEAT_CLASSES; seats++)
        if (atomic_load(&control->shared.repair_head[seats]) !=
            atomic_load(&control->repair_tail[seats]))
            return false;
    return true;
}

/* Marks the lanes with work for a class of seats; true if there are some. */
static bool mark_lanes_for(struct supervisor *supervisor, enum seat_class seats)
{
    uint64_t due[MASK_WORDS] = {0}, any = 0;
    for (uint32_t i = 0; i < supervisor->config->max_clients; i++) {
        const struct tenant *tenant = &supervisor->tenants[i];
        if (!tenant->used || tenant->dropping || !lane_has_work(&tenant->lane, seats))
            continue;
        wake_mark_lane(&supervisor->bells[seats], i);
        due[i / 64] |= UINT64_C(1) << (i % 64);
    }
    for (uint32_t word = 0; word < MASK_WORDS; word++) {
        atomic_store_explicit(&supervisor->control->lanes_due[seats][word], due[word],
                              memory_order_relaxed);
        any |= due[word];
    }
    return any != 0;
}

static bool mark_lanes(struct supervisor *supervisor)
{
    bool any = mark_lanes_for(supervisor, SEAT_CPU);
    if (supervisor->config->io_workers == 0)
        return any;
    return mark_lanes_for(supervisor, SEAT_IO) || any;
}

void lanes_ring(struct supervisor *supervisor)
{
    (void)mark_lanes(supervisor);
    atomic_fetch_add_explicit(&supervisor->control->alarm, 1, memory_order_seq_cst); /* A1 */
    keeper_kick_all(supervisor);
}

void lanes_ring_soon(struct supervisor *supervisor)
{
    supervisor->ring_due_ms = supervisor->rung_ms + 1;
}

static void ring_now(struct supervisor *supervisor, uint64_t now_ms)
{
    supervisor->rung_ms = now_ms;
    lanes_ring(supervisor);
    roster_rouse_all(supervisor);
}

void lanes_due(struct supervisor *supervisor, uint64_t now_ms)
{
    if (supervisor->ring_due_ms != 0 && supervisor->ring_due_ms <= now_ms) {
        supervisor->ring_due_ms = 0;
        ring_now(supervisor, now_ms);
    }
    if (supervisor->look_due_ms == 0 || supervisor->look_due_ms > now_ms)
        return;
    supervisor->look_due_ms = bells_shared(supervisor) ? now_ms + LOOK_MS : 0;
    if (roster_any_idle(supervisor) && mark_lanes(supervisor))
        ring_now(supervisor, now_ms);
}

uint64_t lanes_next_due(const struct supervisor *supervisor)
{
    uint64_t ring = supervisor->ring_due_ms, look = supervisor->look_due_ms;
    if (ring == 0 || (look != 0 && look < ring))
        ring = look;
    return ring == 0 ? UINT64_MAX : ring;
}

void lanes_alarm(struct supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->config->max_clients; i++) {
        const struct tenant *tenant = &supervisor->tenants[i];
        if (!tenant->used || tenant->dropping)
            continue;
        atomic_store_explicit(&tenant->lane.header->notified, 0, memory_order_seq_cst);
        notify_ended(&tenant->lane, NULL, SLOT_WAITED_ANY | SLOT_NOTIFY, tenant->notify);
    }
}

void lanes_admit(struct supervisor *supervisor, struct parcel *parcel, uint32_t weight)
{
    if (parcel->descriptor_count != 1)
        return;
    int index = lanes_attach(supervisor, parcel->descriptors[0], TENANT_FORK, weight);
    parcel->descriptor_count = 0;
    if (index >= 0)
        lanes_welcome(supervisor, &supervisor->tenants[index]);
}

static void handle(struct supervisor *supervisor, struct tenant *tenant, struct parcel *parcel)
{
    switch (parcel->message.type) {
    case MESSAGE_ATTACH:
        lanes_admit(supervisor, parcel, tenant->weight);
        break; /* without descriptor from those that the door is for */
    case MESSAGE_POKE:
        queues_sample(supervisor);
        lanes_ring_soon(supervisor);
        break;
    case MESSAGE_KILL:
        watch_kill(supervisor, tenant, parcel->message.index, parcel->message.generation);
        break;
    case MESSAGE_LANE_FAULT: /* the client itself found damage */
        lanes_fault(supervisor, (uint32_t)(tenant - supervisor->tenants), tenant->generation,
                    parcel->message.text);
        break;
    case MESSAGE_CLOSE:
        if (tenant->tenancy == TENANT_OPENER)
            supervisor_drain(supervisor, (uint32_t)parcel->message.value);
        break;
    default:
        break; /* a guest's mistake is not our business */
    }
    parcel_drop(parcel);
}

/* Asked again, since the event may be an older tenant's of this index, which was
 * dropped and replaced earlier in the same round of events. */
static bool has_died(const struct tenant *tenant)
{
    struct pollfd ended = {.fd = tenant->pidfd, .events = POLLIN};
    FAULT_POINT("lane_client_event");
    return poll(&ended, 1, 0) == 1;
}

/* Reads one message of it, if there is one; false when there will be none any more. Want
 * of memory says nothing against a client, whose lane may be in use: it is read later. */
static bool hear(struct supervisor *supervisor, struct tenant *tenant)
{
    struct parcel parcel;
    int result = tenant->tenancy == TENANT_ATTACHED
                     ? channel_receive_plain(tenant->socket, &parcel, MSG_DONTWAIT)
                     : channel_receive(tenant->socket, &parcel, MSG_DONTWAIT);
    if (result == 1 && !tenant->dropping)
        handle(supervisor, tenant, &parcel);
    return result != 0 && result != -ECONNRESET;
}

/* What it said before its death counts: damage that it found, a child that it had. */
static void hear_last_words(struct supervisor *supervisor, struct tenant *tenant)
{
    for (int i = 0; i < LAST_WORDS_MOST && tenant->socket >= 0; i++)
        if (!hear(supervisor, tenant))
            return;
}

void lanes_client_event(struct supervisor *supervisor, uint32_t index, enum watched kind)
{
    struct tenant *tenant = &supervisor->tenants[index];
    if (!tenant->used || tenant->socket < 0)
        return; /* dropped earlier in the same round */
    if (kind == WATCH_CLIENT_SOCKET && hear(supervisor, tenant))
        return;
    if (kind == WATCH_CLIENT_PID) {
        if (!has_died(tenant))
            return;
        hear_last_words(supervisor, tenant);
    }
    if (tenant->used && tenant->socket >= 0)
        client_gone(supervisor, tenant);
}
