/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Messages between the supervisor and everybody else: fixed-size records with
 * descriptors attached, over SOCK_SEQPACKET socket pairs. They set things up and
 * report; no task ever passes here.
 */
#ifndef IPC_CHANNEL_H
#define IPC_CHANNEL_H

#include <stdint.h>
#include <sys/types.h>

enum message_type {
    /* client to supervisor */
    MESSAGE_ATTACH = 1, /* one descriptor: the supervisor's end of the new client's socket */
    MESSAGE_POKE,       /* "my task is not begun": kick the seats, and sample the load */
    MESSAGE_CLOSE,      /* opener only: end the pool */
    /* supervisor to client */
    MESSAGE_WELCOME, /* index, generation; descriptors: lane, notify[, control, bells] */
    MESSAGE_REFUSED, /* status, text */
    MESSAGE_FAULTED, /* text: why the client's lane was given up; it is a client no more */
    /* supervisor to zygote */
    MESSAGE_SPAWN, /* index: seat; one descriptor: the worker's socket */
    /* worker to supervisor */
    MESSAGE_HELLO,       /* I run */
    MESSAGE_READY,       /* worker_init is done */
    MESSAGE_INIT_FAILED, /* status, text */
    MESSAGE_WANT_LANE,   /* index, generation */
    MESSAGE_LANE_FAULT,  /* index, generation, text: why the lane cannot be trusted */
    /* supervisor to worker */
    MESSAGE_GO,   /* value: CPU to stay on, -1: none */
    MESSAGE_LANE, /* index, generation; descriptors: lane, notify; status: 0 or -ENOENT */
};

enum { MESSAGE_DESCRIPTORS = 4 };

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
/* Receives one message; its descriptors are then the caller's, close-on-exec.
 * 1, 0 at the end of the stream, -EPROTO for a malformed record, negative errno. */
int channel_receive(int socket, struct parcel *parcel, int flags);
void parcel_drop(struct parcel *parcel);
/* The pid of the process that made the other end; 0 if unknown. */
pid_t channel_peer(int socket);

#endif
