/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A page of a document is drawn when its picture is asked for: a browser asks for
 * several at once, and what has been drawn it keeps. The server keeps none.
 */
#include "upload.h"
#include "mode.h"
#include "pages.h"
#include "seconds.h"
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- What does not change ---- */

extern const char page_index[], page_document[], page_style[], page_script[];

#define HTML "text/html; charset=utf-8"

static void reply_page(struct request *request, const char *media_type, const char *text,
                       size_t size)
{
    request_reply(request, MHD_HTTP_OK, media_type, text, size);
    struct MHD_Response *response = request_response(request);
    if (!response)
        return;
    MHD_add_response_header(
        response, "Content-Security-Policy",
        "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src "
        "'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'");
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache");
}

void serve_page(struct request *request)
{
    if (strcmp(request->url, "/style.css") == 0) {
        reply_page(request, "text/css", page_style, strlen(page_style));
    } else if (strcmp(request->url, "/script.js") == 0) {
        reply_page(request, "text/javascript", page_script, strlen(page_script));
    } else {
        reply_page(request, HTML, page_index, strlen(page_index));
        /* While a document is chosen, workers load what draws it. */
        mode_prepare(request->server->mode, &pages_prepare);
    }
}

/* ---- Uploading ---- */

enum { UPLOADS_MAX = 16 }; /* at once: each has a file, of --max-upload at most */

struct upload {
    struct request *request;
    struct MHD_PostProcessor *form;
    int fd; /* -1: the file did not come yet */
    size_t size;
    char name[DOCUMENT_NAME + 1];
    struct page_wanted wanted;
};

static void end_upload(void *context)
{
    struct upload *upload = context;
    upload->request->server->uploads--;
    if (upload->form)
        MHD_destroy_post_processor(upload->form);
    if (upload->fd >= 0)
        close(upload->fd);
    if (upload->wanted.path[0])
        unlink(upload->wanted.path); /* unless it was added: then there is no path */
    free(upload);
}

static int open_file(struct upload *upload, struct failure *failure)
{
    int status = documents_name(&upload->request->server->documents, upload->name,
                                upload->wanted.path, sizeof(upload->wanted.path), failure);
    if (status < 0)
        return status;
    upload->fd = open(upload->wanted.path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (upload->fd < 0)
        return failure_set(failure, -errno, "the document cannot be kept: %s", strerror(errno));
    return 0;
}

static enum MHD_Result on_form_data(void *context, enum MHD_ValueKind kind, const char *key,
                                    const char *file_name, const char *media_type,
                                    const char *encoding, const char *data, uint64_t offset,
                                    size_t size)
{
    struct upload *upload = context;
    struct request *request = upload->request;
    struct failure failure = {0};
    (void)kind, (void)media_type, (void)encoding;
    if (!key || strcmp(key, "document") != 0 || request->status)
        return MHD_YES;
    if (!file_name || offset != upload->size) { /* text, or another file begins */
        request_refuse(request, MHD_HTTP_BAD_REQUEST,
                       "the form must have one \"document\", which is a file");
        return MHD_YES;
    }
    if (upload->fd < 0 && open_file(upload, &failure) < 0) {
        request_refuse(request, MHD_HTTP_INSUFFICIENT_STORAGE, failure.text);
        return MHD_YES;
    }
    upload->size += size;
    if (upload->size > request->server->options->max_upload)
        request_refuse(request, MHD_HTTP_CONTENT_TOO_LARGE,
                       "the document is too large for this server; see --max-upload");
    else if (write(upload->fd, data, size) != (ssize_t)size)
        request_refuse(request, MHD_HTTP_INSUFFICIENT_STORAGE, "there is no room for documents");
    return MHD_YES;
}

/* Returns NULL when it was refused. */
static struct upload *begin_upload(struct request *request)
{
    struct server *server = request->server;
    if (server->uploads == UPLOADS_MAX) {
        request_refuse(request, MHD_HTTP_SERVICE_UNAVAILABLE, "too many documents at once");
        return NULL;
    }
    struct upload *upload = calloc(1, sizeof(*upload));
    if (!upload) {
        request_fail(request, -ENOMEM, "no memory for the document");
        return NULL;
    }
    server->uploads++;
    upload->request = request;
    upload->fd = -1;
    upload->form = MHD_create_post_processor(request->connection, 16384, on_form_data, upload);
    request->context = upload;
    request->end_context = end_upload;
    return upload;
}

void receive_upload(struct request *request, const char *data, size_t size)
{
    struct upload *upload = request->context ? request->context : begin_upload(request);
    bool taken = upload && upload->form && MHD_post_process(upload->form, data, size) == MHD_YES;
    if (!taken && !request->status)
        request_refuse(request, MHD_HTTP_BAD_REQUEST,
                       "the body must be a form (multipart/form-data) with the file \"document\"");
}

static void on_counted(struct job *job, const struct outcome *outcome)
{
    struct request *request = job->context;
    struct upload *upload = request->context;
    char place[64];
    uint32_t pages;
    if (outcome->status < 0) {
        request_fail(request, outcome->status, outcome->error);
        return;
    }
    memcpy(&pages, outcome->data, sizeof(pages));
    if (!documents_add(&request->server->documents, upload->name, pages)) {
        request_fail(request, -ENOMEM, "no memory for the document");
        return;
    }
    upload->wanted.path[0] = '\0';
    snprintf(place, sizeof(place), "/documents/%s/", upload->name);
    request_reply(request, MHD_HTTP_SEE_OTHER, "text/plain", place, strlen(place));
    struct MHD_Response *response = request_response(request);
    if (response)
        MHD_add_response_header(response, MHD_HTTP_HEADER_LOCATION, place);
}

static size_t wanted_size(const struct page_wanted *wanted)
{
    return offsetof(struct page_wanted, path) + strlen(wanted->path) + 1;
}

void serve_upload(struct request *request)
{
    struct upload *upload = request->context;
    if (!upload || upload->fd < 0)
        request_refuse(request, MHD_HTTP_BAD_REQUEST,
                       "the body must be a form with the file \"document\"");
    else
        request_run(request, &pages_count, &upload->wanted, wanted_size(&upload->wanted),
                    on_counted);
}

/* ---- Looking ---- */

enum { SEEN_FIRST = 16 }; /* pages that are not asked for only when they come in sight */

/* The document's page, with a picture for each of its pages. */
static void reply_document(struct request *request, const struct uploaded *uploaded)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out) {
        request_fail(request, -ENOMEM, "no memory for the page");
        return;
    }
    /* It has two places to fill in, and ends within the list. */
    fprintf(out, page_document, uploaded->name, uploaded->pages);
    for (unsigned i = 1; i <= uploaded->pages; i++)
        fprintf(out, "<li><img src=\"%u\" alt=\"Page %u\"%s></li>\n", i, i,
                i <= SEEN_FIRST ? "" : " loading=\"lazy\"");
    fputs("</ol>\n</main>\n", out);
    if (fclose(out) == 0)
        reply_page(request, HTML, text, size);
    else
        request_fail(request, -ENOMEM, "no memory for the page");
    free(text);
}

