/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Users, each with a connection, who ask for the same thing again and again. One thread
 * and one epoll serve them all, so that a load of hundreds costs little of the machine that
 * it shares with the server.
 */
#ifndef STUDY_USERS_H
#define STUDY_USERS_H

#include "tally.h"

#include <netinet/in.h>

struct load {
    struct sockaddr_in server;
    const char *request; /* as it is sent */
    size_t size;
    unsigned users;
    uint64_t ramp;  /* ns until the last user begins */
    uint64_t hold;  /* ns from then on */
    uint64_t pace;  /* ns that a user's request takes at least; 0: the next one follows at once */
    uint64_t drain; /* ns after the end in which open requests may still be answered */
};

/* Returns how many requests were open in the end. */
unsigned users_run(const struct load *load, struct tally *tally);

#endif
