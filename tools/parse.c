/* SPDX-License-Identifier: BSD-3-Clause
 *
 * libConfuse stops at the first key that it was not told of. So it is told, and asked
 * again from the start; unknown keys are judged later, all of them. Every key is read
 * as a list of strings, through a callback that sees each with its line.
 */
#include "tools/parse.h"

#include "base/error.h"

#include <confuse.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { NAMES_MOST = 512 };

/* A key that no file can have, since its character is refused before: at the end of
 * the text, it shows whether the last section was closed. */
#define END_KEY "\001"

struct names {
    char *list[NAMES_MOST];
    size_t count;
};

struct reader {
    struct configuration *configuration;
    struct names root, module; /* what was learned */
    struct names *unknown_in;  /* what the parser stopped at; NULL: something else */
    char *unknown;
    bool failed; /* and the reason is among the problems */
};

/* The parser's callbacks have no argument of ours. */
static struct reader *reader;

static void no_memory(int line)
{
    problems_error(&reader->configuration->problems, line, "there is no memory to read the file");
    reader->failed = true;
}

/* ---- Called by the parser ---- */

static int keep(cfg_t *cfg, cfg_opt_t *option, const char *value, void *result)
{
    struct configuration *configuration = reader->configuration;
    struct assignment made = {.line = cfg->line};
    struct assignment *grown =
        reallocarray(configuration->assignments, configuration->assignment_count + 1,
                     sizeof(*configuration->assignments));
    *(const char **)result = value;
    if (grown == NULL) {
        no_memory(cfg->line);
        return -1;
    }
    configuration->assignments = grown;
    made.section = cfg->title != NULL ? strdup(cfg->title) : NULL;
    made.key = strdup(cfg_opt_name(option));
    made.value = strdup(value);
    grown[configuration->assignment_count++] = made;
    if ((cfg->title != NULL && made.section == NULL) || made.key == NULL || made.value == NULL) {
        no_memory(cfg->line);
        return -1;
    }
    return 0;
}

static int ignore(cfg_t *cfg, cfg_opt_t *option, const char *value, void *result)
{
    *(const char **)result = value;
    return 0;
}

static bool knows(const struct names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->list[i], name) == 0)
            return true;
    return false;
}

/* What is wrong: in our words where we know better, else in the parser's. */
static void complain(cfg_t *cfg, const char *format, va_list arguments)
{
    struct problems *problems = &reader->configuration->problems;
    char text[256];
    reader->failed = true;
    if (strcmp(format, "missing equal sign after option '%s'") == 0) {
        const char *key = va_arg(arguments, const char *);
        problems_error(
            problems, cfg->line,
            "%s lacks its '='; write %s = VALUE, or module \"NAME\" { ... } for a module", key,
            key);
    } else if (strcmp(format, "found duplicate title '%s'") == 0) {
        problems_error(problems, cfg->line,
                       "module \"%s\" is there twice; give each module one section",
                       va_arg(arguments, const char *));
    } else {
        vsnprintf(text, sizeof(text), format, arguments);
        problems_error(problems, cfg->line, "%s; write KEY = VALUE, with quotes if in doubt", text);
    }
}

static void on_error(cfg_t *cfg, const char *format, va_list arguments)
{
    struct names *names = cfg->title != NULL ? &reader->module : &reader->root;
    if (reader->failed || reader->unknown != NULL)
        return;
    if (strcmp(format, "no such option '%s'") != 0) {
        complain(cfg, format, arguments);
        return;
    }
    const char *name = va_arg(arguments, const char *);
    if (strcmp(name, END_KEY) == 0 || knows(names, name) || names->count == NAMES_MOST) {
        problems_error(&reader->configuration->problems, cfg->line,
                       "'%.80s' cannot be a key here; %s", name,
                       names->count == NAMES_MOST ? "there are too many keys" : "choose another");
        reader->failed = true;
        return;
    }
    reader->unknown_in = names;
    reader->unknown = strdup(name);
    if (reader->unknown == NULL)
        no_memory(cfg->line);
}

/* ---- One pass ---- */

static cfg_opt_t list_option(const char *name, cfg_callback_t callback)
{
    cfg_opt_t option = CFG_STR_LIST_CB(NULL, NULL, CFGF_NODEFAULT, NULL);
    option.name = name;
    option.parsecb = callback;
    return option;
}

