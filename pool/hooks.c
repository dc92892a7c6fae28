/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool/hooks.h"

#include "base/error.h"

#include <stdio.h>
#include <string.h>

static int begin(struct mc_module_self *module, void **state)
{
    if (module->descriptor == NULL)
        return module->worker_init == NULL ? 0 : module->worker_init(module->hook_context, state);
    return module->descriptor->worker_init == NULL ? 0
                                                   : module->descriptor->worker_init(module, state);
}

static void end(const struct mc_module_self *module, void *state)
{
    void (*hook)(void *) =
        module->descriptor == NULL ? module->worker_exit : module->descriptor->worker_exit;
    if (hook != NULL)
        hook(state);
}

/* What the hook said, or else what its status means. */
static int failed(const struct mc_module_self *module, int status)
{
    char text[ERROR_MESSAGE_SIZE];
    if (error_code() == status)
        snprintf(text, sizeof(text), "%s", error_message());
    else
        snprintf(text, sizeof(text), "worker_init returned %d (%s)", status, strerror(-status));
    if (module->name[0] == '\0')
        return error_set(status, "%s", text);
    return error_set(status, "module '%s': %.400s", module->name, text);
}

static void end_first(const struct config *config, struct states *states, uint32_t count)
{
    while (count-- > 0)
        end(&config->modules[count], states->of[count]);
}

int hooks_begin(const struct config *config, struct states *states)
{
    for (uint32_t i = 0; i < config->module_count; i++) {
        error_clear();
        int status = begin(&config->modules[i], &states->of[i]);
        if (status < 0) {
            end_first(config, states, i);
            return failed(&config->modules[i], status);
        }
    }
    return 0;
}

void hooks_end(const struct config *config, struct states *states)
{
    end_first(config, states, config->module_count);
}
