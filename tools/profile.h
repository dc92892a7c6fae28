/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How long each module took to start: for people, as JSON, and as a trace for a browser.
 */
#ifndef TOOLS_PROFILE_H
#define TOOLS_PROFILE_H

#include "pool/startup.h"

#include <jansson.h>
#include <stdio.h>

/* All phases of a module together. */
double profile_own_ms(const struct startup *startup, uint32_t module);
double profile_cpu_ms(const struct startup *startup, uint32_t module);
/* The modules as a tree: below each what it requires, where nobody before it does; with its
 * own time, and the sum of that and of all that stands below it. */
void profile_print(const struct startup *startup, FILE *out);
/* The same with every phase; NULL without memory. */
json_t *profile_json(const struct startup *startup);
/* Which module was in what when, as a file in the trace event format that chrome://tracing
 * and Perfetto show. A negative errno with a message. */
int profile_write_trace(const struct startup *startup, const char *path);

#endif
