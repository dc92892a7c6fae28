/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A task while its handler runs, in a worker or inline in a client. The two
 * differ only in where results are put; that is what `home` is for.
 */
#ifndef POOL_TASK_H
#define POOL_TASK_H

#include "ipc/layout.h"
#include "multicore.h"
#include "pool/config.h"
#include "pool/hooks.h"
#include "serialize/codec.h"

#include <stdbool.h>

/* How a task is called back; see mc_task_await_fd(). */
struct task_waits {
    int (*await_fd)(mc_task *task, int fd, unsigned events, mc_resume_fn *resume, void *context);
    int (*await_timer)(mc_task *task, unsigned timeout_ms, mc_resume_fn *resume, void *context);
    int (*await_wake)(mc_task *task, mc_resume_fn *resume, void *context);
    void (*wake)(mc_task *task);
    /* It has asked to be called back, since its last call. */
    bool (*awaits)(const mc_task *task);
};

struct task_home {
    /* Room for a result of size bytes, more than SLOT_RESULT_SIZE, in place of
     * task->data, of which the first keep bytes are preserved. Negative errno
     * with a message; then there is no reply if keep is 0, or task->data is as before. */
    int (*resize)(mc_task *task, size_t size, size_t keep, void **data);
    /* Gives task->data back; it is not in small[]. */
    void (*drop)(mc_task *task);
    /* The pool, for nested groups; NULL if there is none. */
    mc_pool *(*pool)(mc_task *task);
    /* Where tasks may wait, else NULL. */
    const struct task_waits *waits;
};

struct mc_task {
    /* request: private copies, checked */
    const struct config *config;
    const struct handler *handler;
    const struct task_home *home;
    void *owner;                  /* the home's */
    const _Atomic uint64_t *word; /* of the slot */
    const struct states *states;
    uint64_t start, end;
    const void *args;
    uint32_t args_size;
    enum mc_format args_format;
    bool is_inline;
    uint32_t attempt;       /* from 0 */
    uint32_t soft_limit_ms; /* 0: none */
    uint32_t time_limit_ms; /* likewise; in workers */
    bool told;              /* of its soft limit, in its first call */
    uint64_t began_ticks;

    /* result */
    int status;
    enum mc_format format;
    uint32_t size;
    void *data;       /* small, or what home->resize() gave */
    uint32_t unit;    /* a worker's: the block's place in the lane; 0: in small[] */
    bool has_message; /* the result is the text of a failure */
    _Alignas(UNIT) uint8_t small[SLOT_RESULT_SIZE];

    struct document *document; /* decoded arguments */
    bool writing;
    struct mc_writer writer; /* valid while writing; large, so not cleared for each task */
    struct reply_sink {
        struct sink sink;
        mc_task *task;
    } reply; /* where it writes */
};

/* For homes whose results are in the process's own memory. */
int task_heap_resize(mc_task *task, size_t size, size_t keep, void **data);
void task_heap_drop(mc_task *task);

/* Sets what the caller does not: no result yet. */
void task_init(mc_task *task);

/* Runs the handler; afterwards status, format, size and data are final, unless it
 * returns false: then the task has to be resumed. */
bool task_run(mc_task *task);
bool task_resume(mc_task *task, unsigned events, mc_resume_fn *resume, void *context);
/* Ends it with a status and a message of ours, whatever it has replied. */
void task_end(mc_task *task, int status, const char *text);

#endif
