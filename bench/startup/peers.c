/* SPDX-License-Identifier: BSD-3-Clause */
#include "probes.h"

static enum outcome run_python(const char *what, unsigned samples)
{
    char count[16];
    snprintf(count, sizeof(count), "%u", samples);
    const char *const arguments[] = {BENCH_PYTHON, BENCH_PEERS "/startup.py", what, count, NULL};
    enum outcome outcome = child_run(BOTH_CPUS, arguments);
    return outcome == ABSENT ? absent("%s is not installed", BENCH_PYTHON) : outcome;
}

enum outcome peer_python(const struct probe *probe, unsigned samples)
{
    return run_python(probe->size == 0 ? "fork" : "forkserver", samples);
}

enum outcome peer_python_replace(const struct probe *probe, unsigned samples)
{
    (void)probe;
    return run_python("replace", samples);
}
