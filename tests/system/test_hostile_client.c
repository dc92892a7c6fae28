/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Clients of a served pool that are hostile, or unlucky. All the while a client that
 * behaves runs tasks in a process of its own: its results must be right, and none may
 * take long.
 *
 * What only another user may not do needs root, to become one; without root those
 * parts are left out, and said to be.
 */
#include "tests/system/server.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/sys.h"
#include "ipc/channel.h"
#include "ipc/segment.h"
#include "pool/pool.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

enum {
    NOBODY = 65534,
    BYSTANDERS_GROUP = 54321,
    SLOWEST_MS = 1000, /* of the honest client's tasks, on a busy machine */
    ANSWER_MS = 2000,  /* for the supervisor's answers, likewise */
    SAMPLES = 1 << 16,
};

static struct server server;

/* ---- the client that behaves ---- */

struct honest {
    _Atomic uint32_t stop, rounds, wrong;
    uint32_t took_us[SAMPLES];
};
static struct honest *honest;
static pid_t honest_pid;

/* One task, with a size that goes through slot and arena by turns. */
static bool round_is_right(mc_pool *pool, uint32_t round)
{
    char bytes[5000];
    size_t size = round % 3 == 0 ? sizeof(bytes) : 1 + round % 100;
    memset(bytes, (int)(round % 251), size);
    struct mc_group_options options = {.size = sizeof(options), .help = MC_HELP_NEVER};
    struct mc_result result = {.size = sizeof(result)};
    mc_group *group = NULL;
    bool right = mc_group_open(pool, &options, &group) == 0 &&
                 mc_group_run(group, "echo", bytes, size) == 0 &&
                 mc_group_wait(group, BOUND_MS) == 0 && mc_group_result(group, 0, &result) == 0 &&
                 result.status == 0 && result.data_size == size &&
                 memcmp(result.data, bytes, size) == 0;
    if (!right)
        fprintf(stderr, "round %u: status %d %s, %s\n", round, result.status,
                result.error != NULL ? result.error : "", mc_error_message());
    mc_group_close(group);
    return right;
}

static void behave(void)
{
    mc_pool *pool;
    struct mc_attach_options options = {.size = sizeof(options), .timeout_ms = BOUND_MS};
    if (mc_pool_attach(server.path, &options, &pool) < 0)
        _exit(1);
    while (atomic_load(&honest->stop) == 0) {
        uint32_t round = atomic_load(&honest->rounds);
        uint64_t began = clock_ns();
        if (!round_is_right(pool, round))
            atomic_fetch_add(&honest->wrong, 1);
        honest->took_us[round % SAMPLES] = (uint32_t)((clock_ns() - began) / 1000);
        atomic_store(&honest->rounds, round + 1);
        pause_us(200);
    }
    mc_pool_close(pool);
    _exit(0);
}

static int by_value(const void *a, const void *b)
{
    const uint32_t *one = a, *two = b;
    return *one < *two ? -1 : *one > *two;
}

static void honest_go_on(uint32_t rounds)
{
    uint32_t enough = atomic_load(&honest->rounds) + rounds;
    uint64_t began = clock_ns();
    while (atomic_load(&honest->rounds) < enough && ms_since(began) < 3 * BOUND_MS)
        pause_us(1000);
    ck_assert_uint_ge(atomic_load(&honest->rounds), enough);
}

static void honest_begin(void)
{
    honest = mmap(NULL, sizeof(*honest), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(honest, MAP_FAILED);
    honest_pid = fork();
    if (honest_pid == 0)
        behave();
    honest_go_on(20);
}

/* How it fared; fails the test if that was not well. */
static void honest_end(const char *amid, uint32_t p99_most_ms)
{
    honest_go_on(20);
    atomic_store(&honest->stop, 1);
    ck_assert_int_eq(await_exit(honest_pid), 0);
    uint32_t rounds = atomic_load(&honest->rounds);
    uint32_t count = rounds < SAMPLES ? rounds : SAMPLES;
    qsort(honest->took_us, count, sizeof(honest->took_us[0]), by_value);
    uint32_t p99 = honest->took_us[count - 1 - count / 100], most = honest->took_us[count - 1];
    printf("amid %s: %u tasks, median %u us, p99 %u us, slowest %u us\n", amid, rounds,
           honest->took_us[count / 2], p99, most);
    ck_assert_uint_eq(atomic_load(&honest->wrong), 0);
    ck_assert_uint_le(p99, p99_most_ms * 1000);
    ck_assert_uint_le(most, SLOWEST_MS * 1000);
    munmap(honest, sizeof(*honest));
}

/* ---- the pool ---- */

/* The server is ready with its first worker. What it has is to be counted with both,
 * and without who looks. */
static void await_both_workers(void)
{
    pid_t child = fork();
    if (child == 0) {
        mc_pool *pool = attach(&server, NULL, 0);
        const struct control *control = front_enter(pool->front)->control;
        while (atomic_load(&control->seats_up) < 2)
            pause_us(1000);
        _exit(0);
    }
    ck_assert_int_eq(await_exit(child), 0);
    pause_us(50000);
}

static void start(void)
{
    server_start(&server);
    ck_assert_msg(atomic_load(&server.told->events[SERVE_READY]) == 1, "%s", server.told->text);
    await_both_workers();
    ck_assert_int_eq(chmod(server.directory, 0711), 0);
    ck_assert_int_eq(chmod(server.path, 0666), 0);
}

static void begin(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    board_open();
    server_prepare(&server);
    start();
    honest_begin();
}

static void stop(void)
{
    int status = server_stop(&server);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", status);
    server_remove(&server);
}

static void finish(const char *amid)
{
    honest_end(amid, 100);
    stop();
}

static mc_pool *behind(mc_pool *handle)
{
    mc_pool *pool = front_enter(handle->front);
    front_leave(handle->front);
    return pool;
}

static bool needs_root(const char *what)
{
    if (geteuid() == 0)
        return false;
    printf("skipped, since it needs root: %s\n", what);
    return true;
}

static void become(uid_t uid, const gid_t *groups, size_t count)
{
    if (setgroups(count, groups) < 0 || setgid(NOBODY) < 0 || setuid(uid) < 0)
        _exit(99);
}

/* ---- speaking to the door without the library ---- */

static int connect_raw(int flags)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", server.path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void send_type(int fd, uint32_t type, uint32_t layout, int value)
{
    struct parcel parcel = {.message = {.type = type, .index = layout, .value = value}};
    snprintf(parcel.message.text, sizeof(parcel.message.text), "9.8.7");
    (void)channel_send(fd, &parcel, MSG_DONTWAIT);
}

/* The answer's type; 0 if the connection ended without one, -1 if nothing came. */
static int answer(int fd, struct parcel *parcel)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    memset(parcel, 0, sizeof(*parcel));
    if (poll(&ready, 1, ANSWER_MS) != 1)
        return -1;
    return channel_receive(fd, parcel, MSG_DONTWAIT) == 1 ? (int)parcel->message.type : 0;
}

