/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/configuration.h"

#include "base/error.h"
#include "tools/nearest.h"
#include "tools/parse.h"
#include "tools/source.h"
#include "tools/units.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- Values ---- */

static const struct assignment *find(const struct configuration *configuration, const char *section,
                                     const char *key, size_t from)
{
    for (size_t i = from; i < configuration->assignment_count; i++) {
        const struct assignment *each = &configuration->assignments[i];
        bool here = section == NULL ? each->section == NULL
                                    : each->section != NULL && strcmp(each->section, section) == 0;
        if (here && strcmp(each->key, key) == 0)
            return each;
    }
    return NULL;
}

static size_t after(const struct configuration *configuration, const struct assignment *each)
{
    return (size_t)(each - configuration->assignments) + 1;
}

/* The pool's sentences begin with the name of an option, as C has it, and "is". */
static const char *after_name(const char *sentence)
{
    return sentence + strcspn(sentence, " ") + 1;
}

static void read_value(struct configuration *configuration, const struct key *key,
                       const struct assignment *given)
{
    const char *warning;
    if (settings_read(&configuration->settings, key, given->value, &warning) < 0)
        problems_error(&configuration->problems, given->line, "%s", error_message());
    else if (warning != NULL)
        problems_warn(&configuration->problems, given->line, "%s is '%s', which %s", key->name,
                      given->value, after_name(warning));
}

static void read_key(struct configuration *configuration, const struct key *key)
{
    const struct assignment *given = find(configuration, NULL, key->name, 0);
    if (given == NULL)
        return;
    int first = given->line;
    read_value(configuration, key, given);
    while ((given = find(configuration, NULL, key->name, after(configuration, given))) != NULL) {
        if (key_is_list(key))
            read_value(configuration, key, given);
        else
            problems_error(&configuration->problems, given->line,
                           "%s is '%s', and has a value from line %d already; give one", key->name,
                           given->value, first);
    }
}

static void find_unknown(struct configuration *configuration)
{
    for (size_t i = 0; i < configuration->assignment_count; i++) {
        const struct assignment *each = &configuration->assignments[i];
        if (each->section != NULL || key_find(each->key) != NULL ||
            find(configuration, NULL, each->key, 0) != each)
            continue;
        struct nearest nearest = nearest_to(each->key);
        for (unsigned k = 0; k < key_count; k++)
            nearest_try(&nearest, keys[k].name);
        if (nearest.best != NULL)
            problems_error(&configuration->problems, each->line, "%s is no key; did you mean '%s'?",
                           each->key, nearest.best);
        else
            problems_error(&configuration->problems, each->line,
                           "%s is no key; multicore.conf(5) lists them, and those of a module "
                           "belong into its section",
                           each->key);
    }
}

/* ---- Modules ---- */

/* A path that does not begin at the root begins where the file is. */
static char *beside(const struct configuration *configuration, const char *path)
{
    char *made = NULL, real[PATH_MAX];
    if (path[0] == '/')
        return strdup(path);
    char *directory = realpath(configuration->file, real);
    char *slash = directory == NULL ? NULL : strrchr(directory, '/');
    if (slash == NULL)
        return strdup(path);
    *slash = '\0';
    return asprintf(&made, "%s/%s", directory, path) < 0 ? NULL : made;
}

static char *module_path(const struct configuration *configuration, const char *title,
                         const struct assignment *given)
{
    char *made = NULL;
    if (given != NULL)
        return beside(configuration, given->value);
    if (strchr(title, '/') != NULL)
        return beside(configuration, title);
    return asprintf(&made, "%s/%s.so", MULTICORE_MODULES, title) < 0 ? NULL : made;
}

static void check_file(struct configuration *configuration, const struct configured_module *module)
{
    struct stat status;
    int line = module->path_line != 0 ? module->path_line : module->line;
    if (stat(module->path, &status) < 0)
        problems_error(&configuration->problems, line,
                       "path of module \"%s\" is '%s': %s; give the path of its shared object",
                       module->title, module->path, strerror(errno));
    else if (!S_ISREG(status.st_mode))
        problems_error(&configuration->problems, line,
                       "path of module \"%s\" is '%s', which is no file; give the path of its "
                       "shared object",
                       module->title, module->path);
}

/* Sections cannot hold a key twice. */
static void check_once(struct configuration *configuration, const struct configured_module *module,
                       const struct assignment *given)
{
    const struct assignment *first = find(configuration, module->title, given->key, 0);
    if (first != given)
        problems_error(&configuration->problems, given->line,
                       "%s of module \"%s\" is '%s', and has a value from line %d already; give "
                       "one",
                       given->key, module->title, given->value, first->line);
}

