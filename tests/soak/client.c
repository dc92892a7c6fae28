/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One client process: some threads that submit, and one that watches them.
 */
#include "tests/soak/soak.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct client {
    mc_pool *pool;
    unsigned number;
    struct thread threads[THREADS_MOST];
    pthread_t handles[THREADS_MOST];
    unsigned count;
    bool with_events;
    uint64_t leave_ns; /* some leave before the round is over */
    _Atomic bool watching;
};

static bool goes_on(const struct client *client)
{
    return phase() == PHASE_RUNNING && now_ns() < client->leave_ns;
}

static struct client *self;

static void *run_thread(void *context)
{
    struct thread *thread = context;
    struct client *client = self;
    atomic_store(&thread->progress->thread, gettid());
    if (client->with_events && thread->number == 0) {
        events_run(thread);
        return NULL;
    }
    while (goes_on(client) && !thread->over) {
        batch_run(thread);
        if (one_in(&thread->chance, 6))
            pause_us(draw(&thread->chance, 3000));
    }
    return NULL;
}

static void look_at_quarantine(mc_pool *pool)
{
    struct mc_quarantined entry = {.size = sizeof(entry)};
    for (size_t index = 0; mc_pool_quarantine(pool, index, &entry) == 1; index++)
        if (entry.attempts == 0 || entry.attempts > ATTEMPTS_MOST || entry.worker_pid <= 0 ||
            entry.args_kept > sizeof(entry.args) || entry.handler[0] == '\0')
            complain(&board->wrong, "entry %zu of the quarantine makes no sense", index);
}

/* What this process sees of the pool, and what its threads were in last. */
static void print_client(const struct client *client)
{
    for (unsigned i = 0; i < client->count; i++) {
        const struct progress *progress = client->threads[i].progress;
        uint64_t since = atomic_load(&progress->since_ns);
        const char *what = atomic_load(&progress->what);
        fprintf(stderr, "soak: thread %d of client %u (%d), %s: %s, %s for %.1f s, depth %u\n",
                (int)atomic_load(&progress->thread), client->number, (int)getpid(),
                client->with_events && i == 0 ? "with events" : "waiting by itself",
                what != NULL ? what : "nothing yet", since != 0 ? "in it" : "not in it",
                since != 0 ? (double)(now_ns() - since) / 1e9 : 0.0, client->threads[i].depth);
    }
    pool_print(client->pool);
}

/* Tells what it sees when one of its threads is wedged, or the round is. */
static void *watch(void *context)
{
    struct client *client = context;
    bool told = false;
    for (unsigned turn = 0; atomic_load(&client->watching); turn++) {
        pause_noting_us(50000);
        uint64_t now = now_ns();
        (void)tgkill(getpid(), atomic_load(&client->threads[0].progress->thread), SIGUSR1);
        if (turn % 8 == 0)
            look_at_quarantine(client->pool);
        for (unsigned i = 0; i < client->count; i++) {
            struct progress *progress = client->threads[i].progress;
            uint64_t since = atomic_load(&progress->since_ns);
            if (since == 0 || now < since + WEDGED_MS * UINT64_C(1000000) ||
                atomic_exchange(&board->stuck, 1) != 0)
                continue;
            complain(&board->wedged, "thread %u of client %u has been in %s for %.1f s", i,
                     client->number, atomic_load(&progress->what), (double)(now - since) / 1e9);
        }
        if (!told && atomic_load(&board->stuck) != 0)
            print_client(client);
        told = atomic_load(&board->stuck) != 0;
    }
    return NULL;
}

static void ignore(int signal)
{
    (void)signal;
}

static void prepare(struct client *client, mc_pool *pool, unsigned number, uint32_t life)
{
    struct chance chance;
    struct sigaction action = {.sa_handler = ignore}; /* no SA_RESTART: to interrupt */
    (void)sigaction(SIGUSR1, &action, NULL);
    chance_init(&chance, board->plan.seed, 1000 + life);
    client->pool = pool;
    client->number = number;
    client->count = 1 + draw(&chance, board->plan.threads);
    client->with_events = one_in(&chance, 3);
    client->leave_ns = number != 0 && one_in(&chance, 4)
                           ? now_ns() + draw(&chance, 1500) * UINT64_C(1000000)
                           : UINT64_MAX;
    for (unsigned i = 0; i < client->count; i++) {
        struct thread *thread = &client->threads[i];
        thread->pool = pool;
        thread->client = number;
        thread->number = i;
        thread->life = life;
        thread->progress = &board->progress[number][i];
        thread->buffer = malloc(PAYLOAD_MOST);
        chance_init(&thread->chance, board->plan.seed, life * UINT64_C(16) + i);
        atomic_store(&thread->progress->since_ns, 0);
        atomic_store(&thread->progress->pid, getpid());
    }
}

void client_run(mc_pool *pool, unsigned number)
{
    struct client *client = calloc(1, sizeof(*client));
    pthread_t watcher;
    uint32_t life = board_life();
    if (client == NULL)
        return;
    self = client;
    prepare(client, pool, number, life);
    atomic_store(&client->watching, true);
    for (unsigned i = 0; i < client->count; i++)
        if (client->threads[i].buffer == NULL ||
            pthread_create(&client->handles[i], NULL, run_thread, &client->threads[i]) != 0) {
            complain(&board->wrong, "no thread, or no memory for it");
            _exit(1);
        }
    if (pthread_create(&watcher, NULL, watch, client) != 0)
        _exit(1);
    for (unsigned i = 0; i < client->count; i++)
        (void)pthread_join(client->handles[i], NULL);
    atomic_store(&client->watching, false);
    (void)pthread_join(watcher, NULL);
    for (unsigned i = 0; i < client->count; i++)
        free(client->threads[i].buffer);
    free(client);
    atomic_store(&board->lives[life].complete, 1);
}
