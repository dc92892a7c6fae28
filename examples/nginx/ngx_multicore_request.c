/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The life of a request. It becomes a group with one task: a MessagePack map of method,
 * uri, args, headers and body. Until that ends the request is suspended.
 */
#include "ngx_multicore.h"

enum { LATE_MS = 300 }; /* for the pool to report by itself what is over its time */

/* ---- what a request looks like to a handler ---- */

static bool is_wanted(const struct passing *passing, const ngx_table_elt_t *header)
{
    const ngx_str_t *names = passing->conf->headers->elts;
    for (ngx_uint_t i = 0; i < passing->conf->headers->nelts; i++)
        if (ngx_multicore_same_name(&names[i], &header->key))
            return true;
    return false;
}

/* The next wanted header from *part and *index on; NULL at the end. */
static const ngx_table_elt_t *next_header(const struct passing *passing,
                                          const ngx_list_part_t **part, ngx_uint_t *index)
{
    for (; *part != NULL; *part = (*part)->next, *index = 0) {
        const ngx_table_elt_t *headers = (*part)->elts;
        while (*index < (*part)->nelts) {
            const ngx_table_elt_t *header = &headers[(*index)++];
            if (is_wanted(passing, header))
                return header;
        }
    }
    return NULL;
}

static void write_text(mc_writer *writer, const char *key, const ngx_str_t *text)
{
    (void)mc_write_string(writer, key);
    (void)mc_write_text(writer, (const char *)text->data, text->len);
}

static void write_headers(const struct passing *passing, mc_writer *writer)
{
    const ngx_list_part_t *first = &passing->request->headers_in.headers.part;
    const ngx_list_part_t *part = first;
    const ngx_table_elt_t *header;
    ngx_uint_t index = 0;
    size_t count = 0;
    while (next_header(passing, &part, &index) != NULL)
        count++;
    (void)mc_write_map(writer, count);
    part = first;
    index = 0;
    while ((header = next_header(passing, &part, &index)) != NULL) {
        (void)mc_write_text(writer, (const char *)header->lowcase_key, header->key.len);
        (void)mc_write_text(writer, (const char *)header->value.data, header->value.len);
    }
}

/* The writer keeps the first error, for whoever ends it. */
static void write_request(const struct passing *passing, mc_writer *writer)
{
    const ngx_http_request_t *r = passing->request;
    (void)mc_write_map(writer, 5);
    write_text(writer, "method", &r->method_name);
    write_text(writer, "uri", &r->uri);
    write_text(writer, "args", &r->args);
    (void)mc_write_string(writer, "headers");
    write_headers(passing, writer);
    (void)mc_write_string(writer, "body");
    (void)mc_write_bytes(writer, passing->body.data, passing->body.len);
}

static ngx_int_t copy_part(ngx_buf_t *part, u_char *place)
{
    size_t size = (size_t)ngx_buf_size(part);
    if (ngx_buf_in_memory(part)) {
        ngx_memcpy(place, part->pos, size);
        return NGX_OK;
    }
    ssize_t count = ngx_read_file(part->file, place, size, part->file_pos);
    return count == (ssize_t)size ? NGX_OK : NGX_ERROR;
}

/* Most bodies are in one piece already; client_body_buffer_size says how large they
 * may be before they go to a file. */
static ngx_int_t gather_body(struct passing *passing)
{
    ngx_http_request_t *r = passing->request;
    ngx_chain_t *parts = r->request_body != NULL ? r->request_body->bufs : NULL;
    size_t size = 0;
    for (ngx_chain_t *part = parts; part != NULL; part = part->next)
        size += (size_t)ngx_buf_size(part->buf);
    passing->body.len = size;
    if (size == 0)
        return NGX_OK;
    if (parts->next == NULL && ngx_buf_in_memory(parts->buf)) {
        passing->body.data = parts->buf->pos;
        return NGX_OK;
    }
    u_char *place = ngx_palloc(r->pool, size);
    if (place == NULL)
        return NGX_ERROR;
    passing->body.data = place;
    for (ngx_chain_t *part = parts; part != NULL; part = part->next) {
        if (copy_part(part->buf, place) != NGX_OK)
            return NGX_ERROR;
        place += ngx_buf_size(part->buf);
    }
    return NGX_OK;
}

/* ---- failing ---- */

