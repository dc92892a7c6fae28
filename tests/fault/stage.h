/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One run: a play in a process of its own, under a referee that adopts every process
 * the play leaves behind, lets those that were stopped go on, and ends what hangs.
 */
#ifndef TESTS_FAULT_STAGE_H
#define TESTS_FAULT_STAGE_H

#include "base/fault.h"
#include "tests/fault/ledger.h"
#include "tests/fault/plays.h"

struct run {
    const struct play *play;
    struct fault fault;
    bool recording; /* nobody is struck */
    struct holdings usual;
    struct fault_memory *memory;
    struct ledger *ledger;
    pid_t referee; /* 0: not running */
};

/* Gives a run what it needs; once for any number of runs after each other. */
void stage_prepare(struct run *run);
/* Starts a run, whose referee is to be waited for. */
void stage_begin(struct run *run);

#endif
