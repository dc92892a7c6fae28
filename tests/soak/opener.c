/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The process that opens the pool: a client itself, in threads, while its first
 * thread forks other clients and replaces those that died.
 */
#include "tests/soak/soak.h"

#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KEPT_FREE = 128 << 10 };

static mc_pool *pool;

/* A process forked while one of our threads allocates gets AddressSanitizer's heap
 * locked for ever: there, all clients are children and we have one thread. */
enum { FIRST_CHILD = SANITIZED ? 0 : 1 };

/* ---- children ---- */

_Noreturn static void child(unsigned number)
{
    unsigned segments = own_segments();
    if (segments > 3) /* control, bells, quarantine: no lane of its parent */
        complain(&board->wrong, "a forked child has %u segments of the pool mapped", segments);
    client_run(pool, number);
    mc_pool_close(pool);
    segments = own_segments();
    if (segments != 0)
        complain(&board->wrong, "a client that has left has %u segments mapped", segments);
    _exit(0);
}

static void start_child(unsigned number)
{
    pid_t pid = fork();
    if (pid == 0)
        child(number);
    if (pid < 0)
        complain(&board->wrong, "no fork: %s", strerror(errno));
    atomic_store(&board->clients[number], pid > 0 ? pid : 0);
}

/* Nobody ends in another way than of his own accord or by the killer's hand. */
static void judge_child(pid_t pid, int status)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL &&
        atomic_load(&board->killed[(unsigned)pid % PIDS]) != 0)
        return;
    complain(&board->wrong, "client %d ended with wait status %d", (int)pid, status);
}

/* Returns how many are left. */
static unsigned tend_children(bool replace)
{
    unsigned left = 0;
    for (unsigned i = FIRST_CHILD; i < board->plan.clients; i++) {
        pid_t pid = atomic_load(&board->clients[i]);
        int status;
        if (pid > 0 && waitpid(pid, &status, WNOHANG) == pid) {
            atomic_store(&board->clients[i], 0);
            judge_child(pid, status);
            pid = 0;
        }
        if (pid == 0 && replace)
            start_child(i);
        left += atomic_load(&board->clients[i]) > 0;
    }
    return left;
}

/* ---- the pool ---- */

static void await_phase(enum phase wanted)
{
    while (phase() < wanted)
        pause_us(1000);
}

static void close_pool(unsigned descriptors)
{
    struct plan *plan = &board->plan;
    uint64_t began = now_ns();
    atomic_store(&board->phase, PHASE_ENDING);
    if (plan->ending == END_TERMINATE) {
        atomic_store(&board->gone_ns, began);
        mc_pool_terminate(pool);
    } else {
        mc_pool_close(pool);
    }
    double ms = (double)(now_ns() - began) / 1e6;
    if (ms > plan->options.close_timeout_ms + 3500)
        complain(&board->wrong, "closing the pool took %.0f ms", ms);
    uint64_t none = 0;
    (void)atomic_compare_exchange_strong(&board->gone_ns, &none, now_ns());
    if (own_segments() != 0)
        complain(&board->wrong, "the closed pool left %u segments mapped", own_segments());
    if (own_descriptors() != descriptors)
        complain(&board->wrong, "%u descriptors before the pool, %u after it", descriptors,
                 own_descriptors());
}

static void *be_client(void *context)
{
    client_run(pool, 0);
    return NULL;
}

/* Until the round is over: what the plan says, or the pool was killed. */
static void work(void)
{
    pthread_t threads;
    bool is_client = FIRST_CHILD != 0;
    if (is_client && pthread_create(&threads, NULL, be_client, NULL) != 0)
        _exit(1);
    while (phase() == PHASE_RUNNING && gone_ns() == 0) {
        (void)tend_children(true);
        pause_us(3000);
    }
    if (board->plan.ending == END_LEAVE) {
        atomic_store(&board->phase, PHASE_ENDING);
        atomic_store(&board->gone_ns, now_ns());
        _exit(0);
    }
    if (is_client)
        (void)pthread_join(threads, NULL);
}

/* What is freed is to be gone, so that what is left is somebody's. By itself glibc lets each
 * thread's heap keep twice as much as was ever allocated at once, and malloc_trim() does not
 * take the end of those heaps back. */
static void keep_nothing_free(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, KEPT_FREE);
    (void)mallopt(M_TRIM_THRESHOLD, KEPT_FREE);
}

void opener_run(void)
{
    struct plan *plan = &board->plan;
    struct mc_pool_options options = plan->options;
    options.max_load_average = plan->load[0] != '\0' ? plan->load : NULL;
    unsigned descriptors = own_descriptors();
    keep_nothing_free();
    int result = mc_pool_open(&options, &pool);
    if (result != 0) {
        complain(&board->wrong, "the pool does not open: %d %s", result, mc_error_message());
        _exit(1);
    }
    atomic_store(&board->phase, PHASE_OPENED);
    await_phase(PHASE_RUNNING);
    work();
    if (gone_ns() != 0) /* the children look after themselves, and so may we */
        atomic_store(&board->phase, PHASE_ENDING);
    if (plan->ending == END_CLOSE || gone_ns() != 0) {
        while (tend_children(false) != 0)
            pause_us(1000);
    }
    if (plan->ending == END_CLOSE && gone_ns() == 0) {
        (void)malloc_trim(0);
        atomic_store(&board->phase, PHASE_QUIET);
        await_phase(PHASE_ENDING);
    }
    close_pool(descriptors);
    while (tend_children(false) != 0)
        pause_us(1000);
    _exit(0);
}