static int read_settings(struct configuration *configuration, struct configured_module *module)
{
    size_t most = configuration->assignment_count + 1;
    module->settings = calloc(most, sizeof(*module->settings));
    module->lines = calloc(most, sizeof(*module->lines));
    if (module->settings == NULL || module->lines == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < configuration->assignment_count; i++) {
        const struct assignment *each = &configuration->assignments[i];
        if (each->section == NULL || strcmp(each->section, module->title) != 0)
            continue;
        check_once(configuration, module, each);
        if (strcmp(each->key, "path") == 0 || strcmp(each->key, "lazy") == 0)
            continue; /* ours */
        module->lines[module->setting_count] = each->line;
        module->settings[module->setting_count++] =
            (struct setting){.key = each->key, .value = each->value};
    }
    return 0;
}

static void read_lazy(struct configuration *configuration, struct configured_module *module)
{
    const struct assignment *given = find(configuration, module->title, "lazy", 0);
    if (given == NULL)
        return;
    module->lazy_line = given->line;
    module->lazy = strcmp(given->value, "yes") == 0;
    if (!module->lazy && strcmp(given->value, "no") != 0)
        problems_error(&configuration->problems, given->line,
                       "lazy of module \"%s\" is '%s'; give 'no' or 'yes'", module->title,
                       given->value);
}

static int read_module(struct configuration *configuration, uint32_t place)
{
    struct configured_module *module = &configuration->modules[place];
    const struct assignment *given = find(configuration, module->title, "path", 0);
    module->path = module_path(configuration, module->title, given);
    module->path_line = given != NULL ? given->line : 0;
    if (module->path == NULL || read_settings(configuration, module) < 0)
        return -ENOMEM;
    read_lazy(configuration, module);
    configuration->specs[place] = (struct module_spec){.path = module->path,
                                                       .settings = module->settings,
                                                       .setting_count = module->setting_count,
                                                       .lazy = module->lazy};
    check_file(configuration, module);
    return 0;
}

static void read_modules(struct configuration *configuration)
{
    struct serve_options *serve = &configuration->settings.serve;
    uint32_t count = configuration->module_count;
    configuration->specs = calloc(count != 0 ? count : 1, sizeof(*configuration->specs));
    bool failed = configuration->specs == NULL;
    for (uint32_t i = 0; i < count && !failed; i++)
        failed = read_module(configuration, i) < 0;
    if (failed)
        problems_error(&configuration->problems, 0, "there is no memory for the modules");
    if (count == 0)
        problems_warn(&configuration->problems, 0,
                      "there is no module, and so nothing to run; write module \"NAME\" { }");
    serve->modules = configuration->specs;
    serve->module_count = count;
}

/* ---- The whole ---- */

static int line_of(const struct configuration *configuration, const char *key)
{
    const struct assignment *given = find(configuration, NULL, key, 0);
    return given == NULL ? 0 : given->line;
}

static void check_arena(struct configuration *configuration)
{
    const struct mc_pool_options *pool = &configuration->settings.serve.pool;
    char arena[UNITS_TEXT_SIZE], payload[UNITS_TEXT_SIZE];
    if (pool->arena_size != 0 && pool->arena_size < pool->max_payload)
        problems_error(&configuration->problems, line_of(configuration, "arena-size"),
                       "arena-size is '%s', which is less than max-payload, %s; give that or more, "
                       "or 'auto'",
                       units_of_size(pool->arena_size, arena),
                       units_of_size(pool->max_payload, payload));
}

/* What only holds together: asks the pool itself. */
static void check_together(struct configuration *configuration)
{
    struct settings *settings = &configuration->settings;
    struct config *config = NULL;
    check_arena(configuration);
    if (configuration->problems.errors > 0)
        return;
    if (config_create(&settings->serve.pool, &settings->serve, &config) == 0) {
        config_free(config);
        return;
    }
    const char *sentence = error_message();
    char key[64];
    snprintf(key, sizeof(key), "%.*s", (int)strcspn(sentence, " "), sentence);
    for (char *each = key; *each != '\0'; each++)
        if (*each == '_')
            *each = '-';
    problems_error(&configuration->problems, line_of(configuration, key), "%s %s", key,
                   after_name(sentence));
}

static void place_socket(struct configuration *configuration)
{
    struct settings *settings = &configuration->settings;
    char limits[KEY_LIMITS_SIZE];
    const struct key *key = key_find("socket");
    configuration->socket = beside(configuration, settings->socket);
    if (configuration->socket == NULL)
        problems_error(&configuration->problems, 0, "there is no memory for the socket's path");
    else if (strlen(configuration->socket) > key->most)
        problems_error(&configuration->problems, line_of(configuration, "socket"),
                       "socket is '%s', which is too long; give %s", configuration->socket,
                       key_limits(key, limits));
    settings->socket = configuration->socket;
}

