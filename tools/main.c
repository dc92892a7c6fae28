/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The multicore command: finds the command that is asked for, and runs it.
 */
#include "multicore.h"
#include "tools/command.h"
#include "tools/nearest.h"

#include <stdio.h>
#include <string.h>

static int help_command(const struct command *command, int argc, char **argv);

/* In the order of --help. */
static const struct command commands[] = {
    {.name = "serve",
     .arguments = "[OPTION...] CONFIG",
     .summary = "run the pool that CONFIG describes, for programs that attach to it",
     .options = "  -l, --serial-load      load modules one after the other\n"
                "  -r, --refork-after N   make the pool anew from a worker that has done N tasks\n"
                "  -p, --startup-profile  print how long each module takes to start\n"
                "  -j, --json             print that as JSON\n"
                "  -t, --startup-trace F  write when each phase ran, for chrome://tracing\n",
     .run = serve_command},
    {.name = "warmup",
     .arguments = "[OPTION...] CONFIG",
     .summary = "start the pool that CONFIG describes, try each module, and say how long it took",
     .options = "  -b, --budget T      fail if it takes longer than that, as in 3s or 500ms\n"
                "  -c, --cpu-budget T  the same for CPU time, of all processes together\n"
                "  -l, --serial-load   load modules one after the other\n"
                "  -j, --json          print it as JSON\n"
                "  -t, --trace FILE    write when each phase ran, for chrome://tracing\n",
     .run = warmup_command},
    {.name = "check",
     .arguments = "[--effective] CONFIG",
     .summary = "say what is wrong with a configuration, without running it",
     .options = "  -e, --effective  print every value, and where it comes from\n",
     .run = check_command},
    {.name = "run",
     .arguments = "[OPTION...] HANDLER [ARGUMENT|-]",
     .summary = "run a handler of a pool, and print the result",
     .options = "  -f, --format NAME  raw, json, or msgpack (given and printed as JSON)\n"
                "  -i, --items N      split the range from 0 to N among the workers\n"
                "  -t, --timeout T    wait no longer, as in 10s or 500ms\n"
                "  -r, --repeat N     run it N times, and print only how fast that was\n"
                "  -c, --concurrency C\n"
                "                     with --repeat: so many at once\n" COMMAND_SOCKET_HELP,
     .run = run_command},
    {.name = "reload",
     .arguments = "[--no-wait] [--socket PATH]",
     .summary = "have a pool read its configuration and load its modules again",
     .options =
         "  -n, --no-wait      do not wait until the new set-up is in use\n" COMMAND_SOCKET_HELP,
     .run = reload_command},
    {.name = "drain",
     .arguments = "[--timeout T] [--no-wait] [--socket PATH]",
     .summary = "end a pool, when the tasks that it has accepted have ended",
     .options =
         "  -t, --timeout T    how long tasks may go on; by default close-timeout of the pool\n"
         "  -n, --no-wait      do not wait for the end\n" COMMAND_SOCKET_HELP,
     .run = drain_command},
    {.name = "stack",
     .arguments = "[--json] [--socket PATH] PID|all",
     .summary = "show where a worker is, or all of them",
     .options = "  -j, --json         print it as JSON\n" COMMAND_SOCKET_HELP,
     .run = stack_command},
    {.name = "quarantine",
     .arguments = "[--json] [--socket PATH] [list | show NUMBER]",
     .summary = "list the tasks that killed workers, or show one with its arguments",
     .options = "  -j, --json         print it as JSON\n" COMMAND_SOCKET_HELP,
     .run = quarantine_command},
    {.name = "doctor",
     .arguments = "[--json] [CONFIG]",
     .summary = "say what of this machine is good or bad for a pool",
     .options = "  -j, --json  print it as JSON\n",
     .run = doctor_command},
    {.name = "stats",
     .arguments = "[--json | --prometheus] [--interval TIME] [--listen ADDRESS] [--socket PATH]",
     .summary = "what a served pool does: workers, clients, handlers, and why tasks wait",
     .options = "  -j, --json         as one JSON object\n"
                "  -p, --prometheus   as OpenMetrics, which Prometheus reads\n"
                "  -i, --interval TIME  rates and percentiles of the next 500ms, 10s, 1m ...\n"
                "  -l, --listen ADDRESS  serve the metrics over HTTP, at HOST:PORT or the path of\n"
                "                     a Unix socket, which has a slash\n" COMMAND_SOCKET_HELP,
     .run = stats_command},
    {.name = "top",
     .arguments = "[OPTION...]",
     .summary = "watch a pool: its workers, clients and handlers",
     .options = COMMAND_SOCKET_HELP
     "  -d, --delay TIME   between two updates: 2, 0.5 or 500ms; by default a second\n"
     "  -n, --count COUNT  end after so many updates\n"
     "  -p, --plain        print text instead of using the whole terminal\n"
     "  -C, --no-color     no colours, as with NO_COLOR in the environment\n",
     .run = top_command},
    {.name = "help",
     .arguments = "[COMMAND]",
     .summary = "this list, or what one command does",
     .run = help_command},
};
enum { COMMAND_COUNT = sizeof(commands) / sizeof(commands[0]) };

static const struct command *find(const char *name)
{
    for (int i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static int unknown(const char *name)
{
    struct nearest nearest = nearest_to(name);
    for (int i = 0; i < COMMAND_COUNT; i++)
        nearest_try(&nearest, commands[i].name);
    if (nearest.best != NULL)
        return usage_error(NULL, "there is no command '%s'; did you mean '%s'?", name,
                           nearest.best);
    return usage_error(NULL, "there is no command '%s'", name);
}

static void list(FILE *out)
{
    fprintf(out, "usage: multicore COMMAND [ARGUMENT...]\n\n");
    for (int i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fprintf(out, "\n  multicore COMMAND --help   what a command takes\n"
                 "  multicore --version        the version\n");
}

static int help_command(const struct command *command, int argc, char **argv)
{
    if (argc > 2)
        return usage_error(command, "one command at a time");
    if (argc == 2 && strcmp(argv[1], "--help") != 0 && strcmp(argv[1], "-h") != 0) {
        const struct command *named = find(argv[1]);
        return named == NULL ? unknown(argv[1]) : command_help(named);
    }
    list(stdout);
    return STATUS_OK;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        list(stderr);
        return STATUS_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        printf("multicore %s\n", mc_version());
        return STATUS_OK;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        list(stdout);
        return STATUS_OK;
    }
    if (argv[1][0] == '-')
        return usage_error(NULL, "'%s' comes before a command, and is none", argv[1]);
    const struct command *command = find(argv[1]);
    return command == NULL ? unknown(argv[1]) : command->run(command, argc - 1, argv + 1);
}
