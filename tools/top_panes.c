/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What there is to see: the head, and the columns of the three tables.
 */
#include "base/clock.h"
#include "multicore.h"
#include "tools/top.h"
#include "tools/top_number.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- Workers ------------------------------------------------------------------------ */

enum worker_column {
    WORKER_SEAT,
    WORKER_PID,
    WORKER_CPU,
    WORKER_STATE,
    WORKER_AGE,
    WORKER_LOAD,
    WORKER_PENDING,
    WORKER_TASKS,
    WORKER_BUSY,
    WORKER_RSS,
    WORKER_PRIVATE,
    WORKER_HEIR,
    WORKER_LANE,
    WORKER_HANDLER,
    WORKER_COLUMNS
};

static const struct table_column worker_columns[WORKER_COLUMNS] = {
    [WORKER_SEAT] = {"SEAT", 4, 0, NUMBER_PLAIN, COLUMN_ASCENDING},
    [WORKER_PID] = {"PID", 7, 0, NUMBER_PLAIN, COLUMN_ASCENDING | COLUMN_SOUGHT},
    [WORKER_CPU] = {"CPU", 4, 5, NUMBER_PLAIN, COLUMN_ASCENDING},
    [WORKER_STATE] = {"STATE", 8, 0, 0, COLUMN_TEXT | COLUMN_SOUGHT},
    [WORKER_AGE] = {"FOR", 7, 1, NUMBER_TIME, 0},
    [WORKER_LOAD] = {"LOAD", 4, 2, NUMBER_SHARE, 0},
    [WORKER_PENDING] = {"PENDING", 7, 8, NUMBER_PLAIN, 0},
    [WORKER_TASKS] = {"TASKS", 7, 3, NUMBER_COUNT, 0},
    [WORKER_BUSY] = {"BUSY", 7, 7, NUMBER_TIME, 0},
    [WORKER_RSS] = {"RSS", 7, 4, NUMBER_BYTES, 0},
    [WORKER_PRIVATE] = {"PRIVATE", 7, 9, NUMBER_BYTES, 0},
    [WORKER_HEIR] = {"HEIR", 7, 10, NUMBER_PLAIN, 0},
    [WORKER_LANE] = {"LANE", 4, 6, NUMBER_PLAIN, COLUMN_ASCENDING},
    [WORKER_HANDLER] = {"HANDLER", 11, 0, 0, COLUMN_TEXT | COLUMN_SOUGHT},
};

static struct table_value worker_value(const void *row, uint32_t column)
{
    const struct top_worker *shown = row;
    const struct view_worker *worker = &shown->worker;
    switch ((enum worker_column)column) {
    case WORKER_SEAT:
        return (struct table_value){.number = worker->seat};
    case WORKER_PID:
        return (struct table_value){.number = worker->pid != 0 ? worker->pid : -1};
    case WORKER_CPU:
        return (struct table_value){.number = worker->cpu};
    case WORKER_STATE:
        return (struct table_value){.text = view_state_name(worker->state)};
    case WORKER_AGE:
        return (struct table_value){.number = (double)worker->age_ns};
    case WORKER_LOAD:
        return (struct table_value){.number = worker->load};
    case WORKER_PENDING:
        return (struct table_value){.number = worker->pending};
    case WORKER_TASKS:
        return (struct table_value){.number = (double)worker->tasks};
    case WORKER_BUSY:
        return (struct table_value){.number = (double)worker->busy_ns};
    case WORKER_RSS:
        return (struct table_value){.number = (double)worker->rss};
    case WORKER_PRIVATE:
        return (struct table_value){.number = (double)worker->private_bytes};
    case WORKER_HEIR:
        return (struct table_value){.number = worker->heir != 0 ? worker->heir : -1};
    case WORKER_LANE:
        return (struct table_value){.number = worker->lane};
    case WORKER_HANDLER:
    case WORKER_COLUMNS:
        break;
    }
    return (struct table_value){.text = shown->handler};
}

static enum top_accent worker_accent(const void *row)
{
    switch (((const struct top_worker *)row)->worker.state) {
    case VIEW_BUSY:
        return ACCENT_GOOD;
    case VIEW_NONE:
        return ACCENT_BAD;
    case VIEW_STARTING:
        return ACCENT_WARNING;
    default:
        return ACCENT_NONE;
    }
}

