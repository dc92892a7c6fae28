/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A small load generator: so many tasks are in flight all the time, each of them a group
 * of its own that reports to an event loop, and is followed by the next.
 */
#include "tools/run.h"

#include "base/clock.h"
#include "base/error.h"
#include "tools/command.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

/* One place among those in flight. */
struct lead {
    struct load *load;
    mc_group *group; /* NULL: nothing is in flight */
    uint64_t began_ns;
};

struct load {
    const struct errand *errand;
    mc_pool *pool;
    struct lead *leads;
    uint64_t *took_ns; /* of those that ended, in that order */
    uint64_t begun, ended, failed;
    int error; /* negative errno: nothing more is begun */
    char first_failure[256];
};

static void begin(struct lead *lead);

/* Errands with items are several tasks; one that fails makes the whole fail. */
static void judge(struct load *load, mc_group *group)
{
    for (size_t i = 0; i < mc_group_size(group); i++) {
        struct mc_result result = {.size = sizeof(result)};
        if (mc_group_result(group, i, &result) < 0 || result.status == 0)
            continue;
        if (load->failed++ == 0)
            snprintf(load->first_failure, sizeof(load->first_failure), "%s", result.error);
        return;
    }
}

static void on_done(mc_group *group, void *context)
{
    struct lead *lead = context;
    struct load *load = lead->load;
    load->took_ns[load->ended++] = clock_ns() - lead->began_ns;
    judge(load, group);
    mc_group_close(group);
    lead->group = NULL;
    begin(lead);
}

static void begin(struct lead *lead)
{
    struct load *load = lead->load;
    const struct mc_group_options options = {
        .size = sizeof(options), .on_done = on_done, .context = lead};
    mc_group *group;
    if (load->begun == load->errand->repeat || load->error < 0)
        return;
    int result = mc_group_open(load->pool, &options, &group);
    if (result < 0) {
        load->error = result;
        return;
    }
    lead->began_ns = clock_ns();
    result = run_submit(load->errand, group);
    if (result < 0) {
        load->error = result;
        mc_group_close(group);
    } else {
        load->begun++;
        lead->group = group;
    }
}

/* Looks at each turn, whatever ended the wait: there may always be something to do. */
static int check(const struct load *load, uint64_t began_ns)
{
    const struct errand *errand = load->errand;
    if (run_interrupted())
        return error_set(-EINTR, "interrupted after %" PRIu64 " of %" PRIu64 " runs", load->ended,
                         errand->repeat);
    if (run_left_ms(errand, began_ns) == 0)
        return error_set(-ETIMEDOUT, "%" PRIu64 " of %" PRIu64 " have ended within %d ms",
                         load->ended, errand->repeat, errand->timeout_ms);
    return 0;
}

static void turn(struct load *load)
{
    uint64_t began = clock_ns();
    struct pollfd ready = {.fd = mc_pool_fd(load->pool), .events = POLLIN};
    if (ready.fd < 0) {
        load->error = ready.fd;
        return;
    }
    for (uint64_t i = 0; i < load->errand->concurrency; i++) {
        load->leads[i].load = load;
        begin(&load->leads[i]);
    }
    while (load->ended < load->begun) {
        (void)poll(&ready, 1, run_wait_ms(load->errand, began));
        int result = check(load, began);
        if (result < 0) {
            load->error = result;
            return;
        }
        result = mc_pool_dispatch(load->pool);
        if (result < 0 && load->error == 0)
            load->error = result;
        if (result < 0 && load->ended < load->begun)
            return;
    }
}

static int by_size(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static double quantile_us(const struct load *load, double share)
{
    uint64_t place = (uint64_t)(share * (double)load->ended);
    return (double)load->took_ns[place < load->ended ? place : load->ended - 1] / 1000;
}

static int report(struct load *load, uint64_t took_ns)
{
    if (load->ended > 0) {
        qsort(load->took_ns, load->ended, sizeof(load->took_ns[0]), by_size);
        printf("%" PRIu64 " runs in %.3f s, %" PRIu64 " at once: %.0f a second\n", load->ended,
               (double)took_ns / 1e9, load->errand->concurrency,
               (double)load->ended * 1e9 / (double)took_ns);
        printf("latency: 50%% within %.1f us, 99%% within %.1f us, all within %.1f us\n",
               quantile_us(load, 0.5), quantile_us(load, 0.99), quantile_us(load, 1));
    }
    if (load->failed > 0)
        fprintf(stderr, "multicore: %" PRIu64 " runs failed, the first of them: %s\n", load->failed,
                load->first_failure);
    if (load->error < 0 && load->error != -ENOENT) /* which is a handler's here */
        return command_failed(load->error);
    if (load->error < 0)
        fprintf(stderr, "multicore: %s\n", error_message());
    return load->failed > 0 || load->error < 0 ? STATUS_FAILED : STATUS_OK;
}

int load_run(const struct errand *errand, mc_pool *pool)
{
    struct load load = {.errand = errand, .pool = pool};
    int status;
    load.leads = calloc(errand->concurrency, sizeof(*load.leads));
    load.took_ns = calloc(errand->repeat, sizeof(*load.took_ns));
    if (load.leads == NULL || load.took_ns == NULL) {
        error_set(-ENOMEM, "no memory for the times of %" PRIu64 " runs", errand->repeat);
        status = command_failed(-ENOMEM);
    } else {
        uint64_t began = clock_ns();
        turn(&load);
        status = report(&load, clock_ns() - began);
    }
    for (uint64_t i = 0; load.leads != NULL && i < errand->concurrency; i++)
        mc_group_close(load.leads[i].group); /* which cancels what still runs */
    free(load.leads);
    free(load.took_ns);
    return status;
}
