/* SPDX-License-Identifier: BSD-3-Clause
 *
 * multicore stack: where workers are. The supervisor sends a worker a signal, in whose
 * handler it writes return addresses into its row; they get their names here, so that
 * nothing of that happens in the pool. Of a worker that does not answer the kernel is
 * asked.
 */
#include "base/clock.h"
#include "base/error.h"
#include "tools/command.h"
#include "tools/observer.h"
#include "tools/symbols.h"
#include "tools/trace.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { ANSWER_MS = 500, LOOK_US = 500 };

/* One worker, as far as it is known. */
struct subject {
    uint32_t seat;
    pid_t pid;
    bool asked, answered;
    struct trace_copy trace;
};

struct subjects {
    struct subject list[MAX_SEATS];
    uint32_t count;
};

/* ---- Whom to ask ---- */

static void choose(struct subjects *subjects, const struct observer *observer, pid_t only)
{
    subjects->count = 0;
    for (uint32_t seat = 0; seat < observer->sizes.seat_count; seat++) {
        pid_t pid = atomic_load(&observer->control->rows[seat].pid);
        if (pid != 0 && (only == 0 || pid == only))
            subjects->list[subjects->count++] = (struct subject){.seat = seat, .pid = pid};
    }
}

static int nobody(const struct observer *observer, pid_t wanted)
{
    struct subjects all;
    choose(&all, observer, 0);
    if (wanted == 0)
        fputs("multicore: the pool has no workers at present", stderr);
    else
        fprintf(stderr, "multicore: the pool has no worker %d; it has", (int)wanted);
    for (uint32_t i = 0; wanted != 0 && i < all.count; i++)
        fprintf(stderr, "%s %d", i > 0 ? "," : "", (int)all.list[i].pid);
    fputs(wanted != 0 && all.count == 0 ? " none at present\n" : "\n", stderr);
    return STATUS_FAILED;
}

/* ---- Asking ---- */

/* A successor in the seat may answer in its place, with the next signal that it gets. */
static bool has_answered(const struct seat_row *row, struct subject *subject)
{
    return trace_read(row, &subject->trace) && atomic_load(&row->pid) == subject->pid;
}

/* All at once, so that those who are stuck are waited for together. */
static void ask(const struct observer *observer, struct subjects *subjects)
{
    const struct timespec rest = {.tv_nsec = LOOK_US * 1000L};
    for (uint32_t i = 0; i < subjects->count; i++)
        subjects->list[i].asked =
            observer_ask(observer->path, &(struct message){.type = MESSAGE_TRACE,
                                                           .value = subjects->list[i].pid}) == 0;
    uint64_t end = clock_ns() + ANSWER_MS * UINT64_C(1000000);
    for (uint32_t open = subjects->count; open != 0 && clock_ns() < end;) {
        open = 0;
        for (uint32_t i = 0; i < subjects->count; i++) {
            struct subject *subject = &subjects->list[i];
            if (subject->asked && !subject->answered)
                subject->answered = has_answered(&observer->control->rows[subject->seat], subject);
            open += subject->asked && !subject->answered;
        }
        if (open != 0)
            nanosleep(&rest, NULL);
    }
}

/* ---- Saying it ---- */

static json_t *describe_frames(const struct subject *subject)
{
    struct symbols *symbols = symbols_open(subject->pid);
    json_t *frames = json_array();
    for (uint32_t i = 0; i < subject->trace.count; i++) {
        uint64_t address = subject->trace.addresses[i];
        struct symbol symbol = {0};
        json_t *frame = json_object();
        if (symbols != NULL)
            symbol = symbols_find(symbols, address, i > 0);
        json_object_set_new(frame, "address", json_sprintf("0x%" PRIx64, address));
        if (symbol.module != NULL)
            json_object_set_new(frame, "module", json_string(symbol.module));
        if (symbol.function != NULL)
            json_object_set_new(frame, "function", json_string(symbol.function));
        if (symbol.module != NULL)
            json_object_set_new(frame, "offset", json_integer((json_int_t)symbol.offset));
        if (symbol.file != NULL) {
            json_object_set_new(frame, "file", json_string(symbol.file));
            json_object_set_new(frame, "line", json_integer(symbol.line));
        }
        json_array_append_new(frames, frame);
    }
    symbols_close(symbols);
    return frames;
}