static void on_drawn(struct job *job, const struct outcome *outcome)
{
    struct request *request = job->context;
    const struct page_wanted *wanted = request->context;
    struct server *server = request->server;
    if (outcome->status < 0) {
        request_fail(request, outcome->status, outcome->error);
        return;
    }
    struct uploaded *uploaded =
        documents_find(&server->documents, request->url + strlen("/documents/"));
    if (uploaded)
        documents_drawn(uploaded, wanted->number, outcome->run_ns);
    tally_add(&server->tally, outcome->worker_pid, outcome->run_ns);
    request_reply(request, MHD_HTTP_OK, job->work->media_type, outcome->data, outcome->size);
    struct MHD_Response *response = request_response(request);
    if (response)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL,
                                "private, max-age=3600, immutable");
}

static void draw(struct request *request, struct uploaded *uploaded, unsigned number)
{
    struct page_wanted *wanted = malloc(sizeof(*wanted));
    if (!wanted) {
        request_fail(request, -ENOMEM, "no memory for the page");
        return;
    }
    wanted->number = number;
    memcpy(wanted->path, uploaded->path, sizeof(wanted->path));
    if (uploaded->first_ns == 0)
        uploaded->first_ns = monotonic_ns();
    request->context = wanted;
    request->end_context = free;
    request_run(request, &pages_draw, wanted, wanted_size(wanted), on_drawn);
}

void serve_document(struct request *request)
{
    const char *name = request->url + strlen("/documents/");
    struct uploaded *uploaded = documents_find(&request->server->documents, name);
    const char *rest = uploaded ? name + DOCUMENT_NAME : "";
    char *end;
    bool digit = rest[0] == '/' && rest[1] >= '1' && rest[1] <= '9';
    unsigned long number = digit ? strtoul(rest + 1, &end, 10) : 0;
    if (!uploaded)
        request_refuse(request, MHD_HTTP_NOT_FOUND, "there is no such document, or no longer");
    else if (strcmp(rest, "/") == 0)
        reply_document(request, uploaded);
    else if (number >= 1 && number <= uploaded->pages && *end == '\0')
        draw(request, uploaded, (unsigned)number);
    else
        request_refuse(request, MHD_HTTP_NOT_FOUND, "the document has no such page");
}