static int join_raw(struct parcel *parcel)
{
    int fd = connect_raw(0);
    if (fd < 0)
        return -1;
    send_type(fd, MESSAGE_CONNECT, LAYOUT_VERSION, 0);
    if (answer(fd, parcel) == MESSAGE_WELCOME)
        return fd;
    close(fd);
    return -1;
}

static void expect_refused(int fd, int status, const char *words)
{
    struct parcel parcel;
    ck_assert_int_eq(answer(fd, &parcel), MESSAGE_REFUSED);
    ck_assert_msg(parcel.message.status == status, "%d %s", parcel.message.status,
                  parcel.message.text);
    ck_assert_msg(strstr(parcel.message.text, words) != NULL, "%s", parcel.message.text);
    ck_assert_int_eq(answer(fd, &parcel), 0);
    close(fd);
}

/* Sends any bytes, with any descriptors. */
static int send_raw(int fd, const void *data, size_t size, const int *descriptors, size_t count)
{
    char space[CMSG_SPACE(64 * sizeof(int))];
    struct iovec part = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    if (count > 0) {
        memset(space, 0, sizeof(space));
        header.msg_control = space;
        header.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(rights), descriptors, count * sizeof(int));
    }
    return sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

/* ---- what the supervisor has ---- */

struct belongings {
    unsigned descriptors, mappings;
};

static struct belongings belongings_of(pid_t pid)
{
    struct belongings has = {0, 0};
    char path[64], line[512];
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    DIR *directory = opendir(path);
    ck_assert_ptr_nonnull(directory);
    while (readdir(directory) != NULL)
        has.descriptors++;
    closedir(directory);
    snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
    FILE *maps = fopen(path, "re");
    ck_assert_ptr_nonnull(maps);
    while (fgets(line, sizeof(line), maps) != NULL)
        has.mappings += strstr(line, "memfd:") != NULL;
    fclose(maps);
    return has;
}

/* Until it has no more than it had. */
static void expect_given_back(pid_t pid, const struct belongings *before)
{
    struct belongings now;
    for (uint64_t began = clock_ns(); ms_since(began) < BOUND_MS; pause_us(2000)) {
        now = belongings_of(pid);
        if (now.descriptors <= before->descriptors && now.mappings <= before->mappings)
            return;
    }
    ck_abort_msg("%u descriptors and %u mappings, before %u and %u", now.descriptors, now.mappings,
                 before->descriptors, before->mappings);
}

static double cpu_ms_of(pid_t pid)
{
    clockid_t clock;
    struct timespec used = {0};
    ck_assert_int_eq(clock_getcpuclockid(pid, &clock), 0);
    ck_assert_int_eq(clock_gettime(clock, &used), 0);
    return (double)used.tv_sec * 1e3 + (double)used.tv_nsec / 1e6;
}

/* ---- who comes in ---- */

/* What attaching as that user comes to. */
static int attach_as(uid_t uid, const gid_t *groups, size_t count)
{
    pid_t child = fork();
    if (child == 0) {
        struct mc_attach_options options = {.size = sizeof(options), .timeout_ms = BOUND_MS};
        mc_pool *pool = NULL;
        become(uid, groups, count);
        int result = mc_pool_attach(server.path, &options, &pool);
        if (result < 0)
            _exit(-result);
        bool there = mc_pool_connected(pool) && round_is_right(pool, 1);
        bool quarantine =
            mc_pool_quarantine(pool, 0, &(struct mc_quarantined){.size = 512}) != -ENOTSUP;
        mc_pool_close(pool);
        _exit(!there ? 98 : quarantine ? 97 : 0);
    }
    return WEXITSTATUS(await_exit(child));
}

START_TEST(lists_of_users_and_groups_decide_who_comes_in)
{
    static const uid_t users[] = {12345};
    static const gid_t groups[] = {BYSTANDERS_GROUP};
    gid_t many[300];
    if (needs_root("lists of users and groups"))
        return;
    for (gid_t i = 0; i < 300; i++)
        many[i] = 60000 + i;
    many[299] = BYSTANDERS_GROUP;
    board_open();
    server_prepare(&server);
    start();
    ck_assert_int_eq(attach_as(NOBODY, NULL, 0), 0); /* no lists: the socket's mode decides */
    stop();
    server_prepare(&server);
    server.options.users = users;
    server.options.user_count = 1;
    server.options.groups = groups;
    server.options.group_count = 1;
    start();
    honest_begin(); /* the pool's own user, whatever the lists say */
    ck_assert_int_eq(attach_as(NOBODY, NULL, 0), EACCES);
    ck_assert_int_eq(attach_as(12345, NULL, 0), 0);
    ck_assert_int_eq(attach_as(NOBODY, many, 1), EACCES);
    ck_assert_int_eq(attach_as(NOBODY, groups, 1), 0);
    ck_assert_int_eq(attach_as(NOBODY, many, 300), 0);
    ck_assert_int_eq(attach_as(NOBODY, many, 299), EACCES);
    finish("users of all kinds");
}
END_TEST

