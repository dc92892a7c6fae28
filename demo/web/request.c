/* SPDX-License-Identifier: BSD-3-Clause
 *
 * libmicrohttpd calls request_on_data() when the head of a request is there, for each
 * piece of its body, when it is complete, and again after it was resumed. An answer can
 * be given at the first of these and at the last two; at the first, the connection is closed
 * on a body that was not read, and most who are sending one lose the answer with it.
 */
#include "request.h"
#include "routes.h"
#include "seconds.h"
#include "server.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { BODY_MAX = 1 << 20 };

static const char *header(const struct request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

/* ---- Answers ---- */

static void add_header(struct request *request, const char *name, const char *value)
{
    if (request->response)
        MHD_add_response_header(request->response, name, value);
}

void request_answer(struct request *request, unsigned status, struct MHD_Response *response)
{
    request->status = status;
    request->response = response;
    add_header(request, "X-Content-Type-Options", "nosniff");
    if (request->server->stopping)
        add_header(request, MHD_HTTP_HEADER_CONNECTION, "close");
    if (!request->suspended)
        return;
    TAILQ_REMOVE(&request->server->suspended, request, entry);
    request->server->waiting--;
    request->suspended = false;
    request->server->resumed = true;
    MHD_resume_connection(request->connection);
}

struct MHD_Response *request_response(const struct request *request)
{
    return request->response;
}

static struct MHD_Response *make_response(struct request *request, const char *media_type,
                                          const void *data, size_t size)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(size, (void *)(uintptr_t)data, MHD_RESPMEM_MUST_COPY);
    if (response)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, media_type);
    request->sent = size;
    return response;
}

void request_reply(struct request *request, unsigned status, const char *media_type,
                   const void *data, size_t size)
{
    request_answer(request, status, make_response(request, media_type, data, size));
}

/* To programs as JSON, to people as text. */
void request_refuse(struct request *request, unsigned status, const char *sentence)
{
    const char *accept = header(request, MHD_HTTP_HEADER_ACCEPT);
    bool person = accept && strstr(accept, "text/html");
    json_t *object = person ? NULL : json_pack("{s:s}", "error", sentence);
    char *json = object ? json_dumps(object, JSON_COMPACT) : NULL;
    const char *text = json ? json : sentence;
    struct MHD_Response *response = make_response(
        request, json ? "application/json" : "text/plain; charset=utf-8", text, strlen(text));
    if (response && status == MHD_HTTP_SERVICE_UNAVAILABLE)
        MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, "1");
    if (response && status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, routes_allowed(request->url));
    free(json);
    json_decref(object);
    request_answer(request, status, response);
}

void request_fail(struct request *request, int status, const char *sentence)
{
    unsigned code = MHD_HTTP_INTERNAL_SERVER_ERROR;
    switch (status) {
    case -EINVAL:
        code = MHD_HTTP_BAD_REQUEST;
        break;
    case -ENOENT:
        code = MHD_HTTP_NOT_FOUND;
        break;
    case -EAGAIN:       /* the pool's queue is full, */
    case -EBUSY:        /* or moves too slowly, */
    case -ETIME:        /* or nobody began in time */
    case -ESHUTDOWN:    /* the pool is gone, */
    case -ECONNREFUSED: /* or the database */
        code = MHD_HTTP_SERVICE_UNAVAILABLE;
        break;
    case -ETIMEDOUT:
        code = MHD_HTTP_GATEWAY_TIMEOUT;
        break;
    case -EOWNERDEAD: /* its worker went while it ran, */
    case -ECONNRESET: /* or the database: it may have been done */
        code = MHD_HTTP_BAD_GATEWAY;
        break;
    default:
        break;
    }
    request_refuse(request, code, sentence);
}

/* ---- Work ---- */

static void on_work_done(struct job *job, const struct outcome *outcome)
{
    struct request *request = job->context;
    if (outcome->status == 0)
        request_reply(request, request->route->success, job->work->media_type, outcome->data,
                      outcome->size);
    else
        request_fail(request, outcome->status, outcome->error);
}

void request_run(struct request *request, const struct work *work, const void *args, size_t size,
                 void (*done)(struct job *job, const struct outcome *outcome))
{
    request->job =
        (struct job){.work = work, .args = args, .size = size, .done = done, .context = request};
    mode_start(request->server->mode, &request->job);
}

void serve_work(struct request *request)
{
    const struct work *work = request->route->work;
    if (work->ask && !request->server->options->database)
        request_refuse(request, MHD_HTTP_SERVICE_UNAVAILABLE,
                       "this server has no database; it is given with --database");
    else
        request_run(request, work, request->body.data, request->body.size, on_work_done);
}

void request_expire(struct request *request)
{
    mode_cancel(request->server->mode, &request->job);
    request_fail(request, -ETIMEDOUT, "no answer within the time limit");
}

/* ---- Reading ---- */

static void collect(struct request *request, const char *data, size_t size)
{
    char *grown = realloc(request->body.data, request->body.size + size);
    if (!grown) {
        if (!request->status)
            request_fail(request, -ENOMEM, "no memory for the body");
        return;
    }
    memcpy(grown + request->body.size, data, size);
    request->body = (struct reply){grown, request->body.size + size};
}

static size_t body_limit(const struct request *request)
{
    bool upload = request->route && request->route->upload;
    /* An upload has some lines around it. */
    return upload ? request->server->options->max_upload + 4096 : BODY_MAX;
}

