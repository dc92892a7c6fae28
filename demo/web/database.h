/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The connections of one process to PostgreSQL, and queries over them. Nothing here
 * waits: a query that is QUERY_PENDING says for what, and whoever drives it (an event
 * loop, an I/O worker, a blocking caller) calls query_advance() when that has happened.
 *
 *     status = query_begin(&query, database, &failure);
 *     while (status == QUERY_PENDING) {
 *         ... wait until query.fd is ready for query.events ...
 *         status = query_advance(&query, &failure);
 *     }
 *     ... status is 0, and query.result there, or a negative errno ...
 *     query_fini(&query);
 *
 * Connections are opened as they are needed, up to a limit, and stay open. One that
 * broke while it was idle is replaced before it is used, so that a restart of the
 * server costs the queries that were running, and no other. The server itself ends what
 * runs for longer than the time limit, since nobody waits for it any more, unless options in
 * conninfo say otherwise.
 */
#ifndef WEB_DATABASE_H
#define WEB_DATABASE_H

#include "failure.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <sys/queue.h>

enum { QUERY_PENDING = 1, QUERY_VALUES = 2 };
enum { STATEMENTS_MAX = 32 };
enum { QUERY_READ = 1 << 0, QUERY_WRITE = 1 << 1 };

/* Prepared on each connection that it is used on. */
struct statement {
    const char *name;
    const char *text;
    int values; /* how many it takes */
    bool heavy; /* has a quarter of the connections at the most: others go on beside it */
};

struct database;
struct connection;

struct query {
    /* Set by the caller before query_begin(); all values are text. */
    const struct statement *statement;
    char *values[QUERY_VALUES];
    /* A query that waits without a descriptor can go on: its owner calls query_advance(), but
     * not from here, since this is called from inside calls for other queries. */
    void (*wake)(struct query *query);
    void *context;

    /* What a pending query waits for; a descriptor of -1: to be woken. */
    int fd;
    unsigned events; /* QUERY_READ | QUERY_WRITE */

    PGresult *result; /* when it has ended with 0 */

    /* Private. */
    struct database *database;
    struct connection *connection;
    TAILQ_ENTRY(query) entry;
    bool waiting; /* for a connection */
    bool sent;
};

/* Checks conninfo, and remembers it; nothing is opened yet. The statements are all that queries
 * will have, STATEMENTS_MAX at the most; they and conninfo are not copied. Returns 0, or -EINVAL or
 * -ENOMEM and a sentence. */
int database_open(const char *conninfo, const struct statement *statements, unsigned connections,
                  unsigned time_limit_ms, struct database **database, struct failure *failure);

/* All queries have ended. NULL is allowed. */
void database_close(struct database *database);

/* Return QUERY_PENDING, 0, or a negative errno and a sentence:
 *   -ECONNREFUSED  there is no server, or it will not have us, or not go on: nothing was done
 *   -ECONNRESET    the connection broke while the query ran; what became of it is not known
 *   -ETIMEDOUT     the server's own limit for statements
 *   -EINVAL        the server does not take these values
 *   -EIO           any other complaint of the server
 *   -ENOMEM */
int query_begin(struct query *query, struct database *database, struct failure *failure);
int query_advance(struct query *query, struct failure *failure);

/* Ends a query, also a pending one, whose connection is then closed. May wake others. */
void query_fini(struct query *query);

#endif
