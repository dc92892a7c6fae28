/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Each module that has something to load gets a thread, which waits until all that the
 * module needs is loaded. When one fails, those that come before it in the order go on,
 * since one of them may fail too, and is to be blamed whoever is quicker; the others do not
 * begin.
 */
#include "pool/phases.h"

#include "base/check.h"
#include "base/error.h"
#include "base/fault.h"
#include "base/sys.h"
#include "pool/serve.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

enum { THREADS_GRACE_MS = 100 }; /* for threads that are just ending */

typedef int phase_fn(mc_module_self *self);

/* ---- one function of one module ---- */

static phase_fn *function_of(const struct mc_module *descriptor, enum module_phase phase)
{
    return phase == MODULE_CONFIGURE ? descriptor->configure
           : phase == MODULE_LOAD    ? descriptor->load
                                     : descriptor->ready;
}

static int run_one(struct mc_module_self *module, enum module_phase phase)
{
    phase_fn *function = function_of(module->descriptor, phase);
    struct startup *startup = module->config->startup;
    if (function == NULL)
        return 0;
    error_clear();
    startup_name_thread(startup, module->row);
    startup_begin(startup, module->row, &startup->modules[module->row].spans[phase]);
    int status = function(module);
    startup_end(&startup->modules[module->row].spans[phase]);
    if (module->misuse[0] != '\0') /* also where the module did not mind */
        return error_set(-EPERM, "%s: %s", module_phases[phase], module->misuse);
    if (status >= 0)
        return 0;
    char text[ERROR_MESSAGE_SIZE];
    if (error_code() == status)
        snprintf(text, sizeof(text), "%s", error_message());
    else
        snprintf(text, sizeof(text), "returned %d (%s)", status, error_text(status));
    return error_set(status, "module '%s': %s: %.400s", module->name, module_phases[phase], text);
}

/* ---- load, side by side ---- */

struct loading {
    struct config *config;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t loaded; /* places in the order; those with nothing left to load from the beginning */
    uint32_t failed; /* the first of those that failed; MODULES_MOST: none */
    int status;      /* why */
    char text[ERROR_MESSAGE_SIZE];
};

struct loader {
    struct loading *loading;
    uint32_t place;
    pthread_t thread;
    bool begun;
};

static void fail(struct loading *loading, uint32_t place, int status, const char *text)
{
    if (place > loading->failed)
        return;
    loading->failed = place;
    loading->status = status;
    snprintf(loading->text, sizeof(loading->text), "%s", text);
}

/* False when something that comes before it has failed, which all that it needs does. */
static bool await_turn(struct loading *loading, uint32_t place)
{
    uint64_t needs = loading->config->modules[place].needs;
    pthread_mutex_lock(&loading->lock);
    while (place < loading->failed && (needs & ~loading->loaded) != 0)
        pthread_cond_wait(&loading->changed, &loading->lock);
    bool begins = place < loading->failed;
    pthread_mutex_unlock(&loading->lock);
    return begins;
}

static void *load_one(void *argument)
{
    struct startup_stack stack;
    const struct loader *loader = argument;
    struct loading *loading = loader->loading;
    if (!await_turn(loading, loader->place))
        return NULL;
    startup_watch_thread(&stack);
    int status = run_one(&loading->config->modules[loader->place], MODULE_LOAD);
    startup_unwatch_thread(&stack);
    pthread_mutex_lock(&loading->lock);
    if (status < 0)
        fail(loading, loader->place, status, error_message());
    else
        loading->loaded |= UINT64_C(1) << loader->place;
    pthread_cond_broadcast(&loading->changed);
    pthread_mutex_unlock(&loading->lock);
    return NULL;
}

static void start_loader(struct loader *loader)
{
    struct loading *loading = loader->loading;
    int error = FAULT_FAILS("load_thread", EAGAIN)
                    ? EAGAIN
                    : pthread_create(&loader->thread, NULL, load_one, loader);
    loader->begun = error == 0;
    if (error == 0)
        return;
    char text[ERROR_MESSAGE_SIZE];
    snprintf(text, sizeof(text), "no thread to load module '%s': %s; serial-load needs none",
             loading->config->modules[loader->place].name, error_text(-error));
    pthread_mutex_lock(&loading->lock);
    fail(loading, loader->place, -error, text);
    pthread_cond_broadcast(&loading->changed);
    pthread_mutex_unlock(&loading->lock);
}

