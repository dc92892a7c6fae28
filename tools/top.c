/* SPDX-License-Identifier: BSD-3-Clause
 *
 * multicore top: what a served pool does, as it goes on.
 */
#include "tools/top.h"

#include "base/clock.h"
#include "base/error.h"
#include "loadavg/text.h"
#include "tools/command.h"
#include "tools/plain.h"
#include "tools/units.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- The pool --------------------------------------------------------------------- */

static void go_away(struct top *top)
{
    snprintf(top->away, sizeof(top->away), "%s", error_message());
    plain_text(top->away);
    view_close(top->view);
    top->view = NULL;
    top_panes_update(top);
}

static void count_failed(struct top *top)
{
    uint64_t before = top->failed;
    top->failed = 0;
    for (uint32_t i = 0; i < top->view->handler_count; i++)
        top->failed += top->view->handlers[i].failed;
    top->failed_per_second = 0;
    if (top->view->interval_ns != 0 && top->failed > before)
        top->failed_per_second =
            (double)(top->failed - before) * 1e9 / (double)top->view->interval_ns;
}

/* An error leaves it away, with the reason. */
static int look(struct top *top)
{
    int result = top->view == NULL ? view_open(&top->view, top->socket) : 0;
    if (result == 0)
        result = view_take(top->view);
    if (result < 0) {
        go_away(top);
        return result;
    }
    count_failed(top);
    top_panes_update(top);
    return 0;
}

void top_update(struct top *top)
{
    /* A pool that has just gone may be there again, as after a restart. */
    if (top->view != NULL && look(top) == 0)
        return;
    (void)look(top);
}

/* ---- The command line -------------------------------------------------------------- */

int top_delay(const char *text, uint32_t *delay_ms)
{
    uint32_t milli = 0;
    uint64_t given = 0;
    const char *end = text_milli(text, &milli);
    int result = 0;
    if (end != NULL && *end == '\0')
        given = milli;
    else
        result = units_duration(text, &given);
    if (result == -EINVAL)
        return error_set(-EINVAL, "'%.40s' is no delay: give seconds, or a duration such as 500ms",
                         text);
    if (result < 0 || given < DELAY_LEAST_MS || given > DELAY_MOST_MS)
        return error_set(-ERANGE, "a delay of '%.40s' is not possible: from 0.1 to 3600 seconds",
                         text);
    *delay_ms = (uint32_t)given;
    return 0;
}

static int read_count(const struct command *command, const char *text, uint64_t *count)
{
    const char *end = text_integer(text, count);
    if (end != NULL && *end == '\0' && *count > 0)
        return 0;
    usage_error(command, "'%s' is no number of updates: give 1 or more", text);
    return -EINVAL;
}

/* -1: go on; else the exit status. */
static int read_options(const struct command *command, int argc, char **argv, struct top *top,
                        bool *plain)
{
    static const struct option options[] = {{"plain", no_argument, NULL, 'p'},
                                            {"count", required_argument, NULL, 'n'},
                                            {"delay", required_argument, NULL, 'd'},
                                            {"no-color", no_argument, NULL, 'C'},
                                            COMMAND_SOCKET_OPTION,
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    int option;
    while ((option = command_option(command, argc, argv, options)) != -1) {
        switch (option) {
        case 'p':
            *plain = true;
            break;
        case 'n':
            if (read_count(command, optarg, &top->count) < 0)
                return STATUS_USAGE;
            break;
        case 'd':
            if (top_delay(optarg, &top->delay_ms) < 0)
                return usage_error(command, "%s", error_message());
            break;
        case 'C':
            top->color = false;
            break;
        case 's':
            top->socket = optarg;
            break;
        case 'h':
            return command_help(command);
        default:
            return STATUS_USAGE;
        }
    }
    if (optind != argc)
        return usage_error(command, "'%s' is too much: top takes options only", argv[optind]);
    return -1;
}

int top_command(const struct command *command, int argc, char **argv)
{
    const char *no_color = getenv("NO_COLOR");
    struct top *top = calloc(1, sizeof(*top));
    bool plain = !isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO);
    if (top == NULL)
        return STATUS_FAILED;
    top->delay_ms = 1000;
    top->begun_ns = clock_ns();
    top->color = no_color == NULL || no_color[0] == '\0';
    int status = read_options(command, argc, argv, top, &plain);
    if (status == -1) {
        top->socket = command_socket(top->socket);
        top_panes_init(top);
        int result = look(top);
        if (result < 0)
            status = command_failed(result);
        else
            status = plain ? top_plain(top) : top_screen(top);
        view_close(top->view);
    }
    free(top);
    return status;
}
