/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The supervisor: one thread, one epoll, no user code, no lock. It makes the
 * shared memory, has the zygote make workers, lets clients in, and settles what
 * the dead leave behind. It acts on a death only when the kernel confirmed it.
 *
 *   supervisor.c  start, event loop, timers, end
 *   keeper.c      the zygote and the seats
 *   lanes.c       clients and their lanes
 *   sweep.c       the tasks of a dead worker
 */
#ifndef POOL_SUPERVISOR_H
#define POOL_SUPERVISOR_H

#include "ipc/channel.h"
#include "ipc/lane.h"
#include "ipc/layout.h"
#include "loadavg/average.h"
#include "pool/config.h"
#include "pool/seats.h"

#include <stdbool.h>

struct seat {
    enum seat_life life;
    struct seat_record record;
    uint64_t due_ms; /* when a rest is over */
    pid_t pid;       /* 0: not known yet */
    int pidfd;
    int socket; /* our end to the worker */
};

struct tenant {
    bool used;     /* the lane exists */
    bool dropping; /* the client is gone, tasks of its still run */
    bool faulted;  /* it lives, but its lane cannot be trusted */
    bool opener;
    pid_t pid;
    int pidfd;
    int socket;
    int lane_fd;
    int notify;        /* the end that workers write to */
    int notify_client; /* the other, until it was sent */
    struct lane lane;
    uint32_t generation;
};

enum pool_phase {
    PHASE_OPENING, /* no worker was up yet */
    PHASE_OPEN,
    PHASE_DRAINING, /* accepted tasks run to their end */
    PHASE_LEAVING,  /* workers were asked to leave */
    PHASE_ENDED,    /* whatever is left is killed */
};

struct supervisor {
    const struct config *config;
    struct control *control;
    struct bells *bells;
    int control_fd, bells_fd;
    int epoll;
    pid_t pid;
    int opener_pidfd;

    pid_t zygote_pid;
    int zygote_pidfd;
    int zygote_socket;
    uint64_t zygote_started_ms;

    struct seat seats[MAX_SEATS];
    struct tenant tenants[MAX_LANES];

    enum pool_phase phase;
    uint64_t phase_deadline_ms;
    char init_text[sizeof(((struct message *)0)->text)]; /* why worker_init failed */
    int init_status;

    struct load_average own_load;
    uint64_t sample_due_ms;   /* 0: nobody asked lately */
    uint64_t sample_until_ms; /* go on that long */
};

/* What an event is about, as kept in epoll's data. */
enum watched {
    WATCH_OPENER,
    WATCH_ZYGOTE,
    WATCH_SEAT_PID,
    WATCH_SEAT_SOCKET,
    WATCH_CLIENT_PID,
    WATCH_CLIENT_SOCKET
};

/* Runs the pool until it ends. The calling process is made for it. */
_Noreturn void supervisor_run(const struct config *config, int opener_socket, pid_t opener);

/* supervisor.c */
int supervisor_watch(struct supervisor *supervisor, int fd, enum watched kind, uint32_t index);
uint64_t supervisor_now_ms(void);
void supervisor_sample(struct supervisor *supervisor);

/* keeper.c */
int keeper_start_zygote(struct supervisor *supervisor);
void keeper_zygote_died(struct supervisor *supervisor);
void keeper_fill_seats(struct supervisor *supervisor);
void keeper_seat_event(struct supervisor *supervisor, uint32_t index, enum watched kind);
void keeper_due(struct supervisor *supervisor, uint64_t now_ms);
uint64_t keeper_next_due(const struct supervisor *supervisor);
bool keeper_all_gone(const struct supervisor *supervisor);
void keeper_kill_all(struct supervisor *supervisor);
bool keeper_hopeless(const struct supervisor *supervisor);

/* lanes.c */
int lanes_attach(struct supervisor *supervisor, int socket, bool opener);
void lanes_welcome(struct supervisor *supervisor, struct tenant *tenant);
void lanes_client_event(struct supervisor *supervisor, uint32_t index, enum watched kind);
void lanes_send(struct supervisor *supervisor, int socket, uint32_t index, uint32_t generation);
/* Frees the lanes of gone clients that nobody works on any more; true if some
 * are left. */
bool lanes_reclaim(struct supervisor *supervisor);
bool lanes_idle(const struct supervisor *supervisor);
/* Looks at all lanes itself, and wakes all workers if there is doubt. */
void lanes_ring(struct supervisor *supervisor);
/* Has every client look at how things are. */
void lanes_alarm(struct supervisor *supervisor);
/* A process asks to become a client; parcel brings the socket for it. */
void lanes_admit(struct supervisor *supervisor, struct parcel *parcel);
/* Gives the lane up, as if its client had died, and tells the client why. */
void lanes_fault(struct supervisor *supervisor, uint32_t index, uint32_t generation,
                 const char *why);
/* The lane's live tenant, or NULL. */
struct tenant *lanes_find(struct supervisor *supervisor, uint32_t index, uint32_t generation);

/* sweep.c */
void sweep_seat(struct supervisor *supervisor, uint32_t seat, int death);

#endif
