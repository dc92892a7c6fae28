/* SPDX-License-Identifier: BSD-3-Clause
 *
 * bench_core: what the pool costs, beside the floors of the machine and its
 * peers. README.md says what each figure means.
 */
#include "probes.h"
#include "report.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROUNDS = 7,
    QUICK_ROUNDS = 3,
    QUICK_DIVISOR = 5,
    ROUNDS_MOST = 1000,
};

/* In the order of a round: floors next to what is held against them. */
static const struct probe probes[] = {
    {floor_spin, FLOOR_SPIN, .place = FIRST_CPU, .samples = 20000},
    {latency_hot, ROUNDTRIP_HOT, .place = FIRST_CPU, .samples = 20000},
    {floor_futex_same_core, FLOOR_FUTEX_SAME_CORE, .place = FIRST_CPU, .samples = 2000},
    {floor_futex_cross_core, FLOOR_FUTEX_CROSS_CORE, .place = FIRST_CPU, .samples = 500},
    {floor_futex_idle, FLOOR_FUTEX_IDLE, .place = FIRST_CPU, .samples = 100},
    {latency_cold, ROUNDTRIP_COLD, .place = FIRST_CPU, .samples = 100},
    {latency_helped, ROUNDTRIP_HELPED, .place = FIRST_CPU, .samples = 100},
    {throughput_single, THROUGHPUT_SINGLE, .place = FIRST_CPU, .samples = 5},
    {throughput_batch, THROUGHPUT_BATCH, .place = FIRST_CPU, .samples = 5},
    {payload_echo, PAYLOAD_1K, {MEMCPY_1K}, FIRST_CPU, .samples = 2000, .size = 1 << 10},
    {payload_echo, PAYLOAD_64K, {MEMCPY_64K}, FIRST_CPU, .samples = 500, .size = 1 << 16},
    {payload_echo, PAYLOAD_1M, {MEMCPY_1M}, FIRST_CPU, .samples = 100, .size = 1 << 20},
    {payload_echo, PAYLOAD_16M, {MEMCPY_16M}, FIRST_CPU, .samples = 15, .size = 1 << 24},
    {speedup_rows, RENDER_SPEEDUP, {OPENMP_SPEEDUP}, BOTH_CPUS, .samples = 1},
    {startup_library, STARTUP_FIRST_RESULT, .place = BOTH_CPUS, .samples = 5},
    {startup_floor, FLOOR_STARTUP, .place = BOTH_CPUS, .samples = 5},
    {peer_python_pool, PYTHON_POOL_APPLY, {PYTHON_POOL_STARTUP_FIRST_RESULT}, .samples = 200},
    {peer_python_ppe, PYTHON_PPE, .place = BOTH_CPUS, .samples = 200},
    {peer_zeromq, ZEROMQ_IPC, .place = BOTH_CPUS, .samples = 500},
    {peer_libuv, LIBUV_QUEUE_WORK, .place = BOTH_CPUS, .samples = 500},
    {footprint_memory, PSS_PER_WORKER_KIB, .place = BOTH_CPUS, .samples = 1},
    {footprint_idle, IDLE_CPU_PERCENT, .place = BOTH_CPUS, .samples = 2000},
};

struct arguments {
    const char *json;
    const char *only;
    struct effort effort;
    bool list;
    int (*child)(void);
};

static const char usage[] =
    "usage: bench_core [--json FILE] [--quick] [--rounds N] [--only NAME,...] [--list]\n"
    "  --json FILE     also write the results as JSON\n"
    "  --quick         3 rounds with fewer samples\n"
    "  --rounds N      so many rounds instead of 7\n"
    "  --only NAME,... only these figures, and what they are held against\n"
    "  --list          the names of all figures\n";

enum option_code { HELP = 'h', JSON = 1, QUICK, ROUNDS_GIVEN, ONLY, LIST, STARTUP, FLOOR, MEMORY };

static const struct option options[] = {
    {"json", required_argument, NULL, JSON},
    {"quick", no_argument, NULL, QUICK},
    {"rounds", required_argument, NULL, ROUNDS_GIVEN},
    {"only", required_argument, NULL, ONLY},
    {"list", no_argument, NULL, LIST},
    {"help", no_argument, NULL, HELP},
    {"child-startup", no_argument, NULL, STARTUP},
    {"child-floor-startup", no_argument, NULL, FLOOR},
    {"child-memory", no_argument, NULL, MEMORY},
    {0},
};

static unsigned read_rounds(const char *text)
{
    char *end;
    unsigned long rounds = strtoul(text, &end, 10);
    if (*end == '\0' && rounds >= 1 && rounds <= ROUNDS_MOST)
        return (unsigned)rounds;
    fprintf(stderr, "bench_core: --rounds %s: give a number from 1 to %d\n", text, ROUNDS_MOST);
    exit(2);
}

static void apply(int code, struct arguments *arguments)
{
    switch (code) {
    case JSON:
        arguments->json = optarg;
        break;
    case QUICK:
        arguments->effort = (struct effort){QUICK_ROUNDS, QUICK_DIVISOR};
        break;
    case ONLY:
        arguments->only = optarg;
        break;
    case LIST:
        arguments->list = true;
        break;
    case STARTUP:
        arguments->child = startup_library_child;
        break;
    case FLOOR:
        arguments->child = startup_floor_child;
        break;
    case MEMORY:
        arguments->child = footprint_memory_child;
        break;
    default:
        fputs(usage, code == HELP ? stdout : stderr);
        exit(code == HELP ? 0 : 2);
    }
}

static struct arguments read_arguments(int argc, char **argv)
{
    struct arguments arguments = {.effort = {ROUNDS, 1}};
    unsigned rounds = 0;
    int code;
    while ((code = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (code == ROUNDS_GIVEN)
            rounds = read_rounds(optarg);
        else
            apply(code, &arguments);
    }
    if (optind < argc)
        apply(0, &arguments); /* a word too many */
    if (rounds > 0)
        arguments.effort.rounds = rounds;
    return arguments;
}

static int run(const struct arguments *arguments)
{
    const char *unknown;
    mc_pool *pool;
    if (!figures_select(arguments->only, &unknown)) {
        fprintf(stderr, "bench_core: no figure is named '%.*s'; --list names them\n",
                (int)strcspn(unknown, ","), unknown);
        return 2;
    }
    if (!place_find()) {
        fputs("bench_core: it needs two CPUs that it may run on\n", stderr);
        return 1;
    }
#ifndef __OPTIMIZE__
    fputs("bench_core: compiled without optimisation, so the figures mean little\n", stderr);
#endif
    place_on(BOTH_CPUS);
    if (!subject_open(&pool)) {
        fprintf(stderr, "bench_core: no pool: %s\n", mc_error_message());
        return 1;
    }
    measure(probes, sizeof(probes) / sizeof(probes[0]), arguments->effort);
    subject_close();
    report_print();
    return arguments->json == NULL || report_write(arguments->json) ? 0 : 1;
}

static bool any_failed(void)
{
    for (enum figure_id id = NO_FIGURE + 1; id < FIGURE_COUNT; id++)
        if (figures[id].failed)
            return true;
    return false;
}

int main(int argc, char **argv)
{
    struct arguments arguments = read_arguments(argc, argv);
    if (arguments.child != NULL)
        return arguments.child();
    if (arguments.list) {
        report_list();
        return 0;
    }
    int result = run(&arguments);
    if (result == 0 && any_failed())
        result = 1;
    figures_free();
    return result;
}
