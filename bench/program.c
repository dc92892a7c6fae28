/* SPDX-License-Identifier: BSD-3-Clause */
#include "program.h"

#include "report.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROUNDS = 7,
    QUICK_ROUNDS = 3,
    QUICK_DIVISOR = 5,
    ROUNDS_MOST = 1000,
};

struct arguments {
    const char *json;
    const char *only;
    struct effort effort;
    bool list;
};

static const char usage[] =
    "usage: %s [--json FILE] [--quick] [--rounds N] [--only NAME,...] [--list]\n"
    "  --json FILE     also write the results as JSON\n"
    "  --quick         3 rounds with fewer samples\n"
    "  --rounds N      so many rounds instead of 7\n"
    "  --only NAME,... only these figures, and what they are held against\n"
    "  --list          the names of all figures\n";

enum option_code { HELP = 'h', JSON = 1, QUICK, ROUNDS_GIVEN, ONLY, LIST };

static const struct option options[] = {
    {"json", required_argument, NULL, JSON},
    {"quick", no_argument, NULL, QUICK},
    {"rounds", required_argument, NULL, ROUNDS_GIVEN},
    {"only", required_argument, NULL, ONLY},
    {"list", no_argument, NULL, LIST},
    {"help", no_argument, NULL, HELP},
    {0},
};

static unsigned read_rounds(const char *text)
{
    char *end;
    unsigned long rounds = strtoul(text, &end, 10);
    if (*end == '\0' && rounds >= 1 && rounds <= ROUNDS_MOST)
        return (unsigned)rounds;
    fprintf(stderr, "%s: --rounds %s: give a number from 1 to %d\n", program_invocation_short_name,
            text, ROUNDS_MOST);
    exit(2);
}

static void apply(int code, struct arguments *arguments)
{
    switch (code) {
    case JSON:
        arguments->json = optarg;
        break;
    case QUICK:
        arguments->effort = (struct effort){QUICK_ROUNDS, QUICK_DIVISOR};
        break;
    case ONLY:
        arguments->only = optarg;
        break;
    case LIST:
        arguments->list = true;
        break;
    default:
        fprintf(code == HELP ? stdout : stderr, usage, program_invocation_short_name);
        exit(code == HELP ? 0 : 2);
    }
}

static struct arguments read_arguments(int argc, char **argv)
{
    struct arguments arguments = {.effort = {ROUNDS, 1}};
    unsigned rounds = 0;
    int code;
    while ((code = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (code == ROUNDS_GIVEN)
            rounds = read_rounds(optarg);
        else
            apply(code, &arguments);
    }
    if (optind < argc)
        apply(0, &arguments); /* a word too many */
    if (rounds > 0)
        arguments.effort.rounds = rounds;
    return arguments;
}

static int run(const struct program *program, const struct arguments *arguments)
{
    const char *unknown;
    if (!figures_select(arguments->only, &unknown)) {
        fprintf(stderr, "%s: no figure is named '%.*s'; --list names them\n",
                program_invocation_short_name, (int)strcspn(unknown, ","), unknown);
        return 2;
    }
    if (!place_find()) {
        fprintf(stderr, "%s: it needs two CPUs that it may run on\n",
                program_invocation_short_name);
        return 1;
    }
#ifndef __OPTIMIZE__
    fprintf(stderr, "%s: compiled without optimisation, so the figures mean little\n",
            program_invocation_short_name);
#endif
    place_on(BOTH_CPUS);
    if (program->begin != NULL && !program->begin())
        return 1;
    measure(program->probes, program->probe_count, arguments->effort);
    if (program->end != NULL)
        program->end();
    report_print();
    return arguments->json == NULL || report_write(arguments->json) ? 0 : 1;
}

static bool any_failed(void)
{
    for (unsigned id = NO_FIGURE + 1; id < figure_count; id++)
        if (figures[id].failed)
            return true;
    return false;
}

/* NULL when this is not to be a child. */
static const struct child *find_child(const struct program *program, int argc, char **argv)
{
    const struct child *child = program->children;
    if (argc != 2 || strncmp(argv[1], "--", 2) != 0)
        return NULL;
    while (child != NULL && child->option != NULL && strcmp(child->option, argv[1] + 2) != 0)
        child++;
    return child != NULL && child->option != NULL ? child : NULL;
}

int program_main(const struct program *program, int argc, char **argv)
{
    const struct child *child = find_child(program, argc, argv);
    if (child != NULL)
        return child->run();
    struct arguments arguments = read_arguments(argc, argv);
    if (arguments.list) {
        report_list();
        return 0;
    }
    int result = run(program, &arguments);
    if (result == 0 && any_failed())
        result = 1;
    figures_free();
    return result;
}
