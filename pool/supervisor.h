/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The supervisor: one thread, one epoll, no user code, no lock. It makes the
 * shared memory, has the zygote make workers, lets clients in, and settles what
 * the dead leave behind. It acts on a death only when the kernel confirmed it.
 *
 *   supervisor.c  start, event loop, timers, end
 *   zygotes.c     where workers come from; changing the set-up
 *   forks.c       zygotes that are forked from what is set up
 *   lazy.c        tasks whose module is not loaded yet
 *   keeper.c      the seats
 *   relief.c      the same, in time
 *   roster.c      who has them
 *   door.c        who connects from outside; signals
 *   lanes.c       clients and their lanes
 *   sweep.c       the tasks of a dead worker
 *   watch.c       tasks over their limits
 *   queues.c      the load, and how long tasks wait
 */
#ifndef POOL_SUPERVISOR_H
#define POOL_SUPERVISOR_H

#include "ipc/channel.h"
#include "ipc/lane.h"
#include "ipc/layout.h"
#include "loadavg/average.h"
#include "pool/config.h"
#include "pool/seats.h"
#include "pool/serve.h"

#include <stdbool.h>

/* A worker, from the request for it to its burial. */
struct post {
    enum seat_life life;
    bool heir;        /* it was asked for while another had the seat */
    uint32_t zygote;  /* generation of the zygote that was asked, ... */
    uint32_t edition; /* ... its edition, ... */
    uint32_t set_up;  /* ... and its set-up */
    uint64_t due_ms;  /* when a rest is over, or worker_init should be; 0: it has no limit */
    bool late;        /* it was killed for that */
    bool init_failed; /* it said so; the supervisor's init_text says why */
    pid_t pid;        /* 0: not known yet */
    int pidfd;
    int socket; /* our end to the worker */
};

/* Why a worker is killed: for a task. */
enum doom_reason { DOOM_NONE, DOOM_TIME, DOOM_CANCEL };
struct doom {
    enum doom_reason why;
    uint32_t lane, lane_generation;
    name_t name;      /* of a task there: other lanes have the same names */
    uint64_t started; /* ticks */
};

struct seat {
    struct post posts[2]; /* who has it, and who is to follow */
    struct seat_record record;
    uint64_t retire_due_ms; /* when a successor is asked for; 0: nobody wants one */
    uint64_t rouse_due_ms;  /* when one that is asked to leave is roused; 0: nobody is */
    uint64_t leave_due_ms;  /* when one that leaves is killed; 0: nobody leaves */
    char retire_text[32];   /* why its worker is to be followed; "": it is not */
    bool outlived;          /* because a new set-up is there, and for nothing else */
    struct doom doom;
    struct slow { /* the task that is, or was, reported as slow */
        uint64_t started;
        uint32_t ticks; /* since its worker was asked where it is */
        bool told;
    } slow;
};

enum { HOLDER, HEIR };
enum { LEAVE_WAIT_MS = 1000 }; /* for workers to run worker_exit and leave */
enum { ROUSE_MS = 50 };        /* from one attempt to have a sleeper leave to the next */

/* A zygote, and what it was made with. There are two while a new set-up takes over
 * from an old one. */
struct zygote {
    struct config *config; /* NULL: there is none */
    uint32_t generation;
    uint32_t edition; /* I/O workers may stay if they are of the same: a zygote that only has one
                         more module has that of the one it comes from, others have their own */
    uint32_t set_up;  /* generation of the first zygote with this configuration */
    uint32_t failed_starts; /* of its workers, since one was ready */
    uint32_t failures;      /* since it was ready: it died, or could not be made */
    bool fresh;             /* it has a new set-up, and is to be the target when it is ready */
    bool ready;             /* its modules are loaded */
    pid_t pid;
    int pidfd;
    int socket;
    uint64_t started_ms;
    uint64_t awake; /* rows of modules that are set up in it, as it said */
    bool forked;    /* from a process that was set up; its pid is in a row ... */
    uint32_t place; /* ... of this seat */
    bool lazy;      /* it was forked to load one more module */
    bool warm;      /* a worker has forked it (refork.c), or one that it comes from, ... */
    uint32_t seat;  /* ... of this seat, ... */
    pid_t parent;   /* ... which is, or was, this process */
    uint32_t refork_failures; /* of this set-up, since it was loaded */
    bool threads_told;        /* that workers with threads cannot be forked */
    bool late;                /* it was killed because it took too long */
    int status;               /* why it failed, as it said itself; 0: it did not */
    char text[236];
};

