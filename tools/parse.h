/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The way from a prepared source to assignments and sections, through libConfuse.
 */
#ifndef TOOLS_PARSE_H
#define TOOLS_PARSE_H

#include "tools/configuration.h"
#include "tools/source.h"

/* Adds all assignments, of unknown keys too, and modules with title and line. What
 * came before a mistake in the syntax, which ends this and returns false, is there all
 * the same, but for the modules. */
bool parse_source(struct configuration *configuration, const struct source *source);

#endif
