/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The table of keys: its defaults are those of the library, its limits hold, and the
 * manual and the example name every key as the table has it.
 */
#include "base/error.h"
#include "tests/test.h"
#include "tools/configuration.h"

#include <stdio.h>
#include <string.h>

static struct settings settings;
static const char *warning;

static int read_text(const char *name, const char *text)
{
    const struct key *key = key_find(name);
    ck_assert_ptr_nonnull(key);
    error_clear();
    return settings_read(&settings, key, text, &warning);
}

START_TEST(the_defaults_are_those_of_the_library)
{
    const struct mc_pool_options zero = {.size = sizeof(zero)};
    struct config *ours, *theirs;
    settings_init(&settings);
    ck_assert_int_eq(config_create(&settings.serve.pool, &settings.serve, &ours), 0);
    ck_assert_int_eq(config_create(&zero, &settings.serve, &theirs), 0);
    ck_assert_uint_eq(ours->workers, theirs->workers);
    ck_assert_int_eq(ours->pinning, theirs->pinning);
    ck_assert_int_eq(ours->policy.enabled, theirs->policy.enabled);
    ck_assert_uint_eq(ours->max_payload, theirs->max_payload);
    ck_assert_uint_eq(ours->max_clients, theirs->max_clients);
    ck_assert_uint_eq(ours->close_timeout_ms, theirs->close_timeout_ms);
    ck_assert_uint_eq(ours->max_tasks_per_worker, theirs->max_tasks_per_worker);
    ck_assert_uint_eq(ours->max_worker_age_s, theirs->max_worker_age_s);
    ck_assert_uint_eq(ours->max_worker_memory, theirs->max_worker_memory);
    ck_assert_uint_eq(ours->refork_after, theirs->refork_after);
    ck_assert_uint_eq(ours->slow_task_ms, theirs->slow_task_ms);
    ck_assert_mem_eq(&ours->geometry, &theirs->geometry, sizeof(ours->geometry));
    ck_assert_uint_eq(settings.socket_mode, 0600);
    ck_assert_uint_eq(settings.socket_user, (uid_t)-1);
    ck_assert_uint_eq(settings.serve.max_clients_per_user, 0);
    config_free(ours);
    config_free(theirs);
}
END_TEST

START_TEST(limits_are_included_and_one_more_is_refused)
{
    for (unsigned i = 0; i < key_count; i++) {
        const struct key *key = &keys[i];
        const char *unit = key->type == KEY_DURATION ? "ms" : "";
        char text[64];
        if (key->type != KEY_NUMBER && key->type != KEY_SIZE && key->type != KEY_DURATION)
            continue;
        settings_init(&settings);
        snprintf(text, sizeof(text), "%ju%s", (uintmax_t)key->least, unit);
        ck_assert_msg(read_text(key->name, text) == 0, "%s", error_message());
        snprintf(text, sizeof(text), "%ju%s", (uintmax_t)key->most, unit);
        ck_assert_msg(read_text(key->name, text) == 0, "%s", error_message());
        if (key->most != UINT64_MAX) {
            snprintf(text, sizeof(text), "%ju%s", (uintmax_t)key->most + 1, unit);
            ck_assert_msg(read_text(key->name, text) == -EINVAL, "%s", key->name);
        }
        snprintf(text, sizeof(text), "%ju%s", (uintmax_t)key->least - 1, unit);
        ck_assert_msg(read_text(key->name, text) == -EINVAL, "%s", key->name);
        /* The message has the key, the value, and what is allowed. */
        char limits[KEY_LIMITS_SIZE];
        ck_assert_ptr_nonnull(strstr(error_message(), key->name));
        ck_assert_ptr_nonnull(strstr(error_message(), text));
        ck_assert_ptr_nonnull(strstr(error_message(), key_limits(key, limits)));
    }
}
END_TEST

