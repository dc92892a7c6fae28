/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A configuration file, read: the values, where each came from, and the mistakes.
 * Not for two threads at once: the parser keeps state of the process.
 */
#ifndef TOOLS_CONFIGURATION_H
#define TOOLS_CONFIGURATION_H

#include "tools/problems.h"
#include "tools/settings.h"

#include <stdio.h>

/* One "key = value", with the line that it is in. */
struct assignment {
    char *section; /* the title of its module, or NULL */
    char *key;
    char *value;
    int line;
};

struct configured_module {
    char *title;
    int line;
    char *path;    /* absolute */
    int path_line; /* 0: from the title */
    bool lazy;
    int lazy_line; /* 0: not given */
    struct setting *settings;
    int *lines; /* of the settings */
    uint32_t setting_count;
};

struct configuration {
    const char *file; /* as it was given */
    struct problems problems;
    struct assignment *assignments; /* in the file's order */
    size_t assignment_count;
    struct configured_module *modules; /* in the file's order */
    uint32_t module_count;
    struct module_spec *specs; /* the same for the pool */
    char *socket;              /* absolute */
    struct settings settings;
};

/* Reads file and checks what can be checked without loading a module. Always fills
 * *configuration, to be freed; it holds when problems.errors is 0. */
void configuration_read(struct configuration *configuration, const char *file);
void configuration_free(struct configuration *configuration);

/* Every value with its source, as a configuration. */
void configuration_print(const struct configuration *configuration, FILE *out);
/* The problems, a line each. */
void configuration_print_problems(const struct configuration *configuration, FILE *out);

#endif
