/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The Unix socket that others connect to: the one that systemd passed, or one of our own.
 * Two servers may start at once at the same path: what looks and then acts is done
 * under a lock of the directory. Whoever finds a socket there connects to it; a dead
 * server's is replaced, a live one's is left alone.
 */
#ifndef TOOLS_LISTENER_H
#define TOOLS_LISTENER_H

#include "tools/settings.h"

#include <stdbool.h>
#include <sys/types.h>

struct listener {
    int socket;
    int type;            /* SOCK_SEQPACKET for clients of the pool */
    const char *setting; /* that says where it is, for messages */
    const char *path;    /* NULL: it was passed */
    dev_t device;        /* the file, to know it again */
    ino_t inode;
};

/* Negative errno with a message; -EADDRINUSE when a server is there. */
int listener_open(struct listener *listener, const struct settings *settings);
/* One of our own, for streams, at a path that --listen gave. The same errors. */
int listener_open_stream(struct listener *listener, const char *path, mode_t mode);
/* Removes the file if it is still ours. */
void listener_close(struct listener *listener);

#endif
