/* SPDX-License-Identifier: BSD-3-Clause
 *
 * bench_peer_zeromq SAMPLES CPU CPU: round trips of one byte between two
 * processes, REQ and REP over ipc://.
 */
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

enum { WARM_UP = 50 };

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void pin(const char *cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(strtoul(cpu, NULL, 10), &set);
    (void)sched_setaffinity(0, sizeof(set), &set);
}

/* Echoes until it is killed. Sockets are made after the fork, so that the
 * library's threads stay on their process's CPU. */
static void serve(const char *endpoint)
{
    char byte;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    void *context = zmq_ctx_new();
    void *socket = zmq_socket(context, ZMQ_REP);
    if (socket == NULL || zmq_bind(socket, endpoint) != 0)
        _exit(1);
    while (zmq_recv(socket, &byte, sizeof(byte), 0) == sizeof(byte))
        (void)zmq_send(socket, &byte, sizeof(byte), 0);
    _exit(1);
}

static int ask(const char *endpoint, int samples)
{
    char byte = 0;
    void *context = zmq_ctx_new();
    void *socket = zmq_socket(context, ZMQ_REQ);
    int none = 0;
    if (socket == NULL || zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof(none)) != 0 ||
        zmq_connect(socket, endpoint) != 0)
        return 1;
    for (int i = -WARM_UP; i < samples; i++) {
        uint64_t began = now_ns();
        if (zmq_send(socket, &byte, sizeof(byte), 0) != sizeof(byte) ||
            zmq_recv(socket, &byte, sizeof(byte), 0) != sizeof(byte))
            return 1;
        uint64_t ended = now_ns();
        if (i >= 0)
            printf("zeromq_ipc %llu\n", (unsigned long long)(ended - began));
    }
    zmq_close(socket);
    return zmq_ctx_term(context) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    char endpoint[64];
    if (argc != 4)
        return 2;
    /* An abstract address: it leaves no file behind. */
    snprintf(endpoint, sizeof(endpoint), "ipc://@multicore-bench-%d", (int)getpid());
    pid_t server = fork();
    if (server == 0) {
        pin(argv[3]);
        serve(endpoint);
    }
    if (server < 0)
        return 1;
    pin(argv[2]);
    int result = ask(endpoint, atoi(argv[1]));
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    return result;
}
