/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The descriptor for event loops: an epoll over the lane's socket, to which
 * workers write a byte; the supervisor's, which becomes readable when the pool
 * goes away; and an eventfd for what this process does itself, such as cancel.
 */
#include "pool/pool.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fault.h"
#include "base/sys.h"
#include "ipc/slot.h"
#include "ipc/wake.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

enum { SURVEY_MS = 1000 }; /* at least so often while an event loop dispatches */

int mc_pool_fd(mc_pool *pool)
{
    return pool->front != NULL ? front_fd(pool->front) : events_fd(pool);
}

int mc_pool_dispatch(mc_pool *pool)
{
    bool over = false;
    int result = pool->front != NULL ? front_dispatch(pool->front) : events_dispatch(pool, &over);
    return over ? -ESHUTDOWN : result;
}

int events_fd(mc_pool *pool)
{
    int result = pool_ready(pool);
    if (result < 0)
        return result;
    struct client *client = &pool->client;
    pthread_mutex_lock(&client->lock);
    if (client->events < 0) {
        int epoll = FAULT_CALL("events_epoll", EMFILE, epoll_create1(EPOLL_CLOEXEC));
        struct epoll_event event = {.events = EPOLLIN};
        client->self = FAULT_CALL("events_self", EMFILE, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
        if (epoll < 0 || client->self < 0 ||
            FAULT_CALL("events_watch", ENOMEM,
                       epoll_ctl(epoll, EPOLL_CTL_ADD, client->notify, &event)) < 0 ||
            epoll_ctl(epoll, EPOLL_CTL_ADD, client->self, &event) < 0 ||
            epoll_ctl(epoll, EPOLL_CTL_ADD, client->socket, &event) < 0) {
            result = error_system(-errno, "no descriptor for the event loop");
            sys_close(&client->self);
            sys_close(&epoll);
        }
        client->events = epoll;
        /* Tasks may have been cancelled, or collected by somebody who needed room, before there
         * was a descriptor to tell. */
        if (result == 0 && !TAILQ_EMPTY(&client->done))
            (void)eventfd_write(client->self, 1);
    }
    if (result == 0)
        result = client->events;
    pthread_mutex_unlock(&client->lock);
    return result;
}

/* Visits every group, for what nobody marks: kills that the supervisor could not be told of,
 * tasks that no worker will run (where some are lost), and a lane that somebody scribbled
 * on. */
static void survey(struct client *client, bool lost)
{
    client->kills_due = false;
    for (mc_group *group = client->groups; group != NULL; group = group->next) {
        if (group->on_done == NULL || group->reported)
            continue;
        if (lost)
            wait_settle_lost(group);
        client_collect(group, true);
        if (group->kill_before != 0)
            group_kill_again(group);
    }
    if (client->kills_due && client->self >= 0)
        (void)eventfd_write(client->self, 1); /* to be called again */
}

/* Reaps what has ended. */
static void look(struct client *client, bool lost)
{
    uint64_t now = clock_coarse_ms();
    pthread_mutex_lock(&client->lock);
    client_collect_told(client);
    if (lost || client->kills_due || now - client->surveyed_ms >= SURVEY_MS) {
        client->surveyed_ms = now;
        survey(client, lost);
    }
    pthread_mutex_unlock(&client->lock);
}

/* The next group whose tasks have all ended and that was not reported. */
static mc_group *next_done(struct client *client)
{
    mc_group *group;
    pthread_mutex_lock(&client->lock);
    while ((group = TAILQ_FIRST(&client->done)) != NULL) {
        TAILQ_REMOVE(&client->done, group, done_link);
        group->in_done = false;
        if (!group->reported && group->ended == group->count)
            break;
    }
    if (group != NULL)
        group->reported = true;
    pthread_mutex_unlock(&client->lock);
    return group;
}

int events_dispatch(mc_pool *pool, bool *over)
{
    int result = pool_ready(pool);
    if (result < 0)
        return result;
    pool_deliver_log(pool);
    struct client *client = &pool->client;
    char bytes[64];
    eventfd_t count;
    /* What else may have made the descriptor readable is asked for when it was not this: until
     * then it stays readable. */
    bool told = recv(client->notify, bytes, sizeof(bytes), MSG_DONTWAIT) > 0;
    if (!told && client->self >= 0)
        (void)eventfd_read(client->self, &count);
    /* From here on workers write again; what they have told of before is seen below. */
    atomic_store_explicit(&client->lane.header->notified, 0, memory_order_seq_cst);
    atomic_thread_fence(memory_order_seq_cst);
    bool gone = told ? client_gone(client) : client_check_gone(client);
    bool lost = gone || atomic_load_explicit(&pool->control->hopeless, memory_order_relaxed) != 0;
    int reported = 0;
    mc_group *group;
    look(client, lost);
    while ((group = next_done(client)) != NULL) {
        reported++;
        group->on_done(group, group->context);
        if (gone) /* also what was submitted by then; nothing is any more */
            look(client, lost);
    }
    /* The callbacks may have submitted what is lost likewise: that is for the next call, lest
     * those who try again keep this one here. */
    if (lost && reported > 0 && client->self >= 0)
        (void)eventfd_write(client->self, 1);
    client_announce_deferred(pool);
    if (gone)
        (void)error_set(-ESHUTDOWN, "%s", client_why_gone(client));
    *over = gone;
    return reported;
}
