/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The server: its sockets, its loop, its requests.
 */
#ifndef WEB_SERVER_H
#define WEB_SERVER_H

#include "documents.h"
#include "request.h"
#include "tally.h"

#include <stdio.h>

enum { LISTENERS = 2 }; /* TCP and Unix */

struct listener {
    struct MHD_Daemon *daemon;
    struct watch watch;
    int fd;           /* until the server stops */
    const char *path; /* of a Unix socket */
};

struct server {
    const struct options *options;
    struct mode *mode;
    struct loop *loop;
    struct listener listeners[LISTENERS];
    unsigned listener_count;
    TAILQ_HEAD(request_list, request) suspended; /* those that have the least time first */
    unsigned waiting;                            /* how many these are */
    TAILQ_HEAD(stream_list, stream) streams;
    unsigned stream_count;
    uint64_t told_ns; /* when the streams were */
    struct documents documents;
    struct tally tally;
    unsigned requests; /* being read, served or answered */
    unsigned uploads;  /* of these */
    bool resumed;      /* some request was, since libmicrohttpd was called */
    FILE *log;
    struct watch signals;
    int signal_fd;
    bool stopping;
    uint64_t end_ns; /* when it ends at the latest, if it is stopping */
    bool hurry;
};

int server_init(struct server *server, const struct options *options, struct mode *mode,
                struct loop *loop, struct failure *failure);
void server_fini(struct server *server);

/* Serves until a signal says otherwise. Returns 0, or -EOWNERDEAD when the pool is gone. */
int server_run(struct server *server, struct failure *failure);

/* A line in the access log. */
void server_log(struct server *server, const struct request *request, bool complete);

#endif
