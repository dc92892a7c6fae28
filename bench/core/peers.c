/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What else there is, measured in the same rounds. Each peer is a program of
 * its own, so that neither its threads nor its libraries are in this process.
 * One that was not built, or whose interpreter is not installed, is absent.
 */
#include "probes.h"

#include <inttypes.h>
#include <stdio.h>

static enum outcome run_peer(const char *name, const char *package, unsigned samples)
{
    char count[16], first[16], second[16];
    snprintf(count, sizeof(count), "%u", samples);
    snprintf(first, sizeof(first), "%d", place_cpu(FIRST_CPU));
    snprintf(second, sizeof(second), "%d", place_cpu(SECOND_CPU));
    const char *const arguments[] = {child_beside(name), count, first, second, NULL};
    enum outcome outcome = child_run(BOTH_CPUS, arguments);
    return outcome == ABSENT ? absent("not built: %s was not found", package) : outcome;
}

enum outcome peer_zeromq(const struct probe *probe, unsigned samples)
{
    (void)probe;
    return run_peer("bench_peer_zeromq", "libzmq", samples);
}

enum outcome peer_libuv(const struct probe *probe, unsigned samples)
{
    (void)probe;
    return run_peer("bench_peer_libuv", "libuv", samples);
}

enum outcome peer_openmp(double serial_ns, uint64_t checksum)
{
    char serial[32], sum[32];
    snprintf(serial, sizeof(serial), "%.0f", serial_ns);
    snprintf(sum, sizeof(sum), "%" PRIu64, checksum);
    const char *const arguments[] = {child_beside("bench_peer_openmp"), serial, sum, NULL};
    enum outcome outcome = child_run(BOTH_CPUS, arguments);
    return outcome == ABSENT ? absent("not built: OpenMP was not found") : outcome;
}

static enum outcome run_python(const char *what, unsigned samples)
{
    static const char script[] = BENCH_PEERS "/pool.py";
    char count[16], first[16], second[16];
    snprintf(count, sizeof(count), "%u", samples);
    snprintf(first, sizeof(first), "%d", place_cpu(FIRST_CPU));
    snprintf(second, sizeof(second), "%d", place_cpu(SECOND_CPU));
    const char *const arguments[] = {BENCH_PYTHON, script, what, count, first, second, NULL};
    enum outcome outcome = child_run(BOTH_CPUS, arguments);
    return outcome == ABSENT ? absent("%s is not installed", BENCH_PYTHON) : outcome;
}

enum outcome peer_python_pool(const struct probe *probe, unsigned samples)
{
    (void)probe;
    return run_python("pool", samples);
}

enum outcome peer_python_ppe(const struct probe *probe, unsigned samples)
{
    (void)probe;
    return run_python("ppe", samples);
}