/* Why seats change hands. */
enum move {
    MOVE_SET_UP, /* a new one */
    MOVE_WARM,   /* a zygote that a worker has forked */
    MOVE_LAZY,   /* one that has another module; I/O workers set that up themselves */
    MOVE_BACK,   /* the one before, since its successor was given up */
};

/* Tasks whose module is not loaded yet (lazy.c). */
struct lazy {
    uint64_t kept;       /* tickets, of all tenants */
    uint64_t release_ms; /* when those that wait for nothing are given back next */
    uint64_t wanted;     /* rows of modules that are to be loaded next */
    uint64_t due_ms;     /* not sooner than this */
    int loading;         /* the row of the one that is, until some worker has it; -1: none */
    uint64_t began_ms;
    struct lazy_failure {
        uint32_t deaths;   /* of processes that were to load it, one after the other */
        uint64_t until_ms; /* its tasks fail until then */
        int status;
        char text[236];
    } failures[MODULES_MOST];
};

/* How far a ring was filled when it was looked at, and when that was. */
struct queue_mark {
    uint64_t position;
    uint64_t since_ms;
};

/* Somebody who connected, and did not say yet what for. */
struct stranger {
    int socket; /* -1: nobody */
    uint64_t due_ms;
};
enum { STRANGERS = 64 };

enum tenancy {
    TENANT_OPENER,   /* whose pool it is */
    TENANT_FORK,     /* its child, or a worker: has the common segments already */
    TENANT_ATTACHED, /* came in by the door */
};

struct tenant {
    bool used;     /* the lane exists */
    bool dropping; /* the client is gone, tasks of its still run */
    bool faulted;  /* it lives, but its lane cannot be trusted */
    enum tenancy tenancy;
    pid_t pid;
    uid_t uid;
    pid_t emptier; /* gives the lane's memory back; 0: nobody does yet */
    int pidfd;     /* the client's; later the emptier's */
    int socket;
    int lane_fd;
    int notify;        /* the end that workers write to */
    int notify_client; /* the other, until it was sent */
    struct lane lane;
    uint32_t weight;
    struct queue_mark marks[LANE_RINGS];
    uint64_t *kept; /* by slot: tickets of tasks whose module is not loaded (lazy.c); or NULL */
    uint32_t kept_count;
    struct lane_geometry geometry; /* that lane points to: it outlives the configuration */
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
    struct config *config; /* the target's */
    struct control *control;
    struct bells *bells; /* of each class of seats */
    int control_fd, bells_fd;
    int epoll;
    pid_t pid;
    uid_t uid;
    int opener_pidfd; /* -1: nobody's, it is served */

    struct zygote zygotes[2];
    int target;            /* of the two, the one that workers are to come from */
    bool moving;           /* from the other to the target, to which there is a way back */
    enum move move;        /* why seats change hands, also when there is none any more */
    bool reload_wanted;    /* and not begun */
    uint32_t zygote_count; /* so many were there in all */
    struct lazy lazy;

    int listener, signals; /* of a pool that is served, else -1 */
    struct stranger strangers[STRANGERS];
    uint64_t strangers_due_ms; /* 0: nobody is waited for */
    uint64_t listen_due_ms;    /* when to listen again; 0: it listens */
    int descriptors_most;      /* clients get none above; the rest is for workers */
    uint64_t alive_due_ms;
    uint64_t log_cursor;

    struct seat seats[MAX_SEATS];
    struct tenant tenants[MAX_LANES];
    uint32_t emptiers;

    enum pool_phase phase;
    uint64_t phase_deadline_ms;
    bool cramped_told; /* that max_worker_memory is too small to begin with */
    bool unborn_told;  /* that no worker can be forked, since one could */
    char init_text[sizeof(((struct message *)0)->text)]; /* why workers cannot start */
    int init_status;                                     /* the last one's */

