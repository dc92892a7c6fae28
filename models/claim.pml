/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Claiming, completing, sweeping: no task is lost, none ends twice, and a handler
 * that is not idempotent runs at most once, whoever dies at whatever step.
 *
 * One client submits three tasks into two slots, so that one slot is used again;
 * two workers take runs of one or two tickets; the supervisor sweeps, retries,
 * and kills for a time limit or a forced cancel. DEATHS workers die, at any step,
 * and are replaced. Each step below is one access to shared memory, or several
 * of which the others see only the last.
 *
 * A task that is lost leaves the client waiting: an invalid end state. Nothing
 * can go on for ever (checked as well), so what does not end there ends well.
 */
#include "slot.pml"

#define TASKS 3
#define SLOTS 2
#define SEATS 2
#ifndef DEATHS
#define DEATHS 2
#endif
#define ATTEMPTS 2 /* of an idempotent handler */

/* Task 0 is idempotent and has a time limit; 1 is cancelled by force when it
 * runs; 2 may run in the client, and fails. */
#define IDEMPOTENT(task) (task == 0)
#ifdef MUTANT_RETRY_NOT_IDEMPOTENT
#define MAY_RETRY(task, attempt) (attempt + 1 < ATTEMPTS)
#elif defined(MUTANT_RETRY_FOREVER)
#define MAY_RETRY(task, attempt) IDEMPOTENT(task)
#else
#define MAY_RETRY(task, attempt) (IDEMPOTENT(task) && attempt + 1 < ATTEMPTS)
#endif

typedef Slot {
    unsigned state : 3;
    unsigned seat : 2; /* 0: the client */
    unsigned attempt : 2;
    unsigned generation : 2;
    unsigned task : 2 /* the request */
};
Slot slots[SLOTS];

/* A ticket names a slot and its generation; 0 is none. */
#define NAME(slot) (4 * slot + slots[slot].generation)
#define SLOT(name) slots[(name) / 4]
#define CURRENT(name) (SLOT(name).generation == (name) % 4)

#define PLACES 4
byte tickets[PLACES];
unsigned head : 3;
unsigned tail : 3;

#define REPAIRS 4
byte repairs[REPAIRS];
unsigned repair_head : 3;
unsigned repair_tail : 3;

typedef Row {
    unsigned count : 2;
    byte names[2]
};
Row rows[SEATS];

/* DYING: the signal is on its way; KILLED: makes no step any more; DEAD: the
 * supervisor knows. */
mtype = { ALIVE, DYING, KILLED, DEAD };
mtype life[SEATS] = ALIVE;
unsigned deaths : 2 = DEATHS;
/* Why the supervisor kills a seat: the task that is to end, and how. */
typedef Doom {
    byte name;
    unsigned event : 4
};
Doom doom[SEATS];

/* What the properties are about; no process decides by it. */
unsigned begun0 : 2;
unsigned begun1 : 2;
unsigned begun2 : 2;
bool ended[TASKS];
/* Only a worker that does something dies: the death of another changes nothing. */
bool busy[SEATS];

inline begin(task_number) {
    if
    :: task_number == 0 -> begun0++; assert(begun0 <= ATTEMPTS)
    :: task_number == 1 -> begun1++; assert(begun1 <= 1)
    :: task_number == 2 -> begun2++; assert(begun2 <= 1)
    fi
}

inline end_slot(index, happening, next) {
    step(slots[index].state, happening, next);
    slots[index].seat = 0;
    slots[index].attempt = 0;
    assert(!ended[slots[index].task]);
    ended[slots[index].task] = true
}

/* ---- worker ---- */

/* Nobody else reads a ring's place that was taken, so it is emptied, which makes
 * fewer states. The same goes for rows and local variables. */
inline peek() {
    if
    :: repair_head != repair_tail ->
        repaired = true;
        seen = repair_head;
        count = 1;
        names[0] = repairs[repair_head]
    :: repair_head == repair_tail && head < tail ->
        seen = head;
        count = 1;
        names[0] = tickets[head]
    :: repair_head == repair_tail && head + 1 < tail ->
        seen = head;
        count = 2;
        names[0] = tickets[head];
        names[1] = tickets[head + 1]
    fi
}

