/* SPDX-License-Identifier: BSD-3-Clause
 *
 * multicore quarantine: the tasks that killed as many workers as they may. Their arguments
 * are what clients sent: nothing of them reaches the terminal but printable ASCII.
 */
#include "pool/quarantine.h"

#include "base/error.h"
#include "tools/command.h"
#include "tools/observer.h"
#include "tools/payload.h"
#include "tools/plain.h"
#include "tools/units.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

struct wish {
    bool one; /* show one task, not the list */
    uint64_t number;
    bool as_json;
};

/* ---- Reading ---- */

static bool read_task(const struct observer *observer, uint64_t number, struct mc_quarantined *task)
{
    uint32_t handler;
    if (!quarantine_read(observer->quarantine, number, task, &handler))
        return false;
    if (handler < atomic_load(&observer->control->handler_count) && handler < MAX_HANDLERS)
        memcpy(task->handler, observer->control->handlers[handler].name, sizeof(task->handler));
    task->handler[sizeof(task->handler) - 1] = '\0';
    plain_text(task->handler);
    return true;
}

static const char *time_text(uint64_t time_ms, char *text, size_t size)
{
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm local;
    if (localtime_r(&seconds, &local) == NULL || strftime(text, size, "%F %T", &local) == 0)
        snprintf(text, size, "?");
    return text;
}

