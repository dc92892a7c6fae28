/* SPDX-License-Identifier: BSD-3-Clause */
#include "crowd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    CLIENT_S = 60, /* the life of one that nobody ends */
    PATIENCE_MS = 30000,
    LOOK_NS = 200000,
};

/* ---- in a client ---- */

unsigned client_number(const struct client *client)
{
    return (unsigned)(client - client->crowd->clients);
}

void client_ready(struct client *client)
{
    char nothing;
    atomic_fetch_add(&client->crowd->ready, 1);
    while (read(client->crowd->gate[0], &nothing, 1) < 0 && errno == EINTR) {
    }
}

void client_sample(struct client *client, unsigned figure, double value)
{
    struct crowd *crowd = client->crowd;
    if (crowd->sample_count < CROWD_SAMPLES)
        crowd->samples[crowd->sample_count++] = (struct sample){figure, value};
}

void client_fail(struct client *client, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(client->problem, sizeof(client->problem), format, arguments);
    va_end(arguments);
    atomic_fetch_add(&client->crowd->failed, 1);
    _exit(1);
}

static void live(struct client *client, void (*run)(struct client *client))
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(CLIENT_S);
    close(client->crowd->gate[1]);
    run(client);
    _exit(0);
}

/* ---- all of them ---- */

struct crowd *crowd_start(unsigned count, void (*run)(struct client *client), const char *socket,
                          const void *context)
{
    struct crowd *crowd =
        mmap(NULL, sizeof(*crowd), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (crowd == MAP_FAILED || pipe2(crowd->gate, O_CLOEXEC) < 0) {
        (void)failed("no memory or pipe for the clients: %s", strerror(errno));
        return NULL;
    }
    crowd->socket = socket;
    crowd->context = context;
    while (crowd->count < count) {
        struct client *client = &crowd->clients[crowd->count];
        client->crowd = crowd;
        pid_t pid = fork();
        if (pid == 0)
            live(client, run);
        if (pid < 0) {
            snprintf(client->problem, sizeof(client->problem), "no process: %s", strerror(errno));
            atomic_fetch_add(&crowd->failed, 1);
            break;
        }
        client->pid = pid;
        crowd->count++;
    }
    return crowd;
}

/* The first problem that is known. */
static enum outcome tell_problem(const struct crowd *crowd)
{
    for (unsigned i = 0; i < CROWD_MOST; i++)
        if (crowd->clients[i].problem[0] != '\0')
            return failed("client %u: %s", i, crowd->clients[i].problem);
    return failed("a client ended early");
}

enum outcome crowd_begin(struct crowd *crowd)
{
    uint64_t limit = now_ns() + PATIENCE_MS * UINT64_C(1000000);
    if (crowd == NULL)
        return FAILED;
    while (atomic_load(&crowd->ready) < crowd->count && atomic_load(&crowd->failed) == 0) {
        if (now_ns() > limit)
            return failed("%u of %u clients are ready after %d s", atomic_load(&crowd->ready),
                          crowd->count, PATIENCE_MS / 1000);
        pause_ns(LOOK_NS);
    }
    close(crowd->gate[1]);
    crowd->gate[1] = -1;
    return atomic_load(&crowd->failed) == 0 ? MEASURED : tell_problem(crowd);
}

/* False when any of them did not end as it should. */
static bool reap(struct crowd *crowd)
{
    bool fine = true;
    for (unsigned i = 0; i < crowd->count; i++) {
        int status = 0;
        while (waitpid(crowd->clients[i].pid, &status, 0) < 0 && errno == EINTR) {
        }
        if (status != 0 && crowd->clients[i].problem[0] == '\0')
            snprintf(crowd->clients[i].problem, PROBLEM_SIZE, "ended with status 0x%x",
                     (unsigned)status);
        fine = fine && status == 0;
    }
    return fine;
}

enum outcome crowd_end(struct crowd *crowd)
{
    if (crowd == NULL)
        return FAILED;
    atomic_store(&crowd->over, 1);
    if (crowd->gate[1] >= 0)
        close(crowd->gate[1]);
    bool fine = reap(crowd) && atomic_load(&crowd->failed) == 0;
    for (size_t i = 0; i < crowd->sample_count; i++)
        figure_add(crowd->samples[i].figure, crowd->samples[i].value);
    enum outcome outcome = fine ? MEASURED : tell_problem(crowd);
    close(crowd->gate[0]);
    munmap(crowd, sizeof(*crowd));
    return outcome;
}

enum outcome crowd_run(struct crowd *crowd)
{
    siginfo_t info;
    enum outcome outcome = crowd_begin(crowd);
    if (outcome == MEASURED)
        while (waitid(P_PID, (id_t)crowd->clients[0].pid, &info, WEXITED | WNOWAIT) < 0 &&
               errno == EINTR) {
        }
    enum outcome end = crowd_end(crowd);
    return outcome == FAILED ? FAILED : end;
}