    uint64_t watch_due_ms;  /* 0: no task with a limit runs */
    uint64_t watch_seen_ms; /* when one did */
    struct quarantine *quarantine;
    int quarantine_fd;

    uint64_t ring_due_ms; /* 0: nobody asked */
    uint64_t rung_ms;     /* when the lanes were rung last because somebody had */
    uint64_t look_due_ms; /* 0: all clients are trusted with the bells */

    struct load_average own_load;
    uint64_t sample_due_ms;   /* 0: nobody asked lately */
    uint64_t sample_until_ms; /* go on that long */
};

/* What an event is about, as kept in epoll's data. */
enum watched {
    WATCH_OPENER,
    WATCH_ZYGOTE_PID, /* index: of the two */
    WATCH_ZYGOTE_SOCKET,
    WATCH_LISTENER,
    WATCH_STRANGER,
    WATCH_SIGNALS,
    WATCH_SEAT_PID, /* of the holder of a seat; index: the seat */
    WATCH_SEAT_SOCKET,
    WATCH_HEIR_PID,
    WATCH_HEIR_SOCKET,
    WATCH_CLIENT_PID,
    WATCH_CLIENT_SOCKET
};

/* Runs the pool until it ends. The calling process is made for it. */
_Noreturn void supervisor_run(struct config *config, int opener_socket, pid_t opener);

/* supervisor.c */
int supervisor_watch(struct supervisor *supervisor, int fd, enum watched kind, uint32_t index);
/* The descriptor is watched already, as something else. */
int supervisor_rewatch(struct supervisor *supervisor, int fd, enum watched kind, uint32_t index);
void supervisor_unwatch(struct supervisor *supervisor, int fd);
uint64_t supervisor_now_ms(void);

/* Ends the pool: tasks run to their end, for so long at most. */
void supervisor_drain(struct supervisor *supervisor, uint32_t timeout_ms);
/* Kills what is left, sees it dead, and leaves. */
_Noreturn void supervisor_end(struct supervisor *supervisor, int status);

/* zygotes.c */
/* Starts one with this configuration, which becomes the target. */
int zygotes_start(struct supervisor *supervisor, struct config *config);
/* Tells clients the handlers of the configuration. */
void zygotes_publish(struct supervisor *supervisor);
void zygotes_event(struct supervisor *supervisor, uint32_t which, enum watched kind);
void zygotes_due(struct supervisor *supervisor, uint64_t now_ms);
uint64_t zygotes_next_due(const struct supervisor *supervisor);
/* Where workers come from; NULL while it is not ready. */
struct zygote *zygotes_target(struct supervisor *supervisor);
/* There is none, and there were several attempts. */
bool zygotes_fail(const struct supervisor *supervisor);
/* Reads the configuration again, and lets workers of a new zygote take over: now, or as
 * soon as the pool is open and an earlier reload is over. -ESHUTDOWN with a message when
 * the pool is closing. */
int zygotes_reload(struct supervisor *supervisor);
/* A worker of the target cannot be set up: if another set-up is there, back to that. */
void zygotes_give_up(struct supervisor *supervisor, const char *why);
bool zygotes_all_gone(const struct supervisor *supervisor);
void zygotes_kill_all(struct supervisor *supervisor);
void zygotes_reap_all(struct supervisor *supervisor);
/* Of the two, the one that is not the target: there may be none there. */
struct zygote *zygotes_other(struct supervisor *supervisor);
int zygotes_watch(struct supervisor *supervisor, const struct zygote *zygote, int fd,
                  enum watched kind);
/* Its place is free. */
void zygotes_forget(struct supervisor *supervisor, struct zygote *zygote);
/* True when another zygote may become the target: no change is under way. */
bool zygotes_may_change(const struct supervisor *supervisor);

/* forks.c */
/* The worker that has this seat would be a good zygote: tells it to fork one, or not to. */
void forks_by_worker(struct supervisor *supervisor, uint32_t seat, int32_t threads);
/* Has the target fork a zygote, and that load one more module. -EAGAIN if another change is
 * under way, or the target is not ready. */
