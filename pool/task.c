/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The handler's side of the public API.
 */
#include "pool/task.h"

#include "base/clock.h"
#include "base/error.h"
#include "ipc/slot.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int task_heap_resize(mc_task *task, size_t size, size_t keep, void **data)
{
    void *room;
    if (posix_memalign(&room, UNIT, size) != 0)
        return error_set(-ENOMEM, "no memory for a result of %zu bytes", size);
    memcpy(room, task->data, keep);
    if (task->data != task->small)
        free(task->data);
    *data = room;
    return 0;
}

void task_heap_drop(mc_task *task)
{
    free(task->data);
}

void task_init(mc_task *task)
{
    task->status = 0;
    task->format = MC_RAW;
    task->size = 0;
    task->data = task->small;
    task->unit = 0;
    task->has_message = false;
    task->document = NULL;
    task->writing = false;
    task->soft_limit_ms = task->time_limit_ms = 0;
    task->told = false;
}

/* Makes task->data hold size bytes, the first keep of them as before. */
static int make_room(mc_task *task, size_t size, size_t keep, void **data)
{
    if (size > task->config->max_payload)
        return error_set(-EMSGSIZE,
                         "the result of handler '%s' has %zu bytes; max_payload is %llu: raise "
                         "it, or split the work into smaller ranges",
                         task->handler->name, size, (unsigned long long)task->config->max_payload);
    bool is_small = task->data == task->small;
    if (size > SLOT_RESULT_SIZE) {
        int result = task->home->resize(task, size, keep, &task->data);
        if (result < 0)
            return result;
    } else if (!is_small) {
        memcpy(task->small, task->data, keep);
        task->home->drop(task);
        task->data = task->small;
    }
    *data = task->data;
    return 0;
}

static void stop_writing(mc_task *task)
{
    if (task->writing)
        writer_fini(&task->writer);
    task->writing = false;
}

static void drop_reply(mc_task *task)
{
    stop_writing(task);
    if (task->data != task->small)
        task->home->drop(task);
    task->data = task->small;
    task->size = 0;
    task->format = MC_RAW;
    task->has_message = false;
}

/* The message becomes the result, cut to what there is room for. */
static void set_message(mc_task *task, const char *text)
{
    drop_reply(task);
    size_t size = strlen(text);
    void *data = NULL;
    if (make_room(task, size, 0, &data) < 0 || data == NULL) {
        data = task->small;
        size = size < sizeof(task->small) ? size : sizeof(task->small);
    }
    memcpy(data, text, size);
    task->size = (uint32_t)size;
    task->has_message = true;
}

/* The writer's last word: its value is the result, or its error the status. */
static int finish_writing(mc_task *task)
{
    task->writing = false;
    int result = writer_finish(&task->writer);
    if (result < 0)
        return result;
    task->size = (uint32_t)task->reply.sink.size;
    return 0;
}

/* Why a task that wants to be called back will not be; NULL: it will. */
static const char *why_not_pending(const mc_task *task)
{
    if (task->home->waits == NULL)
        return "returned MC_PENDING, which only handlers that are MC_IO may";
    return task->home->waits->awaits(task) ? NULL : "returned MC_PENDING, and awaits nothing";
}

/* False if the task goes on. */
static bool conclude(mc_task *task, int status)
{
    const char *wrong = status == MC_PENDING ? why_not_pending(task) : NULL;
    if (status == MC_PENDING && wrong == NULL)
        return false;
    if (wrong != NULL)
        status = mc_task_fail(task, -EINVAL, "handler '%s' %s", task->handler->name, wrong);
    if (status == 0 && task->writing)
        status = finish_writing(task);
    if (status != 0 && !task->has_message) {
        /* Often it is what one of our own calls returned: then say its reason. */
        char text[ERROR_MESSAGE_SIZE];
        if (error_code() == status)
            snprintf(text, sizeof(text), "%s", error_message());
        else if (status < 0)
            snprintf(text, sizeof(text), "handler '%s' returned %d (%s)", task->handler->name,
                     status, error_text(status));
        else
            snprintf(text, sizeof(text), "handler '%s' returned %d", task->handler->name, status);
        set_message(task, text);
    }
    if (status == 0 && task->has_message)
        drop_reply(task); /* it failed, then thought better of it */
    task->status = status;
    if (task->document != NULL)
        document_close(task->document);
    task->document = NULL; /* it may be ended once more, another way */
    return true;
}

bool task_run(mc_task *task)
{
    error_clear();
    return conclude(task, task->handler->run(task));
}

bool task_resume(mc_task *task, unsigned events, mc_resume_fn *resume, void *context)
{
    error_clear();
    return conclude(task, resume(task, events, context));
}

void task_end(mc_task *task, int status, const char *text)
{
    set_message(task, text);
    (void)conclude(task, status);
}

uint64_t mc_task_start(const mc_task *task)
{
    return task->start;
}

uint64_t mc_task_end(const mc_task *task)
{
    return task->end;
}

