/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a group's tasks left: results in place, and what went wrong in words.
 */
#include "pool/pool.h"

#include "base/error.h"
#include "ipc/slot.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static char *death_text(const mc_group *group, const struct record *record)
{
    const char *name = group->pool->config->handlers[record->handler].name;
    char *text = NULL;
    int length;
    const struct client *client = &group->pool->client;
    if (record->death == -1 && atomic_load_explicit(&client->faulted, memory_order_relaxed))
        length = asprintf(&text, "handler '%s' did not end: %s", name, client_why_gone(client));
    else if (record->death == -1)
        length = asprintf(&text, "handler '%s' did not end: %s", name,
                          atomic_load_explicit(&client->gone, memory_order_relaxed)
                              ? "the pool's supervisor is gone"
                              : "no worker could be started");
    else if (WIFSIGNALED(record->death))
        length = asprintf(&text,
                          "handler '%s' ended with its worker %u, which was killed by "
                          "signal %d (%s) after %.1f ms",
                          name, record->pid, WTERMSIG(record->death),
                          strsignal(WTERMSIG(record->death)), (double)record->run_ns / 1e6);
    else
        length =
            asprintf(&text,
                     "handler '%s' ended with its worker %u, which exited with "
                     "status %d after %.1f ms",
                     name, record->pid, WEXITSTATUS(record->death), (double)record->run_ns / 1e6);
    return length < 0 ? NULL : text;
}

static char *time_text(const mc_group *group, const struct record *record)
{
    const struct handler *handler = &group->pool->config->handlers[record->handler];
    uint32_t limit_ms =
        handler_limit_ms(group->time_limit_ms, handler->time_limit_ms, group->pool->attached);
    char *text = NULL;
    int length =
        record->status == -ETIME
            ? asprintf(&text, "handler '%s' was not started within %u ms (start_within_ms)",
                       handler->name, group->start_within_ms)
        : WIFSIGNALED(record->death)
            ? asprintf(&text,
                       "handler '%s' ran for %.1f ms, over its time limit of %u ms; its worker %u "
                       "was killed",
                       handler->name, (double)record->run_ns / 1e6, limit_ms, record->pid)
            : asprintf(&text, "handler '%s' was ended after %.1f ms, over its time limit of %u ms",
                       handler->name, (double)record->run_ns / 1e6, limit_ms);
    return length < 0 ? NULL : text;
}

static char *cancel_text(const mc_group *group, const struct record *record)
{
    char *text = NULL;
    if (record->pid == 0)
        return strdup("cancelled before it started");
    if (!WIFSIGNALED(record->death) || WTERMSIG(record->death) != SIGKILL)
        return death_text(group, record); /* its worker died of itself, and it was not run again */
    int length = asprintf(&text,
                          "handler '%s' was cancelled by force after %.1f ms; its worker "
                          "%u was killed",
                          group->pool->config->handlers[record->handler].name,
                          (double)record->run_ns / 1e6, record->pid);
    return length < 0 ? NULL : text;
}

/* A failing handler's message, which came as bytes, as many as it was written
 * with: more than a sentence is not believed. */
static char *text_of(const struct record *record)
{
    size_t size = record->size < ERROR_MESSAGE_SIZE ? record->size : ERROR_MESSAGE_SIZE;
    char *text = malloc(size + 1);
    if (text != NULL) {
        memcpy(text, record->data, size);
        text[size] = '\0';
    }
    return text;
}

/* What went wrong, made when it is asked for. A failing handler's message came as
 * its result, which this replaces. */
static const char *error_of(mc_group *group, size_t index)
{
    struct record *record = group_record(group, index);
    if (record->outcome == SLOT_DONE)
        return "";
    if (record->place != DATA_TEXT) {
        char *text;
        if (record->outcome == SLOT_CRASHED)
            text = death_text(group, record);
        else if (record->outcome == SLOT_CANCELLED)
            text = cancel_text(group, record);
        else if (record->outcome == SLOT_TIMED_OUT)
            text = time_text(group, record);
        else if (record->place != DATA_NONE)
            text = text_of(record);
        else
            text = strdup(error_text(record->status));
        if (text == NULL)
            return "no memory for the error's text";
        client_release(group, index);
        record->data = text;
        record->place = DATA_TEXT;
    }
    return record->data;
}

static void fill(mc_group *group, size_t index, struct mc_result *result)
{
    struct record *record = group_record(group, index);
    struct mc_result known = {
        .size = result->size,
        .index = index,
        .status = record->status,
        .start = record->start,
        .end = record->end,
        .format = (enum mc_format)record->format,
        .error = error_of(group, index),
        .worker_pid = (pid_t)record->pid,
        .run_ns = record->run_ns,
    };
    if (record->outcome == SLOT_DONE && record->size > 0) {
        known.data = record->data;
        known.data_size = record->size;
    }
    memcpy(result, &known, result->size < sizeof(known) ? result->size : sizeof(known));
}

static int check_result(const struct mc_result *result)
{
    if (result->size >= sizeof(size_t))
        return 0;
    return error_set(-EINVAL, "result.size is %zu: set it to sizeof(struct mc_result)",
                     result->size);
}

static size_t completed(const mc_group *group)
{
    return atomic_load_explicit(&group->completed_count, memory_order_acquire);
}

int mc_group_next(mc_group *group, struct mc_result *result, int timeout_ms)
{
    int status = group_usable(group);
    if (status == 0)
        status = check_result(result);
    if (status < 0)
        return status;
    if (group->returned == completed(group)) {
        pool_deliver_log(group->pool);
        status = wait_for(group, GOAL_NEXT, timeout_ms);
        if (status < 0)
            return status;
        if (group->returned == completed(group))
            return 0;
    }
    fill(group, group->completed[group->returned++], result);
    return 1;
}

int mc_group_result(mc_group *group, size_t index, struct mc_result *result)
{
    int status = group_usable(group);
    if (status == 0)
        status = check_result(result);
    if (status < 0)
        return status;
    if (index >= group->count)
        return error_set(-ERANGE, "result %zu: the group has %zu tasks", index, group->count);
    if (record_state(group_record(group, index)) != RECORD_ENDED)
        return error_set(-EAGAIN, "task %zu has not ended, or was not collected: wait first",
                         index);
    fill(group, index, result);
    return 0;
}

static struct record *ended_record(mc_group *group, size_t index)
{
    if (group_usable(group) < 0 || index >= group->count)
        return NULL;
    struct record *record = group_record(group, index);
    return record_state(record) == RECORD_ENDED ? record : NULL;
}

void mc_group_release(mc_group *group, size_t index)
{
    struct record *record = ended_record(group, index);
    if (record != NULL)
        client_release(group, index);
}

int mc_group_value(mc_group *group, size_t index, mc_value *value)
{
    struct mc_result result = {.size = sizeof(result)};
    int status = mc_group_result(group, index, &result);
    if (status < 0)
        return status;
    if (index >= group->document_count) {
        struct document **documents =
            realloc(group->documents, group->count * sizeof(struct document *));
        if (documents == NULL)
            return error_set(-ENOMEM, "no memory for %zu decoded results", group->count);
        memset(documents + group->document_count, 0,
               (group->count - group->document_count) * sizeof(struct document *));
        group->documents = documents;
        group->document_count = group->count;
    }
    struct document **document = &group->documents[index];
    if (*document == NULL) {
        status = document_open(result.format, result.data, result.data_size, document);
        if (status < 0)
            return status;
    }
    *value = document_root(*document);
    return 0;
}
