/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/journal.h"

#include "multicore.h"

#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

enum { TEXT_SIZE = 1024, LINE_SIZE = 1200 };

static bool for_journal, coloured;

static const struct {
    const char *prefix, *word, *colour;
} levels[] = {
    [MC_LOG_ERROR] = {SD_ERR, "error", "\033[31m"},
    [MC_LOG_WARNING] = {SD_WARNING, "warning", "\033[33m"},
    [MC_LOG_INFO] = {SD_INFO, "info", ""},
};

void journal_open(void)
{
    const char *stream = getenv("JOURNAL_STREAM"), *terminal = getenv("TERM");
    const char *no_colour = getenv("NO_COLOR");
    uintmax_t device, inode;
    struct stat status;
    for_journal =
        stream != NULL && sscanf(stream, "%" SCNuMAX ":%" SCNuMAX, &device, &inode) == 2 &&
        fstat(STDERR_FILENO, &status) == 0 && status.st_dev == device && status.st_ino == inode;
    coloured = isatty(STDERR_FILENO) && (no_colour == NULL || no_colour[0] == '\0') &&
               terminal != NULL && strcmp(terminal, "dumb") != 0;
}

/* Returns its size. */
static size_t make_line(char line[LINE_SIZE], int level, const char *text)
{
    char stamp[32] = "";
    struct timespec now;
    struct tm parts;
    int size;
    if (for_journal) {
        size = snprintf(line, LINE_SIZE, "%s%s\n", levels[level].prefix, text);
    } else {
        clock_gettime(CLOCK_REALTIME, &now);
        strftime(stamp, sizeof(stamp), "%Y-%m-%d %H:%M:%S", localtime_r(&now.tv_sec, &parts));
        const char *colour = coloured ? levels[level].colour : "";
        size = snprintf(line, LINE_SIZE, "%s.%03ld %s%s%s: %s\n", stamp, now.tv_nsec / 1000000,
                        colour, levels[level].word, colour[0] != '\0' ? "\033[0m" : "", text);
    }
    return (size_t)size;
}

/* In one write, so that lines of several processes do not mix. False when there is no room
 * for it, since nobody reads: the supervisor must not wait for that. A pipe that can be
 * written has room for a line, and a terminal mostly has. */
static bool put(int level, const char *text)
{
    struct pollfd end = {.fd = STDERR_FILENO, .events = POLLOUT};
    char line[LINE_SIZE];
    size_t size = make_line(line, level, text);
    if (poll(&end, 1, 0) == 0)
        return false;
    ssize_t written = write(STDERR_FILENO, line, size);
    (void)written; /* there is nowhere else to say it */
    return true;
}

void journal_line(int level, const char *format, ...)
{
    static uint64_t dropped;
    char text[TEXT_SIZE], before[64];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (level < MC_LOG_ERROR || level > MC_LOG_INFO)
        level = MC_LOG_INFO;
    if (dropped != 0) {
        snprintf(before, sizeof(before), "lines that nobody read, and were dropped: %" PRIu64,
                 dropped);
        if (put(MC_LOG_WARNING, before))
            dropped = 0;
    }
    if (dropped != 0 || !put(level, text))
        dropped++;
}
