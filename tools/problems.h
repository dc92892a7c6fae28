/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The mistakes of one configuration, collected so that all of them can be told.
 */
#ifndef TOOLS_PROBLEMS_H
#define TOOLS_PROBLEMS_H

#include <stdbool.h>
#include <stddef.h>

struct problem {
    int line; /* 0: of the whole file */
    bool warning;
    char *text;
};

struct problems {
    struct problem *list;
    size_t count;
    size_t errors; /* those that are no warnings */
};

void problems_error(struct problems *problems, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void problems_warn(struct problems *problems, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* By line; those of one line stay in their order. */
void problems_sort(struct problems *problems);
/* "FILE:LINE: TEXT" */
const char *problem_text(const struct problem *problem, const char *file, char *buffer,
                         size_t size);
void problems_free(struct problems *problems);

#endif
