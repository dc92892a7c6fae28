/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/problems.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST = 200 }; /* are kept; nobody reads more */

/* Without memory for its text the mistake is still counted. */
static void add(struct problems *problems, bool warning, int line, const char *format,
                va_list arguments)
{
    char *text = NULL;
    if (!warning)
        problems->errors++;
    if (problems->count == MOST)
        return;
    struct problem *grown =
        reallocarray(problems->list, problems->count + 1, sizeof(*problems->list));
    if (grown == NULL)
        return;
    problems->list = grown;
    if (vasprintf(&text, format, arguments) < 0)
        return;
    problems->list[problems->count++] =
        (struct problem){.line = line, .warning = warning, .text = text};
}

void problems_error(struct problems *problems, int line, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    add(problems, false, line, format, arguments);
    va_end(arguments);
}

void problems_warn(struct problems *problems, int line, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    add(problems, true, line, format, arguments);
    va_end(arguments);
}

void problems_sort(struct problems *problems)
{
    for (size_t i = 1; i < problems->count; i++) {
        struct problem moved = problems->list[i];
        size_t place = i;
        for (; place > 0 && problems->list[place - 1].line > moved.line; place--)
            problems->list[place] = problems->list[place - 1];
        problems->list[place] = moved;
    }
}

const char *problem_text(const struct problem *problem, const char *file, char *buffer, size_t size)
{
    if (problem->line > 0)
        snprintf(buffer, size, "%s:%d: %s", file, problem->line, problem->text);
    else
        snprintf(buffer, size, "%s: %s", file, problem->text);
    return buffer;
}

void problems_free(struct problems *problems)
{
    for (size_t i = 0; i < problems->count; i++)
        free(problems->list[i].text);
    free(problems->list);
    *problems = (struct problems){0};
}