/* So much is read of a body that nobody wants, for an answer to it to arrive. */
static size_t read_limit(const struct request *request)
{
    return 2 * body_limit(request);
}

/* What is announced; 0 when nothing is. */
static unsigned long long body_length(const struct request *request)
{
    const char *length = header(request, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return length ? strtoull(length, NULL, 10) : 0;
}

static void refuse_size(struct request *request)
{
    char sentence[128];
    snprintf(sentence, sizeof(sentence), "the body is larger than %zu bytes, the limit here",
             body_limit(request));
    request_refuse(request, MHD_HTTP_CONTENT_TOO_LARGE, sentence);
}

/* What can be said without the body. */
static void look_at_head(struct request *request)
{
    const struct server *server = request->server;
    if (!request->route) {
        bool known = *routes_allowed(request->url);
        request_refuse(request, known ? MHD_HTTP_METHOD_NOT_ALLOWED : MHD_HTTP_NOT_FOUND,
                       known ? "this method is not for this path" : "there is nothing here");
    } else if (server->stopping) {
        request_refuse(request, MHD_HTTP_SERVICE_UNAVAILABLE, "the server is ending");
    } else if (server->requests > server->options->max_requests) {
        request_refuse(request, MHD_HTTP_SERVICE_UNAVAILABLE, "too many requests at once");
    } else if (body_length(request) > body_limit(request)) {
        refuse_size(request);
    }
}

/* Nobody sends: there is no body, or the client asked whether it is wanted. Or too much would
 * have to be read. */
static bool may_answer_head(const struct request *request)
{
    const char *expect = header(request, MHD_HTTP_HEADER_EXPECT);
    unsigned long long length = body_length(request);
    bool none = length == 0 && !header(request, MHD_HTTP_HEADER_TRANSFER_ENCODING);
    return none || (expect && strcasecmp(expect, "100-continue") == 0) ||
           length > read_limit(request);
}

static struct request *begin(struct server *server, struct MHD_Connection *connection,
                             const char *url, const char *method)
{
    struct request *request = calloc(1, sizeof(*request));
    if (!request)
        return NULL;
    request->server = server;
    request->connection = connection;
    request->start_ns = monotonic_ns();
    request->method = strdup(method);
    request->url = strdup(url);
    server->requests++;
    if (!request->method || !request->url) {
        request_fail(request, -ENOMEM, "no memory");
        return request;
    }
    request->route = routes_find(request->method, request->url);
    look_at_head(request);
    return request;
}

/* While something comes now and then, libmicrohttpd waits. */
static bool is_late(const struct request *request)
{
    uint64_t limit_ms = request->server->options->body_time_limit_ms;
    return monotonic_ns() - request->start_ns > limit_ms * 1000000;
}

/* Returns false when somebody sends without end what is thrown away, or for too long. Nothing
 * can be answered before the body is complete. */
static bool take(struct request *request, const char *data, size_t size)
{
    request->received += size;
    if (is_late(request)) {
        if (!request->status) /* for the log */
            request_refuse(request, MHD_HTTP_REQUEST_TIMEOUT, "the body took too long");
        return false;
    }
    if (request->received > body_limit(request) && !request->status)
        refuse_size(request);
    if (request->status)
        return request->received <= read_limit(request);
    if (request->route->receive)
        request->route->receive(request, data, size);
    else
        collect(request, data, size);
    return true;
}

static enum MHD_Result send_answer(struct request *request)
{
    return request->response
               ? MHD_queue_response(request->connection, request->status, request->response)
               : MHD_NO;
}

/* A slow sender has as much time as others, once everything is there. */
static void serve(struct request *request)
{
    uint64_t limit_ms = request->server->options->time_limit_ms;
    request->served = true;
    request->deadline_ns = monotonic_ns() + limit_ms * 1000000;
    request->route->serve(request);
}

/* Follows serve() at once: the last one has the most time left. */
static void suspend(struct request *request)
{
    TAILQ_INSERT_TAIL(&request->server->suspended, request, entry);
    request->suspended = true;
    request->server->waiting++;
    MHD_suspend_connection(request->connection);
}

enum MHD_Result request_on_data(void *context, struct MHD_Connection *connection, const char *url,
                                const char *method, const char *version, const char *data,
                                size_t *size, void **own)
{
    struct request *request = *own;
    (void)version;
    if (!request) {
        *own = request = begin(context, connection, url, method);
        if (!request)
            return MHD_NO;
        return request->status && may_answer_head(request) ? send_answer(request) : MHD_YES;
    }
    if (*size > 0) {
        bool wanted = take(request, data, *size);
        *size = 0;
        return wanted ? MHD_YES : MHD_NO;
    }
    if (!request->status && !request->served)
        serve(request);
    if (request->status)
        return send_answer(request);
    suspend(request);
    return MHD_YES;
}

/* ---- The end ---- */

void request_on_end(void *context, struct MHD_Connection *connection, void **own,
                    enum MHD_RequestTerminationCode how)
{
    struct server *server = context;
    struct request *request = *own;
    (void)connection;
    if (!request)
        return;
    *own = NULL;
    server->requests--;
    server_log(server, request, how == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    if (request->end_context)
        request->end_context(request->context);
    if (request->response)
        MHD_destroy_response(request->response);
    free(request->body.data);
    free(request->method);
    free(request->url);
    free(request);
}