/* ---- Clients ------------------------------------------------------------------------ */

enum client_column {
    CLIENT_LANE,
    CLIENT_PID,
    CLIENT_UID,
    CLIENT_WEIGHT,
    CLIENT_QUEUED,
    CLIENT_DELAY,
    CLIENT_LATE,
    CLIENT_COMMAND,
    CLIENT_COLUMNS
};

static const struct table_column client_columns[CLIENT_COLUMNS] = {
    [CLIENT_LANE] = {"LANE", 4, 3, NUMBER_PLAIN, COLUMN_ASCENDING},
    [CLIENT_PID] = {"PID", 7, 0, NUMBER_PLAIN, COLUMN_ASCENDING | COLUMN_SOUGHT},
    [CLIENT_UID] = {"UID", 10, 4, NUMBER_PLAIN, COLUMN_ASCENDING | COLUMN_SOUGHT},
    [CLIENT_WEIGHT] = {"WEIGHT", 6, 5, NUMBER_PLAIN, 0},
    [CLIENT_QUEUED] = {"WAITING", 7, 0, NUMBER_COUNT, 0},
    [CLIENT_DELAY] = {"DELAY", 7, 1, NUMBER_TIME, 0},
    [CLIENT_LATE] = {"LATE", 4, 2, 0, COLUMN_TEXT},
    [CLIENT_COMMAND] = {"COMMAND", 12, 0, 0, COLUMN_TEXT | COLUMN_SOUGHT},
};

static struct table_value client_value(const void *row, uint32_t column)
{
    const struct view_client *client = row;
    switch ((enum client_column)column) {
    case CLIENT_LANE:
        return (struct table_value){.number = client->lane};
    case CLIENT_PID:
        return (struct table_value){.number = client->pid};
    case CLIENT_UID:
        return (struct table_value){.number = client->uid};
    case CLIENT_WEIGHT:
        return (struct table_value){.number = client->weight};
    case CLIENT_QUEUED:
        return (struct table_value){.number = client->queued};
    case CLIENT_DELAY:
        return (struct table_value){.number = client->delay_ms * 1e6};
    case CLIENT_LATE:
        return (struct table_value){.text = client->late ? "yes" : "-"};
    case CLIENT_COMMAND:
    case CLIENT_COLUMNS:
        break;
    }
    return (struct table_value){.text = client->command};
}

static uint64_t client_key(const void *row)
{
    const struct view_client *client = row;
    return (uint64_t)client->pid << 32 | client->lane;
}

static enum top_accent client_accent(const void *row)
{
    return ((const struct view_client *)row)->late ? ACCENT_BAD : ACCENT_NONE;
}

/* ---- Handlers ----------------------------------------------------------------------- */

enum handler_column {
    HANDLER_RATE,
    HANDLER_ENDED,
    HANDLER_FAILED,
    HANDLER_WAIT50,
    HANDLER_WAIT99,
    HANDLER_RUN50,
    HANDLER_RUN99,
    HANDLER_FLAGS,
    HANDLER_NAME,
    HANDLER_COLUMNS
};

static const struct table_column handler_columns[HANDLER_COLUMNS] = {
    [HANDLER_RATE] = {"TASKS/S", 7, 0, NUMBER_RATE, 0},
    [HANDLER_ENDED] = {"ENDED", 7, 4, NUMBER_COUNT, 0},
    [HANDLER_FAILED] = {"FAILED", 7, 3, NUMBER_COUNT, 0},
    [HANDLER_WAIT50] = {"WAIT50", 7, 6, NUMBER_TIME, 0},
    [HANDLER_WAIT99] = {"WAIT99", 7, 2, NUMBER_TIME, 0},
    [HANDLER_RUN50] = {"RUN50", 7, 5, NUMBER_TIME, 0},
    [HANDLER_RUN99] = {"RUN99", 7, 1, NUMBER_TIME, 0},
    [HANDLER_FLAGS] = {"FLAGS", 5, 7, 0, COLUMN_TEXT},
    [HANDLER_NAME] = {"HANDLER", 12, 0, 0, COLUMN_TEXT | COLUMN_SOUGHT},
};

