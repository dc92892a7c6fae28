/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool/modules.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fault.h"
#include "pool/order.h"
#include "pool/phases.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

/* ---- opening ---- */

enum { SIZE_MOST = 4096 }; /* of an mc_module: more is none */

static bool has_handler(const struct mc_module *module, const char *name)
{
    for (size_t i = 0; i < module->handler_count; i++)
        if (module->handlers[i].name != NULL && strcmp(module->handlers[i].name, name) == 0)
            return true;
    return false;
}

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
    if (module->warmup != NULL && !has_handler(module, module->warmup))
        return error_set(-EINVAL, "warmup of module '%s' is '%.63s': name one of its handlers",
                         module->name, module->warmup);
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

static int open_one(struct config *config, struct mc_module_self *module)
{
    struct startup_module *entry = &config->startup->modules[module->row];
    const char *slash = strrchr(module->path, '/');
    snprintf(entry->name, sizeof(entry->name), "%s", slash != NULL ? slash + 1 : module->path);
    error_clear();
    startup_name_thread(config->startup, module->row);
    startup_begin(config->startup, module->row, &entry->spans[MODULE_OPEN]);
    module->descriptor = module_open(module->path);
    startup_end(&entry->spans[MODULE_OPEN]);
    if (module->descriptor == NULL)
        return error_code();
    snprintf(module->name, sizeof(module->name), "%s", module->descriptor->name);
    snprintf(entry->name, sizeof(entry->name), "%s", module->name);
    if (module->descriptor->warmup != NULL)
        snprintf(entry->warmup, sizeof(entry->warmup), "%s", module->descriptor->warmup);
    return 0;
}

static int open_all(struct config *config)
{
    int result = 0;
    for (uint32_t i = 0; result == 0 && i < config->module_count; i++)
        result = open_one(config, &config->modules[i]);
    return result < 0 ? result : phases_check_threads(config, -1, MODULE_OPEN, 1);
}

/* ---- setting up ---- */

static void note_order(const struct config *config, const struct order_item *items)
{
    uint64_t rows[MODULES_MOST] = {0};
    for (uint32_t i = 0; i < config->module_count; i++) {
        config->startup->order[i] = config->modules[i].row;
        for (const char *const *name = items[i].requires; name != NULL && *name != NULL; name++)
            for (uint32_t j = 0; j < i; j++)
                if (strcmp(items[j].name, *name) == 0)
                    rows[i] |= UINT64_C(1) << config->modules[j].row;
        config->startup->modules[config->modules[i].row].requires = rows[i];
    }
}

static int put_in_order(struct config *config)
{
    struct order_item items[MODULES_MOST], ordered[MODULES_MOST];
    struct mc_module_self declared[MODULES_MOST];
    uint32_t order[MODULES_MOST];
    uint64_t needs[MODULES_MOST];
    memcpy(declared, config->modules, config->module_count * sizeof(declared[0]));
    for (uint32_t i = 0; i < config->module_count; i++) {
        const struct mc_module *descriptor = declared[i].descriptor;
        CHECK(descriptor != NULL); /* it was opened */
        items[i] = (struct order_item){declared[i].name, descriptor->requires};
    }
    int result = order_modules(items, config->module_count, order);
    if (result < 0)
        return result;
    for (uint32_t i = 0; i < config->module_count; i++) {
        config->modules[i] = declared[order[i]];
        ordered[i] = items[order[i]];
    }
    order_needs(ordered, config->module_count, needs);
    for (uint32_t i = 0; i < config->module_count; i++)
        config->modules[i].needs = needs[i];
    note_order(config, ordered);
    return 0;
}

static uint64_t with_needs(const struct config *config, uint32_t place)
{
    return UINT64_C(1) << place | config->modules[place].needs;
}

/* Those that sleep; what others require does not. */
static void put_to_sleep(struct config *config)
{
    uint64_t wanted = 0;
    for (uint32_t i = 0; i < config->module_count; i++)
        if (!config->modules[i].lazy)
            wanted |= with_needs(config, i);
    for (uint32_t i = 0; i < config->module_count; i++) {
        bool asleep = (wanted >> i & 1) == 0;
        config->modules[i].asleep = asleep;
        config->startup->modules[config->modules[i].row].asleep = asleep;
    }
}

int modules_absent(mc_task *task)
{
    return mc_task_fail(task, -ENOSYS, "the pool's present modules do not have this handler");
}

/* Handlers have their functions while their module is awake. */
static void set_functions(struct config *config, uint32_t place, bool awake)
{
    const struct mc_module_self *module = &config->modules[place];
    for (size_t i = 0; i < module->descriptor->handler_count; i++) {
        const struct mc_handler *handler = &module->descriptor->handlers[i];
        int number = config_handler(config, handler->name);
        CHECK(number >= 0); /* it was added */
        config->handlers[number].run = awake ? handler->run : NULL;
    }
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
    for (uint32_t i = 0; i < config->module_count; i++)
        if (config->modules[i].asleep)
            set_functions(config, i, false);
    return 0;
}

/* Around all phases in the zygote. */
static struct startup_stack stack;

static void begin_watch(void)
{
    startup_watch();
    startup_watch_thread(&stack);
}

static void end_watch(void)
{
    startup_unwatch_thread(&stack);
    startup_unwatch();
}

int modules_load(struct config *config)
{
    startup_reset(config->startup, config->module_count);
    config->startup->began_ns = clock_ns();
    begin_watch();
    int result = open_all(config);
    if (result == 0)
        result = put_in_order(config);
    if (result == 0) {
        put_to_sleep(config);
        result = phases_run(config, hooks_all(config), 1);
    }
    if (result == 0)
        result = add_handlers(config);
    end_watch();
    config->startup->ended_ns = clock_ns();
    return result;
}

