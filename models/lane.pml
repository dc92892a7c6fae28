/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The death of a client, and the next one under the same index: memory is freed
 * only when nobody runs a task in it, nothing of an older generation is run, and
 * the new client's work is not slept through.
 *
 * Two clients, one after the other, submit one task each; two workers keep their
 * views of the lane, whose generation they compare at each visit. The supervisor
 * drops the first client's lane when that one dies, or leaves, and lets the second
 * in when the memory is free. A worker dies too.
 *
 * A worker has its own mapping of a lane, and each client's lane is a memory of its
 * own: an old view reads zeroes after the memory was punched out, never what the
 * successor writes. So a worker may look at a lane that is gone, even take a ticket
 * that it read before; but it never finds a slot there that it could claim.
 *
 * Waking is wake.pml's matter: here it is a step or two.
 * A task that is lost or slept through leaves its client waiting: an invalid end state.
 */
#include "slot.pml"

#define SEATS 2
#define TENANTS 2
#define OF(view) ((view) / 2) /* generations 1 and 3 */

typedef Lane {
    unsigned state : 3; /* of its only slot */
    unsigned seat : 2;
    unsigned pushed : 1;
    unsigned head : 1;
    bool punched
};
Lane lanes[TENANTS];
#define HAS_WORK(view) (lanes[OF(view)].pushed > lanes[OF(view)].head)

unsigned generation : 3; /* in control; odd: in use */
bool marked;             /* the lane's activity bit */

#define BUSY 0
#define LOOKING 1
#define SLEEPING 2
byte state[SEATS] = LOOKING;
bool down[SEATS];

byte row[SEATS]; /* the generation noted with the ticket; 0: none */

byte repairs[3]; /* the generation is all that differs */
byte repair_head;
byte repair_tail;

/* What a worker wants to map, and the supervisor's answer. */
byte wanted[SEATS];
mtype = { NOTHING, MAPPED, REFUSED };
mtype answer[SEATS] = NOTHING;

/* KILLED: makes no step any more; DEAD: the supervisor knows; GONE: for good. */
mtype = { ALIVE, KILLED, DEAD, GONE };
mtype worker_life[SEATS] = ALIVE;
mtype client_life[TENANTS] = GONE; /* the second stays */
byte deaths = 1;

byte runs_in[SEATS]; /* for the properties only: the generation of a claimed task */

/* ---- worker ---- */

#ifdef MUTANT_GENERATION_NOT_COMPARED
#define VIEW_CURRENT (view != 0)
#else
#define VIEW_CURRENT (view == current)
#endif
#ifdef MUTANT_CLEARED_FOR_ANOTHER
#define ANOTHER_TENANT false
#else
#define ANOTHER_TENANT (generation != current)
#endif
#ifdef MUTANT_REPAIR_NOT_COMPARED
#define FOR_VIEW true
#else
#define FOR_VIEW (entry == view)
#endif

#ifdef MUTANT_MARKED_AGAIN_ONLY
#define LOOK_AT_IT break
#else
#define LOOK_AT_IT skip
#endif
#define COMPARE_AGAIN \
    if \
    :: atomic { ANOTHER_TENANT -> current = generation } \
       atomic { marked = true; LOOK_AT_IT } \
    :: atomic { !ANOTHER_TENANT -> break } \
    fi

/* The view of the lane as it is now; 0 where there is none, and then the bit is
 * cleared. That may take away a bit that the next tenant has seen set, so the
 * generation is compared once more, and if it is another, that lane is looked at. */
inline get_view() {
    current = generation;
    do
    :: atomic { VIEW_CURRENT -> break }
    :: atomic { !VIEW_CURRENT && current % 2 == 1 -> view = 0; wanted[me] = current }
       if
       :: atomic { answer[me] == MAPPED -> answer[me] = NOTHING; view = current; break }
       :: atomic { answer[me] == REFUSED -> answer[me] = NOTHING; marked = false }
          COMPARE_AGAIN
       fi
    :: atomic { !VIEW_CURRENT && current % 2 == 0 -> view = 0; marked = false }
       COMPARE_AGAIN
    od
}

