/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Messages between the supervisor and everybody else: fixed-size records with
 * descriptors attached, over SOCK_SEQPACKET socket pairs. They set things up and
 * report; of tasks nothing passes here but the names of those whose module is not
 * loaded.
 */
#ifndef IPC_CHANNEL_H
#define IPC_CHANNEL_H

#include <stdint.h>
#include <sys/types.h>

enum message_type {
    /* client to supervisor */
    MESSAGE_ATTACH = 1, /* one descriptor: the supervisor's end of the new client's socket */
    MESSAGE_POKE,       /* "my task is not begun": kick the seats, and sample the load */
    MESSAGE_CLOSE,      /* opener only: end the pool; value: within so many ms */
    MESSAGE_KILL,       /* kill who runs my task; index: slot, generation: the slot's */
    MESSAGE_CONNECT,    /* a stranger's first; index: LAYOUT_VERSION, text: of the library */
    MESSAGE_OBSERVE,    /* instead: it only wants to look; the same, and value: 1 to have the
                           queues sampled for a while, and no descriptors */
    MESSAGE_END,        /* likewise; end the task that a worker runs; index: LAYOUT_VERSION,
                           value: the worker's pid, status: 1 by force, generation: the low
                           half of its row's started_ticks, 0: whatever it runs */
    MESSAGE_TRACE,      /* likewise; have a worker write into its row where it is;
                           index: LAYOUT_VERSION, value: the worker's pid */
    MESSAGE_RELOAD,     /* from root or the pool's user */
    MESSAGE_DRAIN,      /* likewise; end the pool; value: within so many ms, -1: as configured */
    /* supervisor to client */
    MESSAGE_WELCOME, /* index, generation; descriptors: lane, notify[, control, bells,
                        quarantine] */
    MESSAGE_REFUSED, /* status, text */
    MESSAGE_DONE,    /* status: what came of a request; text */
    MESSAGE_FAULTED, /* text: why the client's lane was given up; it is a client no more */
    /* supervisor to zygote */
    MESSAGE_SPAWN, /* index: seat, value: 1 for an heir; one descriptor: its socket */
    MESSAGE_GROW,  /* fork a zygote that has one more module; index: its row; one descriptor:
                      the new one's socket, over which that says MESSAGE_HELLO first */
    /* zygote to supervisor, if it has modules to load */
    MESSAGE_HANDLER,     /* index: number, text: a handler_entry */
    MESSAGE_LOADED,      /* all is ready for the first worker; text: 64 bits, rows of the modules
                            that are set up */
    MESSAGE_LOAD_FAILED, /* status, text */
    /* any zygote to supervisor */
    MESSAGE_SPAWN_FAILED, /* the worker that was asked for cannot be forked; index, value: as
                             asked; status */
    /* worker to supervisor */
    MESSAGE_HELLO,       /* I run */
    MESSAGE_READY,       /* worker_init is done */
    MESSAGE_INIT_FAILED, /* status, text */
    MESSAGE_WANT_LANE,   /* index, generation */
    MESSAGE_WATCH,       /* I run a task that has a limit */
    MESSAGE_RETIRE,      /* I should like to be replaced; text: why */
    MESSAGE_LEAVING,     /* now I go */
    MESSAGE_WARM,        /* a zygote could be made of me; value: how many threads I have */
    MESSAGE_DEFER,       /* keep a ticket until its module is loaded; index, generation: of
                            the lane, value: the module's row, text: the name of the task */
    MESSAGE_LANE_FAULT,  /* index, generation, text: why the lane cannot be trusted */
    /* supervisor to worker */
    MESSAGE_GO,       /* value: CPU to stay on, -1: none; status: 1 for an heir */
    MESSAGE_TAKE,     /* to an heir: the seat is yours */
    MESSAGE_FORK,     /* after MESSAGE_WARM; one descriptor: the socket of the zygote that is to be
                         forked; or status: -EAGAIN, later perhaps, -ECANCELED, do not ask again */
    MESSAGE_DEFERRED, /* after MESSAGE_DEFER; status: 0, it is kept; 1: set the module up
                         yourself; or why it is not kept, and text */
    MESSAGE_LANE,     /* index, generation; descriptors: lane, notify; status: 0 or -ENOENT;
                         value: 1 if the client is of another user than those that are trusted */
};

enum { MESSAGE_DESCRIPTORS = 5 };

struct message {
    uint32_t type;
    uint32_t index;
    uint32_t generation;
    int32_t status;
    int32_t value;
    char text[236];
};

struct parcel {
    struct message message;
    int descriptors[MESSAGE_DESCRIPTORS];
    int descriptor_count;
};

/* A connected pair, close-on-exec. Negative errno. */
int channel_pair(int ends[2]);
/* Sends; flags as for send(2), e.g. MSG_DONTWAIT. Descriptors stay the caller's. */
int channel_send(int socket, const struct parcel *parcel, int flags);
/* Sends an answer that the other side waits for. If that is impossible the connection
 * ends: both sides see it, and nobody waits for ever. Does not block. */
void channel_tell(int socket, const struct parcel *parcel);
/* Receives one message; its descriptors are then the caller's, close-on-exec.
 * 1, 0 at the end of the stream, -EPROTO for a malformed record, negative errno. */
int channel_receive(int socket, struct parcel *parcel, int flags);
/* The same from those who have no descriptors to send: the kernel drops what comes all
 * the same, which would take places in our table, and whose closing may block. */
int channel_receive_plain(int socket, struct parcel *parcel, int flags);
void parcel_drop(struct parcel *parcel);
/* Who made the other end, as it was then. -EPERM or another negative errno. */
struct peer {
    pid_t pid;
    uid_t uid;
    gid_t gid;
};
int channel_peer(int socket, struct peer *peer);
enum { CHANNEL_PEERPIDFD = 77 }; /* SO_PEERPIDFD of Linux 6.5; older headers lack it */
/* A descriptor for that process; by its pid where the kernel cannot name it itself. */
int channel_peer_pidfd(int socket);

#endif
