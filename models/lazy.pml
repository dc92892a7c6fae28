/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Tasks of a lazy module: whatever dies, and whether the module can be loaded or not, each
 * ends, and none runs where the module is not.
 *
 * One client submits two tasks; at times it cancels the second, and has a third in the same slot.
 * Two workers come to their tickets, give them to the supervisor, and let go of them when it has answered; the supervisor
 * keeps them, has the module loaded, which may fail, has each worker followed by one that has
 * the module, and gives the tickets back. DEATHS workers die, at any step; what they said and
 * was not read yet is lost with them.
 *
 * A ticket that is lost leaves the client waiting: an invalid end state.
 */
#include "slot.pml"

#define TASKS 3
#define SLOTS 2
#define SEATS 2
#ifndef DEATHS
#define DEATHS 2
#endif
#define FAILURES 1 /* of loading; after that it succeeds */

byte state[SLOTS];
byte seat_of[SLOTS]; /* while its task runs: plus one */
byte current[SLOTS]; /* whose slot it is: a ticket */

/* A ticket is the number of its task, plus one; 0 is none. */
#define SLOT(ticket)     ((ticket) > 1)
#define STATE(ticket)    state[SLOT(ticket)]
#define SEAT_OF(ticket)  seat_of[SLOT(ticket)]
#define IS(ticket, what) (STATE(ticket) == what && current[SLOT(ticket)] == ticket)

byte tickets[TASKS + 1]; /* the last stays empty */
unsigned head : 2;
unsigned tail : 2;

/* How many tickets of each task are in the repair ring: their order changes nothing. */
#define REPAIRS 3
byte repairs[TASKS];
#define ANY_REPAIR (repairs[0] + repairs[1] + repairs[2] > 0)

typedef Seat {
    bool awake; /* its worker has the module */
    byte row;   /* what it has taken, or is about to */
    byte asked; /* the ticket that it wants to give away, until the supervisor has read that */
    bool killed; /* it makes no step any more, ... */
    bool dead    /* ... and the supervisor can know */
};
Seat seats[SEATS];
mtype = { NOTHING, KEPT, REFUSED };
mtype answers[SEATS] = NOTHING;
unsigned deaths : 2 = DEATHS;
unsigned failures : 1 = FAILURES;

mtype = { ASLEEP, WANTED, LOADING, LOADED };
mtype module = ASLEEP; /* as the supervisor knows it */
bool refusing;         /* it has just failed */
byte kept[SLOTS]; /* a ticket */

/* ---- worker ---- */

inline peek() {
    if
    :: repairs[0] > 0 -> repaired = true; ticket = 1
    :: repairs[1] > 0 -> repaired = true; ticket = 2
    :: repairs[2] > 0 -> repaired = true; ticket = 3
    :: !ANY_REPAIR -> repaired = false; ticket = tickets[head]
    fi;
    seats[me].row = ticket
}

inline take() {
    if
    :: repaired && repairs[ticket - 1] > 0 -> repairs[ticket - 1]--
    :: !repaired && tickets[head] == ticket -> head++
    :: else -> ticket = 0 /* another was quicker */
    fi
}

inline let_go() {
    seats[me].row = 0;
    ticket = 0;
    repaired = false;
    refused = false
}

inline claim() {
    if
    :: IS(ticket, SUBMITTED) ->
        step(STATE(ticket), CLAIM, RUNNING);
        SEAT_OF(ticket) = me + 1;
        running = true
    :: else
    fi
}

active [SEATS] proctype worker() {
    byte me = _pid;
    byte ticket;
    bool repaired, refused, running;
end_birth:
    {
end:    do
        :: atomic {
               !seats[me].killed && (ANY_REPAIR || head < tail) -> peek()
           }
           atomic { take() }
           if
           :: atomic { ticket != 0 && !seats[me].awake && IS(ticket, SUBMITTED) ->
                  seats[me].asked = ticket
              }
#ifdef MUTANT_LET_GO_BEFORE_ANSWER
              atomic { seats[me].row = 0 }
#endif
              if
              :: atomic { answers[me] == KEPT -> answers[me] = NOTHING; ticket = 0 }
              :: atomic { answers[me] == REFUSED -> answers[me] = NOTHING; refused = true }
              fi
           :: atomic { ticket != 0 && !seats[me].awake && !IS(ticket, SUBMITTED) ->
                  ticket = 0
              }
           :: atomic { ticket == 0 || seats[me].awake }
           fi;
           if
           :: atomic { ticket != 0 -> claim() }
              if
              :: atomic { running ->
                     assert(seats[me].awake || refused);
                     if
                     :: refused -> step(STATE(ticket), FAIL, FAILED)
                     :: else -> step(STATE(ticket), FINISH, DONE)
                     fi;
                     SEAT_OF(ticket) = 0;
                     running = false
                 }
              :: !running
              fi
           :: ticket == 0
           fi;
           atomic { let_go() }
        od
    } unless {
        atomic {
            seats[me].killed ->
            seats[me].dead = true;
            ticket = 0;
            repaired = false;
            refused = false;
            running = false
        }
    }
    atomic { !seats[me].killed } /* swept, and followed */
    goto end_birth
}

