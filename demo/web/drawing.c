/* SPDX-License-Identifier: BSD-3-Clause */
#include "drawing.h"
#include "document.h"
#include "page.h"
#include "pages.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { THUMB_DPI = 24 };

/* What this process has open. Names are not used again, so a name is a document. */
static struct {
    char path[PATH_MAX];
    PopplerDocument *document;
    unsigned pages;
} last;

static int read_wanted(const void *args, size_t size, struct page_wanted *wanted,
                       struct failure *failure)
{
    const size_t head = offsetof(struct page_wanted, path);
    if (size <= head || size > sizeof(*wanted) || ((const char *)args)[size - 1] != '\0')
        return failure_set(failure, -EINVAL, "the task's arguments name no page");
    memcpy(wanted, args, size);
    return 0;
}

static int open_last(const struct page_wanted *wanted, struct failure *failure)
{
    if (last.document && strcmp(last.path, wanted->path) == 0)
        return 0;
    document_close(last.document);
    last.document = NULL;
    struct failure cause = {0};
    int status = document_open(wanted->path, &last.document, &last.pages, &cause);
    if (status < 0) /* whose sentence names a file of ours */
        return failure_set(failure, status == -EBADMSG || status == -EACCES ? -EINVAL : status,
                           "the document is damaged, needs a password, or is no PDF document");
    strcpy(last.path, wanted->path);
    return 0;
}

static int count_compute(const void *args, size_t size, struct reply *reply,
                         struct failure *failure)
{
    struct page_wanted wanted;
    int status = read_wanted(args, size, &wanted, failure);
    if (status == 0)
        status = open_last(&wanted, failure);
    if (status < 0)
        return status;
    uint32_t *count = malloc(sizeof(*count));
    if (!count)
        return failure_set(failure, -ENOMEM, "no memory for the answer");
    *count = last.pages;
    *reply = (struct reply){count, sizeof(*count)};
    return 0;
}

static cairo_status_t append(void *context, const unsigned char *data, unsigned size)
{
    struct reply *reply = context;
    char *grown = realloc(reply->data, reply->size + size);
    if (!grown)
        return CAIRO_STATUS_NO_MEMORY;
    memcpy(grown + reply->size, data, size);
    *reply = (struct reply){grown, reply->size + size};
    return CAIRO_STATUS_SUCCESS;
}

static int draw_compute(const void *args, size_t size, struct reply *reply, struct failure *failure)
{
    const struct page_request request = {.dpi = THUMB_DPI};
    struct page_wanted wanted;
    struct page page;
    int status = read_wanted(args, size, &wanted, failure);
    if (status == 0)
        status = open_last(&wanted, failure);
    if (status == 0 && (wanted.number < 1 || wanted.number > last.pages))
        status =
            failure_set(failure, -ENOENT, "page %u: the last one is %u", wanted.number, last.pages);
    if (status == 0)
        status = page_draw(last.document, &request, wanted.number, &page, failure);
    if (status == -EFBIG) /* its sentence names an option of another program */
        return failure_set(failure, -EINVAL, "page %u is too large to be drawn", wanted.number);
    if (status < 0)
        return status;
    cairo_status_t written = cairo_surface_write_to_png_stream(page.surface, append, reply);
    page_fini(&page);
    if (written == CAIRO_STATUS_SUCCESS)
        return 0;
    free(reply->data);
    *reply = (struct reply){0};
    return failure_set(failure, -ENOMEM, "no picture: %s", cairo_status_to_string(written));
}

const struct drawing drawing = {.count = count_compute, .draw = draw_compute};