int forks_by_target(struct supervisor *supervisor, uint32_t row);
/* True while a zygote is about to load one more module, or workers are about to have it. */
bool forks_is_growing(const struct supervisor *supervisor);
/* It has spoken, so it exists, or did; false if no process of ours is to be found. */
bool forks_adopt(struct supervisor *supervisor, struct zygote *zygote);
/* There will be no such zygote. died: a process did, for no reason of its own. */
void forks_abandon(struct supervisor *supervisor, struct zygote *forked, int status,
                   const char *why, bool died);
/* No warm zygote came of it. old: the one that workers go on to come from. */
void forks_failed(struct supervisor *supervisor, struct zygote *old, const char *why);

/* door.c: for a pool that is served */
/* From now on signals wait until they are heard. */
int door_hear_signals(struct supervisor *supervisor);
int door_open(struct supervisor *supervisor);
void door_event(struct supervisor *supervisor, uint32_t index, enum watched kind);
void door_due(struct supervisor *supervisor, uint64_t now_ms);
uint64_t door_next_due(const struct supervisor *supervisor);
void door_tell(struct supervisor *supervisor, enum serve_event event, const char *text);

/* lazy.c */
void lazy_init(struct supervisor *supervisor);
/* A worker gives a ticket to us. which: of the seat's posts. */
void lazy_defer(struct supervisor *supervisor, uint32_t seat, int which,
                const struct message *message);
/* What came of forks_by_target(): the module is loaded, and workers start with it; or it is not.
 * died: its process did, for no reason of its own. */
void lazy_loaded(struct supervisor *supervisor, uint64_t awake);
void lazy_failed(struct supervisor *supervisor, int status, const char *why, bool died);
/* Modules are others than before. */
void lazy_forget(struct supervisor *supervisor);
/* Gives no ticket of the tenant back any more. */
void lazy_drop(struct supervisor *supervisor, struct tenant *tenant);
void lazy_due(struct supervisor *supervisor, uint64_t now_ms);
uint64_t lazy_next_due(const struct supervisor *supervisor);

/* keeper.c */
/* Ends a child that cannot be watched, and waits for that; its status. */
int keeper_end_child(pid_t pid);
void keeper_fill_seats(struct supervisor *supervisor);
void keeper_seat_event(struct supervisor *supervisor, uint32_t index, enum watched kind);
/* Takes the worker's life one step further, by the table in seats.h. which: of the seat's posts;
 * status: of a death, as waitpid() has it. */
void keeper_happen(struct supervisor *supervisor, uint32_t index, int which,
                   enum seat_happening happening, int status);
/* A zygote says that a worker cannot be forked. */
void keeper_unborn(struct supervisor *supervisor, const struct message *message);
void keeper_kill_all(struct supervisor *supervisor);
/* Lets go of all posts whose workers are dead. */
void keeper_reap_all(struct supervisor *supervisor);
/* Workers need not be followed because of a new set-up: it was given up. */
void keeper_stay(struct supervisor *supervisor);
void keeper_dismiss_heirs(struct supervisor *supervisor);
/* The bells of this seat's class. */
struct bells *keeper_bells(const struct supervisor *supervisor, uint32_t index);
/* Wakes all who sleep. */
void keeper_kick_all(const struct supervisor *supervisor);

/* relief.c */
void relief_due(struct supervisor *supervisor, uint64_t now_ms);
uint64_t relief_next_due(const struct supervisor *supervisor);

/* roster.c */
/* Somebody is to follow who has the seat. One whose connection has ended is an heir until its
 * death is seen: another in its place would leave that unseen. */
bool roster_has_heir(const struct seat *seat);
/* True for a worker of an older set-up, or with fewer modules, whose turn it is to be followed. */
bool roster_outlived(struct supervisor *supervisor, uint32_t index);
/* True when workers of this zygote have all seats that are not empty for want of something else,
 * and nobody is about to follow who is of another. */
bool roster_all_follow(const struct supervisor *supervisor, const struct zygote *zygote);
/* True if a worker that may stay has one of these seats; or, where it need not serve already,
 * has started and waits for one. */
bool roster_any_of(const struct supervisor *supervisor, enum seat_class seats, bool serving);
/* None of these seats has a worker, or is about to get one, after so many attempts in all; or
 * for want of a zygote. */
