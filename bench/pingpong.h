/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the machine can do at best: two processes hand one word to and fro.
 */
#ifndef BENCH_PINGPONG_H
#define BENCH_PINGPONG_H

#include "measure.h"

struct ping_pong {
    bool spins; /* both sides; else they sleep on a futex */
    enum place answerer;
    uint64_t idle_ns; /* before each sample */
};

/* The caller asks, a forked process answers. Each sample is one way there and back. */
enum outcome ping_pong(unsigned figure, unsigned samples, struct ping_pong how);

#endif
