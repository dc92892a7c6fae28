/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Killing a worker for one task (pool/watch.c, heed_doom() in pool/run.c): no task of another
 * client dies of it, whether it runs, or waits in an I/O seat.
 *
 * One worker begins three tasks, as often as it likes, puts them aside, calls them back and
 * ends them. The supervisor is asked to kill it for the first, again and again. The first
 * is of a hostile client: the mark in its slot, which that can take back, is left out, as if
 * it always did. The kill reaches the worker some time after it was sent.
 *
 * Memory is that of a machine with store buffers: what the worker stores is seen by the
 * supervisor some time later, in the same order, at the latest with its next fence. Each step
 * is one access to shared memory.
 *
 * A worker that dies beside others' tasks violates an assertion.
 */
#define DOOMED 0
#define NOBODY 3
#define OTHERS_WAIT (waits[1] || waits[2])

byte row = NOBODY; /* what the worker runs, or is about to */
byte book;         /* how many of the other client's tasks wait */
bool doomed;       /* in the row, for the first client's lane */

/* What the worker knows itself. */
bool open[3];  /* begun, and not ended */
bool waits[3]; /* of these, put aside */

mtype = { ROW, BOOK };
chan stores = [3] of { mtype, byte };

bool sent;    /* the kill, ... */
bool arrived; /* ... or the worker's own */

active proctype buffer() {
    byte value;
end:
    do
    :: atomic { stores?ROW,value -> row = value }
    :: atomic { stores?BOOK,value -> book = value }
    od
}

active proctype kernel() {
end:
    sent;
    arrived = true
}

/* ---- worker ---- */

inline note(task) {
    stores!ROW,task
}

inline let_go() {
    stores!ROW,NOBODY
}

inline tell_book() {
    stores!BOOK,(waits[1] + waits[2])
}

inline take(task) {
    atomic { !open[task] -> note(task) }
#ifndef MUTANT_NO_FENCE_D2
    len(stores) == 0; /* taking the ticket is a fence */
#endif
    if
#ifndef MUTANT_NO_LOOK
#ifdef MUTANT_DIES_BESIDE_OTHERS
    :: atomic { doomed -> arrived = true }
#else
    :: atomic { doomed && !OTHERS_WAIT -> arrived = true }
#endif
#endif
    :: atomic { !doomed || OTHERS_WAIT -> open[task] = true }
#ifdef MUTANT_NO_LOOK
    :: atomic { doomed && !OTHERS_WAIT -> open[task] = true }
#endif
    fi;
    if
    :: atomic { waits[task] = true; tell_book() }
    :: atomic { open[task] = false }
    fi;
    let_go()
}

inline call_back(task) {
    atomic { waits[task] -> note(task) }
    if
    :: skip /* it goes on waiting */
    :: atomic { open[task] = false };
       atomic { waits[task] = false; tell_book() }
    fi;
    let_go()
}

active proctype worker() {
    {
end:    do
        :: take(0)
        :: take(1)
        :: take(2)
        :: call_back(0)
        :: call_back(1)
        :: call_back(2)
        od
    } unless {
        atomic { arrived -> assert(open[1] + open[2] == 0) }
    }
}

/* ---- supervisor ---- */

active proctype supervisor() {
end:
    do
    :: row == DOOMED && !sent ->
       if
       :: book != 0
       :: book == 0 ->
#ifndef MUTANT_NO_FENCE_D1
          doomed = true;
#endif
#ifdef MUTANT_NO_SECOND_LOOK
          sent = true
#else
          if
          :: row != DOOMED -> doomed = false
          :: row == DOOMED ->
             if
#ifdef MUTANT_BOOK_NOT_ASKED_AGAIN
             :: atomic {
#else
             :: book != 0 -> doomed = false
             :: atomic {
                    book == 0 ->
#endif
                    sent = true
                }
             fi
          fi
#ifdef MUTANT_NO_FENCE_D1
          ; doomed = true
#endif
#endif
       fi
    od
}