static json_t *describe(const struct observer *observer, const struct subject *subject)
{
    char doing[256], state[512];
    json_t *worker = json_object();
    trace_doing(observer->control, subject->seat, doing, sizeof(doing));
    json_object_set_new(worker, "pid", json_integer(subject->pid));
    json_object_set_new(worker, "seat", json_integer(subject->seat));
    json_object_set_new(worker, "doing", json_string(doing));
    json_object_set_new(worker, "answered", json_boolean(subject->answered));
    if (subject->answered) {
        json_object_set_new(worker, "frames", describe_frames(subject));
    } else {
        trace_kernel_state(subject->pid, state, sizeof(state));
        json_object_set_new(worker, "state", json_string(state));
    }
    return worker;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

static void print_frame(size_t number, const json_t *frame)
{
    const char *function = text_of(frame, "function"), *module = text_of(frame, "module");
    int offset = (int)json_integer_value(json_object_get(frame, "offset"));
    printf("  #%-2zu %s", number, text_of(frame, "address"));
    if (function[0] != '\0')
        printf(" %s+0x%x (%s)", function, (unsigned)offset, module);
    else if (module[0] != '\0')
        printf(" %s+0x%x", module, (unsigned)offset);
    if (text_of(frame, "file")[0] != '\0')
        printf(" at %s:%d", text_of(frame, "file"),
               (int)json_integer_value(json_object_get(frame, "line")));
    putchar('\n');
}

static void print_worker(const json_t *worker)
{
    const json_t *frames = json_object_get(worker, "frames");
    printf("worker %d (seat %d): %s\n", (int)json_integer_value(json_object_get(worker, "pid")),
           (int)json_integer_value(json_object_get(worker, "seat")), text_of(worker, "doing"));
    for (size_t i = 0; i < json_array_size(frames); i++)
        print_frame(i, json_array_get(frames, i));
    if (frames == NULL)
        printf("  does not say where it is; the kernel does: %s\n", text_of(worker, "state"));
}

static void say(const struct observer *observer, const struct subjects *subjects, bool as_json)
{
    json_t *workers = json_array();
    for (uint32_t i = 0; i < subjects->count; i++)
        json_array_append_new(workers, describe(observer, &subjects->list[i]));
    if (as_json) {
        json_dumpf(workers, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        for (size_t i = 0; i < json_array_size(workers); i++)
            print_worker(json_array_get(workers, i));
    }
    json_decref(workers);
}

static int stack(const char *path, pid_t only, bool as_json)
{
    static struct subjects subjects;
    struct observer observer;
    clock_calibrate_begin();
    int result = observer_open(&observer, path);
    if (result < 0)
        return command_failed(result);
    int status = STATUS_OK;
    choose(&subjects, &observer, only);
    if (subjects.count == 0) {
        status = nobody(&observer, only);
    } else {
        ask(&observer, &subjects);
        clock_calibrate_end();
        say(&observer, &subjects, as_json);
    }
    observer_close(&observer);
    return status;
}

/* ---- The command ---- */

int stack_command(const struct command *command, int argc, char **argv)
{
    static const struct option options[] = {COMMAND_SOCKET_OPTION,
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *socket = NULL;
    bool as_json = false;
    uint64_t pid = 0;
    int option;
    while ((option = command_option(command, argc, argv, options)) != -1) {
        if (option == 'h')
            return command_help(command);
        if (option == 's')
            socket = optarg;
        else if (option == 'j')
            as_json = true;
        else
            return STATUS_USAGE;
    }
    if (argc - optind != 1)
        return usage_error(command, "stack wants one worker's process id, or 'all'");
    if (strcmp(argv[optind], "all") != 0 &&
        !command_number(command, "PID", argv[optind], INT_MAX, &pid))
        return STATUS_USAGE;
    int status = stack(command_socket(socket), (pid_t)pid, as_json);
    return fflush(stdout) == 0 ? status : STATUS_FAILED;
}
