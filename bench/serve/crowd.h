/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Processes that work at the same time. Each is forked from a program that has no pool, and
 * attaches by itself, so that they are strangers to one another. They report in shared
 * memory, and end when they are told.
 */
#ifndef BENCH_SERVE_CROWD_H
#define BENCH_SERVE_CROWD_H

#include "measure.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <sys/types.h>

enum { CROWD_MOST = 256, CROWD_SAMPLES = 65536 };

struct sample {
    unsigned figure;
    double value;
};

/* Written by that client, but for the longest time, which whoever reads it clears. */
struct client {
    alignas(64) _Atomic uint64_t answered; /* round trips */
    _Atomic uint64_t longest_ns;           /* between two answers */
    _Atomic uint64_t lost;
    _Atomic uint64_t resubmitted;
    _Atomic pid_t server; /* whose worker gave the last answer */
    char problem[PROBLEM_SIZE];
    pid_t pid;
    struct crowd *crowd;
};

struct crowd {
    _Atomic uint32_t ready, failed, over;
    unsigned count;
    int gate[2]; /* nobody writes: it shows the end when all may begin */
    const char *socket;
    const void *context;
    size_t sample_count;
    struct sample samples[CROWD_SAMPLES]; /* of one client; read when it has ended */
    struct client clients[CROWD_MOST];
};

/* Starts `count` processes that run this function and end. NULL: the reason is kept as
 * by failed(). */
struct crowd *crowd_start(unsigned count, void (*run)(struct client *client), const char *socket,
                          const void *context);
/* Waits until all are ready, and lets them begin. */
enum outcome crowd_begin(struct crowd *crowd);
/* Tells them that it is over, waits until they have ended, and adds the samples. FAILED
 * when any of them had a problem. Frees the crowd; NULL counts as FAILED. */
enum outcome crowd_end(struct crowd *crowd);
/* All of that, for a crowd whose first client says by its end that it is over. */
enum outcome crowd_run(struct crowd *crowd);

/* ---- in a client ---- */

unsigned client_number(const struct client *client);
/* Waits for crowd_begin(). */
void client_ready(struct client *client);
static inline bool client_over(const struct client *client)
{
    return atomic_load_explicit(&client->crowd->over, memory_order_relaxed) != 0;
}
void client_sample(struct client *client, unsigned figure, double value);
/* Ends the process. */
void client_fail(struct client *client, const char *format, ...)
    __attribute__((noreturn, format(printf, 2, 3)));

#endif
