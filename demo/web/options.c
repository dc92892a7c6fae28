/* SPDX-License-Identifier: BSD-3-Clause */
#include "options.h"
#include "arguments.h"
#include "failure.h"

#include <string.h>

static const char help[] =
    "web - a web server that does its slow work in one of three ways\n"
    "\n"
    "Usage\n"
    "  web --mode sync|async|pool --listen HOST:PORT [options]\n"
    "\n"
    "Modes\n"
    "  sync    one request after the other\n"
    "  async   one event loop, which asks the database without waiting\n"
    "  pool    one event loop, and a pool of worker processes behind it\n"
    "\n"
    "Options\n"
    "  --mode MODE           sync, async or pool; the default is pool\n"
    "  --listen HOST:PORT    serve over TCP, such as 127.0.0.1:8080, [::1]:8080, or\n"
    "                        :8080 for all addresses; port 0 takes a free one\n"
    "  --unix PATH           serve at a Unix socket, also beside --listen\n"
    "  --database CONNINFO   PostgreSQL, such as 'host=/run/postgresql dbname=posts';\n"
    "                        the default is none\n"
    "  --connections N       to the database, of each process that asks it, 1 to 1000;\n"
    "                        the default is 64; sync has one\n"
    "  --workers N           worker processes of the pool, 1 to 256; the default is\n"
    "                        one per usable core\n"
    "  --io-workers N        further ones, which ask the database, 1 to 64; the default\n"
    "                        is 1\n"
    "  --max-load-average X  of the pool, per core, such as 0.85 or 85%: above it,\n"
    "                        work goes to one worker at a time\n"
    "  --max-requests N      at once, 1 to 60000; more are turned away with 503; the\n"
    "                        default is 4000\n"
    "  --time-limit MS       of a request, from when it is complete, 1 to 3600000; the\n"
    "                        default is 30000\n"
    "  --body-time-limit MS  of a request's body, from when its head is there, 1 to\n"
    "                        3600000; the default is 300000\n"
    "  --max-upload MIB      of a document, 1 to 256; the default is 32\n"
    "  --access-log FILE     a line for each request; - for standard output\n"
    "  --help                this text\n"
    "\n"
    "Prints 'listening on ...' when it is ready. SIGTERM, SIGINT or SIGHUP ends it, when\n"
    "the requests that it has are answered, after the time limit at the latest; a second\n"
    "one at once.\n"
    "\n"
    "Exit status\n"
    "  0  it was told to end\n"
    "  1  it could not begin, or lost its pool\n"
    "  2  the command line is wrong\n";

enum {
    MODE = 1,
    LISTEN,
    UNIX,
    DATABASE,
    CONNECTIONS,
    WORKERS,
    IO_WORKERS,
    MAX_LOAD_AVERAGE,
    MAX_REQUESTS,
    TIME_LIMIT,
    BODY_TIME_LIMIT,
    MAX_UPLOAD,
    ACCESS_LOG
};

static const struct option names[] = {
    {"mode", required_argument, NULL, MODE},
    {"listen", required_argument, NULL, LISTEN},
    {"unix", required_argument, NULL, UNIX},
    {"database", required_argument, NULL, DATABASE},
    {"connections", required_argument, NULL, CONNECTIONS},
    {"workers", required_argument, NULL, WORKERS},
    {"io-workers", required_argument, NULL, IO_WORKERS},
    {"max-load-average", required_argument, NULL, MAX_LOAD_AVERAGE},
    {"max-requests", required_argument, NULL, MAX_REQUESTS},
    {"time-limit", required_argument, NULL, TIME_LIMIT},
    {"body-time-limit", required_argument, NULL, BODY_TIME_LIMIT},
    {"max-upload", required_argument, NULL, MAX_UPLOAD},
    {"access-log", required_argument, NULL, ACCESS_LOG},
    {"help", no_argument, NULL, HELP},
    {0},
};

static bool read_mode(const char *text, struct options *options)
{
    static const char *const modes[] = {[SYNC] = "sync", [ASYNC] = "async", [POOL] = "pool"};
    for (unsigned i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
        if (strcmp(text, modes[i]) == 0) {
            options->mode = (enum mode_name)i;
            return true;
        }
    complain("--mode %s: there is no such mode; give sync, async or pool", text);
    return false;
}

static bool read_default(const char *name, const char *text, unsigned min, unsigned max,
                         unsigned *number)
{
    return read_number(name, text, min, max, "leave it out for the default", number);
}

static bool read_option(int option, const char *text, struct options *options)
{
    unsigned mib;
    switch (option) {
    case MODE:
        return read_mode(text, options);
    case LISTEN:
        options->listen = text;
        return true;
    case UNIX:
        options->unix_path = text;
        return true;
    case DATABASE:
        options->database = text;
        return true;
    case CONNECTIONS:
        return read_default("connections", text, 1, 1000, &options->connections);
    case WORKERS:
        return read_default("workers", text, 1, 256, &options->workers);
    case IO_WORKERS:
        return read_default("io-workers", text, 1, 64, &options->io_workers);
    case MAX_LOAD_AVERAGE:
        options->max_load_average = text;
        return true;
    case MAX_REQUESTS:
        return read_default("max-requests", text, 1, 60000, &options->max_requests);
    case TIME_LIMIT:
        return read_default("time-limit", text, 1, 3600000, &options->time_limit_ms);
    case BODY_TIME_LIMIT:
        return read_default("body-time-limit", text, 1, 3600000, &options->body_time_limit_ms);
    case MAX_UPLOAD:
        if (!read_default("max-upload", text, 1, 256, &mib))
            return false;
        options->max_upload = (size_t)mib << 20;
        return true;
    default:
        options->access_log = text;
        return true;
    }
}

static bool check(const struct options *options)
{
    bool somewhere = options->listen || options->unix_path;
    if (!somewhere)
        complain("nowhere to listen; give --listen HOST:PORT, or --unix PATH, or see --help");
    return somewhere;
}

bool options_read(int argc, char **argv, struct options *options, int *status)
{
    const struct arguments arguments = {.help = help, .names = names, .read = read_option};
    *options = (struct options){
        .mode = POOL,
        .connections = 64,
        .max_requests = 4000,
        .time_limit_ms = 30000,
        .body_time_limit_ms = 300000,
        .max_upload = (size_t)32 << 20,
    };
    int next = arguments_read(&arguments, argc, argv, options, status);
    if (next == 0)
        return false;
    if (next < argc) {
        complain("%s: there are only options; see --help", argv[next]);
        return false;
    }
    return check(options);
}
