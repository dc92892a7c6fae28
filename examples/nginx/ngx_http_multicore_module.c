/* SPDX-License-Identifier: BSD-3-Clause
 *
 * An nginx module that answers requests with handlers of a pool.
 *
 *     http {
 *         multicore_pool /run/multicore/thumbnails.socket;
 *         server {
 *             location /thumbnail { multicore_pass thumbnail; }
 *
 * Each nginx worker process attaches to the pool once, and watches mc_pool_fd() beside
 * its other descriptors. A request becomes a group with one task: a MessagePack map of
 * method, uri, args, headers and body. Until it ends the request is suspended, and
 * costs nobody anything. The result is a map of status, headers and body, or just the
 * bytes of the body; README.md has the details.
 *
 * When the pool goes away, requests wait for the next one in a queue, each for
 * multicore_retry at most. Those that were not begun yet always may; those that were,
 * only if their location says multicore_idempotent.
 *
 * Who frees what: a request's `struct passing` lies in the request's memory. Its group
 * is closed by the clean-up of the request, which nginx runs however the request ends;
 * so the body is sent from where the worker wrote it.
 */
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <errno.h>
#include <multicore.h>

enum {
    LOOK_MS = 20,           /* how often requests that wait look for the pool */
    ATTACH_AGAIN_MS = 1000, /* after the pool would not have us */
    LATE_MS = 300,          /* for the pool to report by itself what is over its time */
};

/* A pool, as one nginx worker has it. */
struct attached {
    ngx_str_t path;
    mc_pool *pool; /* NULL: it would not have us */
    ngx_msec_t refused_at;
    ngx_connection_t *connection; /* around the pool's descriptor */
    ngx_queue_t waiting;          /* struct passing, while there is no pool */
    ngx_event_t look;
};

