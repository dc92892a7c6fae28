/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The display on a terminal. Drawn anew after each update and each key; ncurses sends
 * only what has changed.
 */
#include "base/clock.h"
#include "tools/command.h"
#include "tools/top.h"

#include <ncurses.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HEAD_LINES = 8, LINES_FOR_ALL = 30, LINES_FOR_GAPS = 20, LINES_LEAST = 3 };

static volatile sig_atomic_t signalled;

static void on_signal(int number)
{
    signalled = number;
}

/* ---- Drawing -------------------------------------------------------------------- */

static void draw_text(int line, int column, const char *text)
{
    if (line < LINES && column < COLS)
        mvaddnstr(line, column, text, COLS - column);
}

static void draw_with(int attributes, int line, int column, const char *text)
{
    attron(attributes);
    draw_text(line, column, text);
    attroff(attributes);
}

static int accent(const struct top *top, enum top_accent which)
{
    return which == ACCENT_NONE || !top->color ? 0 : (int)COLOR_PAIR(which);
}

static int draw_head(const struct top *top)
{
    char lines[HEAD_LINES][LINE_SIZE];
    uint32_t count = top_head(top, (uint32_t)COLS, lines, HEAD_LINES);
    if (count > (uint32_t)LINES / 2)
        count = (uint32_t)LINES / 2;
    for (uint32_t i = 0; i < count; i++)
        draw_with(top->view == NULL ? accent(top, ACCENT_BAD) : 0, (int)i, 0, lines[i]);
    return (int)count;
}

/* "1 Workers", and what the filter leaves; returns where it ends. */
static int draw_name(const struct top *top, uint32_t number, int line, int column)
{
    const struct table *table = &top->panes[number].table;
    char text[LINE_SIZE];
    if (table->filter[0] != '\0')
        snprintf(text, sizeof(text), "%u %s: %u of %u with '%s'", number + 1, table->title,
                 table->shown_count, table->row_count, table->filter);
    else
        snprintf(text, sizeof(text), "%u %s: %u", number + 1, table->title, table->row_count);
    draw_with(number == top->pane ? A_BOLD | A_UNDERLINE : A_NORMAL, line, column, text);
    return column + (int)strlen(text);
}

static void draw_titles(const struct top_pane *pane, int line)
{
    const struct table *table = &pane->table;
    char text[LINE_SIZE];
    int offset = (int)table_offset(pane->widths, table->sort);
    table_line(table, NULL, pane->widths, text);
    draw_with(A_BOLD, line, 0, text);
    if (offset < COLS)
        mvchgat(line, offset, (int)pane->widths[table->sort], A_BOLD | A_REVERSE, 0, NULL);
}

/* Moves the part of the table that is on the screen, so that the cursor is on it. */
static void scroll_to_cursor(struct top_pane *pane, uint32_t page)
{
    uint32_t last = pane->table.shown_count > page ? pane->table.shown_count - page : 0;
    pane->page = page;
    if (pane->first > pane->place)
        pane->first = pane->place;
    if (page > 0 && pane->place >= pane->first + page)
        pane->first = pane->place - page + 1;
    if (pane->first > last)
        pane->first = last;
}

/* The titles and so many rows. */
static void draw_table(struct top *top, uint32_t number, int line, uint32_t page)
{
    struct top_pane *pane = &top->panes[number];
    char text[LINE_SIZE];
    table_fit(&pane->table, (uint32_t)COLS, pane->widths);
    scroll_to_cursor(pane, page);
    draw_titles(pane, line);
    for (uint32_t i = 0; i < page && pane->first + i < pane->table.shown_count; i++) {
        const void *row = table_row(&pane->table, pane->first + i);
        int attributes = accent(top, pane->accent(row));
        if (number == top->pane && pane->first + i == pane->place)
            attributes |= A_REVERSE;
        table_line(&pane->table, row, pane->widths, text);
        draw_with(attributes, ++line, 0, text);
    }
}

static void draw_one(struct top *top, int line, int end)
{
    int column = 0;
    for (uint32_t i = 0; i < PANES; i++)
        column = draw_name(top, i, line, column) + 3;
    if (end - line > 2)
        draw_table(top, top->pane, line + 1, (uint32_t)(end - line - 2));
}

static void draw_all(struct top *top, int line, int end)
{
    uint32_t needs[PANES], shares[PANES];
    for (uint32_t i = 0; i < PANES; i++)
        needs[i] = top->panes[i].table.shown_count + 1; /* and an empty line */
    table_share((uint32_t)(end - line - 2 * PANES), needs, shares, PANES);
    for (uint32_t i = 0; i < PANES; i++) {
        draw_name(top, i, line, 0);
        draw_table(top, i, line + 1, shares[i] - 1);
        line += 2 + (int)shares[i];
    }
}

