/* SPDX-License-Identifier: BSD-3-Clause
 *
 * multicore check: what is wrong with a configuration.
 */
#include "base/error.h"
#include "pool/order.h"
#include "tools/command.h"
#include "tools/configuration.h"
#include "tools/probe.h"

#include <stdlib.h>
#include <string.h>

static void check_error(struct configuration *configuration, uint32_t place, const char *error)
{
    const struct configured_module *module = &configuration->modules[place];
    if (error != NULL)
        problems_error(&configuration->problems,
                       module->path_line != 0 ? module->path_line : module->line,
                       "path of module \"%s\" is '%s': %s", module->title, module->path, error);
}

/* What one module has that another one has before it. */
static void check_names(struct configuration *configuration, const struct probe *probes,
                        uint32_t place)
{
    const struct configured_module *module = &configuration->modules[place];
    for (uint32_t i = 0; i < place; i++) {
        if (probes[i].name != NULL && probes[place].name != NULL &&
            strcmp(probes[i].name, probes[place].name) == 0) {
            problems_error(&configuration->problems, module->line,
                           "module \"%s\" calls itself '%s', as \"%s\" does; take one out",
                           module->title, probes[place].name, configuration->modules[i].title);
            continue;
        }
        for (size_t h = 0; h < probes[i].handler_count; h++)
            for (size_t g = 0; g < probes[place].handler_count; g++)
                if (strcmp(probes[i].handlers[h], probes[place].handlers[g]) == 0)
                    problems_error(&configuration->problems, module->line,
                                   "module \"%s\" has a handler '%s', as \"%s\" has; rename one",
                                   module->title, probes[i].handlers[h],
                                   configuration->modules[i].title);
    }
}

static void check_requires(struct configuration *configuration, const struct probe *probes,
                           uint32_t place)
{
    const struct configured_module *module = &configuration->modules[place];
    for (size_t r = 0; r < probes[place].require_count; r++) {
        bool found = false;
        for (uint32_t i = 0; i < configuration->module_count; i++)
            found = found || (probes[i].name != NULL &&
                              strcmp(probes[i].name, probes[place].requires[r]) == 0);
        if (!found)
            problems_error(&configuration->problems, module->line,
                           "module \"%s\" requires '%s', which is not configured; add a section "
                           "for it",
                           module->title, probes[place].requires[r]);
    }
}

/* Requirements that go round in a circle. */
static void check_order(struct configuration *configuration, const struct probe *probes)
{
    struct order_item items[MODULES_MOST];
    uint32_t order[MODULES_MOST], count = configuration->module_count;
    for (uint32_t i = 0; i < count; i++)
        items[i] = (struct order_item){probes[i].name, (const char *const *)probes[i].requires};
    if (order_modules(items, count, order) < 0)
        problems_error(&configuration->problems, 0, "%s", error_message());
}

/* Returns the number of handlers. */
static size_t check_modules(struct configuration *configuration)
{
    uint32_t count = configuration->module_count;
    struct probe *probes = calloc(count + 1, sizeof(*probes));
    size_t handlers = 0;
    if (probes == NULL)
        return 0;
    for (uint32_t i = 0; i < count; i++) {
        probe_module(&probes[i], configuration->modules[i].path, PROBE_TIMEOUT_MS);
        check_error(configuration, i, probes[i].error);
        handlers += probes[i].handler_count;
    }
    for (uint32_t i = 0; i < count; i++) {
        check_names(configuration, probes, i);
        check_requires(configuration, probes, i);
    }
    if (configuration->problems.errors == 0)
        check_order(configuration, probes);
    for (uint32_t i = 0; i < count; i++)
        probe_free(&probes[i]);
    free(probes);
    problems_sort(&configuration->problems);
    return handlers;
}

static int check(struct configuration *configuration, bool effective)
{
    size_t handlers = 0;
    if (configuration->problems.errors == 0 && !effective)
        handlers = check_modules(configuration);
    configuration_print_problems(configuration, stderr);
    if (configuration->problems.errors > 0) {
        fprintf(stderr, "%s: %zu mistake%s\n", configuration->file, configuration->problems.errors,
                configuration->problems.errors == 1 ? "" : "s");
        return STATUS_CONFIGURATION;
    }
    if (effective)
        configuration_print(configuration, stdout);
    else
        printf("%s: good, with %u module%s and %zu handler%s\n", configuration->file,
               configuration->module_count, configuration->module_count == 1 ? "" : "s", handlers,
               handlers == 1 ? "" : "s");
    return STATUS_OK;
}

int check_command(const struct command *command, int argc, char **argv)
{
    static const struct option options[] = {
        {"effective", no_argument, NULL, 'e'}, {"help", no_argument, NULL, 'h'}, {0}};
    bool effective = false;
    int option;
    while ((option = command_option(command, argc, argv, options)) != -1) {
        if (option == 'h')
            return command_help(command);
        if (option != 'e')
            return STATUS_USAGE;
        effective = true;
    }
    const char *file = command_argument(command, argc, argv);
    if (file == NULL)
        return STATUS_USAGE;
    struct configuration configuration;
    configuration_read(&configuration, file);
    int status = check(&configuration, effective);
    configuration_free(&configuration);
    return fflush(stdout) == 0 ? status : STATUS_FAILED;
}