static const char *death_text(int status, char *text, size_t size)
{
    if (WIFSIGNALED(status))
        snprintf(text, size, "signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(text, size, "exit status %d", WEXITSTATUS(status));
    return text;
}

static const char *format_text(enum mc_format format)
{
    const char *name = payload_format_name(format);
    return name != NULL ? name : "?";
}

static bool is_whole(const struct mc_quarantined *task)
{
    return task->args_kept == task->args_size;
}

/* ---- As JSON ---- */

/* A value of that format, if they are one, or NULL. */
static json_t *decode(const struct mc_quarantined *task, enum mc_format format)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return NULL;
    int result = payload_print_value(out, format, task->args, task->args_kept, false);
    fclose(out);
    json_t *json =
        result == 0 ? json_loadb(text, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;
    free(text);
    return json;
}

static json_t *decoded(const struct mc_quarantined *task)
{
    return task->format != MC_RAW && is_whole(task) ? decode(task, task->format) : NULL;
}

/* Decoded where that is possible; else as bytes, which are digits then. */
static json_t *arguments_json(const struct mc_quarantined *task)
{
    json_t *json = decoded(task);
    return json != NULL ? json : decode(task, MC_RAW);
}

/* NULL: there is no memory for it. */
static json_t *task_json(const struct mc_quarantined *task, bool with_arguments)
{
    char death[96];
    json_t *json =
        json_pack("{s:I, s:I, s:s, s:I, s:I, s:i, s:i, s:s, s:i, s:I, s:s, s:I}", "number",
                  (json_int_t)task->number, "time_ms", (json_int_t)task->time_ms, "handler",
                  task->handler, "start", (json_int_t)task->start, "end", (json_int_t)task->end,
                  "client_pid", (int)task->client_pid, "worker_pid", (int)task->worker_pid, "death",
                  death_text(task->wait_status, death, sizeof(death)), "attempts",
                  (int)task->attempts, "ran_ns", (json_int_t)task->run_ns, "format",
                  format_text(task->format), "size", (json_int_t)task->args_size);
    json_t *arguments = json != NULL && with_arguments ? arguments_json(task) : NULL;
    if (arguments != NULL) {
        json_object_set_new(json, "arguments_kept", json_integer((json_int_t)task->args_kept));
        json_object_set_new(json, "arguments", arguments);
    }
    return json;
}

static void print_value(json_t *json)
{
    payload_print_plain(stdout, json);
    putchar('\n');
    json_decref(json);
}

static int print_json(json_t *json)
{
    if (json == NULL)
        return command_failed(error_set(-ENOMEM, "no memory to write it as JSON"));
    print_value(json);
    return STATUS_OK;
}

/* NULL likewise. */
static json_t *list_json(const struct observer *observer, uint64_t number, uint64_t tail)
{
    json_t *list = json_array();
    struct mc_quarantined task;
    for (; number < tail; number++)
        if (read_task(observer, number, &task) &&
            json_array_append_new(list, task_json(&task, false)) < 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

/* ---- The list ---- */

static void print_row(const struct mc_quarantined *task)
{
    char when[32], death[96];
    printf("%6" PRIu64 "  %-19s  %-20s  %8d  %8d  %8u  %10zu  %s\n", task->number,
           time_text(task->time_ms, when, sizeof(when)), task->handler, (int)task->client_pid,
           (int)task->worker_pid, task->attempts, task->args_size,
           death_text(task->wait_status, death, sizeof(death)));
}

static int print_list(const struct observer *observer, bool as_json)
{
    uint64_t tail = atomic_load(&observer->quarantine->tail);
    uint64_t number = tail > QUARANTINE_MOST ? tail - QUARANTINE_MOST : 0;
    struct mc_quarantined task;
    if (as_json)
        return print_json(list_json(observer, number, tail));
    if (tail == 0)
        puts("no task has killed its workers");
    else
        printf("%6s  %-19s  %-20s  %8s  %8s  %8s  %10s  %s\n", "NUMBER", "TIME", "HANDLER",
               "CLIENT", "WORKER", "ATTEMPTS", "SIZE", "DEATH");
    for (; number < tail; number++)
        if (read_task(observer, number, &task))
            print_row(&task);
    return STATUS_OK;
}

/* ---- One task ---- */

static void print_arguments(const struct mc_quarantined *task)
{
    json_t *json = decoded(task);
    if (json != NULL) {
        print_value(json);
        return;
    }
    if (task->format == MC_JSON) {
        payload_print_escaped(stdout, task->args, task->args_kept, true);
        putchar('\n');
    } else {
        payload_dump(stdout, task->args, task->args_kept, 0);
    }
    if (!is_whole(task))
        printf("... and %zu bytes more, which the pool has not kept\n",
               task->args_size - task->args_kept);
}

static void print_task(const struct mc_quarantined *task)
{
    char text[96];
    printf("number     %" PRIu64 "\n", task->number);
    printf("time       %s\n", time_text(task->time_ms, text, sizeof(text)));
    printf("handler    %s\n", task->handler);
    printf("range      %" PRIu64 " to %" PRIu64 "\n", task->start, task->end);
    printf("client     process %d\n", (int)task->client_pid);
    printf("worker     process %d\n", (int)task->worker_pid);
    printf("death      %s\n", death_text(task->wait_status, text, sizeof(text)));
    printf("attempts   %u\n", task->attempts);
    printf("ran for    %.3f s\n", (double)task->run_ns / 1e9);
    printf("arguments  %zu bytes, %s\n", task->args_size, format_text(task->format));
    print_arguments(task);
}

static int print_one(const struct observer *observer, const struct wish *wish)
{
    struct mc_quarantined task;
    uint64_t tail = atomic_load(&observer->quarantine->tail);
    if (!read_task(observer, wish->number, &task)) {
        fprintf(stderr,
                "multicore: there is no task %" PRIu64 " in quarantine: there have been %" PRIu64
                ", numbered from 0, and the last %d are kept\n",
                wish->number, tail, QUARANTINE_MOST);
        return STATUS_FAILED;
    }
    if (wish->as_json)
        return print_json(task_json(&task, true));
    print_task(&task);
    return STATUS_OK;
}

/* ---- The command ---- */

static int read_wish(const struct command *command, int argc, char **argv, struct wish *wish)
{
    const char *what = optind < argc ? argv[optind] : "list";
    int count = argc - optind;
    wish->one = strcmp(what, "show") == 0;
    if (!wish->one && strcmp(what, "list") != 0)
        return usage_error(command, "'%s' is neither 'list' nor 'show'", what);
    if (count > (wish->one ? 2 : 1))
        return usage_error(command, "'%s' is one too many", argv[argc - 1]);
    if (wish->one && (count < 2 || units_number(argv[optind + 1], &wish->number) < 0))
        return usage_error(command, "show wants the number of a task, as in the list");
    return STATUS_OK;
}

static int quarantine(const char *path, const struct wish *wish)
{
    struct observer observer;
    int result = observer_open(&observer, path);
    if (result < 0)
        return command_failed(result);
    int status = wish->one ? print_one(&observer, wish) : print_list(&observer, wish->as_json);
    observer_close(&observer);
    return fflush(stdout) == 0 ? status : STATUS_FAILED;
}

int quarantine_command(const struct command *command, int argc, char **argv)
{
    static const struct option options[] = {COMMAND_SOCKET_OPTION,
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct wish wish = {0};
    const char *socket = NULL;
    int option;
    while ((option = command_option(command, argc, argv, options)) != -1) {
        if (option == 'h')
            return command_help(command);
        if (option == 's')
            socket = optarg;
        else if (option == 'j')
            wish.as_json = true;
        else
            return STATUS_USAGE;
    }
    int status = read_wish(command, argc, argv, &wish);
    return status == STATUS_OK ? quarantine(command_socket(socket), &wish) : status;
}
