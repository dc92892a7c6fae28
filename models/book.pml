/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Tasks that wait in an I/O seat: row and book together name each of them, whenever
 * the worker dies.
 *
 * Two tasks, one of an idempotent handler. One worker begins them, puts them aside, and
 * calls them back in any order; it dies up to DEATHS times, at any step, and has a
 * successor. The supervisor settles the row, then the book. Tickets are plain flags
 * here; claim.pml is about those. Each step is one access to shared memory.
 *
 * A task that is lost leaves the client waiting: an invalid end state.
 */
#include "slot.pml"

#define TASKS 2
#ifndef DEATHS
#define DEATHS 2
#endif
#define NOBODY TASKS
#ifdef MUTANT_WAITING_RETRY_NOT_IDEMPOTENT
#define IDEMPOTENT(task) true
#else
#define IDEMPOTENT(task) (task == 0)
#endif

byte state[TASKS] = FREE;
bool in_seat[TASKS];  /* the slot's word names the seat */
bool ticket[TASKS];   /* in a ring, or in the repair ring */
byte row = NOBODY;    /* what the worker runs, or is about to */
bool book[TASKS];     /* what waits there */
bool waits[TASKS];    /* what the worker itself knows of that */

mtype = { ALIVE, KILLED, DEAD };
mtype life = ALIVE;
unsigned deaths : 2 = DEATHS;

/* What the properties are about. */
byte begun[TASKS];
bool ended[TASKS];
bool done;

inline end_task(task, happening, next) {
    step(state[task], happening, next);
    in_seat[task] = false;
    assert(!ended[task]);
    ended[task] = true
}

/* ---- worker ---- */

inline take(task) {
    atomic { ticket[task] && !waits[task] && row == NOBODY -> row = task }
    atomic { ticket[task] = false }
    atomic {
        step(state[task], CLAIM, RUNNING);
        in_seat[task] = true;
        begun[task]++;
        assert(task == 0 || begun[task] == 1)
    }
    put_aside(task)
}

inline put_aside(task) {
#ifdef MUTANT_ROW_CLEARED_BEFORE_BOOK
    row = NOBODY;
    atomic { book[task] = true; waits[task] = true }
#else
    atomic { book[task] = true; waits[task] = true }
    row = NOBODY
#endif
}

inline call_back(task) {
    atomic { waits[task] && row == NOBODY -> row = task }
    if
    :: skip /* it goes on waiting */
    :: atomic {
#ifdef MUTANT_BOOK_CLEARED_BEFORE_END
           book[task] = false; waits[task] = false; row = NOBODY
       }
       atomic {
#endif
           end_task(task, FINISH, DONE)
       }
       atomic { book[task] = false; waits[task] = false }
    fi;
    row = NOBODY
}

active proctype worker() {
end_birth:
    {
        life == ALIVE;
end:    do
        :: take(0)
        :: take(1)
        :: call_back(0)
        :: call_back(1)
        od
    } unless {
        atomic { life == KILLED -> life = DEAD; waits[0] = false; waits[1] = false }
    }
    goto end_birth /* as the successor */
}

active proctype kernel() {
end:
    do
    :: atomic { deaths > 0 && life == ALIVE && !done -> deaths--; life = KILLED }
    od
}

/* ---- supervisor ---- */

inline settle_row() {
    if
    :: row == NOBODY
    :: row != NOBODY && state[row] == SUBMITTED ->
#ifndef MUTANT_NO_TICKET_FOR_ROW
        ticket[row] = true
#else
        skip
#endif
    :: row != NOBODY && state[row] == RUNNING && in_seat[row] && row == 0 ->
        step(state[row], RETRY, SUBMITTED);
        in_seat[row] = false;
        ticket[row] = true
    :: row != NOBODY && state[row] == RUNNING && in_seat[row] && row != 0 ->
        end_task(row, CRASH, CRASHED)
    :: else
    fi
}

inline settle_waiting(task) {
#ifdef MUTANT_STATE_NOT_COMPARED
    if
    :: book[task] && state[task] != SUBMITTED ->
#else
    if
    :: book[task] && state[task] == RUNNING && in_seat[task] ->
#endif
        if
        :: IDEMPOTENT(task) ->
            step(state[task], RETRY, SUBMITTED);
            in_seat[task] = false;
#ifndef MUTANT_WAITING_RETRY_WITHOUT_TICKET
            ticket[task] = true
#endif
        :: !IDEMPOTENT(task) -> end_task(task, CRASH, CRASHED)
        fi
    :: else
    fi;
    book[task] = false
}

active proctype supervisor() {
    unsigned at : 2;
end:
    do
    :: atomic { life == DEAD -> settle_row() }
#ifdef MUTANT_BOOK_NOT_SETTLED
       atomic { book[0] = false; book[1] = false }
#else
       do
       :: atomic { at < TASKS -> settle_waiting(at); at++ }
       :: atomic { at == TASKS -> at = 0; break }
       od
#endif
       row = NOBODY;
       life = ALIVE
    od
}

/* ---- client ---- */

active proctype client() {
    atomic {
        step(state[0], SUBMIT, SUBMITTED);
        ticket[0] = true
    }
    atomic {
        step(state[1], SUBMIT, SUBMITTED);
        ticket[1] = true
    }
    ended[0] && ended[1];
    done = true
}
