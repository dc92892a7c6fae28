/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A user rests until `due`, then begins a request: over its connection, if that is still
 * open, or over a new one. When the answer is complete, or there will be none, it rests
 * again, in a closed loop not at all.
 */
#include "users.h"

#include <err.h>
#include <errno.h>
#include <http_parser.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256, BUFFER_SIZE = 65536 };

/* After a loss: a server that is not there would be asked without end otherwise. */
static const uint64_t rest_after_loss = 100000000;

enum state { RESTING, CONNECTING, WAITING };

struct user {
    http_parser parser;
    uint64_t due, began;
    int socket;
    enum state state;
    bool answered;
};

struct crowd {
    const struct load *load;
    struct tally *tally;
    struct user *users;
    int epoll;
    unsigned resting, open;
    bool over; /* nobody begins any more */
};

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- one request ---- */

static void hang_up(struct user *user)
{
    if (user->socket >= 0)
        close(user->socket);
    user->socket = -1;
}

static void rest(struct crowd *crowd, struct user *user, uint64_t until)
{
    user->state = RESTING;
    user->due = until;
    crowd->resting++;
    crowd->open--;
}

static void lose(struct crowd *crowd, struct user *user, enum loss loss)
{
    tally_loss(crowd->tally, loss);
    hang_up(user);
    rest(crowd, user, now_ns() + rest_after_loss);
}

static enum loss loss_of(int error)
{
    if (error == ECONNREFUSED)
        return LOSS_REFUSED;
    return error == ECONNRESET || error == EPIPE ? LOSS_RESET : LOSS_OTHER;
}

/* The request is small: a new or idle connection takes it at once. */
static void ask(struct crowd *crowd, struct user *user)
{
    const struct load *load = crowd->load;
    user->state = WAITING;
    user->answered = false;
    http_parser_init(&user->parser, HTTP_RESPONSE);
    user->parser.data = user;
    if (send(user->socket, load->request, load->size, MSG_NOSIGNAL) != (ssize_t)load->size)
        lose(crowd, user, loss_of(errno));
}

static void connect_anew(struct crowd *crowd, struct user *user)
{
    const struct sockaddr_in *server = &crowd->load->server;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = user};
    int on = 1;
    user->socket = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (user->socket < 0)
        err(1, "no socket");
    (void)setsockopt(user->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    user->state = CONNECTING;
    if (connect(user->socket, (const struct sockaddr *)server, sizeof(*server)) < 0 &&
        errno != EINPROGRESS)
        lose(crowd, user, loss_of(errno));
    else if (epoll_ctl(crowd->epoll, EPOLL_CTL_ADD, user->socket, &event) < 0)
        err(1, "cannot watch a socket");
}

static void begin(struct crowd *crowd, struct user *user, uint64_t now)
{
    crowd->resting--;
    crowd->open++;
    user->began = now;
    if (user->socket >= 0)
        ask(crowd, user);
    else
        connect_anew(crowd, user);
}

static void finish(struct crowd *crowd, struct user *user)
{
    uint64_t now = now_ns(), next = user->began + crowd->load->pace;
    tally_answer(crowd->tally, user->parser.status_code, user->began, now);
    if (!http_should_keep_alive(&user->parser))
        hang_up(user);
    rest(crowd, user, next > now ? next : now);
    if (user->due == now && !crowd->over)
        begin(crowd, user, now);
}

/* ---- what comes from the server ---- */

/* What follows an answer that nobody asked for is not looked at. */
static int note_answer(http_parser *parser)
{
    struct user *user = parser->data;
    user->answered = true;
    http_parser_pause(parser, 1);
    return 0;
}

static const http_parser_settings settings = {.on_message_complete = note_answer};

/* An answer may end with the connection: size 0 tells the parser. */
static void read_answer(struct crowd *crowd, struct user *user)
{
    static char buffer[BUFFER_SIZE];
    uint64_t began = user->began;
    while (user->state == WAITING && user->began == began) {
        ssize_t size = recv(user->socket, buffer, sizeof(buffer), 0);
        if (size < 0 && errno == EAGAIN)
            return;
        if (size >= 0)
            http_parser_execute(&user->parser, &settings, buffer, (size_t)size);
        if (size >= 0 && user->answered)
            finish(crowd, user);
        else if (size <= 0)
            lose(crowd, user, size == 0 ? LOSS_CLOSED : loss_of(errno));
        else if (HTTP_PARSER_ERRNO(&user->parser) != HPE_OK)
            lose(crowd, user, LOSS_GARBLED);
    }
}

static void handle(struct crowd *crowd, struct user *user, uint32_t events)
{
    int error = 0;
    socklen_t size = sizeof(error);
    if (user->state == CONNECTING) {
        (void)getsockopt(user->socket, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error != 0)
            lose(crowd, user, loss_of(error));
        else if (events & EPOLLOUT)
            ask(crowd, user);
    }
    if (user->state == WAITING && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        read_answer(crowd, user);
    else if (user->state == RESTING && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        hang_up(user); /* between two requests a server may close */
}

/* ---- all of them ---- */

/* Begins what is due. Returns the milliseconds until the next is. */
static int begin_due(struct crowd *crowd, uint64_t ended)
{
    uint64_t now = now_ns(), next = ended;
    for (unsigned i = 0; i < crowd->load->users && crowd->resting > 0 && !crowd->over; i++) {
        struct user *user = &crowd->users[i];
        if (user->state == RESTING && user->due <= now)
            begin(crowd, user, now);
        if (user->state == RESTING && user->due < next)
            next = user->due;
    }
    return next > now ? (int)((next - now + 999999) / 1000000) : 0;
}

static void serve_until(struct crowd *crowd, uint64_t ended)
{
    struct epoll_event events[EVENTS];
    while (now_ns() < ended && !(crowd->over && crowd->open == 0)) {
        int found = epoll_wait(crowd->epoll, events, EVENTS, begin_due(crowd, ended));
        for (int i = 0; i < found; i++)
            handle(crowd, events[i].data.ptr, events[i].events);
    }
}

/* When a user begins: by the ramp, but those who keep a pace not in step with each other. The
 * multiples of the golden ratio are spread evenly, however many there are. */
static uint64_t first_due(const struct load *load, unsigned number)
{
    uint64_t spread = load->pace < load->ramp ? load->pace : load->ramp;
    double turns = number * 0.6180339887498949;
    return (load->ramp - spread) * number / load->users +
           (uint64_t)((turns - (double)(uint64_t)turns) * (double)spread);
}

unsigned users_run(const struct load *load, struct tally *tally)
{
    struct crowd crowd = {.load = load, .tally = tally, .resting = load->users};
    uint64_t now = now_ns(), ended = now + load->ramp + load->hold;
    crowd.users = calloc(load->users, sizeof(*crowd.users));
    crowd.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (crowd.users == NULL || crowd.epoll < 0)
        err(1, "no memory, or no epoll");
    for (unsigned i = 0; i < load->users; i++) {
        crowd.users[i].socket = -1;
        crowd.users[i].due = now + first_due(load, i);
    }
    tally_begin(tally, now, now + load->ramp);
    serve_until(&crowd, ended);
    crowd.over = true;
    serve_until(&crowd, ended + load->drain);
    for (unsigned i = 0; i < load->users; i++)
        hang_up(&crowd.users[i]);
    close(crowd.epoll);
    free(crowd.users);
    return crowd.open;
}
