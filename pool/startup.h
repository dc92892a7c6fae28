/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How a set-up starts: which module is in which phase, and how long each took. It lies in
 * memory that the supervisor shares with the zygote and its workers. They write, and the
 * supervisor reads when they have said that they are ready, or when they are dead; so
 * nothing here is atomic but what several workers want to write. It goes by a copy that was
 * checked, since modules can write here too.
 */
#ifndef POOL_STARTUP_H
#define POOL_STARTUP_H

#include "ipc/layout.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MODULES_MOST = 64 };

enum module_phase {
    MODULE_OPEN, /* its shared object, and what it is linked with */
    MODULE_CONFIGURE,
    MODULE_LOAD,
    MODULE_READY,
    MODULE_WORKER_INIT, /* in the worker that was ready first */
    MODULE_PHASES,
};
extern const char *const module_phases[MODULE_PHASES];

struct startup_span {
    uint64_t began_ns, ended_ns; /* of clock_ns(); 0: it has not */
    uint64_t cpu_ns;             /* of its thread */
};

/* One for each module, in the order of the configuration. */
struct startup_module {
    char name[HANDLER_NAME_SIZE];   /* "" until it is opened */
    char warmup[HANDLER_NAME_SIZE]; /* a handler to try it with; "": none */
    uint64_t requires;              /* bits of other modules */
    uint32_t asleep;                /* 1: it is lazy, and not loaded with the others */
    struct startup_span spans[MODULE_PHASES];
};

struct startup {
    struct startup_module modules[MODULES_MOST];
    uint32_t module_count;
    uint32_t order[MODULES_MOST]; /* in which they are set up */
    uint32_t fatal;               /* 1 + the module in whose thread a fatal signal came */
    uint64_t began_ns, ended_ns;  /* from the zygote's first instruction till it was ready */
    _Atomic uint32_t worker_seen; /* some worker has written its spans */
    uint8_t starting[MAX_SEATS];  /* 1 + the module whose worker_init a seat's worker is in */
};

/* NULL without memory. */
struct startup *startup_create(void);
void startup_free(struct startup *startup);
/* A copy whose numbers and texts are what they may be, whatever a module wrote there. */
void startup_read(const struct startup *startup, struct startup *copy);
/* For those who are done with writing: it can only be read from here on. */
void startup_seal(struct startup *startup);
/* Undoes that, in a process that workers will be made from. */
void startup_unseal(struct startup *startup);
/* For another zygote. */
void startup_reset(struct startup *startup, uint32_t module_count);

/* Around each function of a module, in the thread that runs it; span is where its times
 * go. */
void startup_begin(struct startup *startup, uint32_t module, struct startup_span *span);
void startup_end(struct startup_span *span);

/* Names this thread after the module, and so all that it makes. */
void startup_name_thread(const struct startup *startup, uint32_t module);
/* The module that a thread is named after, -1: none. */
int startup_module_of(const char *thread_name);

/* Signals that end the process note first whose fault that is; in a thread with such a
 * stack also where its own ran over. */
struct startup_stack {
    char memory[32768];
    stack_t before;
};
void startup_watch(void);
void startup_unwatch(void);
void startup_watch_thread(struct startup_stack *stack);
void startup_unwatch_thread(const struct startup_stack *stack);

/* "module 'a' was in load" of a dead zygote; "" if none was. */
void startup_blame(const struct startup *shared, char *text, size_t size);
/* " in worker_init of module 'a'" of the seat's dead worker; false if it was in none. */
bool startup_blame_worker(const struct startup *startup, uint32_t seat, char *text, size_t size);

#endif
