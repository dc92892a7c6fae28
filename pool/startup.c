/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool/startup.h"

#include "base/clock.h"
#include "base/fault.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

const char *const module_phases[MODULE_PHASES] = {"open", "configure", "load", "ready",
                                                  "worker_init"};

/* ---- the memory ---- */

struct startup *startup_create(void)
{
    void *memory = FAULT_FAILS("startup_create", ENOMEM)
                       ? MAP_FAILED
                       : mmap(NULL, sizeof(struct startup), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

void startup_free(struct startup *startup)
{
    if (startup != NULL)
        (void)munmap(startup, sizeof(*startup));
}

/* Each module stands in it once. */
static bool is_order(const struct startup *startup)
{
    uint64_t seen = 0;
    for (uint32_t i = 0; i < startup->module_count; i++) {
        uint32_t module = startup->order[i];
        if (module >= startup->module_count || (seen >> module & 1) != 0)
            return false;
        seen |= UINT64_C(1) << module;
    }
    return true;
}

void startup_read(const struct startup *startup, struct startup *copy)
{
    memcpy((void *)copy, (const void *)startup, sizeof(*copy));
    if (copy->module_count > MODULES_MOST)
        copy->module_count = MODULES_MOST;
    bool ordered = is_order(copy);
    for (uint32_t i = 0; i < copy->module_count; i++) {
        struct startup_module *module = &copy->modules[i];
        module->name[sizeof(module->name) - 1] = '\0';
        module->warmup[sizeof(module->warmup) - 1] = '\0';
        if (!ordered)
            copy->order[i] = i;
    }
}

void startup_seal(struct startup *startup)
{
    FAULT_POINT("startup_seal");
    (void)mprotect((void *)startup, sizeof(*startup), PROT_READ);
}

void startup_unseal(struct startup *startup)
{
    FAULT_POINT("startup_unseal");
    (void)mprotect((void *)startup, sizeof(*startup), PROT_READ | PROT_WRITE);
}

void startup_reset(struct startup *startup, uint32_t module_count)
{
    memset((void *)startup, 0, sizeof(*startup));
    startup->module_count = module_count;
}

/* ---- what is being done ---- */

/* Of the module that this thread is in. */
static _Thread_local struct startup *watched;
static _Thread_local uint32_t watched_module;

static uint64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void startup_name_thread(const struct startup *startup, uint32_t module)
{
    char name[16];
    snprintf(name, sizeof(name), "m%u/%.11s", module % 100, startup->modules[module].name);
    (void)prctl(PR_SET_NAME, name);
}

void startup_begin(struct startup *startup, uint32_t module, struct startup_span *span)
{
    watched = startup;
    watched_module = module;
    FAULT_POINT("startup_begin");
    span->ended_ns = 0;
    span->cpu_ns = cpu_ns();
    span->began_ns = clock_ns();
}

void startup_end(struct startup_span *span)
{
    watched = NULL;
    FAULT_POINT("startup_end");
    span->ended_ns = clock_ns();
    span->cpu_ns = cpu_ns() - span->cpu_ns;
}

int startup_module_of(const char *thread_name)
{
    unsigned module;
    int used = 0;
    if (sscanf(thread_name, "m%2u/%n", &module, &used) != 1 || used == 0)
        return -1;
    return (int)module;
}

/* ---- signals that end it ---- */

static const int fatal_signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS};
enum { FATAL_SIGNALS = sizeof(fatal_signals) / sizeof(fatal_signals[0]) };

/* When this returns, an instruction that brought the signal does so again, and meets no
 * handler; but for breakpoints and forbidden system calls, after which it would go on. */
static void on_fatal(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (watched != NULL)
        watched->fatal = 1 + watched_module;
    bool sent = info->si_code <= 0; /* by somebody */
    if (sent || number == SIGTRAP || number == SIGSYS)
        (void)raise(number);
}

void startup_watch(void)
{
    struct sigaction action = {.sa_sigaction = on_fatal,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESETHAND | SA_NODEFER};
    for (int i = 0; i < FATAL_SIGNALS; i++)
        (void)sigaction(fatal_signals[i], &action, NULL);
}

void startup_watch_thread(struct startup_stack *stack)
{
    // cppcheck-suppress ctuuninitvar ; its address is all that is read
    stack_t ours = {.ss_sp = stack->memory, .ss_size = sizeof(stack->memory)};
    (void)sigaltstack(&ours, &stack->before);
}

/* Sanitizers have one of their own, which they expect to find at the end of the thread. */
void startup_unwatch_thread(const struct startup_stack *stack)
{
    (void)sigaltstack(&stack->before, NULL);
}

/* A module may have put its own in place of ours, which stays. */
void startup_unwatch(void)
{
    struct sigaction action;
    for (int i = 0; i < FATAL_SIGNALS; i++)
        if (sigaction(fatal_signals[i], NULL, &action) == 0 && action.sa_sigaction == on_fatal)
            (void)signal(fatal_signals[i], SIG_DFL);
}

/* ---- what became of it ---- */

/* The phase that the module is in, MODULE_PHASES: none. */
static unsigned phase_of(const struct startup_module *module)
{
    unsigned phase = 0;
    while (phase < MODULE_WORKER_INIT &&
           (module->spans[phase].began_ns == 0 || module->spans[phase].ended_ns != 0))
        phase++;
    return phase < MODULE_WORKER_INIT ? phase : MODULE_PHASES;
}

static bool suspect(const struct startup *startup, uint32_t module)
{
    return phase_of(&startup->modules[module]) != MODULE_PHASES &&
           (startup->fatal == 0 || startup->fatal == 1 + module);
}

void startup_blame(const struct startup *shared, char *text, size_t size)
{
    struct startup copy, *startup = &copy;
    uint32_t count = 0;
    size_t used = 0;
    text[0] = '\0';
    startup_read(shared, startup);
    for (uint32_t i = 0; i < startup->module_count; i++)
        count += suspect(startup, i);
    for (uint32_t i = 0, left = count; i < startup->module_count && used < size; i++) {
        if (!suspect(startup, i))
            continue;
        const struct startup_module *module = &startup->modules[i];
        const char *before = left == count ? "" : left == 1 ? " and " : ", ";
        used += (size_t)snprintf(text + used, size - used, "%smodule '%s' was in %s", before,
                                 module->name, module_phases[phase_of(module)]);
        left--;
    }
}

bool startup_blame_worker(const struct startup *startup, uint32_t seat, char *text, size_t size)
{
    uint32_t module = startup->starting[seat];
    if (module == 0 || module > MODULES_MOST)
        return false;
    snprintf(text, size, " in worker_init of module '%.*s'", HANDLER_NAME_SIZE - 1,
             startup->modules[module - 1].name);
    return true;
}
