/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The display as text, a block for each update: for logs, pipes and plain terminals.
 */
#include "base/clock.h"
#include "tools/command.h"
#include "tools/top.h"

#include <stdio.h>
#include <time.h>

enum { HEAD_WIDTH = 100, HEAD_LINES = 8, TABLE_WIDTH = 160 };

static void print_table(struct top_pane *pane)
{
    struct table *table = &pane->table;
    char line[LINE_SIZE];
    table_fit(table, TABLE_WIDTH, pane->widths);
    table_line(table, NULL, pane->widths, line);
    printf("\n%s: %u\n%s\n", table->title, table->row_count, line);
    for (uint32_t i = 0; i < table->shown_count; i++) {
        table_line(table, table_row(table, i), pane->widths, line);
        puts(line);
    }
}

static void print(struct top *top)
{
    char lines[HEAD_LINES][LINE_SIZE], date[32];
    time_t now = time(NULL);
    struct tm local;
    uint32_t count = top_head(top, HEAD_WIDTH, lines, HEAD_LINES);
    strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", localtime_r(&now, &local));
    puts(date);
    for (uint32_t i = 0; i < count; i++)
        puts(lines[i]);
    if (top->view == NULL)
        return;
    for (uint32_t i = 0; i < PANES; i++)
        print_table(&top->panes[i]);
}

/* Until it is time for the block after the one of *next_ns. Blocks that were missed, as by
 * one that was stopped or not read, are not made up for. */
static void await_next(uint64_t *next_ns, uint64_t delay_ns)
{
    uint64_t now = clock_ns();
    *next_ns += delay_ns;
    if (*next_ns < now)
        *next_ns = now + delay_ns;
    const struct timespec next = {.tv_sec = (time_t)(*next_ns / 1000000000),
                                  .tv_nsec = (long)(*next_ns % 1000000000)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
}

/* Rates are those of an interval, so the first block comes after one. */
int top_plain(struct top *top)
{
    uint64_t next_ns = clock_ns();
    top_update(top);
    for (uint64_t block = 0; top->count == 0 || block < top->count; block++) {
        await_next(&next_ns, top->delay_ms * UINT64_C(1000000));
        top_update(top);
        if (block > 0)
            putchar('\n');
        print(top);
        if (fflush(stdout) != 0)
            return STATUS_FAILED;
    }
    return STATUS_OK;
}
