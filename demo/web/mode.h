/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The ways of running a work. What a request wants done is a job; each mode runs it
 * where its name says:
 *
 *   sync    here and now, the server waiting for the database as well
 *   async   here, the event loop going on while the database is asked
 *   pool    in the workers of the pool, the event loop going on in any case
 */
#ifndef WEB_MODE_H
#define WEB_MODE_H

#include "loop.h"
#include "options.h"
#include "work.h"

#include <multicore.h>
#include <sys/types.h>

/* How a job ended. The bytes are valid during the call. */
struct outcome {
    int status; /* 0 or a negative errno */
    const void *data;
    size_t size;
    const char *error; /* a sentence, unless status is 0 */
    pid_t worker_pid;  /* 0: nobody, or not said */
    uint64_t run_ns;
};

struct job {
    const struct work *work;
    const void *args; /* valid until done */
    size_t size;
    /* May be called from mode_start(). */
    void (*done)(struct job *job, const struct outcome *outcome);
    void *context;
    void *running; /* the mode's own; NULL: nothing runs */
};

/* Who does the work, for those who watch. */
struct mode_state {
    unsigned workers; /* 0: this process */
    enum mc_mode mode;
    const char *reason; /* in a sentence */
};

struct mode;
struct mode_calls {
    int (*open)(struct mode *mode, struct failure *failure);
    void (*close)(struct mode *mode);
    void (*start)(struct mode *mode, struct job *job);
    void (*cancel)(struct mode *mode, struct job *job);
    void (*prepare)(struct mode *mode, const struct work *work);
    void (*state)(struct mode *mode, struct mode_state *state, pid_t *pids, unsigned count);
};
extern const struct mode_calls mode_sync, mode_async, mode_pool;

struct mode {
    const struct mode_calls *calls;
    const struct options *options;
    struct loop *loop;
    struct database *database; /* this process's */
    mc_pool *pool;
    struct watch watch;    /* of the pool */
    enum mc_mode admitted; /* the last job */
    bool prepared;         /* workers were told to */
    bool lost;             /* the pool is gone */
    bool hurry;            /* what runs is not waited for at the end */
    char reason[256];
};

/* Opened before anything that workers should not inherit. */
int mode_open(struct mode *mode, const struct options *options, struct loop *loop,
              struct failure *failure);
void mode_close(struct mode *mode);

/* Begins a job, and calls its done() sooner or later, unless it is cancelled. */
void mode_start(struct mode *mode, struct job *job);
/* Forgets a job that is running: done() is not called. */
void mode_cancel(struct mode *mode, struct job *job);

/* Somebody will want works that this one prepares: has each worker do it, once for all.
 * Whatever comes of it, nothing depends on it; the server itself has no time for it. */
void mode_prepare(struct mode *mode, const struct work *work);

/* Fills in up to count pids of workers; 0 for one that is being replaced. */
void mode_state(struct mode *mode, struct mode_state *state, pid_t *pids, unsigned count);

/* ---- For the modes ---- */

void job_fail(struct job *job, int status, const char *error);
/* Computes in this process, and calls done(). */
void job_compute(struct job *job);
/* Has the result of an ended query told, ends the query, and calls done(). */
void job_tell(struct job *job, struct query *query, int status, struct failure *failure);

/* Opens the database named by the options, which may be none. */
int mode_open_database(const struct options *options, unsigned connections,
                       struct database **database, struct failure *failure);

#endif
