/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Plays with a pool that is served. The play's own process, which is never struck,
 * starts a server and a client that knows only its socket; it does to the server what
 * the client wishes, starts it again when it is gone, and is a new client itself when
 * the first has ended.
 */
#ifndef TESTS_FAULT_SERVED_H
#define TESTS_FAULT_SERVED_H

/* Two new set-ups, one of which fails; attached, forked, detached, attached again. Beside
 * it is another client, which is to notice nothing. */
void play_served(void);
/* A pool that comes later than its client, is drained, comes again, is killed, and
 * comes again. */
void play_restarted(void);

#endif
