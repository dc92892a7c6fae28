/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What comes over sockets. The input is a list of messages, whole or not, with
 * descriptors of any kind or without: to the supervisor, from clients and from
 * workers, and the supervisor's welcome to a client. Nobody may crash or hang,
 * or keep a descriptor that it was given.
 */
#include "base/sys.h"
#include "ipc/channel.h"
#include "ipc/segment.h"
#include "ipc/slot.h"
#include "pool/modules.h"
#include "pool/pool.h"
#include "pool/supervisor.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    SLOTS = 16,
    SEATS = 2,
    CLIENTS = 3,
    STEPS_MOST = 30,
    ROUNDS_MOST = 100,
    KEPT_MOST = 32,
    SENT_MOST = 6, /* descriptors with one message; more than there is room for */
};

static struct config config;
static struct supervisor supervisor;
static int seat_ends[SEATS]; /* the workers' */
static int kept[KEPT_MOST];  /* ends of sockets that a client would have */
static int kept_count;
static int sound_lane;
static int first_free; /* descriptor, when nothing is open */

static int run(mc_task *task)
{
    return 0;
}

/* ---- set-up ---- */

static void set_up(void)
{
    static struct handler handler = {.name = "run", .run = run};
    static struct mc_module_self module; /* which is never loaded */
    config = (struct config){.handlers = &handler,
                             .handler_count = 1,
                             .modules = &module,
                             .module_count = 1,
                             .workers = SEATS,
                             .seats = SEATS,
                             .max_payload = 4096,
                             .max_clients = CLIENTS};
    config.topology.usable = config.topology.cpu_count = 1;
    lane_geometry_set(&config.geometry, SLOTS, 8192, SEATS);
    uint64_t size = control_size(SEATS, 0, 1);
    supervisor.config = &config;
    supervisor.pid = getpid();
    supervisor.control_fd = segment_create("fuzz-control", size);
    supervisor.bells_fd = segment_create("fuzz-bells", BELLS_SIZE);
    supervisor.control = segment_map(supervisor.control_fd, size, true);
    supervisor.bells = segment_map(supervisor.bells_fd, BELLS_SIZE, true);
    EXPECT(supervisor.control != NULL && supervisor.bells != NULL);
    supervisor.control->magic = LAYOUT_MAGIC_CONTROL;
    supervisor.control->version = LAYOUT_VERSION;
    supervisor.control->seat_count = SEATS;
    supervisor.control->total_size = size;
    supervisor.control->geometry = config.geometry;
    supervisor.control->lane_limit = CLIENTS;
    sound_lane = segment_create("fuzz-lane", config.geometry.total_size);
    void *header = segment_map(sound_lane, PAGE_SIZE_BYTES, true);
    EXPECT(header != NULL);
    lane_format(&config.geometry, header, 0);
    munmap(header, PAGE_SIZE_BYTES);
    for (int i = 0; i < 2; i++)
        supervisor.zygotes[i].pidfd = supervisor.zygotes[i].socket = -1;
    supervisor.opener_pidfd = supervisor.listener = supervisor.signals = -1;
    supervisor.quarantine_fd = segment_create("fuzz-quarantine", sizeof(struct quarantine));
    supervisor.quarantine = segment_map(supervisor.quarantine_fd, sizeof(struct quarantine), true);
    EXPECT(supervisor.quarantine != NULL);
}

static int next_descriptor(void)
{
    int next = dup(sound_lane);
    EXPECT(next >= 0);
    close(next);
    return next;
}

static int keep(int fd)
{
    if (fd < 0 || kept_count == KEPT_MOST) {
        sys_close(&fd);
        return -1;
    }
    kept[kept_count++] = fd;
    return fd;
}

static void begin(struct input *input)
{
    int ends[2];
    uint8_t how = input_byte(input);
    supervisor.epoll = epoll_create1(EPOLL_CLOEXEC);
    supervisor.phase = how & 1 ? PHASE_OPENING : PHASE_OPEN;
    supervisor.control->closing = 0;
    memset(supervisor.control->rows, 0, SEATS * sizeof(struct seat_row));
    memset(&supervisor.lazy, 0, sizeof(supervisor.lazy));
    lazy_init(&supervisor);
    for (uint32_t i = 0; i < SEATS; i++, how >>= 2) {
        EXPECT(channel_pair(ends) == 0);
        seat_ends[i] = ends[1];
        supervisor.seats[i] = (struct seat){.posts = {{.life = (how & 6) == 6   ? LIFE_ASKED
                                                               : (how & 6) == 4 ? LIFE_STARTING
                                                                                : LIFE_UP,
                                                       .pidfd = -1,
                                                       .socket = ends[0]},
                                                      {.pidfd = -1, .socket = -1}}};
        EXPECT(supervisor_watch(&supervisor, ends[0], WATCH_SEAT_SOCKET, i) == 0);
    }
    EXPECT(channel_pair(ends) == 0);
    keep(ends[0]);
    EXPECT(lanes_attach(&supervisor, ends[1], TENANT_OPENER, DEFAULT_WEIGHT) == 0);
}

