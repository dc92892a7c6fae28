/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool/modules.h"

#include "base/check.h"
#include "base/error.h"
#include "base/fault.h"
#include "pool/order.h"
#include "pool/serve.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

/* ---- opening ---- */

enum { SIZE_MOST = 4096 }; /* of an mc_module: more is none */

static int check(const char *path, const struct mc_module *module)
{
    bool sized = module->size >= offsetof(struct mc_module, name) && module->size <= SIZE_MOST;
    if (sized && module->abi != MC_MODULE_ABI)
        return error_set(-EINVAL,
                         "%s was built for version %u of the module interface, and this is "
                         "version %d: build it against this multicore.h",
                         path, module->abi, MC_MODULE_ABI);
    if (module->size != sizeof(struct mc_module))
        return error_set(-EINVAL,
                         "%s: its mc_module says that it has %zu bytes, and this multicore's has "
                         "%zu: begin it with MC_MODULE_HEAD, and build it against this multicore.h",
                         path, module->size, sizeof(struct mc_module));
    size_t length = module->name == NULL ? 0 : strnlen(module->name, HANDLER_NAME_SIZE);
    if (length == 0 || length == HANDLER_NAME_SIZE)
        return error_set(-EINVAL, "%s: the module's name has %s; give 1 to %d bytes", path,
                         length == 0 ? "0 bytes" : "too many bytes", HANDLER_NAME_SIZE - 1);
    if (module->handlers == NULL && module->handler_count != 0)
        return error_set(-EINVAL, "module '%s' has %zu handlers at NULL", module->name,
                         module->handler_count);
    return 0;
}

const struct mc_module *module_open(const char *path)
{
    void *library = FAULT_FAILS("module_open", ENOMEM) ? NULL : dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        error_set(-ENOENT, "a module cannot be opened: %s", dlerror());
        return NULL;
    }
    const struct mc_module *module = dlsym(library, "mc_module");
    if (module == NULL)
        error_set(-EINVAL, "%s defines no MC_MODULE", path);
    else if (check(path, module) == 0)
        return module; // cppcheck-suppress resourceLeak ; it stays open as long as the process
    return NULL;       // cppcheck-suppress resourceLeak ; which has failed
}

static int open_all(struct config *config)
{
    for (uint32_t i = 0; i < config->module_count; i++) {
        struct mc_module_self *module = &config->modules[i];
        error_clear();
        module->descriptor = module_open(module->path);
        if (module->descriptor == NULL)
            return error_code();
        snprintf(module->name, sizeof(module->name), "%s", module->descriptor->name);
    }
    return 0;
}

/* ---- setting up ---- */

static int put_in_order(struct config *config)
{
    struct order_item items[MODULES_MOST];
    struct mc_module_self declared[MODULES_MOST];
    uint32_t order[MODULES_MOST];
    memcpy(declared, config->modules, config->module_count * sizeof(declared[0]));
    for (uint32_t i = 0; i < config->module_count; i++) {
        const struct mc_module *descriptor = declared[i].descriptor;
        CHECK(descriptor != NULL); /* it was opened */
        items[i] = (struct order_item){declared[i].name, descriptor->requires};
    }
    int result = order_modules(items, config->module_count, order);
    for (uint32_t i = 0; result == 0 && i < config->module_count; i++)
        config->modules[i] = declared[order[i]];
    return result;
}

static int run_phase(struct mc_module_self *module, const char *phase,
                     int (*function)(mc_module_self *self))
{
    if (function == NULL)
        return 0;
    error_clear();
    int status = function(module);
    if (status >= 0)
        return 0;
    char text[ERROR_MESSAGE_SIZE];
    if (error_code() == status)
        snprintf(text, sizeof(text), "%s", error_message());
    else
        snprintf(text, sizeof(text), "returned %d (%s)", status, strerror(-status));
    return error_set(status, "module '%s': %s: %.400s", module->name, phase, text);
}

static int set_up(struct config *config)
{
    int result = 0;
    for (uint32_t i = 0; result == 0 && i < config->module_count; i++)
        result =
            run_phase(&config->modules[i], "configure", config->modules[i].descriptor->configure);
    for (uint32_t i = 0; result == 0 && i < config->module_count; i++)
        result = run_phase(&config->modules[i], "load", config->modules[i].descriptor->load);
    for (uint32_t i = 0; result == 0 && i < config->module_count; i++)
        result = run_phase(&config->modules[i], "ready", config->modules[i].descriptor->ready);
    return result;
}

int modules_absent(mc_task *task)
{
    return mc_task_fail(task, -ENOSYS, "the pool's present modules do not have this handler");
}

static int add_handlers(struct config *config)
{
    for (uint32_t i = 0; i < config->module_count; i++) {
        const struct mc_module *module = config->modules[i].descriptor;
        int result = config_add_handlers(config, i, module->handlers, module->handler_count);
        if (result < 0) {
            char text[ERROR_MESSAGE_SIZE];
            snprintf(text, sizeof(text), "%s", error_message());
            return error_set(result, "module '%s': %.400s", config->modules[i].name, text);
        }
    }
    for (uint32_t i = 0; i < config->handler_count; i++)
        if (config->handlers[i].run == NULL)
            config->handlers[i].run = modules_absent;
    return 0;
}

int modules_load(struct config *config)
{
    int result = open_all(config);
    if (result == 0)
        result = put_in_order(config);
    if (result == 0)
        result = set_up(config);
    if (result == 0)
        result = add_handlers(config);
    return result;
}

const char *mc_module_setting(const mc_module_self *self, const char *key)
{
    for (uint32_t i = 0; i < self->setting_count; i++)
        if (strcmp(self->settings[i].key, key) == 0)
            return self->settings[i].value;
    return NULL;
}