START_TEST(a_user_gets_no_more_lanes_than_allowed_by_any_way)
{
    if (needs_root("a limit of clients for a user"))
        return;
    board_open();
    server_prepare(&server);
    server.options.max_clients_per_user = 3;
    start();
    honest_begin();
    struct belongings before = belongings_of(server.pid);
    pid_t child = fork();
    if (child == 0) {
        struct parcel parcel;
        int fds[3], ends[2];
        become(NOBODY, NULL, 0);
        for (int i = 0; i < 3; i++)
            if ((fds[i] = join_raw(&parcel)) < 0)
                _exit(10);
        for (int i = 0; i < 20; i++) {
            int late = connect_raw(0);
            send_type(late, MESSAGE_CONNECT, LAYOUT_VERSION, 0);
            if (answer(late, &parcel) != MESSAGE_REFUSED || parcel.message.status != -EUSERS ||
                strstr(parcel.message.text, "max-clients-per-user") == NULL)
                _exit(11);
            close(late);
        }
        /* As a fork of the opener's would, in a pool that is not served. */
        for (int i = 0; i < 20; i++) {
            struct message message = {.type = MESSAGE_ATTACH};
            if (channel_pair(ends) < 0)
                _exit(12);
            (void)send_raw(fds[i % 3], &message, sizeof(message), &ends[1], 1);
            close(ends[1]);
            if (answer(ends[0], &parcel) != 0)
                _exit(13);
            close(ends[0]);
        }
        /* A lane that was given up counts for as long as its client holds on to it. */
        send_type(fds[0], MESSAGE_LANE_FAULT, 0, 0);
        if (answer(fds[0], &parcel) != MESSAGE_FAULTED)
            _exit(14);
        if (join_raw(&parcel) >= 0)
            _exit(15);
        close(fds[0]);
        pause_us(100000);
        _exit(join_raw(&parcel) >= 0 ? 0 : 16);
    }
    ck_assert_int_eq(WEXITSTATUS(await_exit(child)), 0);
    expect_given_back(server.pid, &before);
    finish("a user with too many clients");
}
END_TEST

START_TEST(another_layout_is_refused_and_both_versions_are_named)
{
    begin();
    for (uint32_t layout = 0; layout < 4; layout++) {
        char words[32];
        if (layout == LAYOUT_VERSION)
            continue;
        int fd = connect_raw(0);
        send_type(fd, MESSAGE_CONNECT, layout, 0);
        snprintf(words, sizeof(words), "9.8.7 (layout %u)", layout);
        struct parcel parcel;
        ck_assert_int_eq(answer(fd, &parcel), MESSAGE_REFUSED);
        ck_assert_int_eq(parcel.message.status, -EPROTO);
        ck_assert_msg(strstr(parcel.message.text, words) != NULL, "%s", parcel.message.text);
        snprintf(words, sizeof(words), "the pool %s (layout %d)", mc_version(), LAYOUT_VERSION);
        ck_assert_msg(strstr(parcel.message.text, words) != NULL, "%s", parcel.message.text);
        close(fd);
    }
    /* The layout decides, not the text: that is for the message. */
    struct parcel parcel;
    int fd = join_raw(&parcel);
    ck_assert_int_ge(fd, 0);
    parcel_drop(&parcel);
    close(fd);
    finish("other versions");
}
END_TEST

START_TEST(commands_are_for_the_pools_user_only)
{
    if (needs_root("commands from another user"))
        return;
    begin();
    static const uint32_t types[] = {MESSAGE_RELOAD, MESSAGE_DRAIN, MESSAGE_OBSERVE, MESSAGE_TRACE,
                                     MESSAGE_END};
    pid_t child = fork();
    if (child == 0) {
        struct parcel parcel;
        become(NOBODY, NULL, 0);
        for (int i = 0; i < 5; i++) {
            int fd = connect_raw(0);
            send_type(fd, types[i], LAYOUT_VERSION, 0);
            if (answer(fd, &parcel) != MESSAGE_REFUSED || parcel.message.status != -EACCES ||
                parcel.descriptor_count != 0)
                _exit(10 + i);
            close(fd);
            fd = join_raw(&parcel); /* nor as a client */
            parcel_drop(&parcel);
            send_type(fd, types[i], LAYOUT_VERSION, 0);
            send_type(fd, MESSAGE_CLOSE, LAYOUT_VERSION, 0);
            pause_us(20000);
            close(fd);
        }
        _exit(0);
    }
    ck_assert_int_eq(WEXITSTATUS(await_exit(child)), 0);
    ck_assert_uint_eq(atomic_load(&server.told->events[SERVE_RELOADING]), 0);
    ck_assert_uint_eq(atomic_load(&server.told->events[SERVE_STOPPING]), 0);
    finish("commands");
}
END_TEST

/* ---- what they say ---- */

START_TEST(garbage_of_every_length_costs_only_who_sends_it)
{
    begin();
    struct belongings before = belongings_of(server.pid);
    char bytes[1001];
    struct parcel parcel;
    for (size_t size = 0; size <= 1000; size++) {
        memset(bytes, (int)(size * 37 + 1), sizeof(bytes));
        int fd = connect_raw(0);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(send_raw(fd, bytes, size, NULL, 0), 0);
        int type = answer(fd, &parcel);
        ck_assert_msg(type == 0 || type == MESSAGE_REFUSED, "%zu bytes: %d", size, type);
        close(fd);
    }
    int fd = join_raw(&parcel);
    ck_assert_int_ge(fd, 0);
    parcel_drop(&parcel);
    for (size_t size = 1; size <= 1000; size++) {
        memset(bytes, (int)(size * 41 + 1), sizeof(bytes));
        for (uint64_t began = clock_ns();
             send_raw(fd, bytes, size, NULL, 0) == -EAGAIN && ms_since(began) < BOUND_MS;)
            pause_us(100);
    }
    close(fd);
    expect_given_back(server.pid, &before);
    finish("garbage");
}
END_TEST

