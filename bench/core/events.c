/* SPDX-License-Identifier: BSD-3-Clause
 *
 * An event loop with so many requests in flight, each a group of one task of 50 us: when one
 * is reported, the next is opened. What that takes of the loop's CPU time for each. The floor
 * is a process that does the work for who writes to its socket.
 */
#include "probes.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CROWD = 1000, REQUESTS = 4000 };

struct loop {
    unsigned begun, ended;
    bool failed;
};

static void begin(struct loop *loop);

static void on_done(mc_group *group, void *context)
{
    struct loop *loop = context;
    struct mc_result result = {.size = sizeof(result)};
    if (mc_group_next(group, &result, 0) != 1 || result.status != 0)
        loop->failed = true;
    mc_group_close(group);
    loop->ended++;
    begin(loop);
}

static void begin(struct loop *loop)
{
    struct mc_group_options options = {
        .size = sizeof(options), .on_done = on_done, .context = loop};
    mc_group *group = NULL;
    if (loop->failed || loop->begun == REQUESTS)
        return;
    loop->begun++;
    if (mc_group_open(subject(), &options, &group) == 0 &&
        mc_group_run(group, "work", NULL, 0) == 0)
        return;
    loop->failed = true;
    mc_group_close(group);
}

static uint64_t used_ns(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec;
}

/* For a request, in ns; below 0 when one failed. */
static double serve(unsigned in_flight)
{
    struct loop loop = {0};
    struct pollfd ready = {.fd = mc_pool_fd(subject()), .events = POLLIN};
    uint64_t began = used_ns();
    for (unsigned i = 0; i < in_flight; i++)
        begin(&loop);
    while (loop.ended < loop.begun && poll(&ready, 1, -1) == 1)
        if (mc_pool_dispatch(subject()) < 0)
            return -1;
    return loop.failed ? -1 : (double)(used_ns() - began) / REQUESTS;
}

/* ---- the floor ---- */

_Noreturn static void answer(int socket)
{
    char byte;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    place_on(SECOND_CPU);
    while (recv(socket, &byte, 1, 0) == 1) {
        work_us(WORK_US);
        if (send(socket, &byte, 1, MSG_NOSIGNAL) != 1)
            break;
    }
    _exit(0);
}

/* For a request, in ns; below 0 when one failed. */
static double ask(int socket)
{
    struct pollfd ready = {.fd = socket, .events = POLLIN};
    char byte = 0;
    uint64_t began = used_ns();
    for (unsigned i = 0; i < REQUESTS; i++)
        if (send(socket, &byte, 1, MSG_NOSIGNAL) != 1 || poll(&ready, 1, -1) != 1 ||
            recv(socket, &byte, 1, MSG_DONTWAIT) != 1)
            return -1;
    return (double)(used_ns() - began) / REQUESTS;
}

static double serve_bare(void)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return -1;
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        answer(ends[1]);
    }
    close(ends[1]);
    double each = child > 0 ? ask(ends[0]) : -1;
    close(ends[0]);
    while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR) {
    }
    return each;
}

enum outcome events_loop(const struct probe *probe, unsigned samples)
{
    for (unsigned i = 0; i <= samples; i++) {
        double one = serve(1), crowd = serve(CROWD);
        if (one < 0 || crowd < 0)
            return failed("an event loop: %s", mc_error_message());
        double bare = serve_bare();
        if (bare < 0)
            return failed("a bare event loop: %s", strerror(errno));
        if (i == 0)
            continue; /* it has warmed up */
        figure_add(probe->figure, one);
        figure_add(probe->beside[0], crowd);
        figure_add(probe->beside[1], bare);
    }
    return MEASURED;
}
