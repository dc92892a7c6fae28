/* SPDX-License-Identifier: BSD-3-Clause
 *
 * An event loop with so many requests in flight, each a group of one task of 50 us: when one
 * is reported, the next is opened. What that takes of the loop's CPU time for each.
 */
#include "probes.h"

#include <poll.h>
#include <time.h>

enum { CROWD = 1000, REQUESTS = 4000 };

struct loop {
    unsigned begun, ended;
    bool failed;
};

static void begin(struct loop *loop);

static void on_done(mc_group *group, void *context)
{
    struct loop *loop = context;
    struct mc_result result = {.size = sizeof(result)};
    if (mc_group_next(group, &result, 0) != 1 || result.status != 0)
        loop->failed = true;
    mc_group_close(group);
    loop->ended++;
    begin(loop);
}

static void begin(struct loop *loop)
{
    struct mc_group_options options = {
        .size = sizeof(options), .on_done = on_done, .context = loop};
    mc_group *group = NULL;
    if (loop->failed || loop->begun == REQUESTS)
        return;
    loop->begun++;
    if (mc_group_open(subject(), &options, &group) == 0 &&
        mc_group_run(group, "work", NULL, 0) == 0)
        return;
    loop->failed = true;
    mc_group_close(group);
}

static uint64_t used_ns(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec;
}

/* For a request, in ns; below 0 when one failed. */
static double serve(unsigned in_flight)
{
    struct loop loop = {0};
    struct pollfd ready = {.fd = mc_pool_fd(subject()), .events = POLLIN};
    uint64_t began = used_ns();
    for (unsigned i = 0; i < in_flight; i++)
        begin(&loop);
    while (loop.ended < loop.begun && poll(&ready, 1, -1) == 1)
        if (mc_pool_dispatch(subject()) < 0)
            return -1;
    return loop.failed ? -1 : (double)(used_ns() - began) / REQUESTS;
}

enum outcome events_loop(const struct probe *probe, unsigned samples)
{
    const struct {
        unsigned in_flight, figure;
    } loops[] = {{1, probe->figure}, {CROWD, probe->beside[0]}};
    for (unsigned i = 0; i <= samples; i++)
        for (unsigned k = 0; k < 2; k++) {
            double each = serve(loops[k].in_flight);
            if (each < 0)
                return failed("%u in flight: %s", loops[k].in_flight, mc_error_message());
            if (i > 0) /* the first warms up */
                figure_add(loops[k].figure, each);
        }
    return MEASURED;
}