START_TEST(messages_that_are_not_a_clients_do_nothing)
{
    begin();
    struct belongings before = belongings_of(server.pid);
    struct parcel parcel;
    for (uint32_t type = 0; type < 64; type++) {
        if (type == MESSAGE_CONNECT || type == MESSAGE_DRAIN || type == MESSAGE_RELOAD)
            continue; /* root's, which this may be */
        int fd = connect_raw(0);
        send_type(fd, type, LAYOUT_VERSION, -1);
        ck_assert_int_ge(answer(fd, &parcel), 0);
        parcel_drop(&parcel);
        close(fd);
    }
    int fd = join_raw(&parcel);
    ck_assert_int_ge(fd, 0);
    for (uint32_t type = 0; type < 300; type++)
        if (type != MESSAGE_LANE_FAULT)
            for (int value = -1; value < 2; value++)
                send_type(fd, type, type % 2 == 0 ? 0 : UINT32_MAX, value);
    struct pollfd still = {.fd = fd, .events = POLLIN};
    ck_assert_int_eq(poll(&still, 1, 200), 0); /* it is a client as before */
    parcel_drop(&parcel);
    close(fd);
    expect_given_back(server.pid, &before);
    finish("messages of others");
}
END_TEST

START_TEST(descriptors_of_strangers_and_clients_are_not_taken)
{
    begin();
    struct belongings before = belongings_of(server.pid);
    int descriptors[32], pipes[2], pair[2];
    ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
    ck_assert_int_eq(channel_pair(pair), 0);
    int file = open("/", O_RDONLY | O_CLOEXEC), segment = segment_create("test", 4096);
    const int kinds[] = {pipes[0], pipes[1], pair[1], file, segment, STDIN_FILENO};
    struct message message = {.type = MESSAGE_CONNECT, .index = LAYOUT_VERSION};
    struct parcel parcel;
    for (size_t count = 1; count <= 32; count += count < 8 ? 1 : 8) {
        for (size_t i = 0; i < count; i++)
            descriptors[i] = kinds[(i + count) % 6];
        int fd = connect_raw(0);
        ck_assert_int_eq(send_raw(fd, &message, sizeof(message), descriptors, count), 0);
        expect_refused(fd, -EPROTO, "no message");
    }
    int fd = join_raw(&parcel);
    ck_assert_int_ge(fd, 0);
    parcel_drop(&parcel);
    static const uint32_t types[] = {MESSAGE_ATTACH, MESSAGE_POKE, MESSAGE_SPAWN, MESSAGE_WELCOME};
    for (int i = 0; i < 400; i++) {
        message.type = types[i % 4];
        size_t count = (size_t)i % 8;
        for (size_t d = 0; d < count; d++)
            descriptors[d] = kinds[(d + (size_t)i / 8) % 6];
        for (uint64_t began = clock_ns();
             send_raw(fd, &message, sizeof(message), descriptors, count) == -EAGAIN &&
             ms_since(began) < BOUND_MS;)
            pause_us(100);
    }
    pause_us(20000);
    struct belongings now = belongings_of(server.pid);
    ck_assert_uint_le(now.descriptors, before.descriptors + 4); /* of this client */
    close(fd);
    expect_given_back(server.pid, &before);
    for (int i = 0; i < 5; i++)
        close(kinds[i]);
    close(pair[0]);
    finish("descriptors");
}
END_TEST

/* ---- many of them ---- */

START_TEST(silent_strangers_keep_nobody_out)
{
    begin();
    struct belongings before = belongings_of(server.pid);
    int silent[200];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 200; i++)
            ck_assert_int_ge(silent[i] = connect_raw(0), 0);
        uint64_t began = clock_ns();
        struct parcel parcel;
        int fd = join_raw(&parcel);
        double took = ms_since(began);
        ck_assert_int_ge(fd, 0);
        ck_assert_double_lt(took, 500); /* less than strangers are given */
        parcel_drop(&parcel);
        close(fd);
        for (int i = 0; i < 200; i++)
            close(silent[i]);
    }
    expect_given_back(server.pid, &before);
    finish("silent strangers");
}
END_TEST

START_TEST(ten_thousand_connections_one_after_another)
{
    begin();
    struct belongings before = belongings_of(server.pid);
    uint64_t began = clock_ns();
    for (int i = 0; i < 10000; i++) {
        int fd = connect_raw(0);
        ck_assert_int_ge(fd, 0);
        if (i % 3 == 0)
            send_type(fd, MESSAGE_CONNECT, 77, 0);
        close(fd);
    }
    printf("10000 connections in %.0f ms\n", ms_since(began));
    expect_given_back(server.pid, &before);
    finish("10,000 connections");
}
END_TEST

START_TEST(two_thousand_connections_at_once)
{
    enum { CROWD = 2000 };
    begin();
    struct belongings before = belongings_of(server.pid);
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    rlim_t crowd = limit.rlim_cur > CROWD + 50 ? CROWD : limit.rlim_cur - 50;
    static int fds[CROWD];
    unsigned in = 0;
    for (rlim_t i = 0; i < crowd; i++) {
        for (uint64_t began = clock_ns(); ms_since(began) < BOUND_MS; pause_us(200))
            if ((fds[i] = connect_raw(SOCK_NONBLOCK)) >= 0)
                break; /* else the listener's queue is full */
        in += fds[i] >= 0;
        if (i % 8 == 0)
            send_type(fds[i], MESSAGE_CONNECT, LAYOUT_VERSION, 0);
    }
    ck_assert_uint_eq(in, crowd);
    honest_go_on(50);
    for (rlim_t i = 0; i < crowd; i++)
        close(fds[i]);
    expect_given_back(server.pid, &before);
    finish("2,000 connections");
}
END_TEST

