/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The process that has a server: it starts it, does to it what the client wishes, starts it
 * again when it has ended, and judges how it did. It is never struck itself.
 */
#ifndef TESTS_FAULT_HOST_H
#define TESTS_FAULT_HOST_H

#include "pool/serve.h"
#include "tests/fault/ledger.h"

#include <stdbool.h>
#include <sys/types.h>

/* For the ledger's `wish`. */
enum wish {
    WISH_NOTHING,
    WISH_RELOAD,
    WISH_HANGUP,
    WISH_TRACE,
    WISH_ZYGOTE,
    WISH_DRAIN,
    WISH_KILL
};

struct host {
    const char *path;
    pid_t server; /* 0: ended */
    pid_t ended;  /* the last that did, ... */
    int status;   /* ... and how */
    bool to_end;  /* it was told to, or killed by us */
    pid_t client;
};

/* How often a server has told that. */
uint32_t host_told(enum serve_event event);
/* From now on this process may be struck. */
void host_enter_stage(const char *role);

/* late_us: it listens so much earlier than it answers. */
void host_start(struct host *host, unsigned late_us);
bool host_ended(struct host *host);
/* Starts it again if it is gone. */
void host_keep(struct host *host);
void host_end(struct host *host);
/* Grants wishes until the client has ended. */
void host_attend(struct host *host);

#endif