const void *mc_task_args(const mc_task *task, size_t *size)
{
    *size = task->args_size;
    return task->args;
}

int mc_task_reply_alloc(mc_task *task, size_t size, void **data)
{
    stop_writing(task);
    void *room = NULL;
    int result = make_room(task, size, 0, &room);
    if (result < 0)
        return result;
    task->size = (uint32_t)size;
    task->format = MC_RAW;
    task->has_message = false;
    *data = room;
    return 0;
}

int mc_task_reply(mc_task *task, const void *data, size_t size)
{
    void *room = NULL;
    int result = mc_task_reply_alloc(task, size, &room);
    if (result == 0 && size > 0 && room != NULL)
        memcpy(room, data, size);
    return result;
}

int mc_task_fail(mc_task *task, int status, const char *format, ...)
{
    char text[ERROR_MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    set_message(task, text);
    return status != 0 ? status : -EINVAL;
}

void *mc_task_state(const mc_task *task)
{
    return task->states->of[task->handler->module];
}

bool mc_task_cancelled(const mc_task *task)
{
    return (slot_flags(atomic_load_explicit(task->word, memory_order_relaxed)) & SLOT_CANCEL) != 0;
}

bool mc_task_overdue(const mc_task *task)
{
    return task->soft_limit_ms != 0 && clock_ticks_ns(clock_ticks() - task->began_ticks) >
                                           (uint64_t)task->soft_limit_ms * 1000000;
}

unsigned mc_task_attempt(const mc_task *task)
{
    return task->attempt + 1;
}

bool mc_task_inline(const mc_task *task)
{
    return task->is_inline;
}

/* ---- waiting ---- */

static const struct task_waits *waits_of(const mc_task *task)
{
    if (task->home->waits == NULL)
        error_set(-ENOTSUP, "handler '%s' cannot wait: give it the flag MC_IO",
                  task->handler->name);
    return task->home->waits;
}

static int check_resume(mc_resume_fn *resume)
{
    return resume != NULL ? 0 : error_set(-EINVAL, "there is no function to call back");
}

int mc_task_await_fd(mc_task *task, int fd, unsigned events, mc_resume_fn *resume, void *context)
{
    const struct task_waits *waits = waits_of(task);
    if (waits == NULL)
        return -ENOTSUP;
    if (events == 0 || (events & ~(unsigned)(MC_EVENT_READ | MC_EVENT_WRITE)) != 0)
        return error_set(-EINVAL, "events is 0x%x: give MC_EVENT_READ, MC_EVENT_WRITE or both",
                         events);
    int result = check_resume(resume);
    return result < 0 ? result : waits->await_fd(task, fd, events, resume, context);
}

int mc_task_await_timer(mc_task *task, unsigned timeout_ms, mc_resume_fn *resume, void *context)
{
    const struct task_waits *waits = waits_of(task);
    if (waits == NULL)
        return -ENOTSUP;
    int result = check_resume(resume);
    return result < 0 ? result : waits->await_timer(task, timeout_ms, resume, context);
}

int mc_task_await_wake(mc_task *task, mc_resume_fn *resume, void *context)
{
    const struct task_waits *waits = waits_of(task);
    if (waits == NULL)
        return -ENOTSUP;
    int result = check_resume(resume);
    return result < 0 ? result : waits->await_wake(task, resume, context);
}

void mc_task_wake(mc_task *task)
{
    if (task->home->waits != NULL)
        task->home->waits->wake(task);
}

mc_pool *mc_task_pool(mc_task *task)
{
    return task->home->pool(task);
}

int mc_task_value(mc_task *task, mc_value *value)
{
    if (task->document == NULL) {
        int result = document_open(task->args_format, task->args, task->args_size, &task->document);
        if (result < 0)
            return result;
    }
    *value = document_root(task->document);
    return 0;
}

static int grow_reply(struct sink *sink, size_t capacity)
{
    struct reply_sink *reply = (struct reply_sink *)(void *)sink; /* its first member */
    void *data = NULL;
    int result = make_room(reply->task, capacity, sink->size, &data);
    if (result < 0)
        return result;
    sink->data = data;
    sink->capacity = capacity;
    return 0;
}

/* Begins in small[]: what fits there needs no room in an arena. */
int mc_task_writer(mc_task *task, mc_writer **writer)
{
    size_t limit = task->config->max_payload;
    drop_reply(task);
    task->format = task->args_format == MC_RAW ? MC_MSGPACK : task->args_format;
    task->reply = (struct reply_sink){
        .sink = {.data = task->small,
                 .capacity = limit < sizeof(task->small) ? limit : sizeof(task->small),
                 .limit = limit,
                 .grow = grow_reply},
        .task = task};
    memset(&task->writer, 0, sizeof(task->writer));
    int result = writer_init(&task->writer, task->format, &task->reply.sink);
    if (result < 0)
        return result;
    task->writing = true;
    *writer = &task->writer;
    return 0;
}
