/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool/inline.h"

#include "base/error.h"

#include <errno.h>
#include <stdlib.h>

struct thread_state {
    struct inline_states *among;
    struct thread_state *next, *previous;
    uint32_t epoch; /* another one than theirs: of a thread of our parent */
    struct states states;
};

/* ---- threads ---- */

/* A thread ends. */
static void end_thread_state(void *value)
{
    struct thread_state *mine = value;
    struct inline_states *own = mine->among;
    if (mine->epoch == own->epoch) {
        pthread_mutex_lock(&own->lock);
        if (mine->next != NULL)
            mine->next->previous = mine->previous;
        *(mine->previous != NULL ? &mine->previous->next : &own->threads) = mine->next;
        pthread_mutex_unlock(&own->lock);
        hooks_end(own->config, &mine->states);
    }
    free(mine);
}

static int enter_thread(struct inline_states *own, const struct states **states)
{
    struct thread_state *mine = pthread_getspecific(own->key);
    if (mine == NULL || mine->epoch != own->epoch) {
        mine = calloc(1, sizeof(*mine));
        if (mine == NULL)
            return error_set(-ENOMEM, "no memory for a thread's state");
        mine->among = own;
        mine->epoch = own->epoch;
        int result = hooks_begin(own->config, NO_SEAT, hooks_all(own->config), &mine->states);
        if (result < 0) {
            free(mine);
            return result;
        }
        pthread_mutex_lock(&own->lock);
        mine->next = own->threads;
        if (mine->next != NULL)
            mine->next->previous = mine;
        own->threads = mine;
        pthread_mutex_unlock(&own->lock);
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
    own->config = config;
    init_lock(own);
    return pthread_key_create(&own->key, end_thread_state) == 0;
}

void inline_begin_anew(struct inline_states *own)
{
    own->epoch++;
    own->ready = false;
    own->threads = NULL;
    init_lock(own);
}

void inline_end(struct inline_states *own)
{
    for (struct thread_state *mine = own->threads, *next; mine != NULL; mine = next) {
        next = mine->next;
        hooks_end(own->config, &mine->states);
        free(mine);
    }
    if (own->ready)
        hooks_end(own->config, &own->common);
}

void inline_fini(struct inline_states *own)
{
    pthread_key_delete(own->key);
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
