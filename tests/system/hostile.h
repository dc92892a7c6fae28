/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the tests of hostile clients share: a served pool, and a client that behaves. All
 * the while that one runs tasks in a process of its own: its results must be right, and
 * none may take long.
 *
 * What only another user may not do needs root, to become one; without root those parts
 * are left out, and said to be.
 */
#ifndef TESTS_SYSTEM_HOSTILE_H
#define TESTS_SYSTEM_HOSTILE_H

#include "ipc/channel.h"
#include "tests/system/server.h"

enum {
    NOBODY = 65534,
    SLOWEST_MS = 1000, /* of the honest client's tasks, on a busy machine */
};

/* ---- the pool ---- */

extern struct server server;

/* Starts what server_prepare() has prepared; returns when both workers are ready. */
void hostile_start(void);
/* Board, server, and the client that behaves: with the defaults. */
void hostile_begin(void);
/* Both end; fails the test if the client did not fare well. */
void hostile_finish(const char *amid);

/* The pool that is there now. */
mc_pool *behind(mc_pool *handle);

/* ---- the client that behaves ---- */

void honest_begin(void);
/* Until it has done so many rounds more. */
void honest_go_on(uint32_t rounds);
/* How it fared; fails the test if that was not well. What one task in a hundred may take is
 * printed, and for the scheduler to decide on a busy machine: half of them are held to a limit. */
void honest_end(const char *amid, uint32_t usual_most_ms);
/* One task, with a size that goes through slot and arena by turns. */
bool round_is_right(mc_pool *pool, uint32_t round);

/* ---- who they are ---- */

bool needs_root(const char *what);
/* This process becomes that user, with these groups, or ends. */
void become(uid_t uid, const gid_t *groups, size_t count);

/* ---- speaking to the door without the library ---- */

/* The descriptors of a welcome. */
enum { LANE, NOTIFY, CONTROL, BELLS };

int connect_raw(int flags);
void send_type(int fd, uint32_t type, uint32_t layout, int value);
/* Sends any bytes, with any descriptors. */
int send_raw(int fd, const void *data, size_t size, const int *descriptors, size_t count);
/* The answer's type; 0 if the connection ended without one, -1 if nothing came. */
int answer(int fd, struct parcel *parcel);
/* A client's socket, or -1; the welcome is in the parcel. */
int join_raw(struct parcel *parcel);

/* ---- what a process of the pool has ---- */

struct belongings {
    unsigned descriptors, mappings;
};

struct belongings belongings_of(pid_t pid);
/* Until it has no more than it had. */
void expect_given_back(pid_t pid, const struct belongings *before);

/* ---- chance ---- */

void draw_from(uint32_t seed);
uint32_t draw(void);

#endif