static void end(void)
{
    supervisor.phase = PHASE_ENDED; /* what is still queued attaches nobody */
    for (uint32_t i = 0; i < CLIENTS; i++) {
        struct tenant *tenant = &supervisor.tenants[i];
        if (tenant->used && !tenant->dropping) {
            (void)shutdown(tenant->socket, SHUT_RDWR);
            for (int reads = 0; tenant->used && reads < 1000; reads++)
                lanes_client_event(&supervisor, i, WATCH_CLIENT_SOCKET);
        }
        EXPECT(!tenant->used);
    }
    EXPECT(supervisor.lazy.kept == 0);
    for (uint32_t i = 0; i < SEATS; i++) {
        sys_close(&supervisor.seats[i].posts[HOLDER].socket);
        sys_close(&seat_ends[i]);
    }
    while (kept_count != 0)
        close(kept[--kept_count]);
    sys_close(&supervisor.epoll);
    EXPECT(next_descriptor() == first_free);
}

/* ---- sending ---- */

/* A descriptor of some kind, to be closed by the caller. */
static int make_descriptor(struct input *input)
{
    int ends[2];
    uint8_t kind = input_byte(input);
    switch (kind % 10) {
    case 0:
    case 1: /* what is asked for; the other end stays with us, or is closed */
        if (channel_pair(ends) < 0)
            return -1;
        if (kind >= 128)
            close(ends[0]);
        else
            keep(ends[0]);
        return ends[1];
    case 2: /* the same, and we keep both ends */
        if (channel_pair(ends) < 0)
            return -1;
        keep(ends[0]);
        keep(dup(ends[1]));
        return ends[1];
    case 3:
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
            return -1;
        keep(ends[0]);
        return ends[1];
    case 4:
        return open("/dev/null", O_RDWR | O_CLOEXEC);
    case 5:
        return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    case 6: /* too short for anything */
        return segment_create("fuzz-short", (kind / 10) * UINT64_C(64));
    case 7:
        return dup(sound_lane);
    case 8:
        return dup(kind < 128 ? supervisor.control_fd : supervisor.bells_fd);
    default: /* one that was sent before */
        return kept_count != 0 ? dup(kept[kind / 10 % kept_count]) : -1;
    }
}

static void send_message(int socket, struct input *input)
{
    struct parcel parcel = {.descriptor_count = 0};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(SENT_MOST * sizeof(int))];
    } control;
    int sent[SENT_MOST], count = 0;
    const uint8_t *text;
    parcel.message.type = input_byte(input) % (MESSAGE_LANE + 2);
    parcel.message.index = (uint32_t)input_number(input, input_byte(input) % 5);
    parcel.message.generation = (uint32_t)input_number(input, input_byte(input) % 5);
    parcel.message.status = (int32_t)input_number(input, input_byte(input) % 5);
    parcel.message.value = (int32_t)input_number(input, input_byte(input) % 5);
    size_t size = input_bytes(input, input_byte(input) % sizeof(parcel.message.text), &text);
    if (size != 0)
        memcpy(parcel.message.text, text, size);
    size_t wanted = input_byte(input) % 16;
    for (size_t i = 0; i < wanted % (SENT_MOST + 1); i++) {
        int fd = make_descriptor(input);
        if (fd >= 0)
            sent[count++] = fd;
    }
    struct iovec data = {.iov_base = &parcel.message, .iov_len = sizeof(parcel.message)};
    if (wanted >= 8) /* a part of it, or more */
        data.iov_len = input_number(input, 2) % (sizeof(parcel) + 1);
    struct msghdr header = {.msg_iov = &data, .msg_iovlen = 1};
    if (count != 0) {
        memset(&control, 0, sizeof(control));
        header.msg_control = control.space;
        header.msg_controllen = CMSG_SPACE((size_t)count * sizeof(int));
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
        memcpy(CMSG_DATA(&control.header), sent, (size_t)count * sizeof(int));
    }
    (void)sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (count != 0)
        close(sent[--count]);
}

/* ---- the supervisor ---- */

