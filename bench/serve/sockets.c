/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the pool's round trips are held against: as many clients, each with a Unix socket,
 * and on each of the two CPUs a process that sends back what comes, with epoll.
 */
#include "probes.h"
#include "together.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SERVERS = 2, EVENTS = 64 };

struct line {
    int client, server;
};

static void answer(struct client *client, const struct line *lines, unsigned count)
{
    struct epoll_event events[EVENTS];
    unsigned own = client_number(client);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    place_on(own == 0 ? FIRST_CPU : SECOND_CPU);
    for (unsigned i = own; i < count; i += SERVERS) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = lines[i].server};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, lines[i].server, &event) < 0)
            client_fail(client, "no epoll: %s", strerror(errno));
    }
    client_ready(client);
    while (!client_over(client)) {
        char byte;
        int found = epoll_wait(epoll, events, EVENTS, 10);
        for (int i = 0; i < found; i++)
            if (recv(events[i].data.fd, &byte, 1, 0) == 1)
                (void)send(events[i].data.fd, &byte, 1, MSG_NOSIGNAL);
    }
}

static void ask(struct client *client, const struct line *line)
{
    /* At the end the one that answers may be gone first. */
    const struct timeval patience = {.tv_usec = 100000};
    (void)setsockopt(line->client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    client_ready(client);
    while (!client_over(client)) {
        char byte = 0;
        ssize_t received;
        if (send(line->client, &byte, 1, MSG_NOSIGNAL) != 1)
            client_fail(client, "cannot send: %s", strerror(errno));
        do
            received = recv(line->client, &byte, 1, 0);
        while (received < 0 && errno == EAGAIN && !client_over(client));
        if (received == 1)
            atomic_fetch_add_explicit(&client->answered, 1, memory_order_relaxed);
        else if (!client_over(client))
            client_fail(client, "no answer: %s", strerror(errno));
    }
}

struct exchange {
    struct line lines[CROWD_MOST];
    unsigned count;
};

/* The first ones answer. */
static void take_part(struct client *client)
{
    const struct exchange *exchange = client->crowd->context;
    unsigned number = client_number(client);
    if (number < SERVERS)
        answer(client, exchange->lines, exchange->count);
    else
        ask(client, &exchange->lines[number - SERVERS]);
}

enum outcome sockets_together(const struct probe *probe, unsigned samples)
{
    struct exchange exchange = {.count = 0};
    enum outcome outcome = MEASURED;
    while (outcome == MEASURED && exchange.count < probe->size) {
        int ends[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
            outcome = failed("no sockets: %s", strerror(errno));
        else
            exchange.lines[exchange.count++] = (struct line){ends[0], ends[1]};
    }
    if (outcome == MEASURED)
        outcome =
            together_measure(crowd_start(SERVERS + exchange.count, take_part, NULL, &exchange),
                             probe->figure, samples);
    for (unsigned i = 0; i < exchange.count; i++) {
        close(exchange.lines[i].client);
        close(exchange.lines[i].server);
    }
    return outcome;
}
