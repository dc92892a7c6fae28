/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sleeping and waking (ipc/wake.h): no work is slept through, and a client whose
 * task has ended is woken, whoever dies at whatever step.
 *
 * Two settings, each searched to the end:
 *
 *   one client    submits two tasks to two workers, and waits. The first task ends
 *                 only after the second, so the worker that runs it does not come
 *                 back to look for that one: the other has to be woken.
 *   TWO_CLIENTS   submit one task each, to one worker. One sleeps on its lane's
 *                 common word, the other in an event loop; the latter's task is
 *                 quick, so that the worker goes on saying LOOKING.
 *
 * No wait has a time limit, and nobody pokes the supervisor: that hides a lost
 * wake-up from whoever waits, but not from an event loop.
 *
 * Memory is that of a machine with store buffers: a plain store is seen by others
 * some time later, at the latest with the next fence, or read-modify-write, of
 * the process that made it. The stores that matter have a buffer of one place:
 * a client's new ticket, and a seat's state. The rest is one step, one access.
 *
 * A wake-up that is lost leaves everybody asleep: an invalid end state.
 */
#include "slot.pml"

#ifndef DEATHS
#define DEATHS 2
#endif
#ifdef TWO_CLIENTS
#define TASKS0 1
#else
#define TASKS0 2
#endif
#define SEATS 2
#define CLIENTS 2
#define TASKS 3
#define LANE(task) (task / 2)
#define QUICK(task) (task == 2)

/* ---- memory ---- */

typedef Slot {
    unsigned state : 3;
    unsigned seat : 2;
    bool flag /* its end is to be told: whichever way that client waits */
};
Slot slots[TASKS];

bool live[CLIENTS] = true; /* the lane's generation is odd */
byte pushed[CLIENTS];      /* tickets in its ring: tasks 0 and 1, or 2 */
byte head[CLIENTS];
byte any;       /* the common word of lane 0 */
bool marked_end; /* lane 1: its slot is to be looked at; cleared by the client */
bool notified;  /* lane 1: workers, when they write a byte; cleared by the client */
bool written;   /* a byte in its socket */

#define BUSY 1
#define LOOKING 2
#define SLEEPING 3
bool marked[CLIENTS]; /* lanes_active */
bool sleeping[SEATS];
byte state[SEATS] = LOOKING;

#define NONE 0
byte state_stored[SEATS];    /* in the store buffer of that seat's worker */
bool ticket_stored[CLIENTS]; /* in that of the client */

byte row[SEATS]; /* task + 1; 0: none */
byte repairs[3];
byte repair_head;
byte repair_tail;

bool seat_down[SEATS];  /* in the futex of its state */
byte client_down[CLIENTS]; /* in a futex: of task + 1, or ANY */
#define ANY 9

/* KILLED: makes no step any more; DEAD: the supervisor knows; GONE: for good. */
mtype = { ALIVE, KILLED, DEAD, GONE };
mtype worker_life[SEATS] = ALIVE; /* see init */
mtype client_life[CLIENTS] = ALIVE;
byte deaths = DEATHS;

#define HAS_WORK(lane) (pushed[lane] > head[lane])
#define FUTEX_WAKE_SEAT(seat) seat_down[seat] = false

inline drain_seat(number) {
    if
    :: state_stored[number] != NONE ->
        state[number] = state_stored[number];
        state_stored[number] = NONE
    :: else
    fi
}

inline drain_client(number) {
    if
    :: ticket_stored[number] -> pushed[number]++; ticket_stored[number] = false
    :: else
    fi
}

active proctype store_buffers() {
end:
    do
    :: atomic { state_stored[0] != NONE -> drain_seat(0) }
    :: atomic { state_stored[1] != NONE -> drain_seat(1) }
    :: atomic { ticket_stored[0] -> drain_client(0) }
    :: atomic { ticket_stored[1] -> drain_client(1) }
    od
}

/* ---- the end of a task is told ---- */

inline futex_wake_client(lane, word) {
    if
    :: client_down[lane] == word -> client_down[lane] = 0
    :: else
    fi
}

inline tell(number) {
    if
    :: !telling
#ifndef TWO_CLIENTS
    :: atomic { telling -> futex_wake_client(0, number + 1); telling = false }
#else
    :: telling && number == 0 -> any++;
       atomic { futex_wake_client(0, ANY); telling = false }
    :: telling && number == 2 ->
#ifndef MUTANT_MARKED_AFTER_NOTIFIED
       marked_end = true;
#endif
       if
       :: atomic { !notified -> notified = true }
          written = true
       :: notified
       fi;
#ifdef MUTANT_MARKED_AFTER_NOTIFIED
       marked_end = true;
#endif
       telling = false
#endif
    fi
}

