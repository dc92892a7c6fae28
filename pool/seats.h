/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The life of a seat, as a table: [state][event] = what to do and where to go.
 * Pure; the supervisor supplies the events and carries out the actions.
 */
#ifndef POOL_SEATS_H
#define POOL_SEATS_H

#include <stdbool.h>
#include <stdint.h>

enum seat_life {
    LIFE_EMPTY,    /* nobody, nothing asked for */
    LIFE_ASKED,    /* the zygote was asked for a worker */
    LIFE_STARTING, /* the worker runs worker_init */
    LIFE_UP,       /* the worker takes tasks */
    LIFE_RESTING,  /* nobody, until the back-off is over */
    LIVES,
};

enum seat_happening {
    HAPPENS_SPAWN, /* a worker is wanted */
    HAPPENS_HELLO,
    HAPPENS_READY,
    HAPPENS_INIT_FAILED,
    HAPPENS_DEATH, /* confirmed by the kernel, or never born */
    HAPPENS_DUE,   /* the back-off is over */
    HAPPENINGS,
};

enum seat_action {
    ACT_NOTHING,
    ACT_ASK,    /* ask the zygote for a worker */
    ACT_GO,     /* let the worker initialise */
    ACT_OPEN,   /* count it in */
    ACT_REPORT, /* keep what worker_init said; the death follows */
    ACT_SWEEP,  /* settle its tasks, then decide about a successor */
    ACT_KILL,   /* it does what it should not: end it */
};

struct seat_step {
    enum seat_action action;
    enum seat_life next;
};

struct seat_step seat_step(enum seat_life life, enum seat_happening happening);

enum {
    BACKOFF_FIRST_MS = 10,
    BACKOFF_MOST_MS = 2000,
    STORM_DEATHS = 20, /* deaths in a row, each within STORM_MS of the one before */
    STORM_MS = 200,
};

/* How long a seat rests after a death, from how its workers fared lately. */
struct seat_record {
    uint32_t failed_starts; /* in a row */
    uint32_t quick_deaths;  /* in a row */
    uint64_t last_death_ms;
};
/* was_up: the worker had come as far as LIFE_UP. Returns the rest in ms, 0 for
 * none: a worker that dies of its task is replaced at once, unless it goes on
 * and on. */
uint32_t seat_rest_ms(struct seat_record *record, bool was_up, uint64_t now_ms);
/* The rest after a worker that was never born: there was no death to note. */
uint32_t seat_pause_ms(const struct seat_record *record);

#endif
