/* SPDX-License-Identifier: BSD-3-Clause */
#include "progress.h"
#include "seconds.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    BAR_MIN = 8,
    BAR_MAX = 50,
    LINE_SIZE = 256,
};

static const uint64_t redraw_ns = 100000000;

static unsigned terminal_width(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
        return 80;
    return size.ws_col < LINE_SIZE ? size.ws_col : LINE_SIZE - 1;
}

void progress_init(struct progress *progress, const char *label, unsigned total)
{
    const char *terminal = getenv("TERM");
    bool moves = terminal && strcmp(terminal, "dumb") != 0;
    *progress = (struct progress){
        .label = label,
        .total = total,
        .start_ns = monotonic_ns(),
        .enabled = moves && isatty(STDERR_FILENO),
    };
}

static void fill_bar(const struct progress *progress, unsigned width, char *bar)
{
    unsigned filled = (unsigned)((uint64_t)width * progress->done / progress->total);
    for (unsigned i = 0; i < width; i++)
        bar[i] = i < filled ? '#' : '.';
    bar[width] = '\0';
}

/* The longest bar that fits width columns, down to "120/311" and then "". */
static void write_line(const struct progress *progress, double seconds, unsigned width, char *line,
                       unsigned size)
{
    char bar[BAR_MAX + 1], label[32], count[32], speed[64];
    double rate = seconds > 0 ? progress->done / seconds : 0;
    double left = rate > 0 ? (progress->total - progress->done) / rate : 0;
    snprintf(label, sizeof(label), "%s%s", progress->label, *progress->label ? " " : "");
    snprintf(count, sizeof(count), "%u/%u", progress->done, progress->total);
    snprintf(speed, sizeof(speed), "  %.1f pages/s  %.0f s left", rate, left);

    /* What is least worth its columns goes first: speed, label, bar, count. */
    size_t frame = strlen(" []");
    size_t needed = strlen(label) + strlen(count) + strlen(speed) + frame + BAR_MIN;
    if (needed > width) {
        needed -= strlen(speed);
        speed[0] = '\0';
    }
    if (needed > width) {
        needed -= strlen(label);
        label[0] = '\0';
    }
    if (needed > width) {
        snprintf(line, size, "%s", strlen(count) <= width ? count : "");
        return;
    }
    size_t room = BAR_MIN + width - needed;
    fill_bar(progress, room < BAR_MAX ? (unsigned)room : BAR_MAX, bar);
    snprintf(line, size, "%s[%s] %s%s", label, bar, count, speed);
}

void progress_step(struct progress *progress)
{
    char line[LINE_SIZE];
    progress->done++;
    if (!progress->enabled)
        return;
    uint64_t now = monotonic_ns();
    if (progress->visible && now - progress->drawn_ns < redraw_ns)
        return;
    /* The last column stays free: some terminals wrap as soon as it is used. */
    write_line(progress, seconds_since(progress->start_ns), terminal_width() - 1, line,
               sizeof(line));
    fprintf(stderr, "\r\033[K%s", line);
    fflush(stderr);
    progress->drawn_ns = now;
    progress->visible = true;
}

void progress_erase(struct progress *progress)
{
    if (!progress->visible)
        return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    progress->visible = false;
}
