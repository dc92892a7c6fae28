/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool/startup.h"

#include "tests/test.h"

#include <stdio.h>
#include <string.h>

static struct startup *begin(void)
{
    struct startup *startup = startup_create();
    ck_assert_ptr_nonnull(startup);
    startup_reset(startup, 3);
    for (uint32_t i = 0; i < 3; i++) {
        startup->order[i] = i;
        snprintf(startup->modules[i].name, sizeof(startup->modules[i].name), "m%u", i);
    }
    return startup;
}

static void enter(struct startup *startup, uint32_t module, enum module_phase phase)
{
    startup_begin(startup, module, &startup->modules[module].spans[phase]);
}

START_TEST(who_is_in_a_phase_is_to_blame)
{
    struct startup *startup = begin();
    char text[256];
    startup_blame(startup, text, sizeof(text));
    ck_assert_str_eq(text, "");
    enter(startup, 1, MODULE_CONFIGURE);
    startup_end(&startup->modules[1].spans[MODULE_CONFIGURE]);
    startup_blame(startup, text, sizeof(text));
    ck_assert_str_eq(text, "");
    for (uint32_t i = 0; i < 3; i++)
        enter(startup, i, MODULE_LOAD);
    startup_blame(startup, text, sizeof(text));
    ck_assert_str_eq(text, "module 'm0' was in load, module 'm1' was in load and module 'm2' was "
                           "in load");
    startup->fatal = 1 + 2;
    startup_blame(startup, text, sizeof(text));
    ck_assert_str_eq(text, "module 'm2' was in load");
    startup_blame(startup, text, 10);
    ck_assert_str_eq(text, "module 'm");
    startup_free(startup);
}
END_TEST

START_TEST(what_was_written_over_is_read_within_bounds)
{
    struct startup *startup = begin(), copy;
    char text[256];
    memset((void *)startup, 0xff, sizeof(*startup));
    startup_read(startup, &copy);
    ck_assert_uint_eq(copy.module_count, MODULES_MOST);
    for (uint32_t i = 0; i < MODULES_MOST; i++) {
        ck_assert_uint_lt(copy.order[i], MODULES_MOST);
        ck_assert_uint_lt(strlen(copy.modules[i].name), sizeof(copy.modules[i].name));
        ck_assert_uint_lt(strlen(copy.modules[i].warmup), sizeof(copy.modules[i].warmup));
    }
    startup_blame(startup, text, sizeof(text));
    ck_assert(!startup_blame_worker(startup, 0, text, sizeof(text)));
    startup_free(startup);
}
END_TEST

START_TEST(threads_are_known_by_their_names)
{
    ck_assert_int_eq(startup_module_of("m0/web"), 0);
    ck_assert_int_eq(startup_module_of("m63/"), 63);
    ck_assert_int_eq(startup_module_of("mc-zygote"), -1);
    ck_assert_int_eq(startup_module_of("m7"), -1);
    ck_assert_int_eq(startup_module_of("somebody"), -1);
    ck_assert_int_eq(startup_module_of(""), -1);
}
END_TEST

TEST_MAIN(startup, who_is_in_a_phase_is_to_blame, what_was_written_over_is_read_within_bounds,
          threads_are_known_by_their_names)
