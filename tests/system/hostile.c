/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/system/hostile.h"

#include "base/clock.h"
#include "pool/pool.h"

#include <dirent.h>
#include <grp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

enum {
    ANSWER_MS = 2000, /* for the supervisor's answers, on a busy machine */
    SAMPLES = 1 << 16,
};

struct server server;

/* ---- the client that behaves ---- */

struct honest {
    _Atomic uint32_t stop, rounds, wrong;
    uint32_t took_us[SAMPLES];
};
static struct honest *honest;
static pid_t honest_pid;

bool round_is_right(mc_pool *pool, uint32_t round)
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

void honest_go_on(uint32_t rounds)
{
    uint32_t enough = atomic_load(&honest->rounds) + rounds;
    uint64_t began = clock_ns();
    while (atomic_load(&honest->rounds) < enough && ms_since(began) < 3 * BOUND_MS)
        pause_us(1000);
    ck_assert_uint_ge(atomic_load(&honest->rounds), enough);
}

void honest_begin(void)
{
    honest = mmap(NULL, sizeof(*honest), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(honest, MAP_FAILED);
    honest_pid = fork();
    if (honest_pid == 0)
        behave();
    honest_go_on(20);
}

void honest_end(const char *amid, uint32_t usual_most_ms)
{
    honest_go_on(20);
    atomic_store(&honest->stop, 1);
    ck_assert_int_eq(await_exit(honest_pid), 0);
    uint32_t rounds = atomic_load(&honest->rounds);
    uint32_t count = rounds < SAMPLES ? rounds : SAMPLES;
    qsort(honest->took_us, count, sizeof(honest->took_us[0]), by_value);
    uint32_t median = honest->took_us[count / 2], most = honest->took_us[count - 1];
    printf("amid %s: %u tasks, median %u us, p99 %u us, slowest %u us\n", amid, rounds, median,
           honest->took_us[count - 1 - count / 100], most);
    ck_assert_uint_eq(atomic_load(&honest->wrong), 0);
    ck_assert_uint_le(median, usual_most_ms * 1000);
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

void hostile_start(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    server_start(&server);
    ck_assert_msg(atomic_load(&server.told->events[SERVE_READY]) == 1, "%s", server.told->text);
    await_both_workers();
    ck_assert_int_eq(chmod(server.directory, 0711), 0);
    ck_assert_int_eq(chmod(server.path, 0666), 0);
}

void hostile_begin(void)
{
    board_open();
    server_prepare(&server);
    hostile_start();
    honest_begin();
}

void hostile_finish(const char *amid)
{
    honest_end(amid, 100);
    server_end(&server);
}

mc_pool *behind(mc_pool *handle)
{
    mc_pool *pool = front_enter(handle->front);
    front_leave(handle->front);
    return pool;
}

bool needs_root(const char *what)
{
    if (geteuid() == 0)
        return false;
    printf("skipped, since it needs root: %s\n", what);
    return true;
}

void become(uid_t uid, const gid_t *groups, size_t count)
{
    if (setgroups(count, groups) < 0 || setgid(NOBODY) < 0 || setuid(uid) < 0)
        _exit(99);
}

/* ---- speaking to the door without the library ---- */

int connect_raw(int flags)
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

void send_type(int fd, uint32_t type, uint32_t layout, int value)
{
    struct parcel parcel = {.message = {.type = type, .index = layout, .value = value}};
    snprintf(parcel.message.text, sizeof(parcel.message.text), "9.8.7");
    (void)channel_send(fd, &parcel, MSG_DONTWAIT);
}

int answer(int fd, struct parcel *parcel)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    memset(parcel, 0, sizeof(*parcel));
    if (poll(&ready, 1, ANSWER_MS) != 1)
        return -1;
    return channel_receive(fd, parcel, MSG_DONTWAIT) == 1 ? (int)parcel->message.type : 0;
}

int join_raw(struct parcel *parcel)
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

int send_raw(int fd, const void *data, size_t size, const int *descriptors, size_t count)
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

struct belongings belongings_of(pid_t pid)
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

void expect_given_back(pid_t pid, const struct belongings *before)
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

/* ---- chance ---- */

static uint32_t random_state = 0x9e3779b9;

void draw_from(uint32_t seed)
{
    random_state = seed;
}

uint32_t draw(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state;
}