static const char *flags_text(uint32_t flags)
{
    static const char *const texts[] = {"-", "I--", "-T-", "IT-", "--R", "I-R", "-TR", "ITR"};
    static_assert(MC_ISOLATED == 1 && MC_THREAD_SAFE == 2 && MC_IDEMPOTENT == 4, "by number");
    return texts[flags & 7];
}

static struct table_value percentile(uint64_t ns)
{
    return (struct table_value){.number = (double)ns, .more = ns > view_most_ns()};
}

static struct table_value handler_value(const void *row, uint32_t column)
{
    const struct view_handler *handler = row;
    switch ((enum handler_column)column) {
    case HANDLER_RATE:
        return (struct table_value){.number = handler->per_second};
    case HANDLER_ENDED:
        return (struct table_value){.number = (double)handler->ended};
    case HANDLER_FAILED:
        return (struct table_value){.number = (double)handler->failed};
    case HANDLER_WAIT50:
        return percentile(handler->wait_p50);
    case HANDLER_WAIT99:
        return percentile(handler->wait_p99);
    case HANDLER_RUN50:
        return percentile(handler->run_p50);
    case HANDLER_RUN99:
        return percentile(handler->run_p99);
    case HANDLER_FLAGS:
        return (struct table_value){.text = flags_text(handler->flags)};
    case HANDLER_NAME:
    case HANDLER_COLUMNS:
        break;
    }
    return (struct table_value){.text = handler->name};
}

static enum top_accent handler_accent(const void *row)
{
    return ((const struct view_handler *)row)->failed != 0 ? ACCENT_WARNING : ACCENT_NONE;
}

/* ---- The panes ------------------------------------------------------------------------ */

void top_panes_init(struct top *top)
{
    top->panes[PANE_WORKERS] = (struct top_pane){.accent = worker_accent,
                                                 .table = {.title = "Workers",
                                                           .columns = worker_columns,
                                                           .column_count = WORKER_COLUMNS,
                                                           .row_size = sizeof(struct top_worker),
                                                           .value = worker_value,
                                                           .sort = WORKER_SEAT}};
    top->panes[PANE_CLIENTS] = (struct top_pane){.accent = client_accent,
                                                 .table = {.title = "Clients",
                                                           .columns = client_columns,
                                                           .column_count = CLIENT_COLUMNS,
                                                           .row_size = sizeof(struct view_client),
                                                           .value = client_value,
                                                           .key = client_key,
                                                           .sort = CLIENT_QUEUED}};
    top->panes[PANE_HANDLERS] = (struct top_pane){.accent = handler_accent,
                                                  .table = {.title = "Handlers",
                                                            .columns = handler_columns,
                                                            .column_count = HANDLER_COLUMNS,
                                                            .row_size = sizeof(struct view_handler),
                                                            .value = handler_value,
                                                            .sort = HANDLER_RATE}};
}

void top_pane_arrange(struct top_pane *pane, const void *rows, uint32_t count)
{
    struct table *table = &pane->table;
    table_arrange(table, rows, count);
    pane->place = pane->moved ? table_place(table, pane->key, pane->place) : 0;
    if (pane->moved && table->shown_count > 0)
        pane->key = table_key(table, pane->place);
}

static void name_tasks(struct top *top)
{
    for (uint32_t i = 0; i < top->view->seat_count; i++)
        top->workers[i] =
            (struct top_worker){.worker = top->view->workers[i],
                                .handler = view_worker_handler(top->view, &top->view->workers[i])};
}

void top_panes_update(struct top *top)
{
    static const struct view nothing;
    const struct view *view = top->view != NULL ? top->view : &nothing;
    if (top->view != NULL)
        name_tasks(top);
    top_pane_arrange(&top->panes[PANE_WORKERS], top->workers, view->seat_count);
    top_pane_arrange(&top->panes[PANE_CLIENTS], view->clients, view->client_count);
    top_pane_arrange(&top->panes[PANE_HANDLERS], view->handlers, view->handler_count);
}