inline note() {
    rows[me].names[0] = names[0];
    rows[me].names[1] = names[1];
    rows[me].count = count
}

inline take() {
    if
    :: repaired && repair_head == seen -> repairs[seen] = 0; repair_head++
    :: !repaired && head == seen ->
        tickets[seen] = 0;
        if
        :: count == 2 -> tickets[seen + 1] = 0
        :: else
        fi;
        head = head + count
    :: else -> count = 0 /* another was quicker */
    fi
}

inline clear_row() {
    rows[me].count = 0;
    rows[me].names[0] = 0;
    rows[me].names[1] = 0
}

inline forget() {
    names[0] = 0;
    names[1] = 0;
    seen = 0;
    count = 0;
    at = 0;
    repaired = false;
    running = false
}

#ifdef MUTANT_CLAIM_WITHOUT_CAS
#define TO_BE_HAD(name) looked /* a step ago */
#else
#define TO_BE_HAD(name) (SLOT(name).state == SUBMITTED && CURRENT(name))
#endif

inline claim(name) {
    if
    :: TO_BE_HAD(name) ->
        step(SLOT(name).state, CLAIM, RUNNING);
        SLOT(name).seat = me + 1;
        begin(SLOT(name).task);
        running = true
    :: else -> at++
    fi
}

/* Nobody ends a task under the hands of the worker that runs it. */
inline finish(name) {
    assert(SLOT(name).state == RUNNING && SLOT(name).seat == me + 1 && CURRENT(name));
    if
    :: SLOT(name).task != 2 -> end_slot(name / 4, FINISH, DONE)
    :: else -> end_slot(name / 4, FAIL, FAILED)
    fi;
    running = false;
    at++
}

active [SEATS] proctype worker() {
    byte me = _pid;
    byte names[2];
    unsigned seen : 3;
    unsigned count : 2;
    unsigned at : 2;
    bool repaired, running;
#ifdef MUTANT_CLAIM_WITHOUT_CAS
    bool looked;
#endif
end_birth:
    {
end:    do
        :: atomic {
               life[me] != DEAD;
               peek();
               busy[me] = true;
#ifndef MUTANT_ROW_AFTER_TAKING
               note() /* nobody reads it before our death: one step with peek() */
#endif
           }
           atomic { take() }
#ifdef MUTANT_ROW_AFTER_TAKING
           atomic { note() }
#endif
#ifdef MUTANT_ROW_CLEARED_BEFORE_CLAIM
           atomic { clear_row() }
#endif
           do
#ifdef MUTANT_CLAIM_WITHOUT_CAS
           :: atomic {
                  at < count && !running ->
                  looked = SLOT(names[at]).state == SUBMITTED && CURRENT(names[at])
              }
              atomic { claim(names[at]) }
#else
           :: atomic { at < count && !running -> claim(names[at]) }
#endif
           :: atomic { running -> finish(names[at]) }
           :: atomic { at == count -> clear_row(); forget(); busy[me] = false; break }
           od
        od
    } unless {
        atomic { life[me] == KILLED -> life[me] = DEAD; busy[me] = false; forget() }
    }
    goto end_birth /* as the successor */
}

/* Deaths of any cause, at any step; and those that the supervisor wants, some
 * time after it said so. */
active proctype kernel() {
end:
    do
    :: atomic { deaths > 0 && life[0] == ALIVE && busy[0] -> deaths--; life[0] = KILLED }
    :: atomic { deaths > 0 && life[1] == ALIVE && busy[1] -> deaths--; life[1] = KILLED }
    :: life[0] == DYING -> life[0] = KILLED
    :: life[1] == DYING -> life[1] = KILLED
    od
}

/* ---- supervisor ---- */

#ifdef MUTANT_SEAT_NOT_COMPARED
#define IN_SEAT(name) true
#else
#define IN_SEAT(name) (SLOT(name).seat == seat + 1)
#endif
#ifdef MUTANT_SWEEP_BEFORE_DEATH
#define TO_SWEEP(number) (life[number] != ALIVE)
#else
#define TO_SWEEP(number) (life[number] == DEAD)
#endif

