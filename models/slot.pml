/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The states and events of a slot, numbered for the models' own use, and the
 * check that a step is one of those in slot.inc.
 */
#define FREE 0
#define SUBMITTED 1
#define RUNNING 2
#define DONE 3
#define FAILED 4
#define TIMED_OUT 5
#define CRASHED 6
#define CANCELLED 7

#define SUBMIT 0
#define CLAIM 1
#define FINISH 2
#define FAIL 3
#define TIME_OUT 4
#define CRASH 5
#define RETRY 6
#define CANCEL 7
#define KILL 8

#define ENDED(state) (state >= DONE)

/* word = to, because of what happened. */
inline step(word, happened, to) {
    assert(false
#define ROW(from, event, next) || (word == from && happened == event && to == next)
#include "slot.inc"
#undef ROW
    );
    word = to
}
