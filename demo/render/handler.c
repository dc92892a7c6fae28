/* SPDX-License-Identifier: BSD-3-Clause */
#include "handler.h"
#include "document.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

int render_init(void *hook_context, void **state)
{
    PopplerDocument *document;
    unsigned pages;
    struct failure failure = {0};
    int status = document_open(hook_context, &document, &pages, &failure);
    if (status == 0)
        *state = document;
    return status;
}

void render_exit(void *state)
{
    document_close(state);
}

int render_submit(mc_group *group, const struct page_request *request, unsigned pages)
{
    /* One page a task: a page that crashes the renderer costs that page alone. */
    struct mc_map_options map = {.size = sizeof(map), .max_chunk = 1};
    mc_writer *writer;
    int status = mc_group_writer(group, MC_MSGPACK, &writer);
    if (status < 0)
        return status;
    mc_write_map(writer, 4);
    mc_write_string(writer, "out");
    mc_write_string(writer, request->out);
    mc_write_string(writer, "dpi");
    mc_write_uint(writer, request->dpi);
    mc_write_string(writer, "thumbs");
    mc_write_uint(writer, request->thumbs);
    mc_write_string(writer, "crash_page");
    mc_write_uint(writer, request->crash_page);
    return mc_group_map_value(group, RENDER_HANDLER, pages, &map, writer);
}

static int read_number(mc_value arguments, const char *key, unsigned *number)
{
    mc_value value;
    uint64_t wide;
    int status = mc_value_get(arguments, key, &value);
    if (status == 0)
        status = mc_value_uint(value, &wide);
    if (status == 0)
        *number = (unsigned)wide;
    return status;
}

static int read_text(mc_value arguments, const char *key, char *text, size_t size)
{
    mc_value value;
    const char *bytes;
    size_t length;
    int status = mc_value_get(arguments, key, &value);
    if (status == 0)
        status = mc_value_string(value, &bytes, &length);
    if (status != 0)
        return status;
    if (length >= size)
        return -ENAMETOOLONG;
    memcpy(text, bytes, length);
    text[length] = '\0';
    return 0;
}

/* Fills request, whose out points to the caller's buffer. */
static int read_request(mc_task *task, struct page_request *request, char *out, size_t size)
{
    mc_value arguments;
    int status = mc_task_value(task, &arguments);
    if (status == 0)
        status = read_text(arguments, "out", out, size);
    if (status == 0)
        status = read_number(arguments, "dpi", &request->dpi);
    if (status == 0)
        status = read_number(arguments, "thumbs", &request->thumbs);
    if (status == 0)
        status = read_number(arguments, "crash_page", &request->crash_page);
    request->out = out;
    return status;
}

int render_run(mc_task *task)
{
    char out[PATH_MAX];
    struct page_request request;
    struct page page;
    struct failure failure = {0};
    void *reply;
    int status = read_request(task, &request, out, sizeof(out));
    if (status < 0)
        return mc_task_fail(task, status, "the task's arguments: %s", mc_error_message());

    unsigned number = (unsigned)mc_task_start(task) + 1;
    status = page_render(mc_task_state(task), &request, number, &page, &failure);
    if (status < 0)
        return mc_task_fail(task, status, "%s", failure.text);
    status = mc_task_reply_alloc(task, page_reply_size(&page), &reply);
    if (status < 0)
        status = mc_task_fail(task, status, "%s", mc_error_message());
    else if ((status = page_reply_write(&page, reply, &failure)) < 0)
        status = mc_task_fail(task, status, "%s", failure.text);
    page_fini(&page);
    return status;
}