START_TEST(values_arrive_in_the_pools_options)
{
    settings_init(&settings);
    ck_assert_int_eq(read_text("workers", "7"), 0);
    ck_assert_uint_eq(settings.serve.pool.workers, 7);
    ck_assert_int_eq(read_text("workers", "auto"), 0);
    ck_assert_uint_eq(settings.serve.pool.workers, 0);
    ck_assert_int_eq(read_text("pinning", "none"), 0);
    ck_assert_int_eq(settings.serve.pool.pinning, MC_PIN_NONE);
    ck_assert_int_eq(read_text("max-payload", "2M"), 0);
    ck_assert_uint_eq(settings.serve.pool.max_payload, 2 << 20);
    ck_assert_int_eq(read_text("max-worker-age", "1500ms"), 0);
    ck_assert_uint_eq(settings.serve.pool.max_worker_age_s, 2);
    ck_assert_int_eq(read_text("refork-after", "1000"), 0);
    ck_assert_uint_eq(settings.serve.pool.refork_after, 1000);
    ck_assert_int_eq(read_text("slow-task", "2m"), 0);
    ck_assert_uint_eq(settings.serve.pool.slow_task_ms, 120000);
    ck_assert_int_eq(read_text("max-load-average", "85%"), 0);
    ck_assert_str_eq(settings.serve.pool.max_load_average, "85%");
    ck_assert_ptr_null(warning);
    ck_assert_int_eq(read_text("max-load-average", "85"), 0);
    ck_assert_ptr_nonnull(warning);
    ck_assert_int_eq(read_text("max-load-average", "none"), 0);
    ck_assert_ptr_null(settings.serve.pool.max_load_average);
    ck_assert_int_eq(read_text("socket-mode", "660"), 0);
    ck_assert_uint_eq(settings.socket_mode, 0660);
    ck_assert_int_eq(read_text("allow-users", "root"), 0);
    ck_assert_int_eq(read_text("allow-users", "4000000"), 0);
    ck_assert_uint_eq(settings.serve.user_count, 2);
    ck_assert_uint_eq(settings.serve.users[0], 0);
    ck_assert_uint_eq(settings.serve.users[1], 4000000);
    ck_assert_int_eq(read_text("allow-groups", "root"), 0);
    ck_assert_uint_eq(settings.serve.group_count, 1);
    ck_assert_int_eq(read_text("allow-users", "4294967295"), -EINVAL);
    ck_assert_int_eq(read_text("allow-users", "-1"), -EINVAL);
    ck_assert_int_eq(read_text("allow-users", ""), -EINVAL);
    settings_free(&settings);
}
END_TEST

START_TEST(a_reload_keeps_what_cannot_change)
{
    struct settings in_use;
    settings_init(&in_use);
    settings_init(&settings);
    settings.socket = "/elsewhere";
    settings.serve.pool.workers = 9;
    settings.serve.pool.slow_task_ms = 9;
    for (unsigned i = 0; i < key_count; i++) {
        bool held = settings_hold(&settings, &keys[i], &in_use);
        bool expected = strcmp(keys[i].name, "socket") == 0 || strcmp(keys[i].name, "workers") == 0;
        ck_assert_msg(held == expected, "%s", keys[i].name);
    }
    ck_assert_str_eq(settings.socket, in_use.socket);
    ck_assert_uint_eq(settings.serve.pool.workers, 0);
    ck_assert_uint_eq(settings.serve.pool.slow_task_ms, 9);
}
END_TEST

/* The file as one line of words, so that it may break lines where it likes. */
static char *words_of(const char *path)
{
    FILE *file = fopen(path, "r");
    ck_assert_msg(file != NULL, "%s", path);
    char *text = calloc(1, 200000);
    size_t size = fread(text, 1, 199999, file);
    fclose(file);
    size_t used = 0;
    for (size_t i = 0; i < size; i++) {
        bool blank = text[i] == ' ' || text[i] == '\n' || text[i] == '\t';
        if (!blank)
            text[used++] = text[i];
        else if (used > 0 && text[used - 1] != ' ')
            text[used++] = ' ';
    }
    text[used] = '\0';
    return text;
}

START_TEST(the_manual_has_every_key_with_default_and_limits)
{
    char *manual = words_of(SOURCE_DIR "/man/multicore.conf.5.scd");
    for (unsigned i = 0; i < key_count; i++) {
        char wanted[512], limits[KEY_LIMITS_SIZE];
        const char *initial =
            keys[i].initial != NULL && keys[i].initial[0] != '\0' ? keys[i].initial : "\"\"";
        const char *format =
            key_is_list(&keys[i]) ? "*%s* = {%s, ...}. Default: %s." : "*%s* = %s. Default: %s.";
        snprintf(wanted, sizeof(wanted), format, keys[i].name, key_limits(&keys[i], limits),
                 key_is_list(&keys[i]) ? "{}" : initial);
        ck_assert_msg(strstr(manual, wanted) != NULL, "the manual lacks: %s", wanted);
    }
    free(manual);
}
END_TEST

START_TEST(the_example_names_every_key)
{
    char *example = words_of(SOURCE_DIR "/packaging/multicore.conf");
    for (unsigned i = 0; i < key_count; i++) {
        char wanted[64];
        snprintf(wanted, sizeof(wanted), "%s = ", keys[i].name);
        ck_assert_msg(strstr(example, wanted) != NULL, "the example lacks: %s", wanted);
    }
    free(example);
}
END_TEST

TEST_MAIN(settings, the_defaults_are_those_of_the_library,
          limits_are_included_and_one_more_is_refused, values_arrive_in_the_pools_options,
          a_reload_keeps_what_cannot_change, the_manual_has_every_key_with_default_and_limits,
          the_example_names_every_key)
