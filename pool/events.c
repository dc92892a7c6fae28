/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The descriptor for event loops: an epoll over the lane's socket, to which
 * workers write a byte; the supervisor's, which becomes readable when the pool
 * goes away; and an eventfd for what this process does itself, such as cancel.
 */
#include "pool/pool.h"

#include "base/error.h"
#include "base/fault.h"
#include "base/sys.h"
#include "ipc/slot.h"
#include "ipc/wake.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

/* True if a group has ended that was not reported. Its tasks were cancelled, or
 * collected by somebody who needed room, before there was a descriptor to tell. */
static bool anything_done(const struct client *client)
{
    for (const mc_group *group = client->groups; group != NULL; group = group->next)
        if (group->on_done != NULL && !group->reported && group->ended == group->count)
            return true;
    return false;
}

int mc_pool_fd(mc_pool *pool)
{
    return pool->front != NULL ? front_fd(pool->front) : events_fd(pool);
}

int mc_pool_dispatch(mc_pool *pool)
{
    return pool->front != NULL ? front_dispatch(pool->front) : events_dispatch(pool);
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
        if (result == 0 && anything_done(client))
            (void)eventfd_write(client->self, 1);
    }
    if (result == 0)
        result = client->events;
    pthread_mutex_unlock(&client->lock);
    return result;
}

/* The next group whose tasks have all ended and that was not reported. lost: classes of
 * seats whose tasks will not be run. */
static mc_group *next_done(struct client *client, unsigned lost)
{
    mc_group *done = NULL;
    pthread_mutex_lock(&client->lock);
    for (mc_group *group = client->groups; group != NULL && done == NULL; group = group->next) {
        if (group->on_done == NULL || group->reported)
            continue;
        client_collect(group, true);
        if (group->kill_before != 0)
            group_kill_again(group);
        if (group->kill_before != 0 && client->self >= 0)
            (void)eventfd_write(client->self, 1); /* to be called again */
        if (lost != 0)
            client_settle_all(group, lost);
        if (group->ended == group->count)
            done = group;
    }
    if (done != NULL)
        done->reported = true;
    pthread_mutex_unlock(&client->lock);
    return done;
}

int events_dispatch(mc_pool *pool)
{
    int result = pool_ready(pool);
    if (result < 0)
        return result;
    pool_deliver_log(pool);
    struct client *client = &pool->client;
    char bytes[64];
    eventfd_t count;
    if (client->self >= 0)
        (void)eventfd_read(client->self, &count);
    while (recv(client->notify, bytes, sizeof(bytes), MSG_DONTWAIT) > 0) {
    }
    /* From here on workers write again; what ended before is seen below. */
    atomic_store_explicit(&client->lane.header->notified, 0, memory_order_seq_cst);
    atomic_thread_fence(memory_order_seq_cst);
    bool gone = client_check_gone(client);
    unsigned lost =
        gone ? ALL_CLASSES : atomic_load_explicit(&pool->control->hopeless, memory_order_relaxed);
    int reported = 0;
    mc_group *group;
    while ((group = next_done(client, lost)) != NULL) {
        reported++;
        group->on_done(group, group->context);
    }
    client_announce_deferred(pool);
    if (gone)
        return error_set(-ESHUTDOWN, "%s", client_why_gone(client));
    return reported;
}
