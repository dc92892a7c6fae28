/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A connection belongs to one query at a time, also while it is made, and goes from there
 * to the query that waits longest, or to the idle ones. Of these the last used is the
 * first taken, so that few are kept warm. A statement is prepared when a connection is
 * first asked it: over a slow network a new one answers that much earlier.
 */
#include "database.h"
#include "seconds.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { REFUSED_MS = 1000 }; /* how long the server's limit of connections is believed */

struct connection {
    SLIST_ENTRY(connection) entry; /* while idle */
    PGconn *pg;
    bool connected;
    unsigned prepared; /* a bit for each statement */
    bool preparing;    /* the query's was sent */
};

struct database {
    const char *conninfo;
    char *options; /* in place of those of conninfo */
    const struct statement *statements;
    unsigned limit;
    unsigned open;
    unsigned connected;        /* of these */
    unsigned heavy;            /* of these have a heavy query */
    uint64_t refused_until_ns; /* until then those that are connected have to do */
    SLIST_HEAD(connection_list, connection) idle;
    TAILQ_HEAD(query_list, query) waiting;
};

/* ---- Connections ---- */

static void be_quiet(void *context, const PGresult *notice)
{
    (void)context;
    (void)notice;
}

static int explain(const PGconn *pg, int status, const char *doing, struct failure *failure)
{
    const char *text = pg ? PQerrorMessage(pg) : "no memory";
    int length = (int)strcspn(text, "\n");
    return failure_set(failure, status, "%s: %.*s", doing, length, text);
}

static void close_connection(struct database *database, struct connection *connection)
{
    database->open--;
    if (connection->connected)
        database->connected--;
    PQfinish(connection->pg);
    free(connection);
}

static bool may_have_one(const struct query *query)
{
    const struct database *database = query->database;
    return !query->statement->heavy || database->heavy < (database->limit + 3) / 4;
}

static void give(struct query *query, struct connection *connection)
{
    query->connection = connection;
    if (connection && query->statement->heavy)
        query->database->heavy++;
}

static struct connection *take_back(struct query *query)
{
    struct connection *connection = query->connection;
    query->connection = NULL;
    if (query->statement->heavy)
        query->database->heavy--;
    return connection;
}

/* Gives a connection to the query that waits longest; or NULL, for it to open its own. */
static void hand_on(struct database *database, struct connection *connection)
{
    struct query *first = TAILQ_FIRST(&database->waiting);
    while (first && !may_have_one(first))
        first = TAILQ_NEXT(first, entry);
    if (first) {
        TAILQ_REMOVE(&database->waiting, first, entry);
        first->waiting = false;
        give(first, connection);
        first->wake(first);
    } else if (connection) {
        SLIST_INSERT_HEAD(&database->idle, connection, entry);
    }
}

/* Gives the query's connection back, if it still is of use. */
static void release(struct query *query, bool usable)
{
    struct connection *connection = take_back(query);
    if (!usable) {
        close_connection(query->database, connection);
        connection = NULL;
    }
    hand_on(query->database, connection);
}

