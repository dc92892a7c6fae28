/* SPDX-License-Identifier: BSD-3-Clause
 *
 * multicore drain: ends a pool when its tasks have ended.
 */
#include "base/clock.h"
#include "base/error.h"
#include "tools/command.h"
#include "tools/observer.h"

#include <stdio.h>

enum {
    DAY_MS = 24 * 60 * 60 * 1000,
    GRACE_MS = 2000, /* for processes to end, after tasks had their time */
    AS_CONFIGURED = -1,
};

static double seconds_since(uint64_t began_ns)
{
    return (double)(clock_ns() - began_ns) / 1e9;
}

/* The pool keeps to its own limit; ours is there for one that does not. */
static int await(const struct observer *observer, int timeout_ms)
{
    uint64_t began = clock_ns();
    if (observer_await_end(observer, timeout_ms == AS_CONFIGURED ? -1 : timeout_ms + GRACE_MS)) {
        printf("the pool ended after %.1f s\n", seconds_since(began));
        return STATUS_OK;
    }
    fprintf(stderr,
            "multicore: the pool (process %d) is still there after %.1f s, although its tasks had "
            "only %d ms; look at it with 'multicore stack all'\n",
            (int)observer->supervisor, seconds_since(began), timeout_ms);
    return STATUS_FAILED;
}

static int drain(const char *path, int timeout_ms, bool wait)
{
    struct observer observer;
    int status = STATUS_OK;
    int result = observer_open(&observer, path);
    if (result < 0)
        return command_failed(result);
    result = observer_ask(path, &(struct message){.type = MESSAGE_DRAIN, .value = timeout_ms});
    if (result < 0)
        status = command_failed(result);
    else if (wait)
        status = await(&observer, timeout_ms);
    observer_close(&observer);
    return fflush(stdout) == 0 ? status : STATUS_FAILED;
}

int drain_command(const struct command *command, int argc, char **argv)
{
    static const struct option options[] = {COMMAND_SOCKET_OPTION,
                                            {"timeout", required_argument, NULL, 't'},
                                            {"no-wait", no_argument, NULL, 'n'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *socket = NULL;
    int timeout_ms = AS_CONFIGURED;
    bool wait = true;
    uint64_t ms;
    int option;
    while ((option = command_option(command, argc, argv, options)) != -1) {
        switch (option) {
        case 'h':
            return command_help(command);
        case 's':
            socket = optarg;
            break;
        case 'n':
            wait = false;
            break;
        case 't':
            if (!command_duration(command, "--timeout", optarg, DAY_MS, &ms))
                return STATUS_USAGE;
            timeout_ms = (int)ms;
            break;
        default:
            return STATUS_USAGE;
        }
    }
    return command_bare(command, argc, argv) ? drain(command_socket(socket), timeout_ms, wait)
                                             : STATUS_USAGE;
}
