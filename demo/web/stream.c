/* SPDX-License-Identifier: BSD-3-Clause
 *
 * While a stream has nothing to say, its connection is suspended. libmicrohttpd does not
 * notice then that the client has left: a comment now and then finds out.
 */
#include "stream.h"
#include "seconds.h"
#include "server.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { WORKERS_SHOWN = 64, EVENT_MAX = 8192, SILENCE_S = 15 };

struct stream {
    struct server *server;
    struct MHD_Connection *connection;
    TAILQ_ENTRY(stream) entry;
    char document[DOCUMENT_NAME + 1];
    char last[EVENT_MAX]; /* what was said last, ... */
    size_t size;
    size_t sent; /* ... and how much of it is on its way */
    uint64_t said_ns;
    bool suspended;
};

static json_t *tell_workers(struct server *server, struct mode_state *state)
{
    pid_t pids[WORKERS_SHOWN] = {0};
    json_t *workers = json_array();
    mode_state(server->mode, state, pids, WORKERS_SHOWN);
    for (unsigned i = 0; i < state->workers && i < WORKERS_SHOWN; i++) {
        struct tally_row row = tally_of(&server->tally, pids[i]);
        json_array_append_new(workers, json_pack("{s:i, s:I, s:I}", "pid", (int)row.pid, "tasks",
                                                 (json_int_t)row.tasks, "ms",
                                                 (json_int_t)(row.run_ns / 1000000)));
    }
    return workers;
}

static json_t *tell_document(struct server *server, const struct stream *stream)
{
    const struct uploaded *uploaded =
        *stream->document ? documents_find(&server->documents, stream->document) : NULL;
    if (!uploaded)
        return json_null();
    uint64_t wall_ns = uploaded->drawn ? uploaded->last_ns - uploaded->first_ns : 0;
    return json_pack("{s:I, s:I, s:I, s:I}", "pages", (json_int_t)uploaded->pages, "drawn",
                     (json_int_t)uploaded->drawn, "serial_ms",
                     (json_int_t)(uploaded->drawn_ns / 1000000), "wall_ms",
                     (json_int_t)(wall_ns / 1000000));
}

/* As an event; NULL without memory. */
static char *tell_state(struct server *server, const struct stream *stream)
{
    static const char *const admissions[] = {
        [MC_PARALLEL] = "all workers", [MC_NARROW] = "one worker", [MC_INLINE] = "this process"};
    struct mode_state state;
    char *event = NULL;
    json_t *workers = tell_workers(server, &state);
    json_t *whole = json_pack("{s:o, s:I, s:s, s:s, s:o}", "workers", workers, "waiting",
                              (json_int_t)server->waiting, "admission",
                              state.workers ? admissions[state.mode] : admissions[MC_INLINE],
                              "reason", state.reason, "document", tell_document(server, stream));
    char *text = json_dumps(whole, JSON_COMPACT);
    json_decref(whole);
    if (text && asprintf(&event, "data: %s\n\n", text) < 0)
        event = NULL;
    free(text);
    return event;
}

static ssize_t read_stream(void *context, uint64_t position, char *buffer, size_t max)
{
    struct stream *stream = context;
    size_t left = stream->size - stream->sent;
    (void)position;
    if (left == 0 && stream->server->stopping)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (left == 0) {
        stream->suspended = true;
        MHD_suspend_connection(stream->connection);
        return 0;
    }
    size_t size = left < max ? left : max;
    memcpy(buffer, stream->last + stream->sent, size);
    stream->sent += size;
    return (ssize_t)size;
}

static void end_stream(void *context)
{
    struct stream *stream = context;
    TAILQ_REMOVE(&stream->server->streams, stream, entry);
    stream->server->stream_count--;
    free(stream);
}

static void say(struct stream *stream, const char *text)
{
    size_t size = strlen(text);
    if (size > sizeof(stream->last))
        return;
    memcpy(stream->last, text, size);
    stream->size = size;
    stream->sent = 0;
    stream->said_ns = monotonic_ns();
}

static void resume(struct stream *stream)
{
    if (!stream->suspended)
        return;
    stream->suspended = false;
    stream->server->resumed = true;
    MHD_resume_connection(stream->connection);
}

static void tell(struct stream *stream)
{
    if (stream->sent < stream->size) /* a slow client: it gets what is new then */
        return;
    char *event = tell_state(stream->server, stream);
    bool same =
        event && stream->size == strlen(event) && memcmp(event, stream->last, stream->size) == 0;
    if (event && !same)
        say(stream, event);
    else if (seconds_since(stream->said_ns) > SILENCE_S)
        say(stream, ":\n\n");
    free(event);
    if (stream->sent < stream->size || stream->server->stopping)
        resume(stream);
}

void streams_tell(struct server *server)
{
    for (struct stream *stream = TAILQ_FIRST(&server->streams); stream;
         stream = TAILQ_NEXT(stream, entry))
        tell(stream);
}

void serve_events(struct request *request)
{
    struct server *server = request->server;
    const char *document =
        MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, "document");
    if (server->stream_count == STREAMS_MAX) {
        request_refuse(request, MHD_HTTP_SERVICE_UNAVAILABLE, "too many are watching");
        return;
    }
    struct stream *stream = calloc(1, sizeof(*stream));
    struct MHD_Response *response =
        stream ? MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, EVENT_MAX, read_stream, stream,
                                                   end_stream)
               : NULL;
    if (!response) {
        free(stream);
        request_fail(request, -ENOMEM, "no memory for a stream");
        return;
    }
    stream->server = server;
    stream->connection = request->connection;
    if (document)
        snprintf(stream->document, sizeof(stream->document), "%s", document);
    TAILQ_INSERT_TAIL(&server->streams, stream, entry);
    server->stream_count++;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "text/event-stream");
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    request_answer(request, MHD_HTTP_OK, response);
    tell(stream);
}
