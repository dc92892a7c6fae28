/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A served pool for a test: in a process of its own, at a socket in a directory of its
 * own, with a module that was built for it.
 */
#ifndef TESTS_SYSTEM_SERVER_H
#define TESTS_SYSTEM_SERVER_H

#include "pool/serve.h"
#include "tests/system/support.h"

struct server {
    pid_t pid;
    char directory[64];
    char path[96];
    struct serve_options options;
    struct setting settings[2];
    struct module_spec module;
    /* what it told, shared */
    struct {
        _Atomic uint32_t events[8];
        char text[256]; /* with the last of KEPT and ENDED */
    } * told;
    const struct serve_options *fresh; /* what reload returns; NULL: the same again */
    uint32_t fresh_from;               /* the reload that is the first to do so */
    bool again[8]; /* when it first tells this event, it asks for a reload itself */
};

/* Defaults: two workers, the basic module with no settings. */
void server_prepare(struct server *server);
/* Forks it; returns when it is ready, or when it has ended. */
void server_start(struct server *server);
/* SIGTERM, and until it is gone; its status as for waitpid(). */
int server_stop(struct server *server);
void server_kill(struct server *server);
bool server_await(struct server *server, enum serve_event event, uint32_t least);
/* Waits for a zygote of its other than `but`. While it loads it calls itself after the module. */
pid_t server_zygote(const struct server *server, pid_t but);
/* What it left in the file system. */
void server_remove(struct server *server);
/* Stops and removes it; fails the test unless it ended in good order. */
void server_end(struct server *server);

/* Attaches; fails the test unless the pool is there. */
mc_pool *attach(const struct server *server, const struct mc_handler *handlers, size_t count);
/* What the handler "version" answers: of the basic module 107, and of its second build 207. */
int version_of(mc_pool *pool);
/* Until it answers that. */
void await_version(mc_pool *pool, int version);
/* So many bytes to the handler "echo" and back. */
void expect_echo(mc_pool *pool, size_t size);

#endif