START_TEST(a_supervisor_short_of_descriptors_keeps_those_for_its_workers)
{
    board_open();
    server_prepare(&server);
    struct rlimit limit, low = {.rlim_cur = 200, .rlim_max = 200};
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    pid_t starter = fork(); /* the limit is for the server alone */
    ck_assert_int_ge(starter, 0);
    if (starter == 0) {
        /* The server is this one's child, and it is told to stop in its place. */
        (void)setrlimit(RLIMIT_NOFILE, &low);
        server_start(&server);
        chmod(server.path, 0666);
        atomic_store(&board->words[0], (uint32_t)server.pid);
        board_count(&board->words[1]);
        (void)board_await(&board->words[2], 1, 4 * BOUND_MS);
        _exit(server_stop(&server) == 0 ? 0 : 1);
    }
    ck_assert(board_await(&board->words[1], 1, BOUND_MS));
    server.pid = (pid_t)atomic_load(&board->words[0]);
    honest_begin();
    mc_pool *pool = attach(&server, NULL, 0);
    int fds[150];
    unsigned clients = 0, refused = 0;
    for (int i = 0; i < 150; i++) {
        struct parcel parcel;
        fds[i] = connect_raw(0);
        send_type(fds[i], MESSAGE_CONNECT, LAYOUT_VERSION, 0);
        int type = answer(fds[i], &parcel);
        clients += type == MESSAGE_WELCOME;
        refused += type == MESSAGE_REFUSED && parcel.message.status == -EMFILE;
        parcel_drop(&parcel);
    }
    ck_assert_uint_gt(clients, 5);
    ck_assert_uint_eq(clients + refused, 150);
    /* Workers that die now have successors all the same. */
    for (int i = 0; i < 4; i++) {
        mc_group *group = open_unhelped(pool);
        run(group, "crash", NULL, 0);
        wait_all(group);
        ck_assert_int_eq(result_of(group, 0).status, -EOWNERDEAD);
        mc_group_close(group);
    }
    ck_assert(await_workers(behind(pool), BOUND_MS));
    mc_pool_close(pool);
    double before_ms = cpu_ms_of(server.pid);
    honest_go_on(200);
    pause_us(500000);
    ck_assert_double_lt(cpu_ms_of(server.pid) - before_ms, 250); /* it does not spin */
    for (int i = 0; i < 150; i++)
        close(fds[i]);
    honest_end("want of descriptors", 100);
    board_count(&board->words[2]);
    ck_assert_int_eq(await_exit(starter), 0);
    server_remove(&server);
}
END_TEST

START_TEST(an_accept_that_fails_is_tried_again_later_and_not_at_once)
{
    board_open();
    fault_open();
    begin();
    uint32_t point = 0;
    for (uint32_t id = 0; id < fault_count(); id++)
        if (strstr(fault_title(id), "door_accept") != NULL)
            point = id;
    struct fault fault = {.id = point, .role = ROLE_ANY, .countdown = 1};
    fault_set(&fault);
    struct parcel parcel;
    uint64_t began = clock_ns();
    int fd = join_raw(&parcel);
    ck_assert_int_ge(fd, 0);
    ck_assert_double_lt(ms_since(began), 1000);
    ck_assert(fault_struck());
    parcel_drop(&parcel);
    close(fd);
    finish("a failing accept");
}
END_TEST

/* ---- half open ---- */

START_TEST(those_who_do_not_read_their_answers_block_nobody)
{
    begin();
    struct belongings before = belongings_of(server.pid);
    int fds[100];
    for (int i = 0; i < 100; i++) {
        fds[i] = connect_raw(0);
        send_type(fds[i], MESSAGE_CONNECT, LAYOUT_VERSION, 0);
        for (int more = 0; more < 20; more++)
            send_type(fds[i], more % 2 ? MESSAGE_POKE : MESSAGE_ATTACH, LAYOUT_VERSION, 0);
    }
    honest_go_on(100);
    for (int i = 0; i < 100; i++)
        close(fds[i]);
    expect_given_back(server.pid, &before);
    finish("unread answers");
}
END_TEST

static void note_done(mc_group *group, void *context)
{
}

START_TEST(a_stopped_client_with_tasks_and_a_full_socket_stops_only_itself)
{
    begin();
    pid_t child = fork();
    if (child == 0) {
        mc_pool *pool = attach(&server, NULL, 0);
        (void)mc_pool_fd(pool);
        mc_group *silent = NULL, *group = NULL;
        struct mc_group_options options = {.size = sizeof(options), .on_done = note_done};
        unsigned ms = 1;
        char byte[4096] = {0};
        struct lane_header *header = behind(pool)->client.lane.header;
        if (mc_group_open(pool, &options, &silent) < 0 || mc_group_open(pool, NULL, &group) < 0)
            _exit(1);
        for (int i = 0; i < 2000; i++) {
            (void)mc_group_run(silent, "echo", byte, 100);
            atomic_store(&header->notified, 0); /* a byte for each, which nobody reads */
        }
        for (int i = 0; i < 200; i++)
            (void)mc_group_run(group, "doze", &ms, sizeof(ms));
        board_count(&board->words[3]);
        raise(SIGSTOP);
        for (;;)
            pause_us(1000000);
    }
    ck_assert(board_await(&board->words[3], 1, BOUND_MS));
    ck_assert(await_state(child, 'T'));
    honest_go_on(300);
    end_process(child);
    (void)await_exit(child);
    finish("a stopped client");
}
END_TEST

START_TEST(a_thousand_attachments_leave_nothing_behind)
{
    begin();
    mc_pool *pool = attach(&server, NULL, 0);
    ck_assert(round_is_right(pool, 0));
    mc_pool_close(pool);
    struct belongings before = belongings_of(server.pid);
    pid_t workers[2];
    pool = attach(&server, NULL, 0);
    ck_assert_uint_eq(mc_pool_worker_pids(pool, workers, 2), 2);
    mc_pool_close(pool);
    struct belongings worker_before = belongings_of(workers[0]);
    for (int i = 0; i < 1000; i++) {
        pool = attach(&server, NULL, 0);
        if (i % 10 == 0)
            ck_assert(round_is_right(pool, (uint32_t)i));
        mc_pool_close(pool);
    }
    expect_given_back(server.pid, &before);
    struct belongings worker_after = belongings_of(workers[0]);
    ck_assert_uint_le(worker_after.descriptors, worker_before.descriptors + 4);
    ck_assert_uint_le(worker_after.mappings, worker_before.mappings + 4);
    finish("1,000 attachments");
}
END_TEST

