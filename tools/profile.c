/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/profile.h"

#include "base/error.h"

#include <errno.h>
#include <string.h>

static double ms_of(uint64_t ns)
{
    return (double)ns / 1e6;
}

static bool over(const struct startup_span *span)
{
    return span->ended_ns != 0;
}

static uint64_t length_of(const struct startup_span *span)
{
    return over(span) ? span->ended_ns - span->began_ns : 0;
}

static uint64_t own_ns(const struct startup *startup, uint32_t module)
{
    uint64_t sum = 0;
    for (int phase = 0; phase < MODULE_PHASES; phase++)
        sum += length_of(&startup->modules[module].spans[phase]);
    return sum;
}

double profile_own_ms(const struct startup *startup, uint32_t module)
{
    return ms_of(own_ns(startup, module));
}

double profile_cpu_ms(const struct startup *startup, uint32_t module)
{
    uint64_t sum = 0;
    for (int phase = 0; phase < MODULE_PHASES; phase++)
        if (over(&startup->modules[module].spans[phase]))
            sum += startup->modules[module].spans[phase].cpu_ns;
    return ms_of(sum);
}

/* ---- The tree ---- */

/* A module stands once: below the first, in the order of the set-up, that requires it. */
struct tree {
    int parents[MODULES_MOST]; /* -1: nobody requires it */
    uint64_t cumulative_ns[MODULES_MOST];
};

static struct tree tree_of(const struct startup *startup)
{
    struct tree tree;
    for (uint32_t i = 0; i < startup->module_count; i++) {
        tree.parents[i] = -1;
        tree.cumulative_ns[i] = own_ns(startup, i);
    }
    for (uint32_t i = 0; i < startup->module_count; i++) {
        uint32_t user = startup->order[i];
        for (uint32_t other = 0; other < startup->module_count; other++)
            if ((startup->modules[user].requires >> other & 1) != 0 && tree.parents[other] < 0)
                tree.parents[other] = (int)user;
    }
    /* What is required comes before, so its sum is complete. */
    for (uint32_t i = 0; i < startup->module_count; i++) {
        uint32_t module = startup->order[i];
        if (tree.parents[module] >= 0)
            tree.cumulative_ns[tree.parents[module]] += tree.cumulative_ns[module];
    }
    return tree;
}

static void print_module(const struct startup *startup, const struct tree *tree, uint32_t module,
                         unsigned depth, FILE *out)
{
    for (uint32_t i = 0; i < startup->module_count; i++)
        if (tree->parents[startup->order[i]] == (int)module)
            print_module(startup, tree, startup->order[i], depth + 1, out);
    fprintf(out, "startup: %9.3f | %13.3f | %9.3f | %*s%s%s\n", profile_own_ms(startup, module),
            ms_of(tree->cumulative_ns[module]), profile_cpu_ms(startup, module), (int)(2 * depth),
            "", startup->modules[module].name,
            startup->modules[module].asleep != 0 ? " (lazy)" : "");
}

static uint64_t sum_ns(const struct startup *startup)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < startup->module_count; i++)
        sum += own_ns(startup, i) - length_of(&startup->modules[i].spans[MODULE_WORKER_INIT]);
    return sum;
}

static uint64_t worker_ns(const struct startup *startup)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < startup->module_count; i++)
        sum += length_of(&startup->modules[i].spans[MODULE_WORKER_INIT]);
    return sum;
}

void profile_print(const struct startup *startup, FILE *out)
{
    struct tree tree = tree_of(startup);
    fprintf(out, "startup:    own ms | cumulative ms |    CPU ms | module\n");
    for (uint32_t i = 0; i < startup->module_count; i++)
        if (tree.parents[startup->order[i]] < 0)
            print_module(startup, &tree, startup->order[i], 0, out);
    fprintf(out, "startup: modules %.3f ms, one after the other %.3f ms; worker_init %.3f ms\n",
            ms_of(startup->ended_ns - startup->began_ns), ms_of(sum_ns(startup)),
            ms_of(worker_ns(startup)));
}

/* ---- JSON ---- */

