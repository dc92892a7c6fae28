/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A node of a graph of modules: -DNAME="web", -DREQUIRES="db","cache". What it exports
 * depends on its name and on all that it imports. Its settings have it misbehave:
 *
 *   delay-us  load takes a random time up to that
 *   refuse, crash, overflow, quit, hang, leave, rename   in the phase of that name; the
 *             last two leave a thread behind
 *   import    in load, the module of that name, and does not mind if it may not
 *   late      worker_init imports that module
 */
#include "multicore.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <unistd.h>

/* Of the program, if it wants to know. */
__attribute__((weak)) void graph_log(const char *module, const char *what, uint64_t value);

#ifdef REQUIRES
static const char *const requires[] = {REQUIRES, NULL};
#else
static const char *const requires[] = {NULL};
#endif

static uint64_t value;

static void note(const char *what)
{
    if (graph_log != NULL)
        graph_log(NAME, what, value);
}

static int answer(mc_task *task)
{
    return mc_task_reply(task, &value, sizeof(value));
}

static void *stay(void *renamed)
{
    if (renamed != NULL)
        (void)prctl(PR_SET_NAME, "somebody");
    for (;;)
        pause();
    return NULL;
}

__attribute__((noinline)) static int overflow(volatile char *above)
{
    volatile char here[4096];
    here[0] = above[0];
    return here[0] != '\0' ? 0 : overflow(here) + here[0];
}

static int misbehave(const mc_module_self *self, const char *phase)
{
    pthread_t thread;
    const char *keys[] = {"refuse", "crash", "overflow", "quit", "hang", "leave", "rename"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        const char *setting = mc_module_setting(self, keys[i]);
        if (setting == NULL || strcmp(setting, phase) != 0)
            continue;
        switch (i) {
        case 0:
            return mc_fail(-EPERM, "told to refuse");
        case 1:
            raise(SIGSEGV);
            break;
        case 2:
            return overflow("");
        case 3:
            exit(3);
        case 4:
            for (;;)
                pause();
        default:
            return -pthread_create(&thread, NULL, stay, i == 6 ? "" : NULL);
        }
    }
    return 0;
}

static int configure(mc_module_self *self)
{
    note("configure");
    return misbehave(self, "configure");
}

static void take_some_time(const mc_module_self *self)
{
    const char *most = mc_module_setting(self, "delay-us");
    unsigned drawn = 0;
    if (most != NULL && getrandom(&drawn, sizeof(drawn), GRND_NONBLOCK) == sizeof(drawn))
        usleep(drawn % (unsigned)atoi(most));
}

static int load(mc_module_self *self)
{
    void *exported;
    take_some_time(self);
    for (const char *name = NAME; *name != '\0'; name++)
        value = value * 31 + (unsigned char)*name;
    for (const char *const *name = requires; *name != NULL; name++) {
        int result = mc_module_import(self, *name, &exported);
        if (result < 0)
            return result;
        value = value * 1000003 + *(const uint64_t *)exported;
    }
    mc_module_export(self, &value);
    const char *import = mc_module_setting(self, "import");
    if (import != NULL)
        (void)mc_module_import(self, import, &exported);
    return misbehave(self, "load");
}

static int ready(mc_module_self *self)
{
    note("ready");
    return misbehave(self, "ready");
}

static int begin(mc_module_self *self, void **state)
{
    const char *late = mc_module_setting(self, "late");
    if (late != NULL)
        (void)mc_module_import(self, late, state);
    return misbehave(self, "worker_init");
}

static const struct mc_handler handlers[] = {{.name = NAME, .run = answer}};

MC_MODULE = {
    MC_MODULE_HEAD(NAME), .handlers = handlers, .handler_count = 1,
    .requires = requires, .warmup = NAME,       .configure = configure,
    .load = load,         .ready = ready,       .worker_init = begin,
};