/* ---- shared memory ---- */

enum { LANE, NOTIFY, CONTROL, BELLS };

START_TEST(segments_can_be_neither_sealed_nor_changed_in_size_nor_written_by_those_who_only_read)
{
    begin();
    static const int seals[] = {F_SEAL_WRITE, F_SEAL_FUTURE_WRITE, F_SEAL_GROW, F_SEAL_SEAL,
                                0x20 /* F_SEAL_EXEC */};
    struct parcel parcel;
    pid_t child = fork();
    if (child == 0) {
        if (geteuid() == 0)
            become(NOBODY, NULL, 0);
        if (join_raw(&parcel) < 0)
            _exit(1);
        for (int d = LANE; d <= BELLS; d++) {
            for (int i = 0; i < 5 && d != NOTIFY; i++)
                if (fcntl(parcel.descriptors[d], F_ADD_SEALS, seals[i]) == 0)
                    _exit(10 + d);
            if (d != NOTIFY && ftruncate(parcel.descriptors[d], 0) == 0)
                _exit(20 + d);
        }
        int control = parcel.descriptors[CONTROL];
        char path[64];
        snprintf(path, sizeof(path), "/proc/self/fd/%d", control);
        int again = open(path, O_RDWR | O_CLOEXEC);
        void *memory = mmap(NULL, 4096, PROT_READ, MAP_SHARED, control, 0);
        if (mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, control, 0) != MAP_FAILED ||
            mprotect(memory, 4096, PROT_READ | PROT_WRITE) == 0 ||
            madvise(memory, 4096, MADV_REMOVE) == 0 || pwrite(control, "x", 1, 0) == 1 ||
            fallocate(control, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0)
            _exit(30);
        if (again >= 0 &&
            (pwrite(again, "x", 1, 0) == 1 ||
             mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, again, 0) != MAP_FAILED))
            _exit(31);
        _exit(parcel.descriptor_count == 4 || geteuid() != NOBODY ? 0 : 32);
    }
    ck_assert_int_eq(WEXITSTATUS(await_exit(child)), 0);
    mc_pool *pool = attach(&server, NULL, 0);
    ck_assert(round_is_right(pool, 0));
    mc_pool_close(pool);
    finish("sealing");
}
END_TEST

static uint32_t random_state = 0x9e3779b9;

static uint32_t draw(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state;
}

/* A client that uses the pool, spoils its lane, forks and dies, again and again. */
static void spoil(uint32_t seed)
{
    random_state = seed;
    mc_pool *pool;
    if (geteuid() == 0)
        become(NOBODY, NULL, 0);
    if (mc_pool_attach(server.path, NULL, &pool) < 0 || !mc_pool_connected(pool))
        _exit(0);
    mc_group *group = NULL;
    char bytes[4000] = {0};
    if (mc_group_open(pool, NULL, &group) < 0)
        _exit(0);
    for (int i = 0; i < 50; i++)
        (void)mc_group_run(group, "echo", bytes, 1 + draw() % sizeof(bytes));
    struct lane *lane = &behind(pool)->client.lane;
    uint64_t size = draw() % 2 == 0 ? lane->geometry->slots_offset : lane->geometry->arenas_offset;
    for (int i = 0; i < 200000; i++) {
        uint64_t at = draw() % size;
        lane->memory[at] = (uint8_t)draw();
        if (i == 1000 && draw() % 2 == 0)
            memset(lane->memory + 4096, (int)draw(), size - 4096);
    }
    if (fork() == 0) { /* it has the socket too, for a while */
        pause_us(draw() % 50000);
        _exit(0);
    }
    raise(SIGKILL);
}

static void count_crashes(void *context, int level, const char *line)
{
    /* By signal 9 a client may have its own tasks' workers killed: that is in the slot. */
    if (strstr(line, "was killed by signal") != NULL && strstr(line, "signal 9 ") == NULL)
        atomic_fetch_add((_Atomic uint32_t *)context, 1);
}

START_TEST(a_client_that_spoils_its_lane_forks_and_dies_is_noticed_by_nobody)
{
    board_open();
    server_prepare(&server);
    server.options.pool.log = count_crashes;
    server.options.pool.log_context = (void *)&board->words[8];
    start();
    honest_begin();
    struct belongings before = belongings_of(server.pid);
    for (uint32_t round = 1; round <= 60; round++) {
        pid_t child = fork();
        if (child == 0)
            spoil(round * 2654435761u);
        (void)await_exit(child);
    }
    ck_assert_uint_eq(atomic_load(&board->words[8]), 0);
    expect_given_back(server.pid, &before);
    finish("spoilt lanes");
}
END_TEST

static long futex(void *word, int operation, uint32_t value, uintptr_t value2, void *word2,
                  uint32_t value3)
{
    return syscall(SYS_futex, word, operation, value, value2, word2, value3);
}

enum way { SILENCE, PRETEND_LOOKING, PRETEND_SLEEPING, NOISE, SWALLOW, REQUEUE, WAYS };
static const char *const way_names[WAYS] = {
    [SILENCE] = "bells that are cleared all the time",
    [PRETEND_LOOKING] = "seats that are said to look",
    [PRETEND_SLEEPING] = "seats that are said to sleep",
    [NOISE] = "noise on the bells",
    [SWALLOW] = "wake-ups taken by others",
    [REQUEUE] = "sleepers moved to another futex",
};

static void set_states(struct bells *bells, uint32_t state)
{
    for (int seat = 0; seat < 4; seat++)
        atomic_store_explicit(&bells->seats[seat].state, state, memory_order_relaxed);
}

static void clear_masks(struct bells *bells)
{
    for (int word = 0; word < MASK_WORDS; word++) {
        atomic_store_explicit(&bells->lanes_active[word], 0, memory_order_relaxed);
        atomic_store_explicit(&bells->seats_sleeping[word], 0, memory_order_relaxed);
    }
}

