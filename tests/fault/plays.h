/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a pool does while somebody is struck: each play opens one, uses it in its own
 * ways, and sees it closed. Together they come to every place.
 */
#ifndef TESTS_FAULT_PLAYS_H
#define TESTS_FAULT_PLAYS_H

#include <stdbool.h>

struct play {
    const char *name;
    void (*act)(void);
    bool slow;   /* played only for places that no other comes to */
    bool served; /* its pool is at a socket, and clients attach */
};

extern const struct play plays[];
extern const unsigned play_count;

/* For the load average that one of them pretends, and for sockets; made before any
 * play, removed by plays_end(). */
extern char play_directory[];
void plays_begin(void);
void plays_end(void);

#endif