inline end_task(number, happening, next) {
    step(slots[number].state, happening, next);
    slots[number].seat = 0;
    telling = slots[number].flag;
    slots[number].flag = false
}

/* ---- worker ---- */

#define OTHER (1 - me)
/* Unless nobody else is there, or nobody will submit what it waits for. */
#define DEPENDS(number) (number == 0 && TASKS0 == 2)

inline mark(value) {
    drain_seat(me);
    state_stored[me] = value
}

inline forget() {
    task = 0;
    seen = 0;
    found = false;
    bit0 = false;
    bit1 = false;
    telling = false
}

#ifdef MUTANT_BUSY_AFTER_LOOKING
#define MARK_BUSY skip
#else
#define MARK_BUSY mark(BUSY)
#endif

inline note(number) {
    row[me] = number + 1;
    task = number + 1;
    if
    :: QUICK(number)
    :: !QUICK(number) -> MARK_BUSY
    fi
}

inline take(queue) {
    if
    :: queue == seen -> drain_seat(me); queue++
    :: else -> task = 0
    fi;
    seen = 0
}

/* any_work(): the bits are one word. */
#ifdef TWO_CLIENTS
#define BIT1 bit1 = marked[1]
#else
#define BIT1 skip
#endif
inline look_at_everything() {
    atomic { found = repair_head != repair_tail; bit0 = marked[0]; BIT1 }
    atomic { found = found || (bit0 && live[0] && HAS_WORK(0)); bit0 = false }
#ifdef TWO_CLIENTS
    atomic { found = found || (bit1 && live[1] && HAS_WORK(1)); bit1 = false }
#endif
}

inline wake_another() {
    if
    :: state[OTHER] != SLEEPING /* LOOKING, or nobody to be woken */
    :: atomic { state[OTHER] == SLEEPING -> state[OTHER] = LOOKING }
       FUTEX_WAKE_SEAT(OTHER)
    fi
}

inline wake_for_rest() {
#ifdef MUTANT_NO_WAKE_FOR_REST
    skip
#else
    if
    :: task == 0 || QUICK(task - 1)
    :: task != 0 && !QUICK(task - 1) && !sleeping[OTHER]
    :: task != 0 && !QUICK(task - 1) && sleeping[OTHER] ->
        look_at_everything();
        if
        :: atomic { found -> found = false } wake_another()
        :: !found
        fi
    fi
#endif
}

inline run_task() {
    if
    :: atomic {
           task != 0 && slots[task - 1].state == SUBMITTED ->
           step(slots[task - 1].state, CLAIM, RUNNING);
           slots[task - 1].seat = me + 1
       }
       atomic {
           !DEPENDS(task - 1) || ENDED(slots[1].state) || !live[0] ||
               worker_life[OTHER] == GONE ->
           end_task(task - 1, FINISH, DONE)
       }
       tell(task - 1)
    :: task == 0 || slots[task - 1].state != SUBMITTED
    fi;
    atomic { row[me] = 0; mark(LOOKING); forget() }
}

/* Before it sleeps: bits of lanes without work are cleared. */
inline clear_if_empty(lane) {
    if
    :: atomic { marked[lane] && live[lane] && HAS_WORK(lane) -> goto end_look }
    :: marked[lane] && live[lane] && !HAS_WORK(lane) ->
       atomic { drain_seat(me); marked[lane] = false } /* W4 */
#ifndef MUTANT_NO_LOOK_AFTER_CLEARING
       if
       :: HAS_WORK(lane) -> marked[lane] = true; goto end_look
       :: !HAS_WORK(lane)
       fi
#endif
    :: !marked[lane] || !live[lane]
    fi
}

proctype worker(byte me) {
    byte task, seen; /* task + 1 */
    bool found, bit0, bit1, telling;
end_birth:
    {
end_look:
    do
    :: atomic {
           worker_life[me] == ALIVE && repair_head < repair_tail ->
           seen = repair_head;
           note(repairs[repair_head])
       }
       atomic { take(repair_head) }
       wake_for_rest();
       run_task()
    :: atomic {
           worker_life[me] == ALIVE && marked[0] && live[0] && HAS_WORK(0) ->
           seen = head[0];
           note(head[0])
       }
       atomic { take(head[0]) }
       wake_for_rest();
       run_task()
    :: atomic {
           worker_life[me] == ALIVE && marked[1] && live[1] && HAS_WORK(1) ->
           seen = head[1];
           note(2)
       }
       atomic { take(head[1]) }
       run_task()
    :: worker_life[me] == ALIVE -> /* saw nothing, maybe a moment too early */
       clear_if_empty(0);
#ifdef TWO_CLIENTS
       clear_if_empty(1);
#endif
       /* The bit, then the state: one step, since a bit that is set changes nothing
        * for anybody as long as the state is LOOKING. The same goes for the end. */
       atomic {
           drain_seat(me);
           sleeping[me] = true;
#ifdef MUTANT_NO_FENCE_W3
           mark(SLEEPING)
#else
           state[me] = SLEEPING
#endif
       }
#ifndef MUTANT_NO_LOOK_BEFORE_SLEEPING
       look_at_everything();
#endif
       do
       :: atomic { !found -> drain_seat(me);
              if
              :: state[me] == SLEEPING -> seat_down[me] = true
              :: else -> found = true
              fi
          }
end_down:  !seat_down[me]
       :: found -> break
       od;
       atomic { state[me] = LOOKING; sleeping[me] = false; found = false }
    od
    } unless {
        atomic { worker_life[me] == KILLED ->
            drain_seat(me); seat_down[me] = false; worker_life[me] = DEAD; forget() }
    }
    goto end_birth /* as the successor */
}