bool roster_hopeless(const struct supervisor *supervisor, enum seat_class seats, uint32_t attempts);
bool roster_all_hopeless(const struct supervisor *supervisor);
bool roster_all_gone(const struct supervisor *supervisor);
/* Some worker that is up runs nothing. */
bool roster_any_idle(const struct supervisor *supervisor);
/* Interrupts the sleep of this worker, if it runs nothing, by a signal: a client can have a
 * sleeper miss any wake-up through shared memory, or move it to another futex. */
void roster_rouse(const struct supervisor *supervisor, uint32_t index);
void roster_rouse_all(const struct supervisor *supervisor);

/* lanes.c */
int lanes_attach(struct supervisor *supervisor, int socket, enum tenancy tenancy, uint32_t weight);
uint32_t lanes_of_user(const struct supervisor *supervisor, uid_t uid);
void lanes_welcome(struct supervisor *supervisor, struct tenant *tenant);
void lanes_client_event(struct supervisor *supervisor, uint32_t index, enum watched kind);
void lanes_send(struct supervisor *supervisor, int socket, uint32_t index, uint32_t generation);
/* Frees the lanes of gone clients that nobody works on any more; true if somebody does on
 * some. */
bool lanes_reclaim(struct supervisor *supervisor);
bool lanes_idle(const struct supervisor *supervisor);
/* Looks at all lanes itself, and wakes all workers if there is doubt. */
void lanes_ring(struct supervisor *supervisor);
/* The same, once for all who ask within a millisecond; and rouses who does not hear it. */
void lanes_ring_soon(struct supervisor *supervisor);
void lanes_due(struct supervisor *supervisor, uint64_t now_ms);
uint64_t lanes_next_due(const struct supervisor *supervisor);
/* Has every client look at how things are. */
void lanes_alarm(struct supervisor *supervisor);
/* A process asks to become a client; parcel brings the socket for it. */
void lanes_admit(struct supervisor *supervisor, struct parcel *parcel, uint32_t weight);
/* Gives the lane up, as if its client had died, and tells the client why. */
void lanes_fault(struct supervisor *supervisor, uint32_t index, uint32_t generation,
                 const char *why);
/* The lane's live tenant, or NULL. */
struct tenant *lanes_find(struct supervisor *supervisor, uint32_t index, uint32_t generation);

/* The tenant that a run of this lane belongs to, also if its client is gone already. */
struct tenant *lanes_find_any(struct supervisor *supervisor, uint32_t index, uint32_t generation);
/* The same for the run of this row. */
struct tenant *lanes_find_run(struct supervisor *supervisor, const struct seat_row *row);

/* queues.c */
/* Samples the load and the queues, and goes on for a while: somebody submits. */
void queues_sample(struct supervisor *supervisor);
/* The same because somebody looks, also where nothing depends on it. */
void queues_show(struct supervisor *supervisor);
/* The lane is another client's. */
void queues_forget(struct supervisor *supervisor, uint32_t lane);
void queues_due(struct supervisor *supervisor, uint64_t now_ms);
uint64_t queues_next_due(const struct supervisor *supervisor);

/* sweep.c */
/* Gives the task of this name another ticket, for workers of these seats. */
void sweep_repair(struct supervisor *supervisor, const struct tenant *tenant, enum seat_class seats,
                  name_t name);
/* True if one more finds room, with so many places kept for those that must. */
bool sweep_may_repair(const struct supervisor *supervisor, enum seat_class seats, uint64_t spare);
void sweep_seat(struct supervisor *supervisor, uint32_t seat, int death);

/* watch.c */
/* A worker began a task with a limit. */
void watch_begin(struct supervisor *supervisor);
void watch_due(struct supervisor *supervisor, uint64_t now_ms);
/* Kills the worker that runs this task of the tenant, if one does. */
void watch_kill(struct supervisor *supervisor, const struct tenant *tenant, uint32_t slot,
                uint32_t generation);
/* Asks the task that this worker runs to stop, or kills the worker for it. began: the low
 * half of the start that was seen in its row, 0: whatever it runs. -ESRCH: there is no such
 * worker, -ENOENT: it runs no task, or another. */
int watch_end(struct supervisor *supervisor, pid_t worker, uint32_t began, bool by_force);
/* Asks this worker to write into its row where it is. -ESRCH as above. */
int watch_trace(struct supervisor *supervisor, pid_t worker);

#endif