static void scribble(struct bells *bells, enum way way, uint32_t *own)
{
    struct timespec soon = {.tv_nsec = 1000000};
    switch (way) {
    case SILENCE:
        clear_masks(bells);
        break;
    case PRETEND_LOOKING:
        clear_masks(bells);
        set_states(bells, SEAT_LOOKING);
        break;
    case PRETEND_SLEEPING:
        clear_masks(bells);
        set_states(bells, SEAT_SLEEPING);
        break;
    case NOISE:
        ((_Atomic uint8_t *)bells)[draw() % sizeof(*bells)] = (uint8_t)draw();
        break;
    case SWALLOW:
        clear_masks(bells);
        (void)futex((void *)&bells->seats[draw() % 2].state, FUTEX_WAIT, SEAT_SLEEPING,
                    (uintptr_t)&soon, NULL, 0);
        break;
    case REQUEUE:
        clear_masks(bells);
        for (int seat = 0; seat < 2; seat++)
            (void)futex((void *)&bells->seats[seat].state, FUTEX_REQUEUE, 0, INT32_MAX, own, 0);
        break;
    default:
        break;
    }
}

/* So many processes do that until the word is set. */
static void scribble_until(enum way way, const _Atomic uint32_t *enough)
{
    struct parcel parcel;
    uint32_t *own = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (geteuid() == 0)
        become(NOBODY, NULL, 0);
    if (join_raw(&parcel) < 0)
        _exit(1);
    struct bells *bells = mmap(NULL, sizeof(*bells), PROT_READ | PROT_WRITE, MAP_SHARED,
                               parcel.descriptors[BELLS], 0);
    if (bells == MAP_FAILED)
        _exit(2);
    board_count(&board->words[4]);
    for (uint64_t began = clock_ns(); ms_since(began) < 2 * BOUND_MS && atomic_load(enough) == 0;)
        for (int i = 0; i < (way == SWALLOW ? 1 : 100); i++)
            scribble(bells, way, own);
    _exit(0);
}

/* Tasks that report to an event loop: nobody waits for them, and complains. */
static uint32_t loops_ms(mc_pool *pool, unsigned tasks)
{
    uint32_t slowest = 0;
    struct pollfd ready = {.fd = mc_pool_fd(pool), .events = POLLIN};
    struct mc_group_options options = {.on_done = note_done};
    for (unsigned i = 0; i < tasks; i++) {
        mc_group *group = open_with(pool, options);
        uint64_t began = clock_ns();
        run(group, "echo", "x", 1);
        struct mc_result result = {.size = sizeof(result)};
        while (mc_group_result(group, 0, &result) == -EAGAIN && ms_since(began) < BOUND_MS) {
            (void)poll(&ready, 1, 1000);
            (void)mc_pool_dispatch(pool);
        }
        ck_assert_int_eq(result_of(group, 0).status, 0);
        uint32_t took = (uint32_t)ms_since(began);
        slowest = took > slowest ? took : slowest;
        mc_group_close(group);
        pause_us(3000);
    }
    return slowest;
}

static void expect_delay_only(enum way way, unsigned scribblers)
{
    begin();
    mc_pool *pool = attach(&server, NULL, 0);
    pid_t children[8];
    for (unsigned i = 0; i < scribblers; i++) {
        children[i] = fork();
        if (children[i] == 0)
            scribble_until(way, &board->words[5]);
    }
    ck_assert(board_await(&board->words[4], scribblers, BOUND_MS));
    honest_go_on(100);
    pause_us(300000); /* seats fall asleep in between, and are scribbled at */
    honest_go_on(20);
    if (geteuid() == 0) { /* other users' clients are looked after, even in event loops */
        uint32_t slowest = loops_ms(pool, 20);
        printf("amid %s: an event loop's slowest task %u ms\n", way_names[way], slowest);
        ck_assert_uint_lt(slowest, SLOWEST_MS);
    }
    honest_end(way_names[way], 100);
    atomic_store(&board->words[5], 1);
    for (unsigned i = 0; i < scribblers; i++)
        ck_assert_int_eq(await_exit(children[i]), 0);
    mc_pool_close(pool);
    stop();
}

START_TEST(a_reload_ends_although_seats_are_said_to_look)
{
    server_prepare(&server);
    board_open();
    start();
    pid_t child = fork();
    if (child == 0)
        scribble_until(PRETEND_LOOKING, &board->words[5]);
    ck_assert(board_await(&board->words[4], 1, BOUND_MS));
    for (uint32_t reloads = 1; reloads <= 3; reloads++) {
        kill(server.pid, SIGHUP);
        ck_assert(server_await(&server, SERVE_RELOADED, reloads));
    }
    atomic_store(&board->words[5], 1);
    ck_assert_int_eq(await_exit(child), 0);
    stop();
}
END_TEST

START_TEST(cleared_bells_delay_but_lose_nothing)
{
    expect_delay_only(SILENCE, 1);
}
END_TEST

START_TEST(seats_said_to_look_delay_but_lose_nothing)
{
    expect_delay_only(PRETEND_LOOKING, 1);
}
END_TEST

START_TEST(seats_said_to_sleep_are_woken_by_the_supervisors_kick)
{
    expect_delay_only(PRETEND_SLEEPING, 1);
}
END_TEST

START_TEST(noise_on_the_bells_delays_but_loses_nothing)
{
    expect_delay_only(NOISE, 1);
}
END_TEST

START_TEST(who_waits_where_workers_sleep_takes_no_wake_up_from_them)
{
    expect_delay_only(SWALLOW, 8);
}
END_TEST

START_TEST(a_worker_moved_to_another_futex_comes_back)
{
    expect_delay_only(REQUEUE, 1);
}
END_TEST

/* ---- too much of what is allowed ---- */

