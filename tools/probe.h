/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Looks into a module's file in a child process, since code of the module runs as soon
 * as it is loaded, and may crash or hang.
 */
#ifndef TOOLS_PROBE_H
#define TOOLS_PROBE_H

#include <stddef.h>

struct probe {
    char *text;  /* owns what the others point into */
    char *error; /* one sentence, or NULL */
    char *name;  /* what the module calls itself */
    char **handlers;
    size_t handler_count;
    char **requires; /* ends with NULL, if there are any */
    size_t require_count;
};

enum { PROBE_TIMEOUT_MS = 10000 };

/* Fills *probe, to be freed; error says what is wrong. */
void probe_module(struct probe *probe, const char *path, int timeout_ms);
void probe_free(struct probe *probe);

#endif