/* ---- client ---- */

inline submit() {
    step(slots[task].state, SUBMIT, SUBMITTED);
    slots[task].flag = me == 1; /* the event loop's */
    drain_client(me);
    ticket_stored[me] = true;
    task++
}

#ifdef TWO_CLIENTS
#define ELSE_SEAT_1 skip
#else
#define ELSE_SEAT_1 wake_seat_1()
inline wake_seat_1() {
    if
    :: atomic { sleeping[1] && state[1] == SLEEPING -> state[1] = LOOKING }
       FUTEX_WAKE_SEAT(1)
    :: !(sleeping[1] && state[1] == SLEEPING)
    fi
}
#endif

inline wake_seat_0() {
    if
    :: atomic { sleeping[0] && state[0] == SLEEPING -> state[0] = LOOKING }
       FUTEX_WAKE_SEAT(0)
    :: !(sleeping[0] && state[0] == SLEEPING) -> ELSE_SEAT_1
    fi
}

/* W1 */
inline wake_for_submit() {
#ifndef MUTANT_NO_FENCE_W1
    atomic { drain_client(me) }
#endif
    if
    :: marked[me]
    :: !marked[me] -> atomic { drain_client(me); marked[me] = true }
    fi;
    if
    :: !sleeping[0] && !sleeping[1]
    :: (sleeping[0] || sleeping[1]) ->
        if
        :: state[0] == LOOKING
        :: state[0] != LOOKING ->
#ifdef TWO_CLIENTS
            wake_seat_0()
#else
            if
            :: state[1] == LOOKING
            :: state[1] != LOOKING -> wake_seat_0()
            fi
#endif
        fi
    fi
}

#ifdef MUTANT_FUTEX_NOT_COMPARED
#define IN_FUTEX(comparison) true
#else
#define IN_FUTEX(comparison) comparison
#endif

/* GOAL_ALL: sleeps on the word of the last task that is open. */
inline wait_for_all() {
    do
    :: atomic { task > 0 && ENDED(slots[task - 1].state) -> task-- }
    :: atomic {
           task > 0 && !ENDED(slots[task - 1].state) ->
           slots[task - 1].flag = true;
           expected = slots[task - 1].state
       }
       atomic {
           if
           :: IN_FUTEX(slots[task - 1].state == expected) -> client_down[me] = task
           :: else
           fi;
           expected = 0
       }
       client_down[me] == 0
    :: atomic { task == 0 -> break }
    od
}

/* GOAL_NEXT: on the lane's common word. */
inline wait_for_next() {
    do
    :: ENDED(slots[0].state) -> break
    :: !ENDED(slots[0].state) ->
#ifdef MUTANT_ANY_READ_AFTER_FLAG
       atomic {
           if
           :: !ENDED(slots[0].state) -> slots[0].flag = true
           :: else -> break
           fi
       }
       expected = any;
#else
       expected = any;
       atomic {
           if
           :: !ENDED(slots[0].state) -> slots[0].flag = true
           :: else -> break
           fi
       }
#endif
       atomic {
           if
           :: IN_FUTEX(any == expected) -> client_down[me] = ANY
           :: else
           fi
       }
       client_down[me] == 0
    od
}

/* mc_pool_dispatch(), whenever the socket is readable. */
inline event_loop() {
    do
    :: atomic { written -> written = false }
       notified = false;
       if
       :: atomic { marked_end -> marked_end = false }
          if
          :: ENDED(slots[2].state) -> break
          :: !ENDED(slots[2].state)
          fi
       :: !marked_end
       fi
    od
}

