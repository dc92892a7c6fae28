/* SPDX-License-Identifier: BSD-3-Clause
 *
 * From nothing to a pool that can be used; and the least that takes: to connect, to ask, to
 * be sent memory that was made for it, and to map that.
 */
#include "probes.h"
#include "request.h"
#include "server.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { CLIENTS_MOST = 8, PAUSE_NS = 2000000 };

struct attaching {
    unsigned samples;
    int listener;
    struct sockaddr_un address;
    socklen_t address_size;
};

/* ---- the library ---- */

static void attach_again_and_again(struct client *client)
{
    const struct attaching *attaching = client->crowd->context;
    client_ready(client);
    for (unsigned i = 0; i < attaching->samples; i++) {
        pause_ns(PAUSE_NS);
        uint64_t began = now_ns();
        mc_pool *pool = request_attach(client, false);
        uint64_t attached = now_ns();
        request_null_or_fail(client, pool);
        client_sample(client, ATTACH, (double)(now_ns() - began) / 1e6);
        client_sample(client, ATTACH_CALL, (double)(attached - began) / 1e6);
        mc_pool_close(pool);
    }
}

enum outcome attach_library(const struct probe *probe, unsigned samples)
{
    (void)probe;
    struct attaching attaching = {.samples = samples};
    struct server server;
    enum outcome outcome = server_open(&server, CLIENTS_MOST);
    if (outcome == MEASURED)
        outcome = crowd_run(crowd_start(1, attach_again_and_again, server.socket, &attaching));
    server_close(&server);
    return outcome;
}

/* ---- the floor ---- */

/* A lane has so much address space: the arguments, and each worker's results. */
static const size_t lane_size = (size_t)(1 + SERVER_WORKERS) << 30;

union control_data {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
};

static bool send_memory(int socket)
{
    char byte = 0;
    union control_data data = {0};
    struct iovec part = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &data, .msg_controllen = sizeof(data)};
    int memory = memfd_create("bench-lane", MFD_CLOEXEC);
    if (memory < 0)
        return false;
    data.header = (struct cmsghdr){CMSG_LEN(sizeof(memory)), .cmsg_level = SOL_SOCKET,
                                   .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(&data.header), &memory, sizeof(memory));
    bool fine =
        ftruncate(memory, (off_t)lane_size) == 0 && sendmsg(socket, &message, MSG_NOSIGNAL) == 1;
    close(memory);
    return fine;
}

static int receive_memory(int socket)
{
    char byte;
    int memory;
    union control_data data;
    struct iovec part = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &data, .msg_controllen = sizeof(data)};
    if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != 1 ||
        message.msg_controllen < CMSG_LEN(sizeof(memory)))
        return -1;
    memcpy(&memory, CMSG_DATA(&data.header), sizeof(memory));
    return memory;
}

static void let_in(struct client *client, int listener)
{
    char byte;
    struct pollfd waited = {.fd = listener, .events = POLLIN};
    while (!client_over(client)) {
        if (poll(&waited, 1, 10) != 1)
            continue;
        struct sockaddr_un from;
        socklen_t size = sizeof(from);
        int socket = accept4(listener, (struct sockaddr *)&from, &size, SOCK_CLOEXEC);
        if (socket < 0 || recv(socket, &byte, 1, 0) != 1 || !send_memory(socket))
            client_fail(client, "nobody is let in: %s", strerror(errno));
        close(socket);
    }
}

static void connect_and_map(struct client *client, const struct attaching *attaching)
{
    char byte = 0;
    uint64_t began = now_ns();
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0 ||
        connect(fd, (const struct sockaddr *)&attaching->address, attaching->address_size) < 0 ||
        send(fd, &byte, 1, MSG_NOSIGNAL) != 1)
        client_fail(client, "cannot connect: %s", strerror(errno));
    int memory = receive_memory(fd);
    char *lane = mmap(NULL, lane_size, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    if (lane == MAP_FAILED)
        client_fail(client, "cannot map: %s", strerror(errno));
    lane[0] = 1;
    client_sample(client, FLOOR_ATTACH, (double)(now_ns() - began) / 1e6);
    munmap(lane, lane_size);
    close(memory);
    close(fd);
}

static void take_part(struct client *client)
{
    const struct attaching *attaching = client->crowd->context;
    client_ready(client);
    if (client_number(client) == 1)
        let_in(client, attaching->listener);
    for (unsigned i = 0; client_number(client) == 0 && i < attaching->samples; i++) {
        pause_ns(PAUSE_NS);
        connect_and_map(client, attaching);
    }
}

enum outcome attach_floor(const struct probe *probe, unsigned samples)
{
    struct attaching attaching = {.samples = samples, .address = {.sun_family = AF_UNIX}};
    struct attaching *it = &attaching;
    (void)probe;
    it->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    it->address_size = sizeof(it->address);
    enum outcome outcome = MEASURED;
    /* A name of the kernel's choice, without a file. */
    if (it->listener < 0 ||
        bind(it->listener, (struct sockaddr *)&it->address, sizeof(sa_family_t)) < 0 ||
        getsockname(it->listener, (struct sockaddr *)&it->address, &it->address_size) < 0 ||
        listen(it->listener, CLIENTS_MOST) < 0)
        outcome = failed("no socket to listen at: %s", strerror(errno));
    if (outcome == MEASURED)
        outcome = crowd_run(crowd_start(2, take_part, NULL, it));
    if (it->listener >= 0)
        close(it->listener);
    return outcome;
}