active proctype kernel() {
end:
    do
    :: atomic { deaths > 0 && !seats[0].killed && seats[0].row != 0 ->
           deaths--; seats[0].killed = true }
    :: atomic { deaths > 0 && !seats[1].killed && seats[1].row != 0 ->
           deaths--; seats[1].killed = true }
    od
}

/* ---- supervisor ---- */

inline give(entry) {
    assert(repairs[entry - 1] < REPAIRS);
    repairs[entry - 1]++
}

/* A successor comes from the zygote that is there by now. */
inline follow(number) {
    seats[number].asked = 0;
    answers[number] = NOTHING;
    seats[number].row = 0;
    seats[number].awake = (module == LOADED);
    seats[number].killed = false;
    seats[number].dead = false
}

inline sweep(number) {
    if
    :: seats[number].row != 0 && IS(seats[number].row, SUBMITTED) -> give(seats[number].row)
    :: seats[number].row != 0 && IS(seats[number].row, RUNNING) &&
           SEAT_OF(seats[number].row) == number + 1 ->
        step(STATE(seats[number].row), CRASH, CRASHED);
        SEAT_OF(seats[number].row) = 0
    :: else
    fi;
    follow(number)
}

inline hear(number) {
    if
    :: refusing -> answers[number] = REFUSED
    :: !refusing ->
        if
#ifdef MUTANT_NOT_KEPT_WHEN_LOADED
        :: module != LOADED && IS(seats[number].asked, SUBMITTED) ->
#elif defined(MUTANT_KEPT_ALTHOUGH_DEAD)
        :: seats[number].asked != 0 ->
#else
        :: IS(seats[number].asked, SUBMITTED) -> /* its slot may be another's by now */
#endif
            kept[SLOT(seats[number].asked)] = seats[number].asked
        :: else
        fi;
        answers[number] = KEPT;
        if
        :: module == ASLEEP -> module = WANTED
        :: else
        fi
    fi;
    seats[number].asked = 0
}

/* Some worker has it, or the task has to fail. */
#ifdef MUTANT_NOT_GIVEN_BACK_AFTER_FAILURE
#define MAY_GO (module == LOADED && (seats[0].awake || seats[1].awake))
#else
#define MAY_GO (module == ASLEEP || (module == LOADED && (seats[0].awake || seats[1].awake)))
#endif

#ifdef MUTANT_GIVEN_BACK_ONCE
bool given;
#define AGAIN (!given)
#else
#define AGAIN true
#endif

inline give_back(index) {
    if
    :: IS(kept[index], SUBMITTED) -> give(kept[index])
    :: else
    fi;
    kept[index] = 0
#ifdef MUTANT_GIVEN_BACK_ONCE
    ;
    given = (module == LOADED)
#endif
}

active proctype supervisor() {
end:
    do
    :: atomic { seats[0].dead -> sweep(0) }
    :: atomic { seats[1].dead -> sweep(1) }
    :: atomic { seats[0].asked != 0 && !seats[0].killed -> hear(0) }
    :: atomic { seats[1].asked != 0 && !seats[1].killed -> hear(1) }
    :: atomic { module == WANTED -> module = LOADING; refusing = false }
    :: atomic { module == LOADING -> module = LOADED }
    :: atomic { module == LOADING && failures > 0 ->
           failures--; module = ASLEEP; refusing = true }
    :: atomic { refusing -> refusing = false } /* after a second */
    :: atomic { module == LOADED && !seats[0].awake && seats[0].row == 0 && !seats[0].killed ->
           follow(0) } /* it leaves between two tasks */
    :: atomic { module == LOADED && !seats[1].awake && seats[1].row == 0 && !seats[1].killed ->
           follow(1) }
    :: atomic { kept[0] != 0 && MAY_GO && AGAIN -> give_back(0) }
    :: atomic { kept[1] != 0 && MAY_GO && AGAIN -> give_back(1) }
    od
}

/* ---- client ---- */

inline submit(name) {
    step(STATE(name), SUBMIT, SUBMITTED);
    current[SLOT(name)] = name
}

inline push(name) {
    tickets[tail] = name;
    tail++
}

active proctype client() {
    atomic { submit(1) }
    atomic { push(1) }
    atomic { submit(2) }
    atomic { push(2) }
    if
    :: atomic { state[1] == SUBMITTED -> step(state[1], CANCEL, CANCELLED) }
       atomic { submit(3) }
       atomic { push(3) }
    :: true
    fi;
    atomic { ENDED(state[0]) && ENDED(state[1]) }
}