struct main_conf {
    ngx_array_t pools; /* struct attached *, each path once */
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

static char *set_pool(ngx_conf_t *cf, ngx_command_t *command, void *conf);
static char *set_pass(ngx_conf_t *cf, ngx_command_t *command, void *conf);
static char *set_headers(ngx_conf_t *cf, ngx_command_t *command, void *conf);
static void *create_main_conf(ngx_conf_t *cf);
static void *create_server_conf(ngx_conf_t *cf);
static char *merge_server_conf(ngx_conf_t *cf, void *parent, void *child);
static void *create_location_conf(ngx_conf_t *cf);
static char *merge_location_conf(ngx_conf_t *cf, void *parent, void *child);
static ngx_int_t init_process(ngx_cycle_t *cycle);
static void exit_process(ngx_cycle_t *cycle);
static void attempt(struct passing *passing);

enum { ANYWHERE = NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF };

static ngx_command_t commands[] = {
    {ngx_string("multicore_pool"), NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_CONF_TAKE1,
     set_pool, NGX_HTTP_SRV_CONF_OFFSET, 0, NULL},
    {ngx_string("multicore_pass"),
     NGX_HTTP_LOC_CONF | NGX_HTTP_LIF_CONF | NGX_HTTP_LMT_CONF | NGX_CONF_TAKE1, set_pass,
     NGX_HTTP_LOC_CONF_OFFSET, 0, NULL},
    {ngx_string("multicore_timeout"), ANYWHERE | NGX_CONF_TAKE1, ngx_conf_set_msec_slot,
     NGX_HTTP_LOC_CONF_OFFSET, offsetof(struct location_conf, timeout), NULL},
    {ngx_string("multicore_retry"), ANYWHERE | NGX_CONF_TAKE1, ngx_conf_set_msec_slot,
     NGX_HTTP_LOC_CONF_OFFSET, offsetof(struct location_conf, retry), NULL},
    {ngx_string("multicore_idempotent"), ANYWHERE | NGX_CONF_FLAG, ngx_conf_set_flag_slot,
     NGX_HTTP_LOC_CONF_OFFSET, offsetof(struct location_conf, idempotent), NULL},
    {ngx_string("multicore_headers"), ANYWHERE | NGX_CONF_1MORE, set_headers,
     NGX_HTTP_LOC_CONF_OFFSET, 0, NULL},
    ngx_null_command,
};

static ngx_http_module_t context = {
    .create_main_conf = create_main_conf,
    .create_srv_conf = create_server_conf,
    .merge_srv_conf = merge_server_conf,
    .create_loc_conf = create_location_conf,
    .merge_loc_conf = merge_location_conf,
};

/* nginx finds it by this name. */
extern ngx_module_t ngx_http_multicore_module;
ngx_module_t ngx_http_multicore_module = {
    NGX_MODULE_V1,
    .ctx = &context,
    .commands = commands,
    .type = NGX_HTTP_MODULE,
    .init_process = init_process,
    .exit_process = exit_process,
};

/* ---- what a request looks like to a handler ---- */

static bool same_name(const ngx_str_t *one, const ngx_str_t *other)
{
    return one->len == other->len && ngx_strncasecmp(one->data, other->data, one->len) == 0;
}

static bool is_wanted(const struct passing *passing, const ngx_table_elt_t *header)
{
    const ngx_str_t *names = passing->conf->headers->elts;
    for (ngx_uint_t i = 0; i < passing->conf->headers->nelts; i++)
        if (same_name(&names[i], &header->key))
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
static void complain(const struct passing *passing, ngx_uint_t level, const char *what, int status,
                     const char *message)
{
    char line[512];
    size_t size = ngx_strlen(message) < sizeof(line) ? ngx_strlen(message) : sizeof(line) - 1;
    for (size_t i = 0; i < size; i++)
        line[i] = (u_char)message[i] < ' ' || message[i] == '\x7f' ? ' ' : message[i];
    line[size] = '\0';
    ngx_log_error(level, passing->request->connection->log, 0, "multicore: %V: %s (%d): %s",
                  &passing->conf->handler, what, status, line);
}

static ngx_int_t add_header(ngx_http_request_t *r, const ngx_str_t *name, const ngx_str_t *value,
                            ngx_table_elt_t **added)
{
    ngx_table_elt_t *header = ngx_list_push(&r->headers_out.headers);
    if (header == NULL)
        return NGX_ERROR;
    ngx_memzero(header, sizeof(*header)); /* its members differ from version to version */
    header->hash = 1;
    header->key = *name;
    header->value = *value;
    if (added != NULL)
        *added = header;
    return NGX_OK;
}

static ngx_int_t try_later(ngx_http_request_t *r)
{
    static const ngx_str_t name = ngx_string("Retry-After"), value = ngx_string("1");
    return add_header(r, &name, &value, NULL) == NGX_OK ? NGX_HTTP_SERVICE_UNAVAILABLE
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
    if (!attached->look.timer_set)
        ngx_add_timer(&attached->look, LOOK_MS);
}

static void on_timer(ngx_event_t *event)
{
    struct passing *passing = event->data;
    ngx_http_request_t *r = passing->request;
    ngx_connection_t *c = r->connection;
    ngx_http_set_log_request(c->log, r);
    if (passing->waits) {
        complain(passing, NGX_LOG_ERR, "no pool came back in time", -ENOTCONN, "");
        finish(passing, try_later(r));
    } else {
        complain(passing, NGX_LOG_ERR, "no answer in time", -ETIMEDOUT, "");
        finish(passing, NGX_HTTP_GATEWAY_TIME_OUT);
    }
    ngx_http_run_posted_requests(c);
}

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
        attempt(passing);
}

static ngx_int_t handle(ngx_http_request_t *r)
{
    ngx_int_t result = ngx_http_read_client_request_body(r, begin);
    return result >= NGX_HTTP_SPECIAL_RESPONSE ? result : NGX_DONE;
}

/* ---- the answer ---- */

/* What nginx says by itself, or a handler cannot know. */
static const ngx_str_t withheld[] = {
    ngx_string("Connection"), ngx_string("Content-Length"),
    ngx_string("Keep-Alive"), ngx_string("Transfer-Encoding"),
    ngx_string("Upgrade"),    ngx_string("Trailer"),
    ngx_string("TE"),
};

/* Headers that nginx looks at, and where it looks. */
static const struct {
    ngx_str_t name;
    size_t place;
} observed[] = {
    {ngx_string("Server"), offsetof(ngx_http_headers_out_t, server)},
    {ngx_string("Date"), offsetof(ngx_http_headers_out_t, date)},
    {ngx_string("Location"), offsetof(ngx_http_headers_out_t, location)},
    {ngx_string("Content-Encoding"), offsetof(ngx_http_headers_out_t, content_encoding)},
    {ngx_string("Last-Modified"), offsetof(ngx_http_headers_out_t, last_modified)},
    {ngx_string("ETag"), offsetof(ngx_http_headers_out_t, etag)},
    {ngx_string("Expires"), offsetof(ngx_http_headers_out_t, expires)},
    {ngx_string("WWW-Authenticate"), offsetof(ngx_http_headers_out_t, www_authenticate)},
    {ngx_string("Content-Range"), offsetof(ngx_http_headers_out_t, content_range)},
    {ngx_string("Accept-Ranges"), offsetof(ngx_http_headers_out_t, accept_ranges)},
};

static bool is_withheld(const ngx_str_t *name)
{
    for (size_t i = 0; i < sizeof(withheld) / sizeof(withheld[0]); i++)
        if (same_name(&withheld[i], name))
            return true;
    return false;
}

/* RFC 9110: a name is a token, and no value spans lines. */
static bool is_header(const ngx_str_t *name, const ngx_str_t *value)
{
    for (size_t i = 0; i < name->len; i++)
        if (!(name->data[i] > ' ' && name->data[i] < 0x7f) ||
            ngx_strchr("()<>@,;:\\\"/[]?={}", name->data[i]) != NULL)
            return false;
    for (size_t i = 0; i < value->len; i++)
        if ((value->data[i] < ' ' && value->data[i] != '\t') || value->data[i] == 0x7f)
            return false;
    return name->len > 0;
}

static ngx_int_t set_header(ngx_http_request_t *r, const ngx_str_t *name, const ngx_str_t *value)
{
    static const ngx_str_t content_type = ngx_string("Content-Type");
    ngx_table_elt_t *added;
    if (is_withheld(name))
        return NGX_OK;
    if (same_name(&content_type, name)) {
        r->headers_out.content_type = *value;
        r->headers_out.content_type_len = value->len;
        r->headers_out.content_type_lowcase = NULL;
        return NGX_OK;
    }
    if (add_header(r, name, value, &added) != NGX_OK)
        return NGX_ERROR;
    for (size_t i = 0; i < sizeof(observed) / sizeof(observed[0]); i++)
        if (same_name(&observed[i].name, name))
            *(ngx_table_elt_t **)((char *)&r->headers_out + observed[i].place) = added;
    return NGX_OK;
}

/* A copy in the request's memory: the log may ask for it when the group is closed. */
static int read_text(ngx_http_request_t *r, mc_value value, ngx_str_t *text)
{
    const char *data;
    ngx_str_t found;
    int result = mc_value_string(value, &data, &found.len);
    if (result < 0)
        return result;
    found.data = (u_char *)data;
    text->len = found.len;
    text->data = ngx_pstrdup(r->pool, &found);
    return text->data != NULL ? 0 : mc_fail(-ENOMEM, "no memory for a header");
}

static int read_headers(ngx_http_request_t *r, mc_value answer)
{
    mc_value headers, key, value;
    if (mc_value_get(answer, "headers", &headers) < 0)
        return 0;
    if (mc_value_type(headers) != MC_MAP)
        return mc_fail(-EINVAL, "its headers are not a map");
    for (size_t i = 0; mc_value_entry(headers, i, &key, &value) == 0; i++) {
        ngx_str_t name, text;
        int result = read_text(r, key, &name);
        if (result == 0)
            result = read_text(r, value, &text);
        if (result < 0)
            return result;
        if (!is_header(&name, &text))
            return mc_fail(-EINVAL, "header number %zu is none", i);
        if (set_header(r, &name, &text) != NGX_OK)
            return mc_fail(-ENOMEM, "no memory for a header");
    }
    return 0;
}

static int read_status(ngx_http_request_t *r, mc_value answer)
{
    mc_value value;
    int64_t status = NGX_HTTP_OK;
    if (mc_value_get(answer, "status", &value) == 0) {
        int result = mc_value_int(value, &status);
        if (result < 0)
            return result;
    }
    if (status < 200 || status > 599)
        return mc_fail(-ERANGE, "its status is %lld: 200 to 599", (long long)status);
    r->headers_out.status = (ngx_uint_t)status;
    return 0;
}

static int read_body(mc_value value, ngx_str_t *body)
{
    const void *data = NULL;
    const char *text = NULL;
    int result = 0;
    if (mc_value_type(value) == MC_STRING) {
        result = mc_value_string(value, &text, &body->len);
        data = text;
    } else if (mc_value_type(value) != MC_NIL) {
        result = mc_value_bytes(value, &data, &body->len);
    }
    body->data = (u_char *)(uintptr_t)data;
    return result;
}

static int read_answer(struct passing *passing, const struct mc_result *result, ngx_str_t *body)
{
    ngx_http_request_t *r = passing->request;
    mc_value answer, value;
    r->headers_out.status = NGX_HTTP_OK;
    if (result->data == NULL)
        return 0;
    int status = mc_group_value(passing->group, result->index, &answer);
    if (status < 0 || mc_value_type(answer) != MC_MAP)
        return status < 0 ? status : read_body(answer, body);
    status = read_status(r, answer);
    if (status == 0)
        status = read_headers(r, answer);
    if (status == 0 && mc_value_get(answer, "body", &value) == 0)
        status = read_body(value, body);
    return status;
}

static ngx_int_t send_body(ngx_http_request_t *r, ngx_str_t *body)
{
    ngx_buf_t *buffer = ngx_calloc_buf(r->pool);
    ngx_chain_t *chain = ngx_alloc_chain_link(r->pool);
    if (buffer == NULL || chain == NULL)
        return NGX_ERROR;
    buffer->pos = body->data;
    buffer->last = body->data + body->len;
    buffer->memory = body->len > 0;
    buffer->last_buf = r == r->main;
    buffer->last_in_chain = 1;
    chain->buf = buffer;
    chain->next = NULL;
    return ngx_http_output_filter(r, chain);
}

static ngx_int_t respond(struct passing *passing, const struct mc_result *result)
{
    ngx_http_request_t *r = passing->request;
    ngx_str_t body = ngx_null_string;
    int status = read_answer(passing, result, &body);
    if (status < 0) {
        complain(passing, NGX_LOG_ERR, "cannot send its result", status, mc_error_message());
        ngx_http_clean_header(r);
        return NGX_HTTP_BAD_GATEWAY;
    }
    r->headers_out.content_length_n = (off_t)body.len;
    if (r->headers_out.content_type.len == 0 && ngx_http_set_content_type(r) != NGX_OK)
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    ngx_int_t sent = ngx_http_send_header(r);
    if (sent == NGX_ERROR || sent > NGX_OK || r->header_only)
        return sent;
    return send_body(r, &body);
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
        complain(passing, NGX_LOG_ERR, "has no result", -EIO, mc_error_message());
        finish(passing, NGX_HTTP_INTERNAL_SERVER_ERROR);
    } else if (result.status == 0) {
        finish(passing, respond(passing, &result));
    } else if (was_lost(&result) && passing->conf->idempotent) {
        complain(passing, NGX_LOG_NOTICE, "is run again", result.status, result.error);
        leave_pool(passing);
        passing->wait_until = earlier(ngx_current_msec + passing->conf->retry, passing->deadline);
        attempt(passing);
    } else {
        complain(passing, NGX_LOG_ERR, "failed", result.status, result.error);
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

static bool attach(struct attached *attached);

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
    if (!attach(attached))
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

/* The request is in the pool, waits for one, or is finished, when this returns. */
static void attempt(struct passing *passing)
{
    int result = submit(passing);
    if (result == 0) {
        stop_waiting(passing);
        set_timer(passing, passing->deadline + LATE_MS);
    } else if (is_away(result) && (ngx_msec_int_t)(passing->wait_until - ngx_current_msec) > 0) {
        wait_for_pool(passing);
    } else {
        complain(passing, NGX_LOG_ERR, "not submitted", result, mc_error_message());
        finish(passing, refusal(passing->request, result));
    }
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
        attempt(passing);
        away = !ngx_queue_empty(&attached->waiting) &&
               ngx_queue_head(&attached->waiting) == &passing->queue;
        ngx_http_run_posted_requests(c);
    }
    if (!ngx_queue_empty(&attached->waiting) && !attached->look.timer_set)
        ngx_add_timer(&attached->look, LOOK_MS);
}

static void on_readable(ngx_event_t *event)
{
    const ngx_connection_t *c = event->data;
    struct attached *attached = c->data;
    (void)mc_pool_dispatch(attached->pool);
}

/* ---- the process ---- */

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

static void detach(struct attached *attached)
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

/* A pool that is not there is no failure; one that refuses us is asked again later. */
static bool attach(struct attached *attached)
{
    if (attached->pool != NULL)
        return true;
    if (attached->refused_at != 0 && ngx_current_msec - attached->refused_at < ATTACH_AGAIN_MS)
        return false;
    attached->refused_at = ngx_current_msec;
    int result = mc_pool_attach((const char *)attached->path.data, NULL, &attached->pool);
    if (result == 0 && !watch(attached)) {
        result = mc_fail(-EMFILE, "nginx cannot watch the pool's descriptor");
        detach(attached);
    }
    if (result < 0)
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0, "multicore: %V: not attached (%d): %s",
                      &attached->path, result, mc_error_message());
    return result == 0;
}

