/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The command line that all benchmarks have in common.
 */
#ifndef BENCH_PROGRAM_H
#define BENCH_PROGRAM_H

#include "measure.h"

/* What a program does as a child of itself, instead of measuring. */
struct child {
    const char *option; /* without the two dashes */
    int (*run)(void);   /* returns an exit status */
};

struct program {
    const struct probe *probes; /* in the order of a round */
    size_t probe_count;
    const struct child *children; /* may be NULL; ends with an empty one */
    /* Before the first round and after the last; may be NULL. False after a message. */
    bool (*begin)(void);
    void (*end)(void);
};

/* main(): returns the exit status. */
int program_main(const struct program *program, int argc, char **argv);

#endif
