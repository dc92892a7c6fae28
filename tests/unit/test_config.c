/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The options of a pool: what is refused, with what words, and the defaults.
 */
#include "base/error.h"
#include "pool/config.h"
#include "tests/test.h"

#include <stdio.h>
#include <string.h>

static int nothing(mc_task *task)
{
    return 0;
}

static struct mc_handler handlers[MAX_HANDLERS + 1];
static char names[MAX_HANDLERS + 1][HANDLER_NAME_SIZE + 1];
static struct mc_pool_options options;
static struct config *config;

static void begin(void)
{
    memset(&options, 0, sizeof(options));
    for (int i = 0; i <= MAX_HANDLERS; i++) {
        snprintf(names[i], sizeof(names[i]), "handler-%04d-%050d", i, 0);
        handlers[i] = (struct mc_handler){.name = names[i], .run = nothing};
    }
    strcpy(names[0], "zero");
    strcpy(names[1], "one");
    options.size = sizeof(options);
    options.handlers = handlers;
    options.handler_count = 2;
}

static void expect_refused(const char *word)
{
    struct config *untouched = (struct config *)(void *)&options;
    config = untouched;
    error_clear();
    int result = config_create(&options, NULL, &config);
    ck_assert_msg(result == -EINVAL, "%s: %d", word, result);
    ck_assert_msg(strstr(error_message(), word) != NULL, "'%s' says nothing of '%s'",
                  error_message(), word);
    ck_assert_ptr_null(strchr(error_message(), '\n'));
    ck_assert_ptr_eq(config, untouched);
}

static void expect_taken(void)
{
    int result = config_create(&options, NULL, &config);
    ck_assert_msg(result == 0, "%d: %s", result, error_message());
}

START_TEST(the_defaults_are_those_of_the_header)
{
    begin();
    expect_taken();
    ck_assert_uint_eq(config->workers, config->topology.usable);
    ck_assert_int_eq(config->pinning, MC_PIN_CORE);
    ck_assert_uint_eq(config->geometry.slot_count, 4096);
    ck_assert_uint_eq(config->max_payload, 256u << 20);
    ck_assert_uint_ge(config->geometry.arena_size, UINT64_C(1) << 30);
    ck_assert_uint_eq(config->max_clients, 256);
    ck_assert_uint_eq(config->close_timeout_ms, 10000);
    ck_assert_uint_eq(config->refork_after, 0);
    ck_assert(!config->policy.enabled);
    ck_assert_ptr_null(config->proc_path);
    config_free(config);
    config_free(NULL);
}
END_TEST

START_TEST(the_size_of_the_struct_has_to_be_set)
{
    ck_assert_int_eq(config_create(NULL, NULL, &config), -EINVAL);
    begin();
    options.size = 0;
    expect_refused("options.size");
    options.size = sizeof(size_t) - 1;
    expect_refused("options.size");
    options.size = offsetof(struct mc_pool_options, max_load_average) + 4; /* half of it */
    expect_refused("options.size");
}
END_TEST

START_TEST(a_program_of_an_older_version_gives_fewer_options)
{
    begin();
    options.max_payload = SIZE_MAX; /* beyond what it says that it has */
    options.size = offsetof(struct mc_pool_options, max_payload);
    expect_taken();
    ck_assert_uint_eq(config->max_payload, 256u << 20);
    config_free(config);
}
END_TEST

START_TEST(a_program_of_a_newer_version_may_not_use_what_is_unknown_here)
{
    struct {
        struct mc_pool_options known;
        uint64_t newer[4];
    } grown = {.newer = {0}};
    begin();
    grown.known = options;
    grown.known.size = sizeof(grown);
    ck_assert_int_eq(config_create(&grown.known, NULL, &config), 0);
    config_free(config);
    grown.newer[3] = UINT64_C(1) << 63;
    ck_assert_int_eq(config_create(&grown.known, NULL, &config), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error_message(), "options.size"));
}
END_TEST

START_TEST(handlers_have_to_be_there)
{
    begin();
    options.handler_count = 0;
    expect_refused("handler_count");
    options.handler_count = MAX_HANDLERS + 1;
    expect_refused("handler_count");
    options.handler_count = 1;
    options.handlers = NULL;
    expect_refused("handler");
}
END_TEST

START_TEST(a_handlers_name_has_1_to_63_bytes)
{
    begin();
    handlers[1].name = NULL;
    expect_refused("handler 1");
    handlers[1].name = "";
    expect_refused("handler 1");
    memset(names[1], 'n', HANDLER_NAME_SIZE);
    handlers[1].name = names[1];
    expect_refused("handler 1");
    names[1][HANDLER_NAME_SIZE - 1] = '\0';
    expect_taken();
    ck_assert_str_eq(config->handlers[1].name, names[1]);
    config_free(config);
}
END_TEST

