/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a client asks of the pool.
 */
#ifndef BENCH_SERVE_REQUEST_H
#define BENCH_SERVE_REQUEST_H

#include "crowd.h"

#include "multicore.h"

/* Attaches to the crowd's server; linked: with the handlers of this program. Ends the
 * process unless the pool is there. */
mc_pool *request_attach(struct client *client, bool linked);

/* One null task in a group of its own. False: see mc_error_message(). */
bool request_null(mc_pool *pool);
/* The same; a failure ends the process. */
void request_null_or_fail(struct client *client, mc_pool *pool);

/* How one task ended that works for so long. 0, and *server is the pid of the server
 * whose worker ran it; else what went wrong, with mc_error_message() or text. */
int request_work(mc_pool *pool, unsigned duration_us, pid_t *server, char *text, size_t size);

#endif
