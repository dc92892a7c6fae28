/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The command line of a demo: long options, --help, and complaints that name the value, the limit
 * and the way out.
 */
#ifndef RENDER_ARGUMENTS_H
#define RENDER_ARGUMENTS_H

#include <getopt.h>
#include <stdbool.h>

enum { HELP = 1000 }; /* the option --help */

struct options; /* the program's own */

struct arguments {
    const char *help;
    const struct option *names; /* the last one is all zero */
    /* Takes one of these but HELP. Returns false after a complaint. */
    bool (*read)(int option, const char *text, struct options *options);
};

/* Reads the options. Returns the place of the first argument that is none; 0 when there is
 * nothing to do, after --help or a complaint: *status is then what the program ends with. */
int arguments_read(const struct arguments *arguments, int argc, char **argv,
                   struct options *options, int *status);

/* For read(): a whole number. `otherwise` says what leaving it out means. */
bool read_number(const char *name, const char *text, unsigned min, unsigned max,
                 const char *otherwise, unsigned *number);

#endif