START_TEST(a_handler_has_a_name_of_its_own_a_function_and_known_flags)
{
    begin();
    handlers[1].name = "zero";
    expect_refused("'zero'");
    begin();
    handlers[1].run = NULL;
    expect_refused("'one'");
    begin();
    handlers[1].flags = 1u << 31;
    expect_refused("'one'");
    handlers[1].flags = MC_ISOLATED | MC_THREAD_SAFE;
    expect_taken();
    config_free(config);
}
END_TEST

START_TEST(numbers_out_of_range_are_refused_by_name)
{
    begin();
    options.workers = MAX_SEATS + 1;
    expect_refused("workers");
    begin();
    options.pinning = (enum mc_pinning)2;
    expect_refused("pinning");
    begin();
    options.pinning = (enum mc_pinning) - 1;
    expect_refused("pinning");
    begin();
    options.refork_after = REFORK_AFTER_MOST + 1;
    expect_refused("refork_after is 1000000001: at most 1000000000; 0 means never");
    options.refork_after = REFORK_AFTER_MOST;
    options.max_tasks_per_worker = REFORK_AFTER_MOST;
    expect_refused("give less than max_tasks_per_worker");
    options.max_tasks_per_worker = 0;
    options.max_clients = MAX_LANES + 1;
    expect_refused("max_clients");
    begin();
    options.flags = MC_ALLOW_THREADS | 2;
    expect_refused("flags");
}
END_TEST

START_TEST(queue_depth_is_a_power_of_two_within_bounds)
{
    const uint32_t wrong[] = {1, 8, 15, 17, 4095, MAX_SLOTS + 1, 2 * MAX_SLOTS, UINT32_MAX};
    begin();
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        options.queue_depth = wrong[i];
        expect_refused("queue_depth");
    }
    for (uint32_t depth = 16; depth <= MAX_SLOTS; depth *= 2) {
        options.queue_depth = depth;
        expect_taken();
        ck_assert_uint_eq(config->geometry.slot_count, depth);
        config_free(config);
    }
}
END_TEST

START_TEST(payload_and_arena_stay_within_bounds)
{
    begin();
    options.max_payload = ((size_t)1 << 30) + 1;
    expect_refused("max_payload");
    options.max_payload = (size_t)1 << 30;
    options.arena_size = options.max_payload - 1;
    expect_refused("arena_size");
    options.arena_size = options.max_payload;
    expect_taken();
    ck_assert_uint_eq(config->max_payload, (size_t)1 << 30);
    config_free(config);
    options.arena_size = ((size_t)64 << 30) + 1;
    options.workers = 1;
    expect_refused("arena_size");
    options.arena_size = (size_t)64 << 30;
    expect_taken();
    config_free(config);
}
END_TEST

START_TEST(every_place_in_the_largest_lane_is_a_32_bit_number_of_units)
{
    const unsigned workers[] = {1, 2, 3, 15, 100, MAX_SEATS};
    begin();
    options.queue_depth = MAX_SLOTS;
    for (size_t i = 0; i < sizeof(workers) / sizeof(workers[0]); i++) {
        options.workers = workers[i];
        for (size_t arena = (size_t)64 << 30; arena >= (size_t)1 << 29; arena -= (size_t)1 << 29) {
            options.arena_size = arena;
            if (config_create(&options, NULL, &config) < 0)
                continue;
            ck_assert_uint_le(config->geometry.total_size / UNIT, UINT32_MAX);
            config_free(config);
            break;
        }
        ck_assert_uint_ge(options.arena_size, (size_t)1 << 29);
    }
}
END_TEST

START_TEST(the_largest_payload_and_its_header_fit_the_smallest_arena)
{
    begin();
    options.max_payload = options.arena_size = 1000000;
    expect_taken();
    ck_assert_uint_ge(config->geometry.arena_size, 1000000 + 2 * UNIT);
    config_free(config);
}
END_TEST

START_TEST(a_load_limit_that_cannot_be_read_is_refused_by_name)
{
    const char *const wrong[] = {"", "many", "-1", "0", "0.85 ", "85%%", "1e3", "0,85", "%"};
    begin();
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        options.max_load_average = wrong[i];
        expect_refused("max_load_average");
    }
}
END_TEST

START_TEST(a_load_limit_is_a_number_or_a_percentage)
{
    begin();
    options.max_load_average = "0.85";
    expect_taken();
    ck_assert(config->policy.enabled);
    ck_assert_uint_eq(config->policy.limit_milli, 850);
    ck_assert_ptr_null(config->policy_warning);
    config_free(config);
    options.max_load_average = "85";
    expect_taken();
    ck_assert_uint_eq(config->policy.limit_milli, 850);
    ck_assert_ptr_nonnull(config->policy_warning);
    config_free(config);
}
END_TEST

