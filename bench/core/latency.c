/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The whole life of a group with one null task: open, run, wait, close.
 */
#include "probes.h"

enum {
    WARM_UP_HOT = 2000,
    WARM_UP_COLD = 10,
    IDLE_NS = 1000000,
};

static bool round_trip(const struct mc_group_options *options)
{
    mc_group *group;
    if (mc_group_open(subject(), options, &group) < 0)
        return false;
    bool fine = mc_group_run(group, "null", NULL, 0) == 0 && mc_group_wait(group, -1) == 0;
    mc_group_close(group);
    return fine;
}

/* The same, with looks at the clock in between. */
static bool round_trip_in_parts(const struct mc_group_options *options)
{
    mc_group *group;
    uint64_t began = now_ns();
    if (mc_group_open(subject(), options, &group) < 0)
        return false;
    bool fine = mc_group_run(group, "null", NULL, 0) == 0;
    uint64_t submitted = now_ns();
    fine = fine && mc_group_wait(group, -1) == 0;
    uint64_t ended = now_ns();
    mc_group_close(group);
    figure_add(HOT_SUBMIT, elapsed_ns(began, submitted));
    figure_add(HOT_WAIT, elapsed_ns(submitted, ended));
    figure_add(HOT_CLOSE, elapsed_ns(ended, now_ns()));
    return fine;
}

/* A round trip, and a look at what came of its task. */
static bool check(const struct mc_group_options *options)
{
    mc_group *group;
    struct mc_result result = {.size = sizeof(result)};
    if (mc_group_open(subject(), options, &group) < 0)
        return false;
    bool fine = mc_group_run(group, "null", NULL, 0) == 0 && mc_group_wait(group, -1) == 0 &&
                mc_group_result(group, 0, &result) == 0 && result.status == 0;
    mc_group_close(group);
    return fine;
}

static enum outcome latency(enum figure_id figure, unsigned samples, enum mc_help help,
                            uint64_t idle_ns)
{
    struct mc_group_options options = {.size = sizeof(options), .help = help};
    int warm_up = idle_ns == 0 ? WARM_UP_HOT : WARM_UP_COLD;
    bool fine = check(&options);
    for (int i = 0; fine && i < warm_up; i++) {
        if (idle_ns != 0)
            pause_ns(idle_ns);
        fine = round_trip(&options);
    }
    for (unsigned i = 0; fine && i < samples; i++) {
        if (idle_ns != 0)
            pause_ns(idle_ns);
        uint64_t began = now_ns();
        fine = round_trip(&options);
        figure_add(figure, elapsed_ns(began, now_ns()));
    }
    return fine ? MEASURED : failed("a null task: %s", mc_error_message());
}

enum outcome latency_hot(const struct probe *probe, unsigned samples)
{
    return latency(probe->figure, samples, MC_HELP_NEVER, 0);
}

enum outcome latency_parts(const struct probe *probe, unsigned samples)
{
    struct mc_group_options options = {.size = sizeof(options), .help = MC_HELP_NEVER};
    bool fine = check(&options);
    (void)probe;
    for (int i = 0; fine && i < WARM_UP_HOT; i++)
        fine = round_trip(&options);
    for (unsigned i = 0; fine && i < samples; i++)
        fine = round_trip_in_parts(&options);
    return fine ? MEASURED : failed("a null task: %s", mc_error_message());
}

enum outcome latency_cold(const struct probe *probe, unsigned samples)
{
    return latency(probe->figure, samples, MC_HELP_NEVER, IDLE_NS);
}

enum outcome latency_helped(const struct probe *probe, unsigned samples)
{
    return latency(probe->figure, samples, MC_HELP_AUTO, IDLE_NS);
}
