/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One HTTP request. It is read, served by its route, and answered: at once, or later,
 * and is then suspended until that. Whatever becomes of it, it is answered within the
 * time limit, which counts from when its body is complete. One whose body takes longer than a
 * body may is not answered, but dropped.
 */
#ifndef WEB_REQUEST_H
#define WEB_REQUEST_H

#include "mode.h"

#include <microhttpd.h>
#include <sys/queue.h>

struct request;
struct server;

struct route {
    const char *method;
    const char *path; /* one that ends with a * stands for all that begin so */
    void (*serve)(struct request *request);
    /* What serve_work() does, and the status of its success. */
    const struct work *work;
    unsigned success;
    /* Takes a piece of the body; without it, the body is collected. What went wrong is
     * kept until serve(). */
    void (*receive)(struct request *request, const char *data, size_t size);
    bool upload; /* the body may be larger than others */
};

struct request {
    struct server *server;
    struct MHD_Connection *connection;
    const struct route *route;
    char *method;
    char *url;
    uint64_t start_ns;    /* when its head was there */
    uint64_t deadline_ns; /* of the answer; set when its body is there */
    struct reply body;
    size_t received;
    bool served;

    unsigned status; /* of the answer; 0: there is none yet */
    struct MHD_Response *response;
    size_t sent;

    bool suspended;
    TAILQ_ENTRY(request) entry; /* while suspended */
    struct job job;
    void *context; /* the route's own; ended with end_context() */
    void (*end_context)(void *context);
};

/* Answers with a copy of the bytes, or with a response. */
void request_reply(struct request *request, unsigned status, const char *media_type,
                   const void *data, size_t size);
void request_answer(struct request *request, unsigned status, struct MHD_Response *response);

/* Answers that it cannot be done: with an HTTP status, or what stands for an errno. */
void request_refuse(struct request *request, unsigned status, const char *sentence);
void request_fail(struct request *request, int status, const char *sentence);

/* The answer's response, for headers of the route's own. NULL without memory. */
struct MHD_Response *request_response(const struct request *request);

/* Runs the route's work with the body as its arguments. */
void serve_work(struct request *request);
/* Runs work; done() is to answer. */
void request_run(struct request *request, const struct work *work, const void *args, size_t size,
                 void (*done)(struct job *job, const struct outcome *outcome));

/* Its time is up. */
void request_expire(struct request *request);

/* For MHD_start_daemon(); the context is the server. */
enum MHD_Result request_on_data(void *context, struct MHD_Connection *connection, const char *url,
                                const char *method, const char *version, const char *data,
                                size_t *size, void **own);
void request_on_end(void *context, struct MHD_Connection *connection, void **own,
                    enum MHD_RequestTerminationCode how);

#endif
