/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The lines above the tables: of facts that flow from line to line, as wide as the
 * screen is.
 */
#include "base/clock.h"
#include "tools/plain.h"
#include "tools/stats.h"
#include "tools/top.h"
#include "tools/top_number.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct flow {
    char (*lines)[LINE_SIZE];
    uint32_t width, most, count; /* count: the lines that are begun */
};

static void next_line(struct flow *flow)
{
    if (flow->count < flow->most)
        flow->lines[flow->count++][0] = '\0';
}

/* On this line if there is room, else on the next; what is wider than a line is cut. */
static void put(struct flow *flow, const char *fact)
{
    size_t used = strlen(flow->lines[flow->count - 1]);
    if (used > 0 && used + 3 + strlen(fact) > flow->width) {
        if (flow->count == flow->most)
            return;
        next_line(flow);
        used = 0;
    }
    char *line = flow->lines[flow->count - 1];
    snprintf(line + used, LINE_SIZE - used, "%s%s", used > 0 ? "   " : "", fact);
    if (flow->width < LINE_SIZE)
        line[flow->width] = '\0';
}

/* Sentences that are wider than a line are broken at blanks. */
static void add(struct flow *flow, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct flow *flow, const char *format, ...)
{
    char text[LINE_SIZE], *fact = text, *blank;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    plain_text(text);
    while (strlen(fact) > flow->width && (blank = memrchr(fact, ' ', flow->width + 1)) != NULL) {
        *blank = '\0';
        put(flow, fact);
        fact = blank + 1;
    }
    put(flow, fact);
}

static void add_state(struct flow *flow, const struct view *view)
{
    if (view->closing != 0)
        add(flow, "%s", stats_phase(view));
    if (view->hopeless)
        add(flow, "NO WORKER CAN BE STARTED");
}

static void add_tasks(struct flow *flow, const struct top *top)
{
    const struct view *view = top->view;
    char queued[UNITS_TEXT_SIZE], pending[UNITS_TEXT_SIZE], rate[UNITS_TEXT_SIZE];
    char failed[UNITS_TEXT_SIZE];
    add(flow, "workers %u/%u, %u busy", view->seats_up, view->seat_count, view->busy);
    add(flow, "clients %u/%u", view->client_count, view->client_limit);
    add(flow, "waiting %s", number_write(NUMBER_COUNT, (double)view->queued, queued));
    if (view->io_seats != 0)
        add(flow, "pending %s", number_write(NUMBER_COUNT, (double)view->pending, pending));
    add(flow, "tasks/s %s", number_write(NUMBER_RATE, view->per_second, rate));
    add(flow, "failed/s %s", number_write(NUMBER_RATE, top->failed_per_second, failed));
}

static void add_machine(struct flow *flow, const struct view *view)
{
    if (view->load[0] >= 0)
        add(flow, "load %.2f %.2f %.2f", view->load[0], view->load[1], view->load[2]);
    if (view->psi_centi != VIEW_UNKNOWN)
        add(flow, "CPU pressure %.1f%%", view->psi_centi / 100.0);
}

uint32_t top_head(const struct top *top, uint32_t width, char lines[][LINE_SIZE], uint32_t most)
{
    struct flow flow = {.lines = lines, .width = width, .most = most};
    char watched[UNITS_TEXT_SIZE];
    next_line(&flow);
    add(&flow, "pool %s", top->socket);
    if (top->view == NULL) {
        next_line(&flow);
        add(&flow, "%s", top->away);
        add(&flow, "Looked for again every %g s.", top->delay_ms / 1000.0);
        return flow.count;
    }
    add(&flow, "supervisor %d", (int)top->view->supervisor);
    add(&flow, "watched for %s",
        number_write(NUMBER_TIME, (double)(clock_ns() - top->begun_ns), watched));
    add_state(&flow, top->view);
    next_line(&flow);
    add_tasks(&flow, top);
    next_line(&flow);
    add_machine(&flow, top->view);
    add(&flow, "%s", top->view->sentence);
    return flow.count;
}
