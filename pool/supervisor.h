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
 *   watch.c       tasks over their limits
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

/* A worker, from the request for it to its burial. */
struct post {
    enum seat_life life;
    bool heir;       /* it was asked for while another had the seat */
    uint64_t due_ms; /* when a rest is over */
    pid_t pid;       /* 0: not known yet */
    int pidfd;
    int socket; /* our end to the worker */
};

/* Why a worker is killed: for a task. */
enum doom_reason { DOOM_NONE, DOOM_TIME, DOOM_CANCEL };
struct doom {
    enum doom_reason why;
    name_t name;
    uint64_t started; /* ticks */
};

struct seat {
    struct post posts[2]; /* who has it, and who is to follow */
    struct seat_record record;
    uint64_t retire_due_ms; /* when a successor is asked for; 0: nobody wants one */
    uint64_t leave_due_ms;  /* when one that leaves is killed; 0: nobody leaves */
    char retire_text[32];
    struct doom doom;
    struct slow { /* the task that is, or was, reported as slow */
        uint64_t started;
        bool told;
    } slow;
    uint64_t soft_told; /* started ticks of the task that was asked to hurry */
};

enum { HOLDER, HEIR };
enum { LEAVE_WAIT_MS = 1000 }; /* for workers to run worker_exit and leave */

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

    uint64_t watch_due_ms;  /* 0: no task with a limit runs */
    uint64_t watch_seen_ms; /* when one did */
    struct quarantine *quarantine;
    int quarantine_fd;

    struct load_average own_load;
    uint64_t sample_due_ms;   /* 0: nobody asked lately */
    uint64_t sample_until_ms; /* go on that long */
};

/* What an event is about, as kept in epoll's data. */
enum watched {
    WATCH_OPENER,
    WATCH_ZYGOTE,
    WATCH_SEAT_PID, /* of the holder of a seat; index: the seat */
    WATCH_SEAT_SOCKET,
    WATCH_HEIR_PID,
    WATCH_HEIR_SOCKET,
    WATCH_CLIENT_PID,
    WATCH_CLIENT_SOCKET
};

/* Runs the pool until it ends. The calling process is made for it. */
_Noreturn void supervisor_run(const struct config *config, int opener_socket, pid_t opener);

/* supervisor.c */
int supervisor_watch(struct supervisor *supervisor, int fd, enum watched kind, uint32_t index);
/* The descriptor is watched already, as something else. */
int supervisor_rewatch(struct supervisor *supervisor, int fd, enum watched kind, uint32_t index);
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
/* Lets go of all posts whose workers are dead. */
void keeper_reap_all(struct supervisor *supervisor);
void keeper_dismiss_heirs(struct supervisor *supervisor);
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

/* The tenant that the row's run belongs to, also if its client is gone already. */
struct tenant *lanes_find_run(struct supervisor *supervisor, const struct seat_row *row);

/* sweep.c */
void sweep_seat(struct supervisor *supervisor, uint32_t seat, int death);

/* watch.c */
/* A worker began a task with a limit. */
void watch_begin(struct supervisor *supervisor);
void watch_due(struct supervisor *supervisor, uint64_t now_ms);
/* Kills the worker that runs this task of the tenant, if one does. */
void watch_kill(struct supervisor *supervisor, const struct tenant *tenant, uint32_t slot,
                uint32_t generation);

#endif
