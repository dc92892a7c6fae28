/* SPDX-License-Identifier: BSD-3-Clause
 *
 * multicore stats: a served pool in numbers.
 */
#include "tools/stats.h"

#include "base/error.h"
#include "tools/command.h"
#include "tools/units.h"

#include <errno.h>
#include <string.h>
#include <time.h>

enum { INTERVAL_MOST_MS = 24 * 3600 * 1000 };

/* ---- what the forms have in common ---- */

const struct stats_total stats_totals[STATS_TOTALS] = {
    {"workers_started", "Workers that were started."},
    {"workers_died", "Workers that died while the pool needed them."},
    {"workers_retired", "Workers that were replaced: tasks, age, memory or a reload."},
    {"tasks_crashed", "Tasks that failed because their worker died."},
    {"tasks_timed_out", "Tasks that were over their time limit."},
    {"tasks_killed", "Tasks that were ended by force on request."},
    {"tasks_repeated", "Times that a task was run again after its worker died."},
    {"clients_attached", "Clients that attached."},
    {"clients_refused", "Clients that were refused."},
    {"lanes_faulted", "Clients that lost their lane because its memory was damaged."},
    {"reloads", "Reloads that succeeded."},
    {"reloads_failed", "Reloads that failed: the pool stayed as it was."},
};

uint64_t stats_total(const struct view *view, int number)
{
    uint64_t values[STATS_TOTALS];
    memcpy(values, &view->totals, sizeof(values));
    return values[number];
}

const char *stats_phase(const struct view *view)
{
    static const char *const names[] = {"open", "draining", "stopping"};
    return view->gone ? "gone" : names[view->closing < 2 ? view->closing : 2];
}

uint32_t stats_delay_ms(const struct view *view)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < view->client_count; i++)
        most = view->clients[i].delay_ms > most ? view->clients[i].delay_ms : most;
    return most;
}

/* ---- the command ---- */

enum form { FORM_TEXT, FORM_JSON, FORM_METRICS };

struct request {
    const char *socket, *listen;
    uint64_t interval_ms; /* 0: none */
    enum form form;
    int forms; /* how often one was chosen */
};

static int print(const struct view *view, enum form form)
{
    int result = 0;
    switch (form) {
    case FORM_TEXT:
        stats_text(view, stdout);
        break;
    case FORM_JSON:
        result = stats_json(view, stdout);
        break;
    case FORM_METRICS:
        stats_metrics(view, stdout);
        break;
    }
    if (result < 0)
        return command_failed(result);
    return fflush(stdout) == 0 ? STATUS_OK : STATUS_FAILED;
}

static void sleep_for(uint64_t ms)
{
    struct timespec rest = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&rest, &rest) < 0 && errno == EINTR) {
    }
}

static int show(const struct request *request)
{
    struct view *view;
    int result = view_open(&view, request->socket);
    if (result < 0)
        return command_failed(result);
    result = view_take(view);
    if (result == 0 && request->interval_ms != 0) {
        sleep_for(request->interval_ms);
        result = view_take(view);
    }
    int status = result < 0 ? command_failed(result) : print(view, request->form);
    view_close(view);
    return status;
}

static int set_interval(const struct command *command, struct request *request, const char *text)
{
    if (units_duration(text, &request->interval_ms) == 0 && request->interval_ms != 0 &&
        request->interval_ms <= INTERVAL_MOST_MS)
        return STATUS_OK;
    return usage_error(command,
                       "--interval is '%s'; write a duration from 1ms to 24h with its unit, "
                       "such as 500ms or 10s",
                       text);
}

static int set_form(struct request *request, enum form form)
{
    request->form = form;
    request->forms++;
    return STATUS_OK;
}

static int set(const struct command *command, struct request *request, int option)
{
    switch (option) {
    case 'j':
        return set_form(request, FORM_JSON);
    case 'p':
        return set_form(request, FORM_METRICS);
    case 'i':
        return set_interval(command, request, optarg);
    case 'l':
        request->listen = optarg;
        return STATUS_OK;
    case 's':
        request->socket = optarg;
        return STATUS_OK;
    default:
        return STATUS_USAGE;
    }
}

static int run(const struct command *command, const struct request *request)
{
    if (request->forms > 1)
        return usage_error(command, "--json and --prometheus exclude each other");
    if (request->listen == NULL)
        return show(request);
    if (request->form == FORM_JSON || request->interval_ms != 0)
        return usage_error(command, "with --listen metrics are served: neither --json nor "
                                    "--interval goes with it");
    if (exporter_run(request->socket, request->listen) == 0)
        return STATUS_OK;
    fprintf(stderr, "multicore: %s\n", error_message());
    return STATUS_FAILED;
}

int stats_command(const struct command *command, int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"prometheus", no_argument, NULL, 'p'},
                                            {"interval", required_argument, NULL, 'i'},
                                            {"listen", required_argument, NULL, 'l'},
                                            COMMAND_SOCKET_OPTION,
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct request request = {0};
    int option;
    while ((option = command_option(command, argc, argv, options)) != -1) {
        if (option == 'h')
            return command_help(command);
        int status = set(command, &request, option);
        if (status != STATUS_OK)
            return status;
    }
    if (optind < argc)
        return usage_error(command, "stats takes options only, not '%s'", argv[optind]);
    request.socket = command_socket(request.socket);
    return run(command, &request);
}