static void draw_foot(const struct top *top)
{
    char text[LINE_SIZE];
    int line = LINES - 1;
    if (top->mode == MODE_FILTER)
        snprintf(text, sizeof(text), "Rows with: %s_   (Enter: keep, Escape: all rows)",
                 top->input);
    else if (top->mode == MODE_DELAY)
        snprintf(text, sizeof(text), "Time between updates, now %g s: %s_   (2, 0.5, 500ms)",
                 top->delay_ms / 1000.0, top->input);
    else if (top->mode == MODE_CONFIRM)
        snprintf(text, sizeof(text), "Kill worker %d, and end its task with it? y/n",
                 (int)top->victim);
    else if (top->note[0] != '\0')
        snprintf(text, sizeof(text), "%s", top->note);
    else
        snprintf(text, sizeof(text),
                 "%sq quit  h help  Tab pane  s sort  / filter  e stop  k kill  space pause",
                 top->paused ? "PAUSED  " : "");
    draw_with(A_BOLD, line, 0, text);
}

static void draw_help(void)
{
    static const char *const text[] = {
        "Keys of multicore top",
        "",
        "1 2 3, Tab   workers, clients, handlers",
        "arrows, PgUp, PgDn, Home, End   move; the cursor stays with its row",
        "< > s        sort by the column before, or the next",
        "r            sort the other way round",
        "/            only rows that contain a text; Escape shows all again",
        "e            ask the selected worker's task to stop",
        "k            end it by force: the worker is killed, and replaced",
        "space        pause, and go on",
        "d            the time between two updates",
        "q            quit",
        "",
        "Times are from submission to the start (WAIT) and of the run (RUN), of the tasks",
        "that ended since the last update; 50 % and 99 % of them took no longer.",
        "",
        "Any key: back to the tables",
    };
    for (size_t i = 0; i < sizeof(text) / sizeof(text[0]); i++)
        draw_with(i == 0 ? A_BOLD : A_NORMAL, (int)i, 0, text[i]);
}

static void draw(struct top *top)
{
    erase();
    if (top->mode == MODE_HELP) {
        draw_help();
    } else {
        int line = draw_head(top), end = LINES - 1;
        if (LINES >= LINES_FOR_ALL)
            draw_all(top, line + 1, end);
        else if (end - line >= LINES_LEAST)
            draw_one(top, line + (LINES >= LINES_FOR_GAPS), end);
        draw_foot(top);
    }
    refresh();
}

/* ---- The terminal ----------------------------------------------------------------- */

/* Returns whether there are any. */
static bool use_colors(bool wanted)
{
    if (!wanted || !has_colors() || start_color() == ERR)
        return false;
    use_default_colors();
    init_pair(ACCENT_GOOD, COLOR_GREEN, -1);
    init_pair(ACCENT_WARNING, COLOR_YELLOW, -1);
    init_pair(ACCENT_BAD, COLOR_RED, -1);
    return true;
}

/* Signals that end the program are taken while it waits, so that the terminal is put
 * right; ncurses looks after SIGWINCH and SIGTSTP. */
static void take_signals(sigset_t *while_waiting)
{
    static const int numbers[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t blocked;
    sigemptyset(&blocked);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        sigaction(numbers[i], &action, NULL);
        sigaddset(&blocked, numbers[i]);
    }
    sigprocmask(SIG_BLOCK, &blocked, while_waiting);
}

/* Waits for keys, and has them do what they do. */
static void take_keys(struct top *top, int64_t timeout_ns, const sigset_t *while_waiting)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    struct timespec timeout = {.tv_sec = timeout_ns / 1000000000,
                               .tv_nsec = timeout_ns % 1000000000};
    int ready = ppoll(&input, 1, timeout_ns < 0 ? NULL : &timeout, while_waiting), key;
    bool any = false;
    while ((key = getch()) != ERR) {
        any = true;
        top_key(top, key);
    }
    if (ready == 1 && !any) /* the terminal is gone */
        top->ended = true;
}

static void run(struct top *top, const sigset_t *while_waiting)
{
    uint64_t updates = 0, updated_ns = 0;
    while (!top->ended && signalled == 0) {
        uint64_t delay_ns = top->delay_ms * UINT64_C(1000000), waited = clock_ns() - updated_ns;
        if (!top->paused && (updates == 0 || waited >= delay_ns)) {
            if (top->count != 0 && updates == top->count)
                return;
            updated_ns = clock_ns();
            updates++;
            top_update(top);
            waited = 0;
        }
        draw(top);
        take_keys(top, top->paused ? -1 : (int64_t)(delay_ns - waited), while_waiting);
    }
}

int top_screen(struct top *top)
{
    sigset_t while_waiting;
    SCREEN *screen = newterm(NULL, stdout, stdin);
    if (screen == NULL) {
        const char *type = getenv("TERM");
        fprintf(stderr,
                "multicore: the terminal type '%s' is not known here: set TERM to one that is, "
                "or use --plain\n",
                type != NULL ? type : "");
        return STATUS_FAILED;
    }
    take_signals(&while_waiting);
    top->color = use_colors(top->color);
    cbreak();
    noecho();
    nonl();
    keypad(stdscr, TRUE);
    nodelay(stdscr, TRUE);
    set_escdelay(50);
    (void)curs_set(0);
    run(top, &while_waiting);
    endwin();
    delscreen(screen);
    return STATUS_OK;
}