static ngx_int_t init_process(ngx_cycle_t *cycle)
{
    struct main_conf *conf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_multicore_module);
    if (conf == NULL || (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE))
        return NGX_OK;
    struct attached **pools = conf->pools.elts;
    for (ngx_uint_t i = 0; i < conf->pools.nelts; i++) {
        ngx_queue_init(&pools[i]->waiting);
        pools[i]->look = (ngx_event_t){.handler = look_for_pool, .data = pools[i]};
        pools[i]->look.log = cycle->log;
        pools[i]->look.cancelable = 1; /* requests that wait have timers of their own */
        (void)attach(pools[i]);
    }
    return NGX_OK;
}

static void exit_process(ngx_cycle_t *cycle)
{
    struct main_conf *conf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_multicore_module);
    struct attached **pools = conf != NULL ? conf->pools.elts : NULL;
    for (ngx_uint_t i = 0; conf != NULL && i < conf->pools.nelts; i++)
        detach(pools[i]);
}

/* ---- the configuration ---- */

static char *set_pool(ngx_conf_t *cf, ngx_command_t *command, void *conf)
{
    struct server_conf *server = conf;
    struct main_conf *all = ngx_http_conf_get_module_main_conf(cf, ngx_http_multicore_module);
    ngx_str_t path = ((ngx_str_t *)cf->args->elts)[1];
    (void)command;
    if (server->attached != NGX_CONF_UNSET_PTR)
        return "is duplicate";
    if (ngx_conf_full_name(cf->cycle, &path, 0) != NGX_OK)
        return NGX_CONF_ERROR;
    struct attached **pools = all->pools.elts;
    for (ngx_uint_t i = 0; i < all->pools.nelts; i++) {
        if (pools[i]->path.len == path.len &&
            ngx_strncmp(pools[i]->path.data, path.data, path.len) == 0) {
            server->attached = pools[i];
            return NGX_CONF_OK;
        }
    }
    struct attached **place = ngx_array_push(&all->pools);
    if (place == NULL || (*place = ngx_pcalloc(cf->pool, sizeof(**place))) == NULL)
        return NGX_CONF_ERROR;
    (*place)->path = path;
    server->attached = *place;
    return NGX_CONF_OK;
}