static int load_in_parallel(struct config *config, uint64_t places)
{
    struct loading loading = {.config = config,
                              .loaded = ~places,
                              .lock = PTHREAD_MUTEX_INITIALIZER,
                              .changed = PTHREAD_COND_INITIALIZER,
                              .failed = MODULES_MOST};
    struct loader loaders[MODULES_MOST] = {{0}};
    CHECK(config->module_count <= MODULES_MOST);
    for (uint32_t i = 0; i < config->module_count; i++)
        if (config->modules[i].descriptor->load == NULL)
            loading.loaded |= UINT64_C(1) << i;
    const uint64_t idle = loading.loaded; /* the other words are shared from here on */
    for (uint32_t i = 0; i < config->module_count; i++) {
        loaders[i] = (struct loader){.loading = &loading, .place = i};
        if ((idle >> i & 1) == 0)
            start_loader(&loaders[i]);
    }
    for (uint32_t i = 0; i < config->module_count; i++)
        if (loaders[i].begun)
            pthread_join(loaders[i].thread, NULL);
    return loading.failed == MODULES_MOST ? 0 : error_set(loading.status, "%s", loading.text);
}

/* ---- threads that were left behind ---- */

/* The name of a thread of this process that is not the first; false when it has ended. */
static bool read_name(const char *thread, char *name, size_t size)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/task/%.20s/comm", thread);
    FILE *file = fopen(path, "re");
    bool known = file != NULL && fgets(name, (int)size, file) != NULL;
    if (file != NULL)
        fclose(file);
    name[strcspn(name, "\n")] = '\0';
    return known;
}

static int blame_thread(const struct config *config, int suspect, const char *phase)
{
    DIR *directory = opendir("/proc/self/task");
    const struct dirent *entry;
    char name[32] = "";
    int module = suspect;
    /* Nobody else reads this directory. */
    // cppcheck-suppress readdirCalled
    while (directory != NULL && module < 0 && (entry = readdir(directory)) != NULL)
        if (entry->d_name[0] != '.' && read_name(entry->d_name, name, sizeof(name)))
            module = startup_module_of(name);
    if (directory != NULL)
        closedir(directory);
    if (module >= 0 && (uint32_t)module < config->startup->module_count)
        return error_set(-EBUSY,
                         "module '%s' left a thread behind in %s: end it there, and start threads "
                         "in worker_init",
                         config->startup->modules[module].name, phase);
    return error_set(-EBUSY,
                     "a module left a thread behind in %s, which calls itself '%s': end it there, "
                     "and start threads in worker_init; with serial-load the module is named",
                     phase, name);
}

int phases_check_threads(const struct config *config, int suspect, enum module_phase after,
                         unsigned threads)
{
    const struct timespec rest = {.tv_nsec = 1000000};
    (void)prctl(PR_SET_NAME, "mc-zygote");
    for (int i = 0; sys_thread_count() > threads; i++) {
        if (i == THREADS_GRACE_MS)
            return blame_thread(config, suspect, module_phases[after]);
        nanosleep(&rest, NULL);
    }
    return 0;
}

/* ---- all ---- */

static bool is_serial(const struct config *config)
{
    return config->serve != NULL && config->serve->serial_load != 0;
}

static bool is_among(uint64_t places, uint32_t place)
{
    return (places >> place & 1) != 0;
}

/* Looking for threads costs more than most phases do, so only who asks for it has that done
 * after each module. */
static int run_in_order(struct config *config, uint64_t places, enum module_phase phase,
                        unsigned threads)
{
    int result = 0;
    for (uint32_t i = 0; result == 0 && i < config->module_count; i++) {
        struct mc_module_self *module = &config->modules[i];
        if (!is_among(places, i))
            continue;
        result = run_one(module, phase);
        if (result == 0 && is_serial(config))
            result = phases_check_threads(config, (int)module->row, phase, threads);
    }
    return result;
}

static bool has_two_to_load(const struct config *config, uint64_t places)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < config->module_count; i++)
        count += is_among(places, i) && config->modules[i].descriptor->load != NULL;
    return count > 1;
}

int phases_run(struct config *config, uint64_t places, unsigned threads)
{
    for (enum module_phase phase = MODULE_CONFIGURE; phase <= MODULE_READY; phase++) {
        bool parallel =
            phase == MODULE_LOAD && !is_serial(config) && has_two_to_load(config, places);
        int result = parallel ? load_in_parallel(config, places)
                              : run_in_order(config, places, phase, threads);
        if (result == 0)
            result = phases_check_threads(config, -1, phase, threads);
        if (result < 0)
            return result;
    }
    return 0;
}