/* ---- lazy modules ---- */

uint64_t modules_awake(const struct config *config)
{
    uint64_t rows = 0;
    for (uint32_t i = 0; i < config->module_count; i++)
        rows |= (uint64_t)!config->modules[i].asleep << config->modules[i].row;
    return rows;
}

/* Functions come first: another thread of a handler may look at any time. */
static void wake(struct config *config, uint64_t places)
{
    for (uint32_t i = 0; i < config->module_count; i++) {
        if ((places >> i & 1) == 0)
            continue;
        set_functions(config, i, true);
        atomic_thread_fence(memory_order_release);
        config->modules[i].asleep = false;
    }
}

/* What an attempt that failed has left there says nothing about the next. */
static void forget_phases(const struct config *config)
{
    config->startup->fatal = 0;
    for (uint32_t i = 0; i < config->module_count; i++) {
        struct startup_module *entry = &config->startup->modules[config->modules[i].row];
        if (config->modules[i].asleep)
            memset(&entry->spans[MODULE_CONFIGURE], 0,
                   (MODULE_PHASES - MODULE_CONFIGURE) * sizeof(entry->spans[0]));
    }
}

int modules_wake(struct config *config, uint32_t row)
{
    uint64_t places = 0;
    for (uint32_t i = 0; i < config->module_count; i++)
        if (config->modules[i].row == row)
            places = with_needs(config, i) & ~hooks_all(config);
    forget_phases(config);
    begin_watch();
    int result = phases_run(config, places, 1);
    end_watch();
    if (result == 0)
        wake(config, places);
    return result;
}

/* ---- ... in a worker ---- */

enum { REFUSE_MS = 1000 }; /* from a failure to the next attempt */

static struct wake_failure {
    uint64_t until_ms;
    int status;
    char text[ERROR_MESSAGE_SIZE];
} wake_failures[MODULES_MOST];

/* Notes are taken in memory of our own: those of the start are the zygote's. Threads that
 * handlers have are none of the module's. */
static int wake_here(struct config *config, uint64_t places, struct states *states)
{
    static struct startup notes;
    struct startup *shared = config->startup;
    char name[16] = "";
    (void)prctl(PR_GET_NAME, name);
    startup_read(shared, &notes);
    config->startup = &notes;
    int result = phases_run(config, places, UINT_MAX);
    config->startup = shared;
    (void)prctl(PR_SET_NAME, name);
    if (result == 0)
        result = hooks_begin(config, NO_SEAT, places, states);
    if (result == 0)
        wake(config, places);
    return result;
}

static int try_to_wake(struct config *config, uint32_t place, struct states *states)
{
    struct wake_failure *failure = &wake_failures[config->modules[place].row];
    if (clock_coarse_ms() < failure->until_ms)
        return error_set(failure->status, "%s", failure->text);
    int result = wake_here(config, with_needs(config, place) & ~hooks_all(config), states);
    if (result == 0)
        return 0;
    failure->until_ms = clock_coarse_ms() + REFUSE_MS;
    failure->status = result;
    snprintf(failure->text, sizeof(failure->text), "%s", error_message());
    return result;
}

int modules_wake_here(struct config *config, uint32_t handler, struct states *states)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* a handler may have threads */
    const struct mc_module_self *module = modules_sleeper(config, handler);
    if (LIKELY(module == NULL))
        return 0;
    pthread_mutex_lock(&lock);
    int result = module->asleep ? try_to_wake(config, config->handlers[handler].module, states) : 0;
    pthread_mutex_unlock(&lock);
    return result;
}

/* ---- what modules call ---- */

const char *mc_module_setting(const mc_module_self *self, const char *key)
{
    for (uint32_t i = 0; i < self->setting_count; i++)
        if (strcmp(self->settings[i].key, key) == 0)
            return self->settings[i].value;
    return NULL;
}

void mc_module_export(mc_module_self *self, void *exported)
{
    self->exported = exported;
}

static bool requires(const struct mc_module_self *self, const char *name)
{
    const char *const *each = self->descriptor->requires;
    while (each != NULL && *each != NULL && strcmp(*each, name) != 0)
        each++;
    return each != NULL && *each != NULL;
}

/* The line to write is that of the module, with one name more. */
static int misuse(struct mc_module_self *self, const char *name)
{
    char names[256] = "";
    size_t used = 0;
    const char *const *each = self->descriptor->requires;
    for (; each != NULL && *each != NULL && used < sizeof(names); each++)
        used += (size_t)snprintf(names + used, sizeof(names) - used, "\"%s\", ", *each);
    snprintf(self->misuse, sizeof(self->misuse),
             "module '%s' uses '%.63s', which it does not require: write .requires = (const char "
             "*const[]){%s\"%.63s\", NULL}",
             self->name, name, names, name);
    return error_set(-EPERM, "%s", self->misuse);
}

int mc_module_import(mc_module_self *self, const char *name, void **exported)
{
    if (!requires(self, name))
        return misuse(self, name);
    for (uint32_t i = 0; i < self->config->module_count; i++) {
        const struct mc_module_self *module = &self->config->modules[i];
        if (strcmp(module->name, name) != 0)
            continue;
        if (module->exported == NULL)
            break;
        *exported = module->exported;
        return 0;
    }
    return error_set(-ENODATA,
                     "module '%s' wants what '%.63s' exports, and that has exported nothing: it is "
                     "to call mc_module_export() in configure or load",
                     self->name, name);
}
