/* SPDX-License-Identifier: BSD-3-Clause
 *
 * multicore reload: has a pool read its configuration again, and says what came of it.
 */
#include "base/clock.h"
#include "base/error.h"
#include "multicore.h"
#include "pool/log.h"
#include "tools/command.h"
#include "tools/observer.h"

#include <stdio.h>
#include <string.h>

enum { LOOK_MS = 20 };

/* What the pool's counters and its log were like before it was asked. */
struct before {
    uint64_t reloads, failed, log_cursor, ns;
};

static struct before remember(const struct control *control)
{
    return (struct before){
        .reloads = atomic_load(&control->totals.reloads),
        .failed = atomic_load(&control->totals.reloads_failed),
        .log_cursor = atomic_load(&control->log_tail),
        .ns = clock_ns(),
    };
}

/* The last error that the pool has logged since, which says why. */
static void print_reason(const struct control *control, uint64_t cursor)
{
    char text[LOG_TEXT_SIZE], reason[LOG_TEXT_SIZE] = "the configuration stays as it was";
    int level;
    while ((level = log_read(control, &cursor, text)) != 0)
        if (level == MC_LOG_ERROR)
            memcpy(reason, text, sizeof(reason));
    fprintf(stderr, "multicore: %s\n", reason);
}

static int await(const struct observer *observer, const struct before *before)
{
    const struct control *control = observer->control;
    bool ended = false;
    for (;;) {
        if (atomic_load(&control->totals.reloads_failed) != before->failed) {
            print_reason(control, before->log_cursor);
            return STATUS_FAILED;
        }
        if (atomic_load(&control->totals.reloads) != before->reloads) {
            printf("reloaded: the new set-up is in use after %.1f s\n",
                   (double)(clock_ns() - before->ns) / 1e9);
            return STATUS_OK;
        }
        if (ended)
            break;
        ended = observer_await_end(observer, LOOK_MS); /* and then a last look */
    }
    fprintf(stderr, "multicore: the pool ended before the new set-up was in use\n");
    return STATUS_FAILED;
}

static int reload(const char *path, bool wait)
{
    struct observer observer;
    int result = observer_open(&observer, path);
    if (result < 0)
        return command_failed(result);
    struct before before = remember(observer.control);
    int status = STATUS_OK;
    result = observer_ask(path, &(struct message){.type = MESSAGE_RELOAD});
    if (result < 0)
        status = command_failed(result);
    else if (wait)
        status = await(&observer, &before);
    observer_close(&observer);
    return fflush(stdout) == 0 ? status : STATUS_FAILED;
}

int reload_command(const struct command *command, int argc, char **argv)
{
    static const struct option options[] = {COMMAND_SOCKET_OPTION,
                                            {"no-wait", no_argument, NULL, 'n'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *socket = NULL;
    bool wait = true;
    int option;
    while ((option = command_option(command, argc, argv, options)) != -1) {
        if (option == 'h')
            return command_help(command);
        if (option == 's')
            socket = optarg;
        else if (option == 'n')
            wait = false;
        else
            return STATUS_USAGE;
    }
    return command_bare(command, argc, argv) ? reload(command_socket(socket), wait) : STATUS_USAGE;
}
