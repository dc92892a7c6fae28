/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/command.h"

#include "base/error.h"
#include "tools/nearest.h"
#include "tools/settings.h"
#include "tools/units.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int command_help(const struct command *command)
{
    printf("usage: multicore %s %s\n\n%s\n\n%s  -h, --help       this text\n", command->name,
           command->arguments, command->summary, command->options != NULL ? command->options : "");
    return STATUS_OK;
}

int usage_error(const struct command *command, const char *format, ...)
{
    va_list arguments;
    fputs("multicore: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    if (command == NULL)
        fputs("\n'multicore --help' lists the commands\n", stderr);
    else
        fprintf(stderr, "\nusage: multicore %s %s\n", command->name, command->arguments);
    return STATUS_USAGE;
}

static void unknown_option(const struct command *command, const char *given,
                           const struct option *options)
{
    struct nearest nearest = nearest_to(given + strspn(given, "-"));
    for (const struct option *each = options; each->name != NULL; each++)
        nearest_try(&nearest, each->name);
    if (nearest.best != NULL)
        usage_error(command, "'%s' is no option of %s, or lacks its value; did you mean '--%s'?",
                    given, command->name, nearest.best);
    else
        usage_error(command, "'%s' is no option of %s", given, command->name);
}

int command_option(const struct command *command, int argc, char **argv,
                   const struct option *options)
{
    char letters[64] = "+"; /* options come first */
    size_t used = 1;
    for (const struct option *each = options; each->name != NULL; each++) {
        if (used + 2 >= sizeof(letters))
            break;
        letters[used++] = (char)each->val;
        if (each->has_arg == required_argument)
            letters[used++] = ':';
    }
    opterr = 0;
    int place = optind == 0 ? 1 : optind;
    int found = getopt_long(argc, argv, letters, options, NULL);
    if (found == '?')
        unknown_option(command, argv[place], options);
    return found;
}

const char *command_argument(const struct command *command, int argc, char **argv)
{
    if (argc - optind == 1)
        return argv[optind];
    usage_error(command, "%s wants %s", command->name,
                argc == optind ? "the file with the configuration" : "one file, not several");
    return NULL;
}

const char *command_socket(const char *given)
{
    const char *set = getenv("MULTICORE_SOCKET");
    if (given != NULL)
        return given;
    return set != NULL && set[0] != '\0' ? set : key_find("socket")->initial;
}

int command_failed(int result)
{
    fprintf(stderr, "multicore: %s\n", error_message());
    switch (result) {
    case -ENOENT:
    case -ECONNREFUSED:
    case -ENOTCONN:
    case -EACCES:
    case -EPROTO:
    case -ESHUTDOWN:
        return STATUS_UNREACHABLE;
    default:
        return STATUS_FAILED;
    }
}

bool command_duration(const struct command *command, const char *option, const char *text,
                      uint64_t most_ms, uint64_t *ms)
{
    char most[UNITS_TEXT_SIZE];
    uint64_t value;
    if (units_duration(text, &value) == 0 && value <= most_ms) {
        *ms = value;
        return true;
    }
    usage_error(command,
                "%s is '%s': it wants a number of ms, s, m, h or d, such as 10s; at most %s",
                option, text, units_of_duration(most_ms, most));
    return false;
}

bool command_number(const struct command *command, const char *option, const char *text,
                    uint64_t most, uint64_t *number)
{
    uint64_t value;
    if (units_number(text, &value) == 0 && value >= 1 && value <= most) {
        *number = value;
        return true;
    }
    usage_error(command, "%s is '%s': it wants a number from 1 to %" PRIu64, option, text, most);
    return false;
}

bool command_bare(const struct command *command, int argc, char **argv)
{
    if (argc == optind)
        return true;
    usage_error(command, "%s takes no argument, but got '%s'", command->name, argv[optind]);
    return false;
}
