/* SPDX-License-Identifier: BSD-3-Clause
 *
 * multicore serve: runs the pool that a configuration describes, in the foreground.
 */
#include "pool/serve.h"

#include "base/error.h"
#include "tools/command.h"
#include "tools/configuration.h"
#include "tools/journal.h"
#include "tools/listener.h"
#include "tools/profile.h"
#include "tools/settings.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <systemd/sd-daemon.h>
#include <time.h>

struct server {
    const char *file;
    struct configuration *configuration; /* in use */
    struct configuration *next;          /* about to be, if the pool can have it; or NULL */
    struct listener listener;
    bool serial_load, refork; /* whatever the configuration says, the second as in: */
    struct settings given;
    bool profile, json;
    const char *trace; /* a path, or NULL */
};

static void log_problems(const struct configuration *configuration)
{
    char text[1024];
    const struct problems *problems = &configuration->problems;
    for (size_t i = 0; i < problems->count; i++)
        journal_line(problems->list[i].warning ? MC_LOG_WARNING : MC_LOG_ERROR, "%s",
                     problem_text(&problems->list[i], configuration->file, text, sizeof(text)));
}

/* NULL after a report. */
static struct configuration *read_configuration(const char *file)
{
    struct configuration *configuration = malloc(sizeof(*configuration));
    if (configuration == NULL) {
        error_set(-ENOMEM, "there is no memory for the configuration");
        return NULL;
    }
    configuration_read(configuration, file);
    log_problems(configuration);
    if (configuration->problems.errors == 0)
        return configuration;
    error_set(-EINVAL, "%s has %zu mistake%s; 'multicore check' shows them", file,
              configuration->problems.errors, configuration->problems.errors == 1 ? "" : "s");
    configuration_free(configuration);
    free(configuration);
    return NULL;
}

/* ---- Called by the pool ---- */

static void on_log(void *context, int level, const char *line)
{
    journal_line(level, "%s", line);
}

static void on_event(void *context, enum serve_event event, const char *text)
{
    struct server *server = context;
    struct timespec now;
    switch (event) {
    case SERVE_READY:
        journal_line(MC_LOG_INFO, "ready, with %u module%s of %s",
                     server->configuration->module_count,
                     server->configuration->module_count == 1 ? "" : "s", server->file);
        sd_notifyf(0, "READY=1\nSTATUS=Ready, with %u modules.",
                   server->configuration->module_count);
        break;
    case SERVE_RELOADING:
        clock_gettime(CLOCK_MONOTONIC, &now);
        sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\nSTATUS=Reloading %s.",
                   (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000, server->file);
        break;
    case SERVE_RELOADED:
        if (server->next != NULL) /* else seats went back to what is in use */
            server->configuration = server->next;
        server->next = NULL;
        if (text != NULL && text[0] != '\0')
            journal_line(MC_LOG_WARNING, "%s", text);
        journal_line(MC_LOG_INFO, "reloaded %s", server->file);
        sd_notifyf(0, "READY=1\nSTATUS=Ready, with %u modules, reloaded.",
                   server->configuration->module_count);
        break;
    case SERVE_KEPT:
        server->next = NULL; /* not freed: the pool may still look into it */
        sd_notifyf(0, "READY=1\nSTATUS=Ready; the last reload failed: %s", text);
        break;
    case SERVE_STOPPING:
        journal_line(MC_LOG_INFO, "stopping, when accepted tasks have ended");
        sd_notify(0, "STOPPING=1\nSTATUS=Stopping, when accepted tasks have ended.");
        break;
    case SERVE_ENDED: /* the pool exits by itself, without going back to main() */
        if (text != NULL && text[0] != '\0') {
            journal_line(MC_LOG_ERROR, "%s", text);
            sd_notifyf(0, "STATUS=Failed: %s", text);
        }
        listener_close(&server->listener);
        break;
    case SERVE_ALIVE:
        sd_notify(0, "WATCHDOG=1");
        break;
    }
}

