/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the commands of the program have in common. A new one is a function in a file
 * of its own and a line in the table of main.c.
 */
#ifndef TOOLS_COMMAND_H
#define TOOLS_COMMAND_H

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>

/* The same for every command; multicore(1) lists them. */
enum exit_status {
    STATUS_OK = 0,
    STATUS_FAILED = 1,        /* something went wrong while it ran */
    STATUS_USAGE = 2,         /* the command line is wrong */
    STATUS_CONFIGURATION = 3, /* the configuration is wrong, or cannot be read */
    STATUS_UNREACHABLE = 4,   /* there is no pool at the socket, or it does not admit us */
};

struct command {
    const char *name;
    const char *arguments; /* as in "multicore NAME ARGUMENTS" */
    const char *summary;
    const char *options; /* for --help: a line each, or NULL */
    /* argv[0] is the command's name. Returns an exit_status. */
    int (*run)(const struct command *command, int argc, char **argv);
};

int check_command(const struct command *command, int argc, char **argv);
int doctor_command(const struct command *command, int argc, char **argv);
int drain_command(const struct command *command, int argc, char **argv);
int quarantine_command(const struct command *command, int argc, char **argv);
int reload_command(const struct command *command, int argc, char **argv);
int run_command(const struct command *command, int argc, char **argv);
int serve_command(const struct command *command, int argc, char **argv);
int stack_command(const struct command *command, int argc, char **argv);
int stats_command(const struct command *command, int argc, char **argv);
int top_command(const struct command *command, int argc, char **argv);
int warmup_command(const struct command *command, int argc, char **argv);

/* The next option as getopt_long() gives it, or -1 after the last; an unknown one is
 * reported on standard error and read as '?'. --help is to be the 'h' of the table. */
int command_option(const struct command *command, int argc, char **argv,
                   const struct option *options);
/* For commands with one argument: it, or NULL after a report. */
const char *command_argument(const struct command *command, int argc, char **argv);
int command_help(const struct command *command);

/* For commands that ask a pool. The socket to ask at: what --socket gave, which may be
 * NULL; else MULTICORE_SOCKET of the environment; else where a configuration has it
 * that says nothing of it. */
const char *command_socket(const char *given);
#define COMMAND_SOCKET_OPTION                                                                      \
    {                                                                                              \
        "socket", required_argument, NULL, 's'                                                     \
    }
#define COMMAND_SOCKET_HELP                                                                        \
    "  -s, --socket PATH  of the pool; by default MULTICORE_SOCKET of the environment,\n"          \
    "                     else /run/multicore/socket\n"
/* Reports the message of a failed call on standard error; result is what it returned.
 * STATUS_UNREACHABLE where that means that there is no pool for us, else STATUS_FAILED. */
int command_failed(int result);

/* The value of an option: "500ms", "10s", up to most_ms; false after a report. */
bool command_duration(const struct command *command, const char *option, const char *text,
                      uint64_t most_ms, uint64_t *ms);
/* The same for a number from 1 to most. */
bool command_number(const struct command *command, const char *option, const char *text,
                    uint64_t most, uint64_t *number);
/* For commands without arguments: whether there are none; false after a report. */
bool command_bare(const struct command *command, int argc, char **argv);

/* Reports on standard error what is wrong with the command line. */
int usage_error(const struct command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
