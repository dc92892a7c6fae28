/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the tests of handlers that wait share: each of them runs with both engines.
 */
#ifndef TESTS_SYSTEM_ENGINES_H
#define TESTS_SYSTEM_ENGINES_H

#include "tests/system/support.h"

/* ---- handlers, all MC_IO ---- */

/* Called back with MC_EVENT_END it counts in words[1] and fails; else it replies the events. */
int reply_events(mc_task *task, unsigned events, void *context);
/* Counts in words[0], and waits for the milliseconds that its argument says. */
int doze(mc_task *task);

/* ---- the pool: two workers, and one for handlers that wait ---- */

extern mc_pool *pool;
enum { IO_SEAT = 2 }; /* behind the two */

/* Options for these handlers and that engine: 0 or 1, a loop test's number. */
struct mc_pool_options engine_options(int engine, const struct mc_handler *handlers, size_t count);
void engine_begin(struct mc_pool_options options);
void engine_finish(mc_group *group);

/* ---- groups ---- */

mc_group *run_one(const char *handler, uint32_t number);
/* That this task succeeded, and replied so. */
void expect_events(mc_group *group, size_t index, unsigned events);
/* Waits for all, and takes their results. */
void expect_all_good(mc_group *group);

/* ---- the program ---- */

int engine_main(const char *name, const TTest *const *cases, size_t count);

#define ENGINE_MAIN(name, ...)                                                                     \
    int main(void)                                                                                 \
    {                                                                                              \
        const TTest *const cases[] = {__VA_ARGS__};                                                \
        return engine_main(#name, cases, sizeof(cases) / sizeof(cases[0]));                        \
    }

#endif
