/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Loading the modules of a served pool, in its zygote.
 */
#ifndef POOL_MODULES_H
#define POOL_MODULES_H

#include "pool/config.h"

/* Opens the files, puts the modules into order, sets them up, and adds their handlers to
 * the configuration. A negative errno with a message that names module and phase. */
int modules_load(struct config *config);

/* In place of a handler that clients know from another set-up. */
int modules_absent(mc_task *task);

/* What is wrong with the file as a module: NULL, or a sentence in mc_error_message(). For
 * a process of its own, since the file's constructors run. */
const struct mc_module *module_open(const char *path);

#endif