START_TEST(what_the_caller_gave_is_copied)
{
    char path[] = "/tmp/somewhere";
    begin();
    options.proc_path = path;
    expect_taken();
    strcpy(names[0], "gone");
    path[0] = 'x';
    handlers[0].run = NULL;
    ck_assert_str_eq(config->handlers[0].name, "zero");
    ck_assert(config->handlers[0].run == nothing);
    ck_assert_str_eq(config->proc_path, "/tmp/somewhere");
    config_free(config);
}
END_TEST

START_TEST(handlers_are_found_by_name)
{
    begin();
    expect_taken();
    ck_assert_int_eq(config_handler(config, "zero"), 0);
    ck_assert_int_eq(config_handler(config, "one"), 1);
    ck_assert_int_eq(config_handler(config, "on"), -ENOENT);
    ck_assert_str_eq(error_message(), "no handler 'on'; the pool has: zero, one");
    config_free(config);
}
END_TEST

START_TEST(a_long_list_of_handlers_is_cut_between_names)
{
    begin();
    options.handler_count = MAX_HANDLERS;
    expect_taken();
    ck_assert_int_eq(config_handler(config, names[MAX_HANDLERS - 1]), MAX_HANDLERS - 1);
    ck_assert_int_eq(config_handler(config, "nobody"), -ENOENT);
    const char *last = strrchr(error_message(), ' ') + 1;
    bool whole = false;
    for (int i = 0; i < MAX_HANDLERS && !whole; i++)
        whole = strcmp(last, names[i]) == 0;
    ck_assert_msg(whole || strcmp(last, "...") == 0, "%s", error_message());
    config_free(config);
}
END_TEST

static struct control control;

static void say(uint32_t number, const char *name, uint32_t flags)
{
    struct handler handler = {.flags = flags};
    snprintf(handler.name, sizeof(handler.name), "%s", name);
    control.handlers[number] = config_handler_entry(&handler);
    if (number >= control.handler_count)
        control.handler_count = number + 1;
    control.handlers_edition++;
}

START_TEST(what_changes_of_handlers_is_learned_when_no_group_is_open)
{
    struct mc_handler linked = {.name = "linked", .run = nothing};
    struct mc_attach_options attaching = {
        .size = sizeof(attaching), .handlers = &linked, .handler_count = 1};
    struct config *local, *attached;
    ck_assert_int_eq(config_create_local(&attaching, &local), 0);
    attaching.handler_count = 0;
    ck_assert_int_eq(config_create_local(&attaching, &attached), 0);
    memset(&control, 0, sizeof(control));
    say(0, "linked", 0);
    config_learn_handlers(attached, &control, local, true);
    ck_assert_uint_eq(attached->handlers[0].flags, 0);
    say(0, "linked", MC_ISOLATED);
    say(1, "away", 0);
    config_learn_handlers(attached, &control, local, false);
    ck_assert_uint_eq(attached->handlers[0].flags, 0);
    ck_assert_int_eq(config_handler(attached, "away"), 1);
    ck_assert_uint_eq(attached->handlers[1].flags, MC_ISOLATED);
    config_learn_handlers(attached, &control, local, true);
    ck_assert_uint_eq(attached->handlers[0].flags, MC_ISOLATED);
    ck_assert_ptr_eq(attached->handlers[0].run, nothing);
    ck_assert_uint_eq(attached->handler_count, 2);
    config_free(attached);
    config_free(local);
}
END_TEST

TEST_MAIN(config, the_defaults_are_those_of_the_header, the_size_of_the_struct_has_to_be_set,
          a_program_of_an_older_version_gives_fewer_options,
          a_program_of_a_newer_version_may_not_use_what_is_unknown_here, handlers_have_to_be_there,
          a_handlers_name_has_1_to_63_bytes,
          a_handler_has_a_name_of_its_own_a_function_and_known_flags,
          numbers_out_of_range_are_refused_by_name, queue_depth_is_a_power_of_two_within_bounds,
          payload_and_arena_stay_within_bounds,
          every_place_in_the_largest_lane_is_a_32_bit_number_of_units,
          the_largest_payload_and_its_header_fit_the_smallest_arena,
          a_load_limit_that_cannot_be_read_is_refused_by_name,
          a_load_limit_is_a_number_or_a_percentage, what_the_caller_gave_is_copied,
          what_changes_of_handlers_is_learned_when_no_group_is_open, handlers_are_found_by_name,
          a_long_list_of_handlers_is_cut_between_names)
