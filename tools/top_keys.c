/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the keys do. Nothing is drawn here.
 */
#include "base/error.h"
#include "tools/observer.h"
#include "tools/top.h"

#include <ncurses.h>
#include <stdio.h>
#include <string.h>

enum { KEY_ESCAPE = 27 };

static void move_to(struct top_pane *pane, int64_t place)
{
    const struct table *table = &pane->table;
    if (table->shown_count == 0)
        return;
    if (place >= table->shown_count)
        place = table->shown_count - 1;
    pane->place = place < 0 ? 0 : (uint32_t)place;
    pane->moved = true;
    pane->key = table_key(table, pane->place);
}

static bool move_key(struct top_pane *pane, int key)
{
    int64_t place = pane->place, page = pane->page;
    switch (key) {
    case KEY_UP:
        move_to(pane, place - 1);
        return true;
    case KEY_DOWN:
        move_to(pane, place + 1);
        return true;
    case KEY_PPAGE:
        move_to(pane, place - page);
        return true;
    case KEY_NPAGE:
        move_to(pane, place + page);
        return true;
    case KEY_HOME:
        move_to(pane, 0);
        return true;
    case KEY_END:
        move_to(pane, INT64_MAX);
        return true;
    default:
        return false;
    }
}

/* ---- Ending tasks -------------------------------------------------------------- */

/* The worker under the cursor, if it runs a task. */
static const struct view_worker *selected(struct top *top)
{
    const struct top_pane *pane = &top->panes[PANE_WORKERS];
    if (top->pane != PANE_WORKERS || pane->table.shown_count == 0) {
        snprintf(top->note, sizeof(top->note), "select a worker first: 1, then the arrows");
        return NULL;
    }
    const struct view_worker *worker =
        &((const struct top_worker *)table_row(&pane->table, pane->place))->worker;
    if (worker->state == VIEW_BUSY)
        return worker;
    snprintf(top->note, sizeof(top->note), "worker %d runs no task", (int)worker->pid);
    return NULL;
}

/* Only the task that was seen: by now the worker may have begun another. */
static void end_task(struct top *top, pid_t pid, uint32_t began, bool by_force)
{
    struct message request = {
        .type = MESSAGE_END, .value = pid, .generation = began, .status = by_force ? 1 : 0};
    if (observer_ask(top->socket, &request) < 0)
        snprintf(top->note, sizeof(top->note), "%s", error_message());
    else if (by_force)
        snprintf(top->note, sizeof(top->note), "worker %d is killed, and replaced", (int)pid);
    else
        snprintf(top->note, sizeof(top->note), "the task of worker %d is asked to stop", (int)pid);
}

static void ask_to_stop(struct top *top)
{
    const struct view_worker *worker = selected(top);
    if (worker != NULL)
        end_task(top, worker->pid, worker->began, false);
}

static void confirm_kill(struct top *top)
{
    const struct view_worker *worker = selected(top);
    if (worker == NULL)
        return;
    top->victim = worker->pid;
    top->victim_began = worker->began;
    top->mode = MODE_CONFIRM;
}

/* ---- Lines that are typed -------------------------------------------------------- */

static void accept_delay(struct top *top)
{
    if (top_delay(top->input, &top->delay_ms) < 0)
        snprintf(top->note, sizeof(top->note), "%s", error_message());
}

static void type_key(struct top *top, int key)
{
    size_t length = strlen(top->input);
    if (key == KEY_ESCAPE) {
        top->input[0] = '\0';
        top->mode = MODE_TABLES;
    } else if (key == '\n' || key == '\r' || key == KEY_ENTER) {
        if (top->mode == MODE_DELAY && length > 0)
            accept_delay(top);
        top->mode = MODE_TABLES;
        return;
    } else if ((key == KEY_BACKSPACE || key == 127 || key == '\b') && length > 0) {
        top->input[length - 1] = '\0';
    } else if (key >= ' ' && key <= '~' && length + 1 < sizeof(top->input)) {
        top->input[length] = (char)key;
        top->input[length + 1] = '\0';
    }
}

static void filter_key(struct top *top, int key)
{
    struct table *table = &top->panes[top->pane].table;
    type_key(top, key);
    snprintf(table->filter, sizeof(table->filter), "%s", top->input);
}

static void confirm_key(struct top *top, int key)
{
    top->mode = MODE_TABLES;
    if (key == 'y' || key == 'Y')
        end_task(top, top->victim, top->victim_began, true);
    else
        snprintf(top->note, sizeof(top->note), "worker %d is left alone", (int)top->victim);
}

/* ---- The tables -------------------------------------------------------------------- */

static void begin_typing(struct top *top, enum top_mode mode, const char *text)
{
    top->mode = mode;
    snprintf(top->input, sizeof(top->input), "%s", text);
}

/* The pane may never have been drawn yet, in a low window or by keys that came at once. */
static void sort_key(struct top_pane *pane, int step)
{
    table_fit(&pane->table, (uint32_t)COLS, pane->widths);
    table_sort_by(&pane->table, pane->widths, step);
    pane->table.reversed = false;
}

static void command_key(struct top *top, int key)
{
    struct top_pane *pane = &top->panes[top->pane];
    switch (key) {
    case 'q':
        top->ended = true;
        break;
    case 'h':
    case '?':
        top->mode = MODE_HELP;
        break;
    case '\t':
        top->pane = (top->pane + 1) % PANES;
        break;
    case KEY_BTAB:
        top->pane = (top->pane + PANES - 1) % PANES;
        break;
    case '1':
    case '2':
    case '3':
        top->pane = (uint32_t)(key - '1');
        break;
    case '<':
        sort_key(pane, -1);
        break;
    case '>':
    case 's':
        sort_key(pane, 1);
        break;
    case 'r':
        pane->table.reversed = !pane->table.reversed;
        break;
    case '/':
        begin_typing(top, MODE_FILTER, pane->table.filter);
        break;
    case 'd':
        begin_typing(top, MODE_DELAY, "");
        break;
    case ' ':
        top->paused = !top->paused;
        break;
    case 'e':
        ask_to_stop(top);
        break;
    case 'k':
        confirm_kill(top);
        break;
    default:
        break;
    }
}

void top_key(struct top *top, int key)
{
    if (key == KEY_RESIZE)
        return;
    top->note[0] = '\0';
    switch (top->mode) {
    case MODE_FILTER:
        filter_key(top, key);
        break;
    case MODE_DELAY:
        type_key(top, key);
        break;
    case MODE_CONFIRM:
        confirm_key(top, key);
        break;
    case MODE_HELP:
        top->mode = MODE_TABLES;
        break;
    case MODE_TABLES:
        if (!move_key(&top->panes[top->pane], key))
            command_key(top, key);
        break;
    }
    struct top_pane *pane = &top->panes[top->pane];
    top_pane_arrange(pane, pane->table.rows, pane->table.row_count);
}