/* As its loop does, until it would sleep; which it must. */
static void serve(void)
{
    struct epoll_event events[8];
    int count = 1, rounds;
    for (rounds = 0; count > 0 && rounds < ROUNDS_MOST; rounds++) {
        count = epoll_wait(supervisor.epoll, events, 8, 0);
        for (int i = 0; i < count; i++) {
            uint32_t index = (uint32_t)events[i].data.u64;
            enum watched kind = (enum watched)(events[i].data.u64 >> 32);
            if (kind == WATCH_SEAT_SOCKET)
                keeper_seat_event(&supervisor, index, kind);
            else
                lanes_client_event(&supervisor, index, kind);
        }
    }
    EXPECT(rounds < ROUNDS_MOST);
    (void)lanes_reclaim(&supervisor);
    relief_due(&supervisor, supervisor_now_ms());
    supervisor.lazy.release_ms = 0; /* as if that time had passed */
    lazy_due(&supervisor, supervisor_now_ms());
}

/* ---- lazy modules ---- */

/* A worker came to the ticket of a task whose module is not loaded; a chance message would
 * hardly ever name a lane and a slot that there are. */
static void defer(const struct tenant *tenant, uint8_t slot, uint8_t generation)
{
    struct parcel parcel = {.message = {.type = MESSAGE_DEFER,
                                        .index = (uint32_t)(tenant - supervisor.tenants),
                                        .generation = tenant->generation}};
    name_t name = name_make(0, generation, slot);
    memcpy(parcel.message.text, &name, sizeof(name));
    (void)channel_send(seat_ends[slot % SEATS], &parcel, MSG_DONTWAIT);
}

/* What becomes of the module that tickets wait for; or a client submits such a task, or
 * cancels it. */
static void change(struct input *input)
{
    uint8_t how = input_byte(input), where = input_byte(input);
    struct tenant *tenant = &supervisor.tenants[where % CLIENTS];
    struct slot *slots = tenant->used ? tenant->lane.slots : NULL;
    uint64_t word;
    if (how % 6 == 0 && slots != NULL)
        slot_submit(&slots[where / CLIENTS % SLOTS].word, 0, how / 6 % 4);
    else if (how % 6 == 1 && slots != NULL)
        (void)slot_cancel(&slots[where / CLIENTS % SLOTS].word, &word);
    else if (how % 6 == 2)
        defer(tenant, where / CLIENTS % (SLOTS + 1), how / 6 % 4);
    else if (how % 6 == 3)
        supervisor.lazy.loading = how < 128 ? 0 : -1;
    else if (how % 6 == 4)
        lazy_failed(&supervisor, -EIO, "a reason", how < 128);
    else if (how % 6 == 5)
        lazy_forget(&supervisor);
}

/* ---- the client ---- */

static void welcome(struct input *input)
{
    int ends[2];
    mc_pool pool;
    memset(&pool, 0, sizeof(pool));
    pool.config = &config;
    pool.attach_socket = pool.supervisor_pidfd = -1;
    pool.client.socket = pool.client.notify = -1;
    pool.client.events = pool.client.self = -1;
    bool further = (input_byte(input) & 1) != 0; /* not the opener: knows the pool already */
    if (further) {
        pool.control = supervisor.control;
        pool.bells = supervisor.bells;
    }
    if (channel_pair(ends) < 0)
        return;
    send_message(ends[1], input);
    close(ends[1]); /* at the latest this is an answer */
    int result = pool_await_welcome(&pool, ends[0], 1000, NULL);
    if (result == 0) {
        EXPECT(pool.client.index < config.max_clients);
        EXPECT(lane_check(&pool.client.lane) == NULL);
        EXPECT(pool.control->seat_count == SEATS);
        EXPECT(!client_check_gone(&pool.client) || pool.client.gone);
        client_fini(&pool.client);
    } else {
        EXPECT(mc_error_message() != NULL);
    }
    /* After a failure one may be there without the other: pool_free() knows. */
    EXPECT(result < 0 || (pool.control != NULL && pool.bells != NULL));
    EXPECT(!further || (pool.control == supervisor.control && pool.bells == supervisor.bells));
    if (pool.control != NULL && !further)
        munmap((void *)(uintptr_t)pool.control, pool.control_bytes);
    if (pool.bells != NULL && !further)
        munmap(pool.bells, BELLS_SIZE);
    sys_close(&pool.supervisor_pidfd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    if (supervisor.config == NULL)
        set_up();
    first_free = next_descriptor();
    begin(&input);
    for (int steps = 0; steps < STEPS_MOST && input.left != 0; steps++) {
        uint8_t what = input_byte(&input);
        switch (what % 6) {
        case 0:
        case 1:
            if (kept_count != 0)
                send_message(kept[what / 6 % kept_count], &input);
            break;
        case 2:
            send_message(seat_ends[what / 6 % SEATS], &input);
            break;
        case 3:
            welcome(&input);
            break;
        case 4:
            if (kept_count > 1) { /* the opener stays */
                int *last = &kept[--kept_count];
                sys_close(last);
            }
            break;
        default:
            change(&input);
            break;
        }
        if ((what & 0x80) == 0)
            serve();
    }
    end();
    return 0;
}