proctype client(byte me; byte task; byte tasks) {
    byte expected;
    {
    do
    :: atomic { task < tasks -> submit() }
#ifndef MUTANT_NO_WAKE_AT_SUBMISSION
       wake_for_submit()
#endif
    :: atomic { task == tasks -> break }
    od;
#ifdef TWO_CLIENTS
    if
    :: me == 0 -> wait_for_next()
    :: me == 1 -> event_loop()
    fi;
#else
    wait_for_all();
#endif
    client_life[me] = GONE /* its lane stays, empty */
    } unless {
        atomic {
            client_life[me] == KILLED ->
            drain_client(me);
            client_down[me] = 0;
            client_life[me] = DEAD
        }
    }
}

/* ---- deaths ---- */

/* As long as somebody waits. */
#define MAY_DIE (deaths > 0 && (client_life[0] == ALIVE || client_life[1] == ALIVE))

active proctype kernel() {
end:
    do
    :: atomic { MAY_DIE && worker_life[0] == ALIVE -> deaths--; worker_life[0] = KILLED }
    :: atomic { MAY_DIE && worker_life[1] == ALIVE -> deaths--; worker_life[1] = KILLED }
    :: atomic { MAY_DIE && client_life[0] == ALIVE -> deaths--; client_life[0] = KILLED }
    :: atomic { MAY_DIE && client_life[1] == ALIVE -> deaths--; client_life[1] = KILLED }
    od
}

inline kick(number) {
    atomic {
        if
        :: state[number] == SLEEPING -> state[number] = LOOKING
        :: else
        fi
    }
    FUTEX_WAKE_SEAT(number) /* whatever the state says: its waker may have died */
}

inline ring_lane(lane) {
    atomic {
        if
        :: live[lane] && HAS_WORK(lane) -> marked[lane] = true
        :: else
        fi
    }
}

#ifdef MUTANT_NO_MARK_AFTER_DEATH
#define RING_LANE(lane) skip
#else
#define RING_LANE(lane) ring_lane(lane)
#endif
#ifdef MUTANT_NO_KICK
#define KICK(number) skip
#else
#define KICK(number) kick(number)
#endif

inline ring_lanes() {
    RING_LANE(0);
#ifdef TWO_CLIENTS
    RING_LANE(1);
#else
    KICK(1);
#endif
    KICK(0)
}

inline cancel(number) {
    atomic {
        if
        :: slots[number].state == SUBMITTED -> step(slots[number].state, CANCEL, CANCELLED)
        :: else
        fi
    }
}

#define ENTRY (row[seat] - 1)

/* The row of a dead worker. Telling twice does no harm. */
inline settle() {
    if
    :: row[seat] == 0
    :: atomic {
           row[seat] != 0 && slots[ENTRY].state == SUBMITTED ->
           repairs[repair_tail] = ENTRY;
           repair_tail++
       }
    :: row[seat] != 0 && slots[ENTRY].state == RUNNING && slots[ENTRY].seat != seat + 1
    :: atomic {
           row[seat] != 0 && slots[ENTRY].state == RUNNING && slots[ENTRY].seat == seat + 1 ->
           end_task(ENTRY, CRASH, CRASHED);
           telling = true;
           notified = false
       }
    :: atomic {
           row[seat] != 0 && ENDED(slots[ENTRY].state) ->
#ifndef MUTANT_END_NOT_TOLD_AGAIN
           telling = true;
#endif
           notified = false
       }
    fi;
    tell(ENTRY)
}

active proctype supervisor() {
    byte seat;
    bool telling;
end:
    do
    :: atomic {
           if
           :: worker_life[0] == DEAD -> seat = 0
           :: worker_life[1] == DEAD -> seat = 1
           fi
       }
       settle();
       atomic { row[seat] = 0; state[seat] = BUSY; sleeping[seat] = false }
       ring_lanes();
       if /* a successor, or none for now */
       :: atomic {
              worker_life[seat] = ALIVE;
              state_stored[seat] = LOOKING; /* its first step */
              seat = 0
          }
       :: atomic { worker_life[1 - seat] == ALIVE -> worker_life[seat] = GONE; seat = 0 }
       fi
    :: atomic { client_life[0] == DEAD -> client_life[0] = GONE; live[0] = false }
       cancel(0);
#ifdef TWO_CLIENTS
       ring_lanes()
    :: atomic { client_life[1] == DEAD -> client_life[1] = GONE; live[1] = false }
       cancel(2);
       ring_lanes()
#else
       cancel(1);
       ring_lanes()
#endif
    od
}

init {
    atomic {
        run worker(0);
        run client(0, 0, TASKS0);
#ifdef TWO_CLIENTS
        worker_life[1] = GONE;
        state[1] = BUSY;
        run client(1, 2, 3)
#else
        client_life[1] = GONE;
        run worker(1)
#endif
    }
}
