/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Loading the modules of a served pool, in its zygote.
 */
#ifndef POOL_MODULES_H
#define POOL_MODULES_H

#include "pool/config.h"
#include "pool/hooks.h"

/* Opens the files, puts the modules into order, sets those up that are not lazy, and what
 * these require, and adds the handlers of all to the configuration. A negative errno with a
 * message that names module and phase. */
int modules_load(struct config *config);
/* The rows of those that are set up. */
uint64_t modules_awake(const struct config *config);
/* Sets up a module that was left for later, and what it requires; like modules_load(). */
int modules_wake(struct config *config, uint32_t row);

/* The module of this handler, if that is not set up in this process; else NULL, also for what
 * is no handler's number. */
static inline const struct mc_module_self *modules_sleeper(const struct config *config,
                                                           uint32_t handler)
{
    const struct handler *entry = &config->handlers[handler];
    return handler < config->handler_capacity && entry->run == NULL && entry->name[0] != '\0' &&
                   config->modules[entry->module].asleep
               ? &config->modules[entry->module]
               : NULL;
}
/* Sets it up in this worker alone, with its worker_init. 0 also where it is set up already; a
 * negative errno with a message, which stays for a second. No limit of time holds for it. */
int modules_wake_here(struct config *config, uint32_t handler, struct states *states);

/* In place of a handler that clients know from another set-up. */
int modules_absent(mc_task *task);

/* What is wrong with the file as a module: NULL, or a sentence in mc_error_message(). For
 * a process of its own, since the file's constructors run. */
const struct mc_module *module_open(const char *path);

#endif