static char *set_pass(ngx_conf_t *cf, ngx_command_t *command, void *conf)
{
    struct location_conf *location = conf;
    ngx_http_core_loc_conf_t *core = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    (void)command;
    if (location->handler.data != NULL)
        return "is duplicate";
    location->handler = ((ngx_str_t *)cf->args->elts)[1];
    if (location->handler.len == 0 || location->handler.len > 63)
        return "names no handler: they have 1 to 63 bytes";
    core->handler = handle;
    return NGX_CONF_OK;
}

static char *set_headers(ngx_conf_t *cf, ngx_command_t *command, void *conf)
{
    struct location_conf *location = conf;
    const ngx_str_t *names = cf->args->elts;
    (void)command;
    if (location->headers != NGX_CONF_UNSET_PTR)
        return "is duplicate";
    location->headers = ngx_array_create(cf->pool, cf->args->nelts, sizeof(ngx_str_t));
    if (location->headers == NULL)
        return NGX_CONF_ERROR;
    for (ngx_uint_t i = 1; i < cf->args->nelts; i++) /* there is room for all */
        *(ngx_str_t *)ngx_array_push(location->headers) = names[i];
    return NGX_CONF_OK;
}

static void *create_main_conf(ngx_conf_t *cf)
{
    struct main_conf *conf = ngx_pcalloc(cf->pool, sizeof(*conf));
    if (conf == NULL ||
        ngx_array_init(&conf->pools, cf->pool, 1, sizeof(struct attached *)) != NGX_OK)
        return NULL;
    return conf;
}

