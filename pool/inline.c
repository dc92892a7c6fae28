/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A thread may end while the pool is closed, and both would end the thread's state. So the
 * thread touches neither before it has found its state in the lists of all pools: a state
 * is ended by who takes it off its list. One lock is for all of these lists; no hook is
 * called with it held.
 */
#include "pool/inline.h"

#include "base/error.h"
#include "base/fault.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

enum { REST_NS = 1000000 }; /* from one look at threads that end to the next */

struct thread_state {
    LIST_ENTRY(thread_state) link;
    pthread_t thread;
    uint32_t epoch; /* another one than theirs: of a thread of our parent */
    struct states states;
};

/* ---- the lists ---- */

static pthread_mutex_t lists_lock = PTHREAD_MUTEX_INITIALIZER;
static LIST_HEAD(inline_list, inline_states) lists = LIST_HEAD_INITIALIZER(lists);

static void lock_lists(void)
{
    pthread_mutex_lock(&lists_lock);
}

static void unlock_lists(void)
{
    pthread_mutex_unlock(&lists_lock);
}

static bool forks_watched;

/* A forked child finds them whole. */
static void watch_forks(void)
{
    forks_watched = pthread_atfork(lock_lists, unlock_lists, unlock_lists) == 0;
}

/* With the lock held. The memory may be another thread's state by now. */
static struct thread_state *find(const void *value, struct inline_states **own)
{
    struct thread_state *mine;
    for (*own = LIST_FIRST(&lists); *own != NULL; *own = LIST_NEXT(*own, link))
        for (mine = LIST_FIRST(&(*own)->threads); mine != NULL; mine = LIST_NEXT(mine, link))
            if (mine == value && pthread_equal(mine->thread, pthread_self()))
                return mine;
    return NULL;
}

/* ---- threads ---- */

static void end_state(const struct inline_states *own, struct thread_state *state)
{
    hooks_end(own->config, &state->states);
    free(state);
}

/* A thread ends. */
static void end_thread_state(void *value)
{
    FAULT_POINT("inline_thread_ends");
    struct inline_states *own;
    lock_lists();
    struct thread_state *mine = find(value, &own);
    if (mine != NULL) {
        LIST_REMOVE(mine, link);
        own->ending++;
    }
    unlock_lists();
    if (mine == NULL) /* it was ended with its pool */
        return;
    end_state(own, mine);
    lock_lists();
    own->ending--;
    unlock_lists();
}

static int enter_thread(struct inline_states *own, const struct states **states)
{
    struct thread_state *mine = pthread_getspecific(own->key);
    if (mine == NULL || mine->epoch != own->epoch) {
        free(mine);
        pthread_setspecific(own->key, NULL);
        mine = calloc(1, sizeof(*mine));
        if (mine == NULL)
            return error_set(-ENOMEM, "no memory for a thread's state");
        mine->thread = pthread_self();
        mine->epoch = own->epoch;
        int result = hooks_begin(own->config, NO_SEAT, hooks_all(own->config), &mine->states);
        if (result < 0) {
            free(mine);
            return result;
        }
        lock_lists();
        LIST_INSERT_HEAD(&own->threads, mine, link);
        unlock_lists();
        pthread_setspecific(own->key, mine);
    }
    *states = &mine->states;
    return 0;
}

/* ---- all of them ---- */

static void init_lock(struct inline_states *own)
{
    pthread_mutexattr_t recursive;
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&own->lock, &recursive);
    pthread_mutexattr_destroy(&recursive);
}

bool inline_init(struct inline_states *own, const struct config *config)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, watch_forks);
    own->config = config;
    init_lock(own);
    if (!forks_watched || pthread_key_create(&own->key, end_thread_state) != 0)
        return false;
    lock_lists();
    LIST_INSERT_HEAD(&lists, own, link);
    unlock_lists();
    return true;
}

void inline_begin_anew(struct inline_states *own)
{
    own->epoch++;
    own->ready = false;
    init_lock(own);
    lock_lists();
    LIST_INIT(&own->threads);
    own->ending = 0;
    unlock_lists();
}

void inline_end(struct inline_states *own)
{
    const struct timespec rest = {.tv_nsec = REST_NS};
    struct thread_state *state;
    uint32_t ending;
    do {
        lock_lists();
        state = LIST_FIRST(&own->threads);
        if (state != NULL)
            LIST_REMOVE(state, link);
        ending = own->ending;
        unlock_lists();
        if (state != NULL)
            end_state(own, state);
        else if (ending != 0)
            nanosleep(&rest, NULL);
    } while (state != NULL || ending != 0);
    if (own->ready)
        hooks_end(own->config, &own->common);
}

void inline_fini(struct inline_states *own)
{
    struct thread_state *state;
    pthread_key_delete(own->key);
    lock_lists();
    LIST_REMOVE(own, link);
    unlock_lists();
    while ((state = LIST_FIRST(&own->threads)) != NULL) { /* of threads of our parent */
        LIST_REMOVE(state, link);
        free(state);
    }
}

static int enter_common(struct inline_states *own, const struct states **states)
{
    int result = 0;
    pthread_mutex_lock(&own->lock);
    if (!own->ready)
        result = hooks_begin(own->config, NO_SEAT, hooks_all(own->config), &own->common);
    own->ready = result == 0;
    *states = &own->common;
    if (result < 0)
        pthread_mutex_unlock(&own->lock);
    return result;
}

int inline_enter(struct inline_states *own, const struct handler *handler,
                 const struct states **states)
{
    return (handler->flags & MC_THREAD_SAFE) != 0 ? enter_thread(own, states)
                                                  : enter_common(own, states);
}

void inline_leave(struct inline_states *own, const struct handler *handler)
{
    if ((handler->flags & MC_THREAD_SAFE) == 0)
        pthread_mutex_unlock(&own->lock);
}
