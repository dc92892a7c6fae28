/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The pool under test: `multicore serve` with two workers, at a socket in a directory of its
 * own. It says over a notify socket, as to a service manager, when it is ready.
 *
 * Functions that return an outcome return MEASURED when all is well.
 */
#ifndef BENCH_SERVE_SERVER_H
#define BENCH_SERVE_SERVER_H

#include "measure.h"

#include <sys/types.h>

enum { SERVER_WORKERS = 2 };

struct server {
    char directory[64];
    char socket[96]; /* where clients attach */
    int notify;
    pid_t pid; /* 0: it does not run */
};

/* Starts a new one, until it is ready. To be closed in any case. */
enum outcome server_open(struct server *server, unsigned max_clients);
/* Ends it however it goes, and removes its directory. */
void server_close(struct server *server);

/* Each until it is ready again. */
enum outcome server_reload(struct server *server);
enum outcome server_restart(struct server *server); /* stopped in order */
enum outcome server_replace(struct server *server); /* killed */

#endif