/* Ends or retries what ran; `lost` if it needs a ticket. */
inline settle(entry) {
    if
    :: SLOT(entry).state == SUBMITTED && CURRENT(entry) ->
#ifdef MUTANT_NO_REPAIR
        skip
#else
        lost = true
#endif
    :: SLOT(entry).state == RUNNING && CURRENT(entry) && IN_SEAT(entry) ->
        if
        :: doom[seat].name == entry && doom[seat].event == TIME_OUT ->
            end_slot(entry / 4, TIME_OUT, TIMED_OUT)
        :: doom[seat].name == entry && doom[seat].event == KILL ->
            end_slot(entry / 4, KILL, CANCELLED)
        :: doom[seat].name != entry && MAY_RETRY(SLOT(entry).task, SLOT(entry).attempt) ->
            step(SLOT(entry).state, RETRY, SUBMITTED);
            SLOT(entry).attempt++;
            SLOT(entry).seat = 0;
#ifndef MUTANT_RETRY_WITHOUT_TICKET
            lost = true
#endif
        :: doom[seat].name != entry && !MAY_RETRY(SLOT(entry).task, SLOT(entry).attempt) ->
            end_slot(entry / 4, CRASH, CRASHED)
        fi
    :: else
    fi
}

inline push_repair(entry) {
    assert(repair_tail < REPAIRS);
    repairs[repair_tail] = entry;
    repair_tail++;
    lost = false;
    at++
}

/* Asks for the death of whoever runs the task; it may be over before that comes. */
inline kill_for(index, wanted) {
    deaths > 0 && slots[index].state == RUNNING && slots[index].seat != 0 &&
        slots[index].task == index && life[slots[index].seat - 1] == ALIVE ->
    deaths--;
    life[slots[index].seat - 1] = DYING;
    doom[slots[index].seat - 1].name = NAME(index);
    doom[slots[index].seat - 1].event = wanted
}

active proctype supervisor() {
    unsigned seat : 1;
    unsigned at : 2;
    bool lost;
end:
    do
    :: atomic { kill_for(0, TIME_OUT) }
    :: atomic { kill_for(1, KILL) }
    :: atomic {
           if
           :: TO_SWEEP(0) -> seat = 0
           :: TO_SWEEP(1) -> seat = 1
           fi
       }
       do
       :: atomic {
              at < rows[seat].count && !lost ->
              settle(rows[seat].names[at]);
              if
              :: !lost -> at++
              :: else
              fi
          }
       :: atomic { lost -> push_repair(rows[seat].names[at]) }
       :: atomic {
              at == rows[seat].count && life[seat] == DEAD ->
              rows[seat].count = 0;
              rows[seat].names[0] = 0;
              rows[seat].names[1] = 0;
              doom[seat].name = 0;
              doom[seat].event = 0;
              life[seat] = ALIVE;
              at = 0;
              seat = 0;
              break
          }
       od
    od
}

/* ---- client ---- */

inline submit() {
    if
    :: task < SLOTS -> slot = task
    :: task >= SLOTS && ENDED(slots[0].state) -> slot = 0
    :: task >= SLOTS && ENDED(slots[1].state) -> slot = 1
    fi;
    step(slots[slot].state, SUBMIT, SUBMITTED);
    slots[slot].task = task;
    slots[slot].generation++
}

inline push_ticket() {
    tickets[tail] = NAME(slot);
    tail++
}

inline cancel() {
    if
    :: slots[slot].state == SUBMITTED -> end_slot(slot, CANCEL, CANCELLED)
    :: else
    fi
}

inline claim_here() {
    if
    :: slots[slot].state == SUBMITTED ->
        step(slots[slot].state, CLAIM, RUNNING);
        begun2++;
        assert(begun2 <= 1);
        mine = true
    :: else
    fi
}

active proctype client() {
    unsigned task : 2;
    unsigned slot : 1;
    bool mine;
    do
    :: atomic { task < TASKS -> submit() }
       atomic { push_ticket(); task++ }
       if
       :: atomic { task == 2 -> cancel() }
       :: true
       fi
    :: atomic { task == TASKS -> break }
    od;
    if
    :: atomic { claim_here() }
       if
       :: atomic { mine -> end_slot(slot, FINISH, DONE); mine = false }
       :: !mine
       fi
    :: true
    fi;
    atomic {
        ENDED(slots[0].state) && ENDED(slots[1].state) ->
        assert(ended[0] && ended[1] && ended[2])
    }
}
