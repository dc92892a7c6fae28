/* SPDX-License-Identifier: BSD-3-Clause */
#include "arguments.h"
#include "failure.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

bool read_number(const char *name, const char *text, unsigned min, unsigned max,
                 const char *otherwise, unsigned *number)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    bool digits = text[0] >= '0' && text[0] <= '9' && *end == '\0';
    if (digits && errno == 0 && value >= min && value <= max) {
        *number = (unsigned)value;
        return true;
    }
    complain("--%s %s: must be a whole number from %u to %u; %s", name, text, min, max, otherwise);
    return false;
}

static void complain_unknown(int option, char **argv)
{
    /* getopt_long() has just gone past the argument it did not like. */
    const char *argument = argv[optind - 1];
    if (option == '?' && optopt)
        complain("%s: the option takes no value", argument);
    else if (option == ':')
        complain("%s needs a value; see --help", argument);
    else
        complain("%s: there is no such option; see --help", argument);
}

int arguments_read(const struct arguments *arguments, int argc, char **argv,
                   struct options *options, int *status)
{
    int option;
    *status = EXIT_USAGE;
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":", arguments->names, NULL)) != -1) {
        if (option == HELP) {
            fputs(arguments->help, stdout);
            *status = EXIT_SUCCESS;
            return 0;
        }
        if (option == '?' || option == ':') {
            complain_unknown(option, argv);
            return 0;
        }
        if (!arguments->read(option, optarg, options))
            return 0;
    }
    return optind;
}