/* An idle server says nothing, unless it goes. */
static bool is_alive(const struct connection *connection)
{
    char byte;
    ssize_t size = recv(PQsocket(connection->pg), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return size < 0 && errno == EAGAIN;
}

static struct connection *take_idle(struct database *database)
{
    struct connection *connection;
    while ((connection = SLIST_FIRST(&database->idle))) {
        SLIST_REMOVE_HEAD(&database->idle, entry);
        if (is_alive(connection))
            break;
        close_connection(database, connection);
    }
    return connection;
}

static bool may_open(const struct database *database)
{
    return database->open < database->limit &&
           (database->connected == 0 || monotonic_ns() >= database->refused_until_ns);
}

static int open_connection(struct query *query, struct failure *failure)
{
    struct database *database = query->database;
    const char *const names[] = {"dbname", "options", NULL};
    const char *const values[] = {database->conninfo, database->options, NULL};
    struct connection *connection = calloc(1, sizeof(*connection));
    if (!connection)
        return failure_set(failure, -ENOMEM, "no memory for a connection to the database");
    connection->pg = PQconnectStartParams(names, values, true);
    database->open++;
    give(query, connection);
    if (!connection->pg || PQstatus(connection->pg) == CONNECTION_BAD) {
        int status = explain(connection->pg, -ECONNREFUSED, "no database", failure);
        release(query, false);
        return status;
    }
    PQsetNoticeReceiver(connection->pg, be_quiet, NULL);
    return 0;
}

/* ---- Queries ---- */

static int wait_for(struct query *query, unsigned events)
{
    query->fd = PQsocket(query->connection->pg);
    query->events = events;
    return QUERY_PENDING;
}

static int wait_for_connection(struct query *query)
{
    TAILQ_INSERT_TAIL(&query->database->waiting, query, entry);
    query->waiting = true;
    query->fd = -1;
    query->events = 0;
    return QUERY_PENDING;
}

static int take_connection(struct query *query, struct failure *failure)
{
    struct database *database = query->database;
    if (!may_have_one(query))
        return wait_for_connection(query);
    give(query, take_idle(database));
    if (query->connection)
        return 0;
    return may_open(database) ? open_connection(query, failure) : wait_for_connection(query);
}

/* What the server's complaint means for who asked: by class of its SQLSTATE. */
static int complaint(const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (!state)
        return -EIO;
    if (strcmp(state, "57014") == 0)
        return -ETIMEDOUT;
    if (strncmp(state, "22", 2) == 0 || strncmp(state, "23", 2) == 0)
        return -EINVAL;
    if (strncmp(state, "08", 2) == 0)
        return -ECONNRESET;
    if (strncmp(state, "53", 2) == 0 || strncmp(state, "57", 2) == 0)
        return -ECONNREFUSED;
    return -EIO;
}

/* Takes the result of what was sent; 0 when the server had no complaint. */
static int check_result(struct query *query, struct failure *failure)
{
    ExecStatusType how = PQresultStatus(query->result);
    if (how == PGRES_COMMAND_OK || how == PGRES_TUPLES_OK)
        return 0;
    const char *text = PQresultErrorField(query->result, PG_DIAG_MESSAGE_PRIMARY);
    int status = failure_set(failure, complaint(query->result), "the database says: %s",
                             text ? text : "nothing");
    PQclear(query->result);
    query->result = NULL;
    return status;
}

/* What was not asked was not done; nor was what the server refused before it went. */
static int connection_broke(struct query *query, struct failure *failure)
{
    int status = query->sent ? -ECONNRESET : -ECONNREFUSED;
    explain(query->connection->pg, status, "the database went away", failure);
    release(query, false);
    if (query->result && PQresultErrorField(query->result, PG_DIAG_SQLSTATE))
        status = check_result(query, failure);
    return status;
}

/* A server that has no room for more: those that are open have to do. */
static int connection_refused(struct query *query, struct failure *failure)
{
    struct database *database = query->database;
    int status = explain(query->connection->pg, -ECONNREFUSED, "no database", failure);
    if (database->connected == 0) {
        release(query, false);
        return status;
    }
    database->refused_until_ns = monotonic_ns() + REFUSED_MS * UINT64_C(1000000);
    close_connection(database, take_back(query));
    return take_connection(query, failure);
}

static int go_on_connecting(struct query *query, struct failure *failure)
{
    struct connection *connection = query->connection;
    switch (PQconnectPoll(connection->pg)) {
    case PGRES_POLLING_READING:
        return wait_for(query, QUERY_READ);
    case PGRES_POLLING_WRITING:
        return wait_for(query, QUERY_WRITE);
    case PGRES_POLLING_OK:
        connection->connected = true;
        query->database->connected++;
        return PQsetnonblocking(connection->pg, 1) == 0 ? 0 : connection_broke(query, failure);
    default:
        return connection_refused(query, failure);
    }
}

/* Sends what is left, and reads until the answer is complete: the first result is kept. */
static int receive(struct query *query, struct failure *failure)
{
    PGconn *pg = query->connection->pg;
    int unsent = PQflush(pg);
    if (unsent < 0 || !PQconsumeInput(pg))
        return connection_broke(query, failure);
    while (!PQisBusy(pg)) {
        PGresult *result = PQgetResult(pg);
        if (!result)
            return PQstatus(pg) == CONNECTION_OK ? 0 : connection_broke(query, failure);
        if (query->result)
            PQclear(result);
        else
            query->result = result;
    }
    return wait_for(query, unsent ? QUERY_READ | QUERY_WRITE : QUERY_READ);
}

static unsigned bit_of(const struct query *query)
{
    return 1u << (query->statement - query->database->statements);
}

static int go_on_preparing(struct query *query, struct failure *failure)
{
    const struct statement *statement = query->statement;
    struct connection *connection = query->connection;
    if (!connection->preparing &&
        !PQsendPrepare(connection->pg, statement->name, statement->text, statement->values, NULL))
        return connection_broke(query, failure);
    connection->preparing = true;
    int status = receive(query, failure);
    if (status != 0)
        return status;
    connection->preparing = false;
    status = check_result(query, failure);
    if (status < 0) {
        release(query, true);
        return status;
    }
    PQclear(query->result);
    query->result = NULL;
    connection->prepared |= bit_of(query);
    return 0;
}

static int go_on_asking(struct query *query, struct failure *failure)
{
    const struct statement *statement = query->statement;
    PGconn *pg = query->connection->pg;
    if (!query->sent && !PQsendQueryPrepared(pg, statement->name, statement->values,
                                             (const char *const *)query->values, NULL, NULL, 0))
        return connection_broke(query, failure);
    query->sent = true;
    int status = receive(query, failure);
    if (status != 0)
        return status;
    release(query, true);
    return check_result(query, failure);
}

int query_begin(struct query *query, struct database *database, struct failure *failure)
{
    query->database = database;
    query->fd = -1;
    return query_advance(query, failure);
}

int query_advance(struct query *query, struct failure *failure)
{
    int status = query->waiting ? QUERY_PENDING : 0;
    if (status == 0 && !query->connection)
        status = take_connection(query, failure);
    while (status == 0 && !query->connection->connected)
        status = go_on_connecting(query, failure);
    if (status == 0 && !(query->connection->prepared & bit_of(query)))
        status = go_on_preparing(query, failure);
    return status == 0 ? go_on_asking(query, failure) : status;
}

/* A connection that nothing is under way on can be used by others. */
static bool is_unused(const struct query *query)
{
    const struct connection *connection = query->connection;
    return connection->connected && !connection->preparing && !query->sent;
}

void query_fini(struct query *query)
{
    if (query->waiting)
        TAILQ_REMOVE(&query->database->waiting, query, entry);
    query->waiting = false;
    if (query->connection)
        release(query, is_unused(query));
    else if (query->database && may_open(query->database))
        hand_on(query->database, NULL); /* it may have been told to, and did not */
    PQclear(query->result);
    query->result = NULL;
    for (int i = 0; i < QUERY_VALUES; i++) {
        free(query->values[i]);
        query->values[i] = NULL;
    }
}

/* ---- The database ---- */

static int check_conninfo(const char *conninfo, struct failure *failure)
{
    char *problem = NULL;
    PQconninfoOption *parsed = PQconninfoParse(conninfo, &problem);
    if (parsed) {
        PQconninfoFree(parsed);
        return 0;
    }
    int length = problem ? (int)strcspn(problem, "\n") : 0;
    failure_set(failure, -EINVAL, "--database: %.*s", length, problem ? problem : "");
    PQfreemem(problem);
    return -EINVAL;
}

static const char *find_options(const PQconninfoOption *option)
{
    while (option && option->keyword && strcmp(option->keyword, "options") != 0)
        option++;
    return option ? option->val : NULL;
}

/* The last of them counts: the user's, from conninfo or else from the environment. Returns NULL
 * without memory. */
static char *make_options(const char *conninfo, unsigned time_limit_ms)
{
    PQconninfoOption *given = PQconninfoParse(conninfo, NULL);
    PQconninfoOption *usual = PQconndefaults();
    const char *own = find_options(given);
    char *options;
    if (!own)
        own = find_options(usual);
    if (asprintf(&options, "-c statement_timeout=%u %s", time_limit_ms, own ? own : "") < 0)
        options = NULL;
    PQconninfoFree(given);
    PQconninfoFree(usual);
    return options;
}

int database_open(const char *conninfo, const struct statement *statements, unsigned connections,
                  unsigned time_limit_ms, struct database **database, struct failure *failure)
{
    int status = check_conninfo(conninfo, failure);
    if (status < 0)
        return status;
    struct database *opened = calloc(1, sizeof(*opened));
    char *options = make_options(conninfo, time_limit_ms);
    if (!opened || !options) {
        free(opened);
        free(options);
        return failure_set(failure, -ENOMEM, "no memory for the database");
    }
    opened->conninfo = conninfo;
    opened->options = options;
    opened->statements = statements;
    opened->limit = connections;
    SLIST_INIT(&opened->idle);
    TAILQ_INIT(&opened->waiting);
    *database = opened;
    return 0;
}

void database_close(struct database *database)
{
    struct connection *connection;
    if (!database)
        return;
    while ((connection = SLIST_FIRST(&database->idle))) {
        SLIST_REMOVE_HEAD(&database->idle, entry);
        close_connection(database, connection);
    }
    free(database->options);
    free(database);
}