/* A handler's message may hold anything, and a line of the log is one line. */
void ngx_multicore_complain(const struct passing *passing, ngx_uint_t level, const char *what,
                            int status, const char *message)
{
    char line[512];
    size_t size = ngx_strlen(message) < sizeof(line) ? ngx_strlen(message) : sizeof(line) - 1;
    for (size_t i = 0; i < size; i++)
        line[i] = (u_char)message[i] < ' ' || message[i] == '\x7f' ? ' ' : message[i];
    line[size] = '\0';
    ngx_log_error(level, passing->request->connection->log, 0, "multicore: %V: %s (%d): %s",
                  &passing->conf->handler, what, status, line);
}

static ngx_int_t try_later(ngx_http_request_t *r)
{
    static const ngx_str_t name = ngx_string("Retry-After"), value = ngx_string("1");
    return ngx_multicore_add_header(r, &name, &value, NULL) == NGX_OK
               ? NGX_HTTP_SERVICE_UNAVAILABLE
               : NGX_HTTP_INTERNAL_SERVER_ERROR;
}

/* What the client is told about a request that could not be submitted. */
static ngx_int_t refusal(ngx_http_request_t *r, int status)
{
    switch (status) {
    case -EAGAIN: /* queue_depth requests are on their way */
    case -EBUSY:
    case -ENOTCONN:
    case -ESHUTDOWN:
    case -EUSERS:
        return try_later(r);
    case -EMSGSIZE:
        return NGX_HTTP_REQUEST_ENTITY_TOO_LARGE;
    case -EINVAL: /* an URI or a header that is not UTF-8 */
        return NGX_HTTP_BAD_REQUEST;
    default:
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
}

/* The same about one that the pool could not answer. */
static ngx_int_t failure(ngx_http_request_t *r, int status)
{
    switch (status) {
    case -ETIME: /* nobody had time to begin */
        return try_later(r);
    case -ETIMEDOUT:
        return NGX_HTTP_GATEWAY_TIME_OUT;
    case -EOWNERDEAD:
        return NGX_HTTP_BAD_GATEWAY;
    default:
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }
}

/* ---- the life of a request ---- */

static void stop_waiting(struct passing *passing)
{
    if (passing->waits) { /* several statements */
        ngx_queue_remove(&passing->queue);
    }
    passing->waits = false;
}

static void set_timer(struct passing *passing, ngx_msec_t when)
{
    ngx_msec_int_t remaining = (ngx_msec_int_t)(when - ngx_current_msec);
    ngx_add_timer(&passing->timer, remaining > 0 ? (ngx_msec_t)remaining : 1);
}

static void leave_pool(struct passing *passing)
{
    mc_group_close(passing->group); /* what runs is told to stop, and ends into the void */
    passing->group = NULL;
}

static void clean_up(void *data)
{
    struct passing *passing = data;
    passing->ended = true;
    stop_waiting(passing);
    if (passing->timer.timer_set)
        ngx_del_timer(&passing->timer);
    leave_pool(passing);
}

/* The request may be freed when this returns. */
static void finish(struct passing *passing, ngx_int_t result)
{
    passing->ended = true;
    stop_waiting(passing);
    if (passing->timer.timer_set)
        ngx_del_timer(&passing->timer);
    if (result >= NGX_HTTP_SPECIAL_RESPONSE)
        leave_pool(passing);
    ngx_http_finalize_request(passing->request, result);
}

static ngx_msec_t earlier(ngx_msec_t one, ngx_msec_t other)
{
    return (ngx_msec_int_t)(one - other) < 0 ? one : other;
}

static void wait_for_pool(struct passing *passing)
{
    struct attached *attached = passing->attached;
    if (!passing->waits) {
        ngx_queue_insert_tail(&attached->waiting, &passing->queue);
    }
    passing->waits = true;
    set_timer(passing, passing->wait_until);
    ngx_multicore_look_later(attached);
}

static void on_timer(ngx_event_t *event)
{
    struct passing *passing = event->data;
    ngx_http_request_t *r = passing->request;
    ngx_connection_t *c = r->connection;
    ngx_http_set_log_request(c->log, r);
    if (passing->waits) {
        ngx_multicore_complain(passing, NGX_LOG_ERR, "no pool came back in time", -ENOTCONN, "");
        finish(passing, try_later(r));
    } else {
        ngx_multicore_complain(passing, NGX_LOG_ERR, "no answer in time", -ETIMEDOUT, "");
        finish(passing, NGX_HTTP_GATEWAY_TIME_OUT);
    }
    ngx_http_run_posted_requests(c);
}

/* ---- to the pool, and back ---- */

/* The pool ended with the task in it. When just a worker does, the result tells which. */
static bool was_lost(const struct mc_result *result)
{
    return result->status == -EOWNERDEAD && result->worker_pid == 0;
}

static void settle(struct passing *passing)
{
    struct mc_result result = {.size = sizeof(result)};
    if (mc_group_next(passing->group, &result, 0) != 1) {
        ngx_multicore_complain(passing, NGX_LOG_ERR, "has no result", -EIO, mc_error_message());
        finish(passing, NGX_HTTP_INTERNAL_SERVER_ERROR);
    } else if (result.status == 0) {
        finish(passing, ngx_multicore_respond(passing, &result));
    } else if (was_lost(&result) && passing->conf->idempotent) {
        ngx_multicore_complain(passing, NGX_LOG_NOTICE, "is run again", result.status,
                               result.error);
        leave_pool(passing);
        passing->wait_until = earlier(ngx_current_msec + passing->conf->retry, passing->deadline);
        ngx_multicore_attempt(passing);
    } else {
        ngx_multicore_complain(passing, NGX_LOG_ERR, "failed", result.status, result.error);
        finish(passing, failure(passing->request, result.status));
    }
}

static void on_done(mc_group *group, void *data)
{
    struct passing *passing = data;
    ngx_connection_t *c = passing->request->connection;
    (void)group;
    if (passing->ended)
        return;
    ngx_http_set_log_request(c->log, passing->request);
    settle(passing);
    ngx_http_run_posted_requests(c);
}

static int submit(struct passing *passing)
{
    struct attached *attached = passing->attached;
    ngx_msec_int_t remaining = (ngx_msec_int_t)(passing->deadline - ngx_current_msec);
    struct mc_group_options options = {
        .size = sizeof(options),
        .on_done = on_done,
        .context = passing,
        .time_limit_ms = remaining > 0 ? (unsigned)remaining : 1,
        .start_within_ms = remaining > 0 ? (unsigned)remaining : 1,
    };
    mc_group *group;
    mc_writer *writer;
    if (!ngx_multicore_attach(attached))
        return mc_fail(-ENOTCONN, "the pool at %s would not have us", attached->path.data);
    int result = mc_group_open(attached->pool, &options, &group);
    if (result < 0)
        return result;
    result = mc_group_writer(group, MC_MSGPACK, &writer);
    if (result == 0) {
        write_request(passing, writer);
        result = mc_group_run_value(group, (const char *)passing->conf->handler.data, writer);
    }
    if (result < 0)
        mc_group_close(group);
    else
        passing->group = group;
    return result;
}

/* Another pool may come. */
static bool is_away(int status)
{
    return status == -ENOTCONN || status == -ESHUTDOWN;
}

void ngx_multicore_attempt(struct passing *passing)
{
    int result = submit(passing);
    if (result == 0) {
        stop_waiting(passing);
        set_timer(passing, passing->deadline + LATE_MS);
    } else if (is_away(result) && (ngx_msec_int_t)(passing->wait_until - ngx_current_msec) > 0) {
        wait_for_pool(passing);
    } else {
        ngx_multicore_complain(passing, NGX_LOG_ERR, "not submitted", result, mc_error_message());
        finish(passing, refusal(passing->request, result));
    }
}

/* ---- the beginning ---- */

/* Called when the client has sent all of its request. */
static void begin(ngx_http_request_t *r)
{
    const struct server_conf *server = ngx_http_get_module_srv_conf(r, ngx_http_multicore_module);
    struct passing *passing = ngx_pcalloc(r->pool, sizeof(*passing));
    ngx_http_cleanup_t *cleanup = passing != NULL ? ngx_http_cleanup_add(r, 0) : NULL;
    if (cleanup == NULL) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }
    cleanup->handler = clean_up;
    cleanup->data = passing;
    passing->request = r;
    passing->attached = server->attached;
    passing->conf = ngx_http_get_module_loc_conf(r, ngx_http_multicore_module);
    passing->deadline = ngx_current_msec + passing->conf->timeout;
    passing->wait_until = earlier(ngx_current_msec + passing->conf->retry, passing->deadline);
    passing->timer.handler = on_timer;
    passing->timer.data = passing;
    passing->timer.log = r->connection->log;
    if (r == r->main)
        r->read_event_handler = ngx_http_test_reading; /* notices a client that leaves */
    r->write_event_handler = ngx_http_request_empty_handler;
    if (gather_body(passing) != NGX_OK)
        finish(passing, NGX_HTTP_INTERNAL_SERVER_ERROR);
    else
        ngx_multicore_attempt(passing);
}

ngx_int_t ngx_multicore_handle(ngx_http_request_t *r)
{
    ngx_int_t result = ngx_http_read_client_request_body(r, begin);
    return result >= NGX_HTTP_SPECIAL_RESPONSE ? result : NGX_DONE;
}