static json_t *phases_json(const struct startup *startup, uint32_t module)
{
    json_t *object = json_object();
    for (int phase = 0; phase < MODULE_PHASES; phase++) {
        const struct startup_span *span = &startup->modules[module].spans[phase];
        if (over(span))
            (void)json_object_set_new(
                object, module_phases[phase],
                json_pack("{s:f, s:f, s:f}", "start_ms", ms_of(span->began_ns - startup->began_ns),
                          "ms", ms_of(length_of(span)), "cpu_ms", ms_of(span->cpu_ns)));
    }
    return object;
}

static json_t *requires_json(const struct startup *startup, uint32_t module)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < startup->module_count; i++)
        if ((startup->modules[module].requires >> i & 1) != 0)
            (void)json_array_append_new(array, json_string(startup->modules[i].name));
    return array;
}

json_t *profile_json(const struct startup *startup)
{
    struct tree tree = tree_of(startup);
    json_t *modules = json_array();
    for (uint32_t i = 0; i < startup->module_count; i++) {
        uint32_t module = startup->order[i];
        (void)json_array_append_new(
            modules,
            json_pack("{s:s, s:b, s:o, s:f, s:f, s:f, s:o}", "name", startup->modules[module].name,
                      "lazy", startup->modules[module].asleep != 0, "requires",
                      requires_json(startup, module), "own_ms", profile_own_ms(startup, module),
                      "cumulative_ms", ms_of(tree.cumulative_ns[module]), "cpu_ms",
                      profile_cpu_ms(startup, module), "phases", phases_json(startup, module)));
    }
    return json_pack("{s:f, s:f, s:f, s:o}", "modules_ms",
                     ms_of(startup->ended_ns - startup->began_ns), "serial_ms",
                     ms_of(sum_ns(startup)), "worker_init_ms", ms_of(worker_ns(startup)), "modules",
                     modules);
}

/* ---- Trace ---- */

enum { ZYGOTE_ROW = 1, WORKER_ROW = 2 }; /* as if they were processes; modules are threads */

static void add_name(json_t *events, const char *kind, int process, int thread, const char *name)
{
    (void)json_array_append_new(events,
                                json_pack("{s:s, s:s, s:i, s:i, s:{s:s}}", "ph", "M", "name", kind,
                                          "pid", process, "tid", thread, "args", "name", name));
}

static void add_span(json_t *events, const struct startup *startup, uint32_t module, int phase)
{
    const struct startup_span *span = &startup->modules[module].spans[phase];
    if (!over(span))
        return;
    int process = phase == MODULE_WORKER_INIT ? WORKER_ROW : ZYGOTE_ROW;
    char name[128];
    snprintf(name, sizeof(name), "%s: %s", startup->modules[module].name, module_phases[phase]);
    (void)json_array_append_new(
        events, json_pack("{s:s, s:s, s:s, s:i, s:i, s:f, s:f, s:{s:f}}", "ph", "X", "name", name,
                          "cat", module_phases[phase], "pid", process, "tid", (int)module + 1, "ts",
                          (double)(span->began_ns - startup->began_ns) / 1e3, "dur",
                          (double)length_of(span) / 1e3, "args", "cpu_ms", ms_of(span->cpu_ns)));
}

int profile_write_trace(const struct startup *startup, const char *path)
{
    json_t *events = json_array();
    add_name(events, "process_name", ZYGOTE_ROW, 0, "zygote");
    add_name(events, "process_name", WORKER_ROW, 0, "first worker");
    for (uint32_t i = 0; i < startup->module_count; i++) {
        for (int process = ZYGOTE_ROW; process <= WORKER_ROW; process++)
            add_name(events, "thread_name", process, (int)i + 1, startup->modules[i].name);
        for (int phase = 0; phase < MODULE_PHASES; phase++)
            add_span(events, startup, i, phase);
    }
    json_t *trace = json_pack("{s:o}", "traceEvents", events);
    int result = trace == NULL ? -ENOMEM : json_dump_file(trace, path, JSON_COMPACT);
    json_decref(trace);
    return result == 0 ? 0
                       : error_set(-EIO, "the trace cannot be written to '%s': %s", path,
                                   trace == NULL ? "no memory" : strerror(errno));
}
