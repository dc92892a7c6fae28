/* SPDX-License-Identifier: BSD-3-Clause */
#include "options.h"
#include "arguments.h"
#include "failure.h"

#include <string.h>

enum {
    DPI_MIN = 10,
    DPI_MAX = 1200,
    DPI_DEFAULT = 100,
    WORKERS_MAX = 256,
    PAGE_MAX = 1000000,
};

static const char help[] =
    "render - the pages of a PDF document as PNG files, side by side on all cores\n"
    "\n"
    "Usage\n"
    "  render FILE.pdf --out DIR [options]\n"
    "  render --scene users [--workers N]\n"
    "\n"
    "Writes DIR/page-0001.png and so on, and DIR/contact-sheet.png with the first\n"
    "120 pages. Pages are rendered in worker processes: one that crashes the\n"
    "renderer is reported, and costs that page alone.\n"
    "\n"
    "Options\n"
    "  --out DIR             where the files go; created if it is missing\n"
    "  --dpi N               resolution, 10 to 1200; the default is 100\n"
    "  --workers N           worker processes, 1 to 256; the default is one per\n"
    "                        usable core\n"
    "  --max-load-average X  hold back while the load average is above X per core,\n"
    "                        such as 0.85 or 85%: pages then go to one worker at a\n"
    "                        time, or with --trust are rendered in this process;\n"
    "                        the default is not to look\n"
    "  --trust               the document may be rendered in this process; a page\n"
    "                        that crashes the renderer there ends the program\n"
    "  --serial              no pool: a plain loop in this process\n"
    "  --compare             render three times - serial, parallel, and as on a busy\n"
    "                        machine - into DIR/serial, DIR/parallel and DIR/busy,\n"
    "                        and print a table of times and whether the pixels agree\n"
    "  --crash-page N        for demonstrations: kills the renderer on page N\n"
    "  --scene users         no document: 100 users that take 10 ms each, in a loop\n"
    "                        and on the pool\n"
    "  --help                this text\n"
    "\n"
    "Exit status\n"
    "  0  everything was rendered; with --compare, the pixels agree\n"
    "  1  some page failed, or the document or the directory cannot be used\n"
    "  2  the command line is wrong\n"
    "\n"
    "Examples\n"
    "  render manual.pdf --out pages\n"
    "  render manual.pdf --out pages --compare --trust\n";

enum { OUT = 1, DPI, WORKERS, MAX_LOAD_AVERAGE, TRUST, SERIAL, COMPARE, CRASH_PAGE, SCENE };

static const struct option names[] = {
    {"out", required_argument, NULL, OUT},
    {"dpi", required_argument, NULL, DPI},
    {"workers", required_argument, NULL, WORKERS},
    {"max-load-average", required_argument, NULL, MAX_LOAD_AVERAGE},
    {"trust", no_argument, NULL, TRUST},
    {"serial", no_argument, NULL, SERIAL},
    {"compare", no_argument, NULL, COMPARE},
    {"crash-page", required_argument, NULL, CRASH_PAGE},
    {"scene", required_argument, NULL, SCENE},
    {"help", no_argument, NULL, HELP},
    {0},
};

static bool read_scene(const char *text, struct options *options)
{
    options->scene_users = strcmp(text, "users") == 0;
    if (!options->scene_users)
        complain("--scene %s: there is no such scene; the only one is users", text);
    return options->scene_users;
}

static bool read_option(int option, const char *text, struct options *options)
{
    switch (option) {
    case OUT:
        options->out = text;
        if (*text == '\0')
            complain("--out '': must name a directory; use . for the current one");
        return *text != '\0';
    case DPI:
        return read_number("dpi", text, DPI_MIN, DPI_MAX, "leave it out for 100", &options->dpi);
    case WORKERS:
        return read_number("workers", text, 1, WORKERS_MAX, "leave it out for one per usable core",
                           &options->workers);
    case MAX_LOAD_AVERAGE:
        options->max_load_average = text;
        return true;
    case TRUST:
        options->trust = true;
        return true;
    case SERIAL:
        options->serial = true;
        return true;
    case COMPARE:
        options->compare = true;
        return true;
    case CRASH_PAGE:
        return read_number("crash-page", text, 1, PAGE_MAX, "leave it out to crash on none",
                           &options->crash_page);
    default:
        return read_scene(text, options);
    }
}

/* Combinations that contradict themselves. */
static bool check(const struct options *options)
{
    const char *problem = NULL;
    if (options->scene_users &&
        (options->path || options->out || options->serial || options->trust || options->compare ||
         options->crash_page || options->max_load_average))
        problem = "--scene users takes no document and no option but --workers";
    else if (!options->scene_users && !options->path)
        problem = "no document; name a PDF file, or see --help";
    else if (!options->scene_users && !options->out)
        problem = "no --out; name the directory that the PNG files go to";
    else if (options->serial && options->compare)
        problem = "--serial and --compare exclude each other; --compare includes a serial run";
    else if (options->serial && (options->workers || options->max_load_average))
        problem = "--serial has no pool; leave out --workers and --max-load-average";
    else if (options->compare && options->crash_page)
        problem = "--crash-page would end the serial run of --compare; leave one of them out";
    if (problem)
        complain("%s", problem);
    return !problem;
}

bool options_read(int argc, char **argv, struct options *options, int *status)
{
    const struct arguments arguments = {.help = help, .names = names, .read = read_option};
    *options = (struct options){.dpi = DPI_DEFAULT};
    int next = arguments_read(&arguments, argc, argv, options, status);
    if (next == 0)
        return false;
    if (next < argc)
        options->path = argv[next++];
    if (next < argc) {
        complain("%s: one document at a time; run render once for each", argv[next]);
        return false;
    }
    return check(options);
}
