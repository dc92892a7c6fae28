/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a route has done, told apart from where it is done: in this thread, in this
 * event loop, or by a worker of the pool. A work either computes, or asks the
 * database and tells what it answered. The ways of running it are in mode.h.
 */
#ifndef WEB_WORK_H
#define WEB_WORK_H

#include "database.h"
#include "failure.h"

#include <stddef.h>

/* The bytes of an answer, from malloc(). */
struct reply {
    void *data;
    size_t size;
};

struct work {
    const char *name;       /* of its handler in the pool */
    const char *media_type; /* of its reply */

    /* For computing; NULL for what the database does. All three return 0, or a negative
     * errno and a sentence: -EINVAL for arguments that are not what they should be. */
    int (*compute)(const void *args, size_t size, struct reply *reply, struct failure *failure);
    /* Fills in the query's statement and values, which query_fini() frees. */
    int (*ask)(const void *args, size_t size, struct query *query, struct failure *failure);
    int (*tell)(const PGresult *result, struct reply *reply, struct failure *failure);
};

#endif
