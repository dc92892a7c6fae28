/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What went wrong, as one sentence, on its way from where it was noticed to
 * where it is printed. Only complain() prints.
 */
#ifndef RENDER_FAILURE_H
#define RENDER_FAILURE_H

#include <stdbool.h>

enum { EXIT_USAGE = 2 };

struct failure {
    char text[512];
    bool usage; /* the command line is at fault */
};

/* Keeps the sentence and returns code, so that a function can end with it. */
int failure_set(struct failure *failure, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* One line on stderr, beginning with the program's name. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
