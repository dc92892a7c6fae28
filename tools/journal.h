/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The log of the server, a line each on standard error: for the journal with its level
 * in front, <4>; for everything else with the time and the level in words.
 */
#ifndef TOOLS_JOURNAL_H
#define TOOLS_JOURNAL_H

/* Finds out what standard error is. */
void journal_open(void);
/* level: enum mc_log_level. */
void journal_line(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
