/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Each nginx worker process attaches to a pool once, and watches mc_pool_fd() beside its
 * other descriptors. When the pool goes away, requests wait for the next one in a queue.
 */
#include "ngx_multicore.h"

enum {
    LOOK_MS = 20,           /* how often requests that wait look for the pool */
    ATTACH_AGAIN_MS = 1000, /* after the pool would not have us */
};

/* ---- attaching ---- */

static void on_readable(ngx_event_t *event)
{
    const ngx_connection_t *c = event->data;
    struct attached *attached = c->data;
    (void)mc_pool_dispatch(attached->pool);
}

/* The descriptor is the pool's: level-triggered, and never read or closed here. It
 * stays the same while pools come and go. */
static bool watch(struct attached *attached)
{
    int fd = mc_pool_fd(attached->pool);
    ngx_connection_t *c = fd >= 0 ? ngx_get_connection(fd, ngx_cycle->log) : NULL;
    if (c == NULL)
        return false;
    c->data = attached;
    c->log = ngx_cycle->log;
    c->read->log = c->write->log = c->log;
    c->read->handler = on_readable;
    if (ngx_add_event(c->read, NGX_READ_EVENT, NGX_LEVEL_EVENT) != NGX_OK) {
        ngx_free_connection(c);
        return false;
    }
    attached->connection = c;
    return true;
}

void ngx_multicore_detach(struct attached *attached)
{
    ngx_connection_t *c = attached->connection;
    if (c != NULL) {
        (void)ngx_del_event(c->read, NGX_READ_EVENT, 0);
        ngx_free_connection(c);
        c->fd = (ngx_socket_t)-1; /* else nginx takes it for forgotten */
    }
    attached->connection = NULL;
    mc_pool_close(attached->pool);
    attached->pool = NULL;
}

bool ngx_multicore_attach(struct attached *attached)
{
    if (attached->pool != NULL)
        return true;
    if (attached->refused_at != 0 && ngx_current_msec - attached->refused_at < ATTACH_AGAIN_MS)
        return false;
    attached->refused_at = ngx_current_msec;
    int result = mc_pool_attach((const char *)attached->path.data, NULL, &attached->pool);
    if (result == 0 && !watch(attached)) {
        result = mc_fail(-EMFILE, "nginx cannot watch the pool's descriptor");
        ngx_multicore_detach(attached);
    }
    if (result < 0)
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0, "multicore: %V: not attached (%d): %s",
                      &attached->path, result, mc_error_message());
    return result == 0;
}

/* ---- requests that wait ---- */

void ngx_multicore_look_later(struct attached *attached)
{
    if (!attached->look.timer_set)
        ngx_add_timer(&attached->look, LOOK_MS);
}

/* Lets the requests go that wait, in their order, until one has to go on waiting. */
static void look_for_pool(ngx_event_t *event)
{
    struct attached *attached = event->data;
    bool away = false;
    while (!away && !ngx_queue_empty(&attached->waiting)) {
        struct passing *passing =
            ngx_queue_data(ngx_queue_head(&attached->waiting), struct passing, queue);
        ngx_connection_t *c = passing->request->connection;
        ngx_http_set_log_request(c->log, passing->request);
        ngx_multicore_attempt(passing);
        away = !ngx_queue_empty(&attached->waiting) &&
               ngx_queue_head(&attached->waiting) == &passing->queue;
        ngx_http_run_posted_requests(c);
    }
    if (!ngx_queue_empty(&attached->waiting))
        ngx_multicore_look_later(attached);
}

/* ---- the nginx worker ---- */

void ngx_multicore_begin(struct attached *attached, ngx_log_t *log)
{
    ngx_queue_init(&attached->waiting);
    attached->look = (ngx_event_t){.handler = look_for_pool, .data = attached, .log = log};
    attached->look.cancelable = 1; /* requests that wait have timers of their own */
    (void)ngx_multicore_attach(attached);
}
