/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RENDER_DIRECTORY_H
#define RENDER_DIRECTORY_H

#include "failure.h"

#include <stddef.h>

/* Makes parent/name (parent itself when name is NULL), with what is missing
 * above it, and checks that files can be made in it. Writes its name to path.
 * Returns 0, or a negative errno and a sentence that names it. */
int directory_make(const char *parent, const char *name, char *path, size_t size,
                   struct failure *failure);

#endif
