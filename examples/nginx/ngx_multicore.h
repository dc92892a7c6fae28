/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the files of the nginx module share.
 *
 *   ngx_http_multicore_module.c  directives, and the nginx worker's begin and end
 *   ngx_multicore_pool.c         the pool beside nginx's other descriptors
 *   ngx_multicore_request.c      the life of a request
 *   ngx_multicore_answer.c       from a task's result to a response
 *
 * Who frees what: a request's `struct passing` lies in the request's memory. Its group
 * is closed by the clean-up of the request, which nginx runs however the request ends;
 * so the body is sent from where the worker wrote it.
 */
#ifndef NGX_MULTICORE_H
#define NGX_MULTICORE_H

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <errno.h>
#include <multicore.h>

/* nginx finds it by this name. */
extern ngx_module_t ngx_http_multicore_module;

/* A pool, as one nginx worker has it. */
struct attached {
    ngx_str_t path;
    mc_pool *pool; /* NULL: it would not have us */
    ngx_msec_t refused_at;
    ngx_connection_t *connection; /* around the pool's descriptor */
    ngx_queue_t waiting;          /* struct passing, while there is no pool */
    ngx_event_t look;
};

struct server_conf {
    struct attached *attached;
};

struct location_conf {
    ngx_str_t handler;
    ngx_msec_t timeout;
    ngx_msec_t retry;
    ngx_flag_t idempotent;
    ngx_array_t *headers; /* ngx_str_t, in lower case */
};

/* A request on its way. */
struct passing {
    ngx_http_request_t *request;
    struct attached *attached;
    const struct location_conf *conf;
    ngx_str_t body;
    mc_group *group;       /* NULL: not in the pool */
    ngx_msec_t deadline;   /* for the answer */
    ngx_msec_t wait_until; /* for a pool */
    ngx_event_t timer;     /* one of the two */
    ngx_queue_t queue;
    bool waits; /* it is in the queue */
    bool ended;
};

/* ---- the pool ---- */

/* Once in each nginx worker. */
void ngx_multicore_begin(struct attached *attached, ngx_log_t *log);
/* A pool that is not there is no failure; one that refuses us is asked again later. */
bool ngx_multicore_attach(struct attached *attached);
void ngx_multicore_detach(struct attached *attached);
/* Has requests that wait for a pool attempted again. */
void ngx_multicore_look_later(struct attached *attached);

/* ---- requests ---- */

/* What nginx calls for a location with multicore_pass. */
ngx_int_t ngx_multicore_handle(ngx_http_request_t *r);
/* The request is in the pool, waits for one, or is finished, when this returns. */
void ngx_multicore_attempt(struct passing *passing);
void ngx_multicore_complain(const struct passing *passing, ngx_uint_t level, const char *what,
                            int status, const char *message);

/* ---- answers ---- */

/* Sends it; returns what the request is to be finished with. */
ngx_int_t ngx_multicore_respond(struct passing *passing, const struct mc_result *result);
ngx_int_t ngx_multicore_add_header(ngx_http_request_t *r, const ngx_str_t *name,
                                   const ngx_str_t *value, ngx_table_elt_t **added);

static inline bool ngx_multicore_same_name(const ngx_str_t *one, const ngx_str_t *other)
{
    return one->len == other->len && ngx_strncasecmp(one->data, other->data, one->len) == 0;
}

#endif