static void *create_server_conf(ngx_conf_t *cf)
{
    struct server_conf *conf = ngx_pcalloc(cf->pool, sizeof(*conf));
    if (conf != NULL)
        conf->attached = NGX_CONF_UNSET_PTR;
    return conf;
}

static char *merge_server_conf(ngx_conf_t *cf, void *parent, void *child)
{
    const struct server_conf *outer = parent;
    struct server_conf *conf = child;
    (void)cf;
    ngx_conf_merge_ptr_value(conf->attached, outer->attached, NULL);
    return NGX_CONF_OK;
}

static void *create_location_conf(ngx_conf_t *cf)
{
    struct location_conf *conf = ngx_pcalloc(cf->pool, sizeof(*conf));
    if (conf == NULL)
        return NULL;
    conf->timeout = NGX_CONF_UNSET_MSEC;
    conf->retry = NGX_CONF_UNSET_MSEC;
    conf->idempotent = NGX_CONF_UNSET;
    conf->headers = NGX_CONF_UNSET_PTR;
    return conf;
}

static char *merge_location_conf(ngx_conf_t *cf, void *parent, void *child)
{
    static ngx_str_t usual_names[] = {ngx_string("Host"), ngx_string("Content-Type"),
                                      ngx_string("Accept")};
    static ngx_array_t usual = {.elts = usual_names, .nelts = 3};
    const struct location_conf *outer = parent;
    struct location_conf *conf = child;
    const struct server_conf *server =
        ngx_http_conf_get_module_srv_conf(cf, ngx_http_multicore_module);
    ngx_http_core_loc_conf_t *core = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    ngx_conf_merge_msec_value(conf->timeout, outer->timeout, 60000);
    ngx_conf_merge_msec_value(conf->retry, outer->retry, 1000);
    ngx_conf_merge_value(conf->idempotent, outer->idempotent, 0);
    ngx_conf_merge_ptr_value(conf->headers, outer->headers, &usual);
    if (conf->handler.data != NULL && server->attached == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "multicore_pass \"%V\" needs a multicore_pool",
                           &conf->handler);
        return NGX_CONF_ERROR;
    }
    if (conf->handler.data == NULL && core->noname && core->handler == NULL) {
        conf->handler = outer->handler; /* "if" and "limit_except" */
        core->handler = outer->handler.data != NULL ? handle : NULL;
    }
    return NGX_CONF_OK;
}