START_TEST(urgent_work_of_one_client_does_not_keep_others_out)
{
    begin();
    pid_t child = fork();
    if (child == 0) {
        mc_pool *pool;
        if (mc_pool_attach(server.path, NULL, &pool) < 0)
            _exit(1);
        mc_group *group = NULL;
        struct mc_group_options options = {
            .size = sizeof(options), .urgent = true, .help = MC_HELP_NEVER};
        unsigned ms = 1;
        if (mc_group_open(pool, &options, &group) < 0)
            _exit(2);
        board_count(&board->words[6]);
        for (unsigned i = 0; atomic_load(&board->words[7]) == 0 && i < 100000; i++)
            (void)mc_group_run(group, "doze", &ms, sizeof(ms)); /* waits while it is full */
        raise(SIGKILL);
    }
    ck_assert(board_await(&board->words[6], 1, BOUND_MS));
    pause_us(100000);
    honest_go_on(50);
    honest_end("urgent work without end", 200);
    atomic_store(&board->words[7], 1);
    (void)await_exit(child);
    stop();
}
END_TEST

START_TEST(pokes_without_end_cost_little)
{
    begin();
    pid_t child = fork();
    if (child == 0) {
        struct parcel parcel;
        int fd = join_raw(&parcel);
        board_count(&board->words[6]);
        while (atomic_load(&board->words[7]) == 0) {
            struct message message = {.type = MESSAGE_POKE};
            (void)send(fd, &message, sizeof(message), MSG_NOSIGNAL);
        }
        _exit(0);
    }
    ck_assert(board_await(&board->words[6], 1, BOUND_MS));
    honest_go_on(1000);
    honest_end("pokes", 100);
    atomic_store(&board->words[7], 1);
    ck_assert_int_eq(await_exit(child), 0);
    stop();
}
END_TEST

START_TEST(workers_killed_on_request_are_followed_at_once)
{
    begin();
    mc_pool *pool = attach(&server, NULL, 0);
    unsigned ms = 5000;
    for (int i = 0; i < 100; i++) {
        mc_group *group = open_unhelped(pool);
        uint64_t began = clock_ns();
        run(group, "doze", &ms, sizeof(ms));
        ck_assert_int_eq(mc_group_wait(group, 2), -ETIMEDOUT);
        while (mc_group_kill(group) == 0 && mc_group_wait(group, 5) == -ETIMEDOUT)
            ck_assert_double_lt(ms_since(began), 2000);
        ck_assert_int_eq(result_of(group, 0).status, -ECANCELED);
        mc_group_close(group);
    }
    mc_pool_close(pool);
    finish("workers killed on request");
}
END_TEST

START_TEST(crashing_tasks_cost_others_time_but_no_task)
{
    begin();
    mc_pool *pool = attach(&server, NULL, 0);
    uint64_t began = clock_ns();
    unsigned crashes = 0;
    while (ms_since(began) < 3000) {
        mc_group *group = open_unhelped(pool);
        run(group, "crash", NULL, 0);
        wait_all(group);
        ck_assert_int_eq(result_of(group, 0).status, -EOWNERDEAD);
        mc_group_close(group);
        crashes++;
    }
    printf("%u crashes in 3 s\n", crashes);
    mc_pool_close(pool);
    honest_end("crashes", SLOWEST_MS);
    stop();
}
END_TEST

static void keep_line(void *context, int level, const char *line)
{
    (void)level;
    snprintf(context, 256, "%s", line);
}

START_TEST(what_clients_say_is_one_plain_line_of_the_log)
{
    char *line = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    board_open();
    server_prepare(&server);
    server.options.pool.log = keep_line;
    server.options.pool.log_context = line;
    start();
    honest_begin();
    struct parcel parcel;
    int fd = join_raw(&parcel);
    struct message message = {.type = MESSAGE_LANE_FAULT};
    strcpy(message.text, "nothing\nall is well\x1b[2J\r\x7f");
    ck_assert_int_eq(send_raw(fd, &message, sizeof(message), NULL, 0), 0);
    struct parcel verdict;
    ck_assert_int_eq(answer(fd, &verdict), MESSAGE_FAULTED);
    for (uint64_t began = clock_ns(); line[0] == '\0' && ms_since(began) < BOUND_MS;)
        pause_us(1000);
    ck_assert_msg(strstr(line, "nothing?all is well?[2J??") != NULL, "%s", line);
    parcel_drop(&parcel);
    close(fd);
    finish("a lane given up");
}
END_TEST

TEST_MAIN(hostile_client, lists_of_users_and_groups_decide_who_comes_in,
          a_user_gets_no_more_lanes_than_allowed_by_any_way,
          another_layout_is_refused_and_both_versions_are_named,
          commands_are_for_the_pools_user_only, garbage_of_every_length_costs_only_who_sends_it,
          messages_that_are_not_a_clients_do_nothing,
          descriptors_of_strangers_and_clients_are_not_taken, silent_strangers_keep_nobody_out,
          ten_thousand_connections_one_after_another, two_thousand_connections_at_once,
          a_supervisor_short_of_descriptors_keeps_those_for_its_workers,
          an_accept_that_fails_is_tried_again_later_and_not_at_once,
          those_who_do_not_read_their_answers_block_nobody,
          a_stopped_client_with_tasks_and_a_full_socket_stops_only_itself,
          a_thousand_attachments_leave_nothing_behind,
          segments_can_be_neither_sealed_nor_changed_in_size_nor_written_by_those_who_only_read,
          a_client_that_spoils_its_lane_forks_and_dies_is_noticed_by_nobody,
          a_reload_ends_although_seats_are_said_to_look, cleared_bells_delay_but_lose_nothing,
          seats_said_to_look_delay_but_lose_nothing,
          seats_said_to_sleep_are_woken_by_the_supervisors_kick,
          noise_on_the_bells_delays_but_loses_nothing,
          who_waits_where_workers_sleep_takes_no_wake_up_from_them,
          a_worker_moved_to_another_futex_comes_back,
          urgent_work_of_one_client_does_not_keep_others_out, pokes_without_end_cost_little,
          workers_killed_on_request_are_followed_at_once,
          crashing_tasks_cost_others_time_but_no_task,
          what_clients_say_is_one_plain_line_of_the_log)
