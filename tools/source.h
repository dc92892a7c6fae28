/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The text of a configuration, made fit for libConfuse. That parser counts a line too
 * many for each comment, skips characters that it does not know, and takes a file that
 * ends inside a section for complete. So comments and semicolons become blanks, and
 * the rest is found here, with the line where it begins. Pure but for source_read().
 */
#ifndef TOOLS_SOURCE_H
#define TOOLS_SOURCE_H

#include "tools/problems.h"

#include <stddef.h>

enum { SOURCE_MOST = 256 * 1024 };

struct source {
    char *text; /* ends with a zero byte */
    size_t size;
    int *sections; /* the lines of the braces that open sections, in their order */
    size_t section_count;
};

/* Both report what is wrong as problems, and return a negative errno then. */
int source_read(struct source *source, const char *path, struct problems *problems);
int source_prepare(struct source *source, struct problems *problems);
void source_free(struct source *source);

#endif
