/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What became of the requests.
 */
#ifndef STUDY_TALLY_H
#define STUDY_TALLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SECONDS_MOST = 3600, STATUS_MOST = 600 };

/* Why a request has no answer. */
enum loss { LOSS_REFUSED, LOSS_RESET, LOSS_CLOSED, LOSS_GARBLED, LOSS_OTHER, LOSS_KINDS };

struct tally {
    uint64_t began;                 /* ns */
    uint32_t seconds[SECONDS_MOST]; /* successes in each second since then */
    uint32_t last_second;
    uint32_t statuses[STATUS_MOST];
    uint32_t losses[LOSS_KINDS];
    uint64_t successes;
    uint64_t timed;    /* ns: successes that began since then have a time, */
    uint32_t *took_us; /* here */
    size_t times, room;
};

/* Times are kept of what begins at `timed` or later, when all users are there. */
void tally_begin(struct tally *tally, uint64_t now, uint64_t timed);
/* A status of 2xx is a success. */
void tally_answer(struct tally *tally, unsigned status, uint64_t began, uint64_t now);
void tally_loss(struct tally *tally, enum loss loss);
/* As one JSON object to standard output; open: requests that were still waiting. False if
 * that could not be written. */
bool tally_print(struct tally *tally, unsigned open);

#endif
