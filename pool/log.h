/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The supervisor's log: a ring of records in the control segment. The supervisor
 * writes and never waits; the opener reads in its own thread, inside mc_ calls,
 * and may lose the oldest records when it stays away for long.
 *
 * Pairs: L1 releases a record, L2 acquires it, L3 re-checks that it was not
 * overwritten meanwhile.
 */
#ifndef POOL_LOG_H
#define POOL_LOG_H

#include "ipc/layout.h"

void log_write(struct control *control, int level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Copies the record at *cursor into text and advances; returns its level, or 0
 * when there is none. */
int log_read(const struct control *control, uint64_t *cursor, char text[LOG_TEXT_SIZE]);

#endif
