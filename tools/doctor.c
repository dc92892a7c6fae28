/* SPDX-License-Identifier: BSD-3-Clause
 *
 * multicore doctor: whether this machine is good for a pool.
 */
#include "tools/doctor.h"

#include "base/clock.h"
#include "base/error.h"
#include "tools/command.h"
#include "tools/configuration.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static const char *const level_names[] = {
    [LEVEL_OK] = "ok", [LEVEL_NOTE] = "note", [LEVEL_WARNING] = "warning", [LEVEL_ERROR] = "error"};

void found(struct findings *findings, enum level level, const char *subject, const char *format,
           ...)
{
    va_list arguments;
    if (findings->count == FINDINGS_MOST)
        return;
    struct finding *finding = &findings->list[findings->count++];
    finding->level = level;
    finding->subject = subject;
    va_start(arguments, format);
    vsnprintf(finding->text, sizeof(finding->text), format, arguments);
    va_end(arguments);
}

/* ---- Saying it ---- */

static void print_text(const struct findings *findings)
{
    for (size_t i = 0; i < findings->count; i++) {
        const struct finding *finding = &findings->list[i];
        printf("%-8s %-12s %s\n", level_names[finding->level], finding->subject, finding->text);
    }
}

static void print_json(const struct findings *findings)
{
    json_t *list = json_array();
    for (size_t i = 0; i < findings->count; i++) {
        const struct finding *finding = &findings->list[i];
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s}", "level", level_names[finding->level],
                                        "subject", finding->subject, "text", finding->text));
    }
    json_dumpf(list, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(list);
}

static bool any_error(const struct findings *findings)
{
    for (size_t i = 0; i < findings->count; i++)
        if (findings->list[i].level == LEVEL_ERROR)
            return true;
    return false;
}

/* ---- The command ---- */

static int examine(const struct serve_options *serve, bool as_json)
{
    static struct findings findings;
    struct config *config;
    clock_calibrate_begin();
    int result = config_create(&serve->pool, serve, &config);
    if (result < 0)
        return command_failed(result);
    doctor_look_at_pool(&findings, config);
    doctor_look_at_kernel(&findings);
    config_free(config);
    if (as_json)
        print_json(&findings);
    else
        print_text(&findings);
    return any_error(&findings) ? STATUS_FAILED : STATUS_OK;
}

static int examine_file(const char *file, bool as_json)
{
    struct configuration configuration;
    int status = STATUS_CONFIGURATION;
    configuration_read(&configuration, file);
    configuration_print_problems(&configuration, stderr);
    if (configuration.problems.errors == 0)
        status = examine(&configuration.settings.serve, as_json);
    configuration_free(&configuration);
    return status;
}

static int examine_defaults(bool as_json)
{
    struct settings settings;
    settings_init(&settings);
    int status = examine(&settings.serve, as_json);
    settings_free(&settings);
    return status;
}

int doctor_command(const struct command *command, int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0}};
    bool as_json = false;
    int option;
    while ((option = command_option(command, argc, argv, options)) != -1) {
        if (option == 'h')
            return command_help(command);
        if (option != 'j')
            return STATUS_USAGE;
        as_json = true;
    }
    if (argc - optind > 1)
        return usage_error(command, "doctor wants one file at most");
    int status = argc == optind ? examine_defaults(as_json) : examine_file(argv[optind], as_json);
    return fflush(stdout) == 0 ? status : STATUS_FAILED;
}