/* Claims and runs what it has noted; entry is the generation of its name. */
inline run_task() {
#ifdef MUTANT_ROW_AFTER_CLAIM
    if
    :: atomic {
           lanes[OF(view)].state == SUBMITTED ->
           step(lanes[OF(view)].state, CLAIM, RUNNING);
           lanes[OF(view)].seat = me + 1;
           runs_in[me] = view
       }
       row[me] = view
    :: lanes[OF(view)].state != SUBMITTED
    fi;
#else
    if
    :: atomic {
           lanes[OF(view)].state == SUBMITTED ->
           assert(entry == view && !lanes[OF(view)].punched);
           step(lanes[OF(view)].state, CLAIM, RUNNING);
           lanes[OF(view)].seat = me + 1;
           runs_in[me] = view
       }
    :: lanes[OF(view)].state != SUBMITTED
    fi;
#endif
    if
    :: atomic {
           runs_in[me] != 0 ->
           assert(!lanes[OF(view)].punched);
           step(lanes[OF(view)].state, FINISH, DONE);
           lanes[OF(view)].seat = 0;
           runs_in[me] = 0
       }
    :: runs_in[me] == 0
    fi;
    atomic { row[me] = 0; state[me] = LOOKING; entry = 0; seen = 0 }
}

#ifdef MUTANT_ROW_AFTER_CLAIM
#define NOTE(number)
#else
#define NOTE(number) row[me] = number;
#endif

inline serve_ring() {
    if
    :: atomic {
           view != 0 && HAS_WORK(view) ->
           seen = lanes[OF(view)].head + 1;
           entry = view
       }
       atomic { NOTE(view) state[me] = BUSY }
       if
       :: atomic { lanes[OF(view)].head == seen - 1 -> lanes[OF(view)].head = seen; seen = 0 }
          run_task()
       :: atomic {
              lanes[OF(view)].head != seen - 1 ->
              row[me] = 0; state[me] = LOOKING; seen = 0; entry = 0
          }
       fi
    :: view == 0 || !HAS_WORK(view)
    fi
}

inline serve_repair() {
    get_view();
    atomic {
        if
        :: view != 0 && FOR_VIEW -> NOTE(view) skip
        :: view == 0 || !FOR_VIEW -> entry = 0
        fi;
        state[me] = BUSY
    }
    if
    :: atomic { repair_head == seen -> repair_head++; seen = 0 }
       if
       :: entry != 0 -> run_task()
       :: atomic { entry == 0 -> state[me] = LOOKING }
       fi
    :: atomic {
           repair_head != seen ->
           row[me] = 0; state[me] = LOOKING; seen = 0; entry = 0
       }
    fi
}

proctype worker(byte me) {
    byte view, current, entry, seen;
    bool found;
end_birth:
    {
end_look:
    do
    :: atomic {
           worker_life[me] == ALIVE && repair_head < repair_tail ->
           seen = repair_head;
           entry = repairs[repair_head]
       }
       serve_repair()
    :: worker_life[me] == ALIVE && marked ->
       get_view();
       serve_ring()
    :: worker_life[me] == ALIVE -> /* saw nothing, maybe a moment too early */
       if
       :: marked ->
           get_view();
           if
           :: view != 0 && HAS_WORK(view) -> found = true
           :: view != 0 && !HAS_WORK(view) ->
               marked = false;
               if
               :: ANOTHER_TENANT -> marked = true; found = true
               :: !ANOTHER_TENANT && HAS_WORK(view) -> marked = true; found = true
               :: !ANOTHER_TENANT && !HAS_WORK(view)
               fi
           :: view == 0
           fi
       :: !marked
       fi;
       if
       :: atomic { found -> found = false }
       :: !found ->
           state[me] = SLEEPING;
           if
           :: repair_head != repair_tail -> found = true
           :: repair_head == repair_tail && marked ->
               get_view();
               found = view != 0 && HAS_WORK(view)
           :: repair_head == repair_tail && !marked
           fi;
           if
           :: found
           :: atomic { !found && state[me] == SLEEPING -> down[me] = true }
end_down:     !down[me]
           :: !found && state[me] != SLEEPING
           fi;
           atomic { state[me] = LOOKING; found = false }
       fi
    od
    } unless {
        atomic {
            worker_life[me] == KILLED ->
            worker_life[me] = DEAD;
            down[me] = false;
            wanted[me] = 0;
            answer[me] = NOTHING;
            runs_in[me] = 0;
            view = 0; current = 0; entry = 0; seen = 0; found = false
        }
    }
    goto end_birth /* as the successor, without a view */
}

/* ---- client ---- */

inline wake_seat(number) {
    state[number] = LOOKING;
    down[number] = false
}