void configuration_read(struct configuration *configuration, const char *file)
{
    struct problems *problems = &configuration->problems;
    struct source source;
    *configuration = (struct configuration){.file = file};
    settings_init(&configuration->settings);
    if (source_read(&source, file, problems) == 0 && source_prepare(&source, problems) == 0) {
        bool complete = parse_source(configuration, &source);
        for (unsigned i = 0; i < key_count; i++)
            read_key(configuration, &keys[i]);
        find_unknown(configuration);
        if (complete)
            read_modules(configuration);
        place_socket(configuration);
    }
    source_free(&source);
    if (problems->errors == 0)
        check_together(configuration);
    problems_sort(problems);
}

void configuration_free(struct configuration *configuration)
{
    for (uint32_t i = 0; i < configuration->module_count; i++) {
        free(configuration->modules[i].title);
        free(configuration->modules[i].path);
        free(configuration->modules[i].settings);
        free(configuration->modules[i].lines);
    }
    for (size_t i = 0; i < configuration->assignment_count; i++) {
        free(configuration->assignments[i].section);
        free(configuration->assignments[i].key);
        free(configuration->assignments[i].value);
    }
    free(configuration->modules);
    free(configuration->specs);
    free(configuration->assignments);
    free(configuration->socket);
    settings_free(&configuration->settings);
    problems_free(&configuration->problems);
}

/* ---- Printing ---- */

/* Plain words need no quotes; in single ones only \ and ' are special. */
static char *quoted(const char *value)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "-_.%:@";
    char *text = NULL;
    size_t size = 0;
    if (value[0] != '\0' && value[strspn(value, plain)] == '\0')
        return strdup(value);
    FILE *out = open_memstream(&text, &size);
    if (out == NULL)
        return NULL;
    char quote = '"';
    for (const char *each = value; *each != '\0'; each++)
        if (strchr("\"\\$", *each) != NULL || (unsigned char)*each < ' ')
            quote = '\'';
    fputc(quote, out);
    for (const char *each = value; *each != '\0'; each++) {
        if (quote == '\'' && (*each == '\'' || *each == '\\'))
            fputc('\\', out);
        fputc(*each, out);
    }
    fputc(quote, out);
    return fclose(out) == 0 ? text : NULL;
}

static void print_text(FILE *out, const char *value)
{
    char *text = quoted(value);
    fputs(text != NULL ? text : "?", out);
    free(text);
}

static void print_source(const struct configuration *configuration, int line, FILE *out)
{
    if (line == 0)
        fputs("  # default\n", out);
    else
        fprintf(out, "  # %s:%d\n", configuration->file, line);
}

static void print_key(const struct configuration *configuration, const struct key *key, FILE *out)
{
    const struct assignment *given = find(configuration, NULL, key->name, 0);
    fprintf(out, "%s = ", key->name);
    if (!key_is_list(key)) {
        bool path = key->type == KEY_PATH && configuration->socket != NULL;
        print_text(out, path ? configuration->socket : given != NULL ? given->value : key->initial);
        print_source(configuration, given != NULL ? given->line : 0, out);
        return;
    }
    int line = given != NULL ? given->line : 0;
    fputs("{", out);
    while (given != NULL) {
        print_text(out, given->value);
        given = find(configuration, NULL, key->name, after(configuration, given));
        if (given != NULL)
            fputs(", ", out);
    }
    fputs("}", out);
    print_source(configuration, line, out);
}

static void print_module(const struct configuration *configuration,
                         const struct configured_module *module, FILE *out)
{
    char *title = quoted(module->title);
    bool bare = title != NULL && title[0] != '"' && title[0] != '\'';
    fprintf(out, bare ? "\nmodule \"%s\" {" : "\nmodule %s {", title != NULL ? title : "?");
    free(title);
    print_source(configuration, module->line, out);
    fputs("    path = ", out);
    print_text(out, module->path);
    print_source(configuration, module->path_line, out);
    fprintf(out, "    lazy = %s", module->lazy ? "yes" : "no");
    print_source(configuration, module->lazy_line, out);
    for (uint32_t i = 0; i < module->setting_count; i++) {
        fprintf(out, "    %s = ", module->settings[i].key);
        print_text(out, module->settings[i].value);
        print_source(configuration, module->lines[i], out);
    }
    fputs("}\n", out);
}

void configuration_print(const struct configuration *configuration, FILE *out)
{
    for (unsigned i = 0; i < key_count; i++)
        print_key(configuration, &keys[i], out);
    for (uint32_t i = 0; i < configuration->module_count; i++)
        print_module(configuration, &configuration->modules[i], out);
}

void configuration_print_problems(const struct configuration *configuration, FILE *out)
{
    const struct problems *problems = &configuration->problems;
    for (size_t i = 0; i < problems->count; i++) {
        const struct problem *each = &problems->list[i];
        fputs(configuration->file, out);
        if (each->line > 0)
            fprintf(out, ":%d", each->line);
        fprintf(out, ": %s%s\n", each->warning ? "warning: " : "", each->text);
    }
}
