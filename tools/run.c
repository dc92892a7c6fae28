/* SPDX-License-Identifier: BSD-3-Clause
 *
 * multicore run: runs a handler of a pool once, for those who want to try it.
 */
#include "tools/run.h"

#include "base/clock.h"
#include "base/error.h"
#include "serialize/codec.h"
#include "tools/command.h"
#include "tools/payload.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    DAY_MS = 24 * 60 * 60 * 1000,
    REPEAT_MOST = 100 * 1000 * 1000,
    CONCURRENCY_MOST = 4096,
    READ_SIZE = 65536,
    WAIT_MS = 200,
};

/* ---- Signals ---- */

static volatile sig_atomic_t interrupted;

static void interrupt(int signal)
{
    (void)signal;
    interrupted = 1;
}

bool run_interrupted(void)
{
    return interrupted != 0;
}

/* A second one ends us as usual. */
static void hear_signals(void)
{
    struct sigaction action = {.sa_handler = interrupt, .sa_flags = (int)SA_RESETHAND};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

/* ---- Time ---- */

int run_left_ms(const struct errand *errand, uint64_t began_ns)
{
    uint64_t past_ms = (clock_ns() - began_ns) / 1000000;
    if (errand->timeout_ms < 0)
        return -1;
    return past_ms < (uint64_t)errand->timeout_ms ? errand->timeout_ms - (int)past_ms : 0;
}

int run_wait_ms(const struct errand *errand, uint64_t began_ns)
{
    int left = run_left_ms(errand, began_ns);
    return left < 0 || left > WAIT_MS ? WAIT_MS : left;
}

/* ---- Arguments ---- */

/* Allocates; negative errno with a message. */
static int read_input(struct errand *errand)
{
    size_t capacity = 0;
    for (;;) {
        if (errand->args_size + READ_SIZE > capacity) {
            capacity = 2 * capacity + READ_SIZE;
            char *grown = realloc(errand->args, capacity);
            if (grown == NULL)
                return error_set(-ENOMEM, "no memory for %zu bytes of standard input", capacity);
            errand->args = grown;
        }
        ssize_t got = read(STDIN_FILENO, errand->args + errand->args_size, READ_SIZE);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_system(-errno, "standard input cannot be read");
        if (got == 0)
            return 0;
        errand->args_size += (size_t)got;
    }
}

static int take_argument(struct errand *errand, const char *text)
{
    struct document *document;
    int result = 0;
    if (text != NULL && strcmp(text, "-") == 0) {
        result = read_input(errand);
    } else if (text != NULL) {
        errand->args = strdup(text);
        errand->args_size = strlen(text);
        result = errand->args != NULL ? 0 : error_set(-ENOMEM, "no memory for the argument");
    }
    if (result < 0 || errand->format == MC_RAW)
        return result;
    result = document_open(MC_JSON, errand->args, errand->args_size, &document);
    if (result == 0)
        document_close(document);
    return result;
}

/* ---- Running ---- */

static int submit_value(const struct errand *errand, mc_group *group)
{
    struct document *document;
    mc_writer *writer;
    int result = document_open(MC_JSON, errand->args, errand->args_size, &document);
    if (result < 0)
        return result;
    result = mc_group_writer(group, errand->format, &writer);
    if (result == 0) {
        payload_copy(document_root(document), writer);
        result = errand->items != 0
                     ? mc_group_map_value(group, errand->handler, errand->items, NULL, writer)
                     : mc_group_run_value(group, errand->handler, writer);
    }
    document_close(document);
    return result;
}

int run_submit(const struct errand *errand, mc_group *group)
{
    if (errand->format != MC_RAW)
        return submit_value(errand, group);
    if (errand->items != 0)
        return mc_group_map(group, errand->handler, errand->items, NULL, errand->args,
                            errand->args_size);
    return mc_group_run(group, errand->handler, errand->args, errand->args_size);
}

/* ---- What came of it ---- */

static int print_error(const struct errand *errand, const struct mc_result *result)
{
    fprintf(stderr, "multicore: ");
    if (errand->items != 0)
        fprintf(stderr, "%" PRIu64 " to %" PRIu64 ": ", result->start, result->end);
    fprintf(stderr, "handler '%s' failed with status %d: %s\n", errand->handler, result->status,
            result->error);
    return STATUS_FAILED;
}

/* One task's result, as it is; values as JSON. */
static int print_result(const struct mc_result *result)
{
    if (result->format == MC_RAW || result->data_size == 0) {
        fwrite(result->data, 1, result->data_size, stdout);
        return STATUS_OK;
    }
    if (payload_print_value(stdout, result->format, result->data, result->data_size, true) < 0)
        return command_failed(-EBADMSG);
    putchar('\n');
    return STATUS_OK;
}

/* That of a range: a line. */
static int print_line(const struct mc_result *result)
{
    int failed = 0;
    printf("%" PRIu64 " to %" PRIu64 ": ", result->start, result->end);
    if (result->format == MC_RAW || result->data_size == 0)
        payload_print_escaped(stdout, result->data, result->data_size, false);
    else
        failed =
            payload_print_value(stdout, result->format, result->data, result->data_size, false);
    putchar('\n');
    return failed < 0 ? command_failed(-EBADMSG) : STATUS_OK;
}

static int print_all(const struct errand *errand, mc_group *group)
{
    int status = STATUS_OK;
    for (size_t i = 0; i < mc_group_size(group); i++) {
        struct mc_result result = {.size = sizeof(result)};
        if (mc_group_result(group, i, &result) < 0)
            return command_failed(error_code());
        int own = result.status != 0   ? print_error(errand, &result)
                  : errand->items != 0 ? print_line(&result)
                                       : print_result(&result);
        status = own != STATUS_OK ? own : status;
    }
    return status;
}

/* As mc_group_wait(). */
static int await(const struct errand *errand, mc_group *group)
{
    uint64_t began = clock_ns();
    int result;
    do
        result = run_interrupted() ? -EINTR : mc_group_wait(group, run_wait_ms(errand, began));
    while (result == -ETIMEDOUT && run_left_ms(errand, began) != 0);
    return result;
}

static int run_once(const struct errand *errand, mc_pool *pool)
{
    const struct mc_group_options options = {
        .size = sizeof(options), .help = MC_HELP_NEVER, .interruptible = true};
    mc_group *group;
    int result = mc_group_open(pool, &options, &group);
    if (result < 0)
        return command_failed(result);
    result = run_interrupted() ? -EINTR : run_submit(errand, group);
    if (result == 0)
        result = await(errand, group);
    int status;
    if (result == -ETIMEDOUT) {
        fprintf(stderr, "multicore: handler '%s' has not ended within %d ms; it is cancelled\n",
                errand->handler, errand->timeout_ms);
        status = STATUS_FAILED;
    } else if (result == -EINTR) {
        fprintf(stderr, "multicore: interrupted; handler '%s' is cancelled\n", errand->handler);
        status = STATUS_FAILED;
    } else if (result == -ENOENT) { /* no such handler, which is not the pool's absence */
        fprintf(stderr, "multicore: %s\n", error_message());
        status = STATUS_FAILED;
    } else {
        status = result < 0 ? command_failed(result) : print_all(errand, group);
    }
    mc_group_close(group);
    return status;
}

static int run(const struct errand *errand, const char *path)
{
    mc_pool *pool;
    hear_signals();
    int result = mc_pool_attach(path, NULL, &pool);
    if (result < 0)
        return command_failed(result);
    int status = errand->repeat != 0 ? load_run(errand, pool) : run_once(errand, pool);
    mc_pool_close(pool);
    return fflush(stdout) == 0 ? status : STATUS_FAILED;
}

/* ---- The command ---- */

/* False after a report. */
static bool take_option(const struct command *command, int option, struct errand *errand)
{
    uint64_t ms;
    int format;
    switch (option) {
    case 'i':
        return command_number(command, "--items", optarg, UINT64_MAX, &errand->items);
    case 'r':
        return command_number(command, "--repeat", optarg, REPEAT_MOST, &errand->repeat);
    case 'c':
        return command_number(command, "--concurrency", optarg, CONCURRENCY_MOST,
                              &errand->concurrency);
    case 't':
        if (!command_duration(command, "--timeout", optarg, DAY_MS, &ms))
            return false;
        errand->timeout_ms = (int)ms;
        return true;
    case 'f':
        format = payload_format(optarg);
        if (format >= 0)
            errand->format = (enum mc_format)format;
        else
            usage_error(command, "--format is '%s': it wants raw, json or msgpack", optarg);
        return format >= 0;
    default:
        return false;
    }
}

static int run_arguments(const struct command *command, int argc, char **argv,
                         struct errand *errand, const char *socket)
{
    if (argc - optind < 1 || argc - optind > 2)
        return usage_error(command, argc == optind ? "run wants the name of a handler"
                                                   : "run wants a handler and one argument for it; "
                                                     "quote it, and put options first");
    if (errand->concurrency > 1 && errand->repeat == 0)
        return usage_error(command, "--concurrency goes with --repeat");
    errand->handler = argv[optind];
    if (take_argument(errand, argv[optind + 1]) < 0) /* argv ends with NULL */
        return usage_error(command, "the argument cannot be used: %s", error_message());
    return run(errand, command_socket(socket));
}

int run_command(const struct command *command, int argc, char **argv)
{
    static const struct option options[] = {COMMAND_SOCKET_OPTION,
                                            {"format", required_argument, NULL, 'f'},
                                            {"items", required_argument, NULL, 'i'},
                                            {"timeout", required_argument, NULL, 't'},
                                            {"repeat", required_argument, NULL, 'r'},
                                            {"concurrency", required_argument, NULL, 'c'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct errand errand = {.timeout_ms = -1, .concurrency = 1};
    const char *socket = NULL;
    int option;
    while ((option = command_option(command, argc, argv, options)) != -1) {
        if (option == 'h')
            return command_help(command);
        if (option == 's')
            socket = optarg;
        else if (!take_option(command, option, &errand))
            return STATUS_USAGE;
    }
    int status = run_arguments(command, argc, argv, &errand, socket);
    free(errand.args);
    return status;
}