/* How the modules started, each time they do. */
static void on_started(void *context, const struct startup *startup)
{
    const struct server *server = context;
    if (server->profile && server->json) {
        json_t *object = profile_json(startup);
        json_dumpf(object, stdout, JSON_COMPACT);
        json_decref(object);
        putchar('\n');
    } else if (server->profile) {
        profile_print(startup, stdout);
    }
    fflush(stdout);
    if (server->trace != NULL && profile_write_trace(startup, server->trace) < 0)
        journal_line(MC_LOG_WARNING, "%s", error_message());
}

static const struct serve_options *on_reload(void *context);

static void complete(struct server *server, struct configuration *configuration)
{
    struct serve_options *serve = &configuration->settings.serve;
    uint64_t watchdog_us = 0;
    if (server->serial_load)
        serve->serial_load = 1;
    if (server->refork)
        serve->pool.refork_after = server->given.serve.pool.refork_after;
    serve->pool.log = on_log;
    serve->listener = server->listener.socket;
    serve->tell = on_event;
    serve->reload = on_reload;
    serve->started = on_started;
    serve->context = server;
    if (sd_watchdog_enabled(0, &watchdog_us) > 0)
        serve->alive_ms = (uint32_t)(watchdog_us / 2000 != 0 ? watchdog_us / 2000 : 1);
}

/* The pool may still refuse the new one, and go on with the old. Both stay. */
static const struct serve_options *on_reload(void *context)
{
    struct server *server = context;
    struct configuration *read = read_configuration(server->file);
    if (read == NULL)
        return NULL;
    for (unsigned i = 0; i < key_count; i++)
        if (settings_hold(&read->settings, &keys[i], &server->configuration->settings))
            journal_line(MC_LOG_WARNING, "%s: %s needs a restart to change", server->file,
                         keys[i].name);
    complete(server, read);
    server->next = read;
    return &read->settings.serve;
}

/* ---- The command ---- */

static int serve(struct server *server)
{
    journal_open();
    (void)signal(SIGPIPE, SIG_IGN); /* whoever read our lines may be gone */
    server->configuration = read_configuration(server->file);
    if (server->configuration == NULL) {
        journal_line(MC_LOG_ERROR, "%s", error_message());
        return STATUS_CONFIGURATION;
    }
    if (listener_open(&server->listener, &server->configuration->settings) < 0) {
        journal_line(MC_LOG_ERROR, "%s", error_message());
        return STATUS_FAILED;
    }
    complete(server, server->configuration);
    int result = serve_run(&server->configuration->settings.serve);
    if (result < 0) {
        journal_line(MC_LOG_ERROR, "%s", error_message());
        sd_notifyf(0, "ERRNO=%d\nSTATUS=Failed: %s", -result, error_message());
    }
    listener_close(&server->listener);
    return result < 0 ? STATUS_FAILED : STATUS_OK;
}

int serve_command(const struct command *command, int argc, char **argv)
{
    static const struct option options[] = {{"serial-load", no_argument, NULL, 'l'},
                                            {"startup-profile", no_argument, NULL, 'p'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"startup-trace", required_argument, NULL, 't'},
                                            {"refork-after", required_argument, NULL, 'r'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct server server = {0};
    const char *warning;
    int option;
    while ((option = command_option(command, argc, argv, options)) != -1) {
        if (option == 'r' &&
            settings_read(&server.given, key_find("refork-after"), optarg, &warning) < 0)
            return usage_error(command, "--%s", error_message());
        if (option == 'l')
            server.serial_load = true;
        else if (option == 'r')
            server.refork = true;
        else if (option == 'p')
            server.profile = true;
        else if (option == 'j')
            server.json = true;
        else if (option == 't')
            server.trace = optarg;
        else
            return option == 'h' ? command_help(command) : STATUS_USAGE;
    }
    if (server.json && !server.profile)
        return usage_error(command, "--json says how --startup-profile is printed; give both");
    server.file = command_argument(command, argc, argv);
    return server.file == NULL ? STATUS_USAGE : serve(&server);
}
