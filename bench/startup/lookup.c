/* SPDX-License-Identifier: BSD-3-Clause
 *
 * From a handler's name to what runs it. A map of no items looks for its handler, and
 * submits nothing.
 */
#include "multicore.h"
#include "probes.h"

#include <dlfcn.h>
#include <search.h>
#include <stdlib.h>

enum { NAMES = 500, TIMES = 1000 };

static char names[NAMES][16];
static struct mc_handler handlers[NAMES];

static int null(mc_task *task)
{
    return mc_task_reply(task, NULL, 0);
}

static enum outcome time_library(mc_group *group, unsigned samples)
{
    const char *name = names[NAMES - 1];
    if (mc_group_map(group, name, 0, NULL, NULL, 0) < 0)
        return failed("no map of no items: %s", mc_error_message());
    for (unsigned i = 0; i < samples; i++) {
        uint64_t began = now_ns();
        for (int j = 0; j < TIMES; j++)
            (void)mc_group_map(group, name, 0, NULL, NULL, 0);
        figure_add(LOOKUP, elapsed_ns(began, now_ns()) / TIMES);
    }
    return MEASURED;
}

static enum outcome time_hash(unsigned samples)
{
    struct hsearch_data table = {0};
    ENTRY *found;
    if (hcreate_r(NAMES * 2, &table) == 0)
        return failed("no table of %d names", NAMES);
    for (int i = 0; i < NAMES; i++)
        (void)hsearch_r((ENTRY){.key = names[i]}, ENTER, &found, &table);
    for (unsigned i = 0; i < samples; i++) {
        uint64_t began = now_ns();
        for (int j = 0; j < TIMES; j++)
            (void)hsearch_r((ENTRY){.key = names[NAMES - 1]}, FIND, &found, &table);
        figure_add(LOOKUP_HASH, elapsed_ns(began, now_ns()) / TIMES);
    }
    hdestroy_r(&table);
    return MEASURED;
}

static enum outcome time_dlsym(unsigned samples)
{
    if (dlsym(RTLD_DEFAULT, "mc_pool_open") == NULL)
        return failed("the library has no symbols: %s", dlerror());
    for (unsigned i = 0; i < samples; i++) {
        uint64_t began = now_ns();
        for (int j = 0; j < TIMES; j++)
            (void)dlsym(RTLD_DEFAULT, "mc_pool_open");
        figure_add(LOOKUP_DLSYM, elapsed_ns(began, now_ns()) / TIMES);
    }
    return MEASURED;
}

enum outcome lookup_name(const struct probe *probe, unsigned samples)
{
    (void)probe;
    for (int i = 0; i < NAMES; i++) {
        snprintf(names[i], sizeof(names[i]), "handler-%d", i);
        handlers[i] = (struct mc_handler){.name = names[i], .run = null};
    }
    const struct mc_pool_options options = {
        .size = sizeof(options), .handlers = handlers, .handler_count = NAMES, .workers = 1};
    mc_pool *pool;
    mc_group *group;
    if (mc_pool_open(&options, &pool) < 0)
        return failed("no pool: %s", mc_error_message());
    enum outcome outcome;
    if (mc_group_open(pool, NULL, &group) == 0) {
        outcome = time_library(group, samples);
        mc_group_close(group);
    } else {
        outcome = failed("no group: %s", mc_error_message());
    }
    mc_pool_close(pool);
    if (outcome == MEASURED)
        outcome = time_hash(samples);
    return outcome == MEASURED ? time_dlsym(samples) : outcome;
}
