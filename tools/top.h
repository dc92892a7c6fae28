/* SPDX-License-Identifier: BSD-3-Clause
 *
 * multicore top, in parts: top.c is the command and keeps the view of the pool, top_panes.c
 * and top_head.c know what there is to see, top_table.c arranges it; top_plain.c prints it,
 * top_screen.c draws it, and top_keys.c is what the keys do.
 */
#ifndef TOOLS_TOP_H
#define TOOLS_TOP_H

#include "tools/top_table.h"
#include "tools/view.h"

#include <sys/types.h>

enum top_pane_number { PANE_WORKERS, PANE_CLIENTS, PANE_HANDLERS, PANES };

enum top_mode {
    MODE_TABLES,
    MODE_FILTER, /* the keys write into input, as the others of this kind do */
    MODE_DELAY,
    MODE_CONFIRM, /* y ends the victim's task by force */
    MODE_HELP,
};

enum top_accent { ACCENT_NONE, ACCENT_GOOD, ACCENT_WARNING, ACCENT_BAD };

/* A row of the table of workers. The other two show struct view_client and view_handler. */
struct top_worker {
    struct view_worker worker;
    const char *handler; /* of its present task */
};

struct top_pane {
    struct table table;
    enum top_accent (*accent)(const void *row);
    /* The place of the cursor. Once it has been moved it stays with its row, by its key. */
    uint32_t place;
    bool moved;
    uint64_t key;
    /* On the screen, as it was drawn last. */
    uint32_t first, page;
    uint32_t widths[TABLE_COLUMNS];
};

enum { NOTE_SIZE = 256, DELAY_LEAST_MS = 100, DELAY_MOST_MS = 3600000 };

struct top {
    /* What the command line says. */
    const char *socket;
    uint64_t count; /* of updates, then it ends; 0: goes on */
    uint32_t delay_ms;
    bool color;

    /* The pool. */
    struct view *view;    /* NULL: it is away */
    char away[NOTE_SIZE]; /* why it is */
    uint64_t begun_ns;
    uint64_t failed; /* tasks, of all handlers */
    double failed_per_second;
    struct top_worker workers[MAX_SEATS];
    struct top_pane panes[PANES];

    /* The screen. */
    enum top_mode mode;
    uint32_t pane;
    char input[FILTER_SIZE];
    char note[NOTE_SIZE]; /* what came of the last key */
    pid_t victim;
    uint32_t victim_began; /* its task, as struct view_worker has it */
    bool paused, ended;
};

/* ---- top.c -------------------------------------------------------------------- */

/* Looks at the pool, or for it. */
void top_update(struct top *top);
/* Reads "2" or "0.5", which are seconds, or a duration with its unit, such as "500ms".
 * -EINVAL or -ERANGE with a message. */
int top_delay(const char *text, uint32_t *delay_ms);

/* ---- top_panes.c -------------------------------------------------------------- */

void top_panes_init(struct top *top);
/* Has the panes show what top->view does, or nothing if the pool is away. */
void top_panes_update(struct top *top);
/* Sorts and filters these rows; the cursor finds its place. */
void top_pane_arrange(struct top_pane *pane, const void *rows, uint32_t count);

/* ---- top_head.c --------------------------------------------------------------- */

/* The lines above the tables, for so wide a screen. Returns how many; most is their room. */
uint32_t top_head(const struct top *top, uint32_t width, char lines[][LINE_SIZE], uint32_t most);

/* ---- top_plain.c, top_screen.c, top_keys.c ------------------------------------ */

/* Both return an exit status. */
int top_plain(struct top *top);
int top_screen(struct top *top);
void top_key(struct top *top, int key);

#endif