static size_t add_names(cfg_opt_t *options, const struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        options[i] = list_option(names->list[i], keep);
    return names->count;
}

static void drop_assignments(struct configuration *configuration)
{
    for (size_t i = 0; i < configuration->assignment_count; i++) {
        free(configuration->assignments[i].section);
        free(configuration->assignments[i].key);
        free(configuration->assignments[i].value);
    }
    free(configuration->assignments);
    configuration->assignments = NULL;
    configuration->assignment_count = 0;
}

/* A second "=" replaces what the first one gave. */
static void find_replaced(cfg_t *cfg)
{
    struct configuration *configuration = reader->configuration;
    for (unsigned i = 0; i < key_count; i++) {
        size_t read = 0;
        int line = 0;
        for (size_t j = 0; j < configuration->assignment_count; j++) {
            const struct assignment *each = &configuration->assignments[j];
            if (each->section == NULL && strcmp(each->key, keys[i].name) == 0) {
                read++;
                line = each->line;
            }
        }
        if (key_is_list(&keys[i]) && read != cfg_size(cfg, keys[i].name))
            problems_error(&configuration->problems, line,
                           "%s is given more than once; give one list, or add with '+='",
                           keys[i].name);
    }
}

static void take_modules(cfg_t *cfg, const struct source *source)
{
    struct configuration *configuration = reader->configuration;
    uint32_t count = cfg_size(cfg, "module");
    configuration->modules = calloc(count != 0 ? count : 1, sizeof(*configuration->modules));
    if (configuration->modules == NULL) {
        no_memory(0);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct configured_module *module = &configuration->modules[i];
        module->title = strdup(cfg_title(cfg_getnsec(cfg, "module", i)));
        module->line = i < source->section_count ? source->sections[i] : 0;
        if (module->title == NULL) {
            no_memory(module->line);
            return;
        }
        configuration->module_count++;
    }
}

/* Whether it is to be tried again. */
static bool pass(const struct source *source)
{
    static cfg_opt_t root[NAMES_MOST + 3], module[NAMES_MOST + 1];
    const cfg_opt_t end = CFG_END();
    const cfg_opt_t section =
        CFG_SEC("module", module, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES | CFGF_NODEFAULT);
    size_t used = add_names(root, &reader->root);
    root[used++] = list_option(END_KEY, ignore);
    root[used++] = section;
    root[used] = end;
    module[add_names(module, &reader->module)] = end;

    cfg_t *cfg = cfg_init(root, CFGF_NONE);
    if (cfg == NULL) {
        no_memory(0);
        return false;
    }
    drop_assignments(reader->configuration);
    cfg_set_error_function(cfg, on_error);
    int result = cfg_parse_buf(cfg, source->text);
    if (result == CFG_SUCCESS && !reader->failed) {
        find_replaced(cfg);
        take_modules(cfg, source);
    } else if (reader->unknown == NULL && !reader->failed) {
        problems_error(&reader->configuration->problems, cfg->line,
                       "the file cannot be understood from here on");
        reader->failed = true;
    }
    cfg_free(cfg);
    return result != CFG_SUCCESS && !reader->failed;
}

static void free_names(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->list[i]);
}

bool parse_source(struct configuration *configuration, const struct source *source)
{
    struct source ended = *source;
    reader = calloc(1, sizeof(*reader));
    if (reader == NULL || asprintf(&ended.text, "%s\n" END_KEY " = 0\n", source->text) < 0) {
        problems_error(&configuration->problems, 0, "there is no memory to read the file");
        free(reader);
        return false;
    }
    reader->configuration = configuration;
    for (unsigned i = 0; i < key_count && !reader->failed; i++) {
        char *name = strdup(keys[i].name);
        if (name == NULL)
            no_memory(0);
        else
            reader->root.list[reader->root.count++] = name;
    }
    while (!reader->failed && pass(&ended)) {
        reader->unknown_in->list[reader->unknown_in->count++] = reader->unknown;
        reader->unknown = NULL;
    }
    bool complete = !reader->failed;
    free(reader->unknown);
    free_names(&reader->root);
    free_names(&reader->module);
    free(reader);
    reader = NULL;
    free(ended.text);
    return complete;
}