proctype client(byte me) {
    {
    atomic { step(lanes[me].state, SUBMIT, SUBMITTED) }
    lanes[me].pushed = 1;
    marked = true; /* unless it is */
    if /* nobody looks: wake one who sleeps */
    :: state[0] == LOOKING || state[1] == LOOKING
    :: atomic { state[0] == SLEEPING && state[1] != LOOKING -> wake_seat(0) }
    :: atomic { state[1] == SLEEPING && state[0] != LOOKING -> wake_seat(1) }
    :: state[0] == BUSY && state[1] == BUSY
    fi;
    atomic { ENDED(lanes[me].state) -> client_life[me] = (me == 0 -> DEAD : GONE) }
    } unless {
        atomic { client_life[me] == KILLED -> client_life[me] = DEAD }
    }
}

/* ---- deaths ---- */

/* A worker that has noted a ticket: the deaths of others are wake.pml's matter. That
 * of seat 0, since the seats do not differ. The client, at any step. */

active proctype kernel() {
end:
    do
    :: atomic { deaths > 0 && worker_life[0] == ALIVE && row[0] != 0 ->
           deaths--; worker_life[0] = KILLED }
    :: client_life[0] == ALIVE -> client_life[0] = KILLED
    od
}

/* ---- supervisor ---- */

#define LIVES (used && !dropping)

inline kick_all() {
    atomic {
        if
        :: LIVES && HAS_WORK(tenant) -> marked = true
        :: else
        fi;
        if
        :: state[0] == SLEEPING -> wake_seat(0)
        :: else
        fi;
        if
        :: state[1] == SLEEPING -> wake_seat(1)
        :: else
        fi
    }
}

/* The tenant is known by the odd generation that it had while it lived. */
inline settle() {
    if
    :: row[0] != tenant || !LIVES
    :: atomic {
           row[0] == tenant && LIVES && lanes[OF(tenant)].state == SUBMITTED ->
           repairs[repair_tail] = tenant;
           repair_tail++
       }
    :: atomic {
           row[0] == tenant && LIVES && lanes[OF(tenant)].state == RUNNING &&
               lanes[OF(tenant)].seat == 1 ->
           step(lanes[OF(tenant)].state, CRASH, CRASHED);
           lanes[OF(tenant)].seat = 0
       }
    :: row[0] == tenant && LIVES && lanes[OF(tenant)].state == RUNNING &&
           lanes[OF(tenant)].seat != 1
    :: row[0] == tenant && LIVES && ENDED(lanes[OF(tenant)].state)
    fi
}

inline client_gone() {
    dropping = true;
    generation = tenant + 1;
#ifndef MUTANT_QUEUED_NOT_CANCELLED
    atomic {
        if
        :: lanes[OF(tenant)].state == SUBMITTED ->
            step(lanes[OF(tenant)].state, CANCEL, CANCELLED)
        :: else
        fi
    }
#endif
    kick_all()
}

inline free_lane() {
    assert(runs_in[0] != tenant && runs_in[1] != tenant);
    lanes[OF(tenant)].punched = true;
    lanes[OF(tenant)].state = FREE;
    lanes[OF(tenant)].seat = 0;
    lanes[OF(tenant)].pushed = 0;
    lanes[OF(tenant)].head = 0;
    used = false;
    dropping = false
}

inline answer_worker(number) {
    if
    :: LIVES && tenant == wanted[number] -> answer[number] = MAPPED
    :: else -> answer[number] = REFUSED
    fi;
    wanted[number] = 0
}

/* Any row that names the lane's index keeps it, of whichever generation. */
#ifdef MUTANT_FREED_WITHOUT_WAITING
#define WORKED_ON(number) false
#else
#define WORKED_ON(number) (row[number] != 0)
#endif

active proctype supervisor() {
    byte tenant;
    bool used, dropping;
end:
    do
    :: atomic {
           !used && tenant < 3 ->
           tenant = (tenant == 0 -> 1 : 3);
           used = true;
           generation = tenant;
           client_life[OF(tenant)] = ALIVE;
           run client(OF(tenant))
       }
    :: atomic { wanted[0] != 0 -> answer_worker(0) }
    :: atomic { wanted[1] != 0 -> answer_worker(1) }
    :: worker_life[0] == DEAD ->
       settle();
       atomic { row[0] = 0; state[0] = BUSY }
       kick_all();
       atomic { worker_life[0] = ALIVE; state[0] = LOOKING }
    :: atomic { LIVES && client_life[OF(tenant)] == DEAD ->
           client_life[OF(tenant)] = GONE }
       client_gone()
    :: dropping && !WORKED_ON(0) -> /* seat by seat */
       if
       :: atomic { !WORKED_ON(1) -> free_lane() }
       :: WORKED_ON(1)
       fi
    od
}

init {
    atomic {
        run worker(0);
        run worker(1)
    }
}
