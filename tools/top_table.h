/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Tables for a screen of any width: which rows, in which order, which columns, and the
 * text of a line. Nothing here knows where the rows come from or where lines go to.
 *
 * The last column is written to the left and takes the room that is left; it is never
 * dropped. Texts may come from other users, so what is no printable ASCII is shown as
 * '?'.
 */
#ifndef TOOLS_TOP_TABLE_H
#define TOOLS_TOP_TABLE_H

#include "tools/top_number.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TABLE_ROWS = 1024, TABLE_COLUMNS = 16, CELL_SIZE = 72, FILTER_SIZE = 32, LINE_SIZE = 512 };

enum table_column_flags {
    COLUMN_TEXT = 1,      /* to the left, and sorted by its letters */
    COLUMN_SOUGHT = 2,    /* the filter looks here */
    COLUMN_ASCENDING = 4, /* the least number first; otherwise the greatest is */
};

struct table_column {
    const char *title;
    uint32_t width;
    uint32_t priority;     /* where room is short, the highest goes first; 0: never */
    enum number_kind kind; /* of a number */
    uint32_t flags;
};

struct table_value {
    double number;
    const char *text; /* instead, in columns of text */
    bool more;        /* than that number: how much is not known */
};

struct table {
    const char *title;
    const struct table_column *columns;
    uint32_t column_count;
    size_t row_size;
    struct table_value (*value)(const void *row, uint32_t column);
    uint64_t (*key)(const void *row); /* tells rows apart; NULL: by where they are in rows */

    /* What the user has chosen. */
    uint32_t sort;
    bool reversed;
    char filter[FILTER_SIZE]; /* without regard to case; empty: all rows */

    /* What there is: the caller's, and what table_arrange() makes of it. */
    const void *rows;
    uint32_t row_count;
    uint32_t shown[TABLE_ROWS];
    uint32_t shown_count;
};

/* Takes so many rows, filters and sorts them. Equal rows keep their order. */
void table_arrange(struct table *table, const void *rows, uint32_t count);
/* The row at that place among those that are shown. */
const void *table_row(const struct table *table, uint32_t place);
uint64_t table_key(const struct table *table, uint32_t place);
/* The place of the row with that key, or fallback (cut to the last) if it is not shown. */
uint32_t table_place(const struct table *table, uint64_t key, uint32_t fallback);

/* The widths of the columns on so wide a screen, 0 for one that has no room. The one
 * that is sorted by stays. */
void table_fit(const struct table *table, uint32_t width, uint32_t widths[TABLE_COLUMNS]);
/* Sorts by the next column that has room, or the one before (step 1 or -1); where none
 * has, all stays as it is. */
void table_sort_by(struct table *table, const uint32_t widths[TABLE_COLUMNS], int step);
/* Where the column begins on a line. */
uint32_t table_offset(const uint32_t widths[TABLE_COLUMNS], uint32_t column);
/* A line without blanks at its end: of a row, or for NULL the titles. A text that is too
 * wide is cut; in place of a number there is ####. */
void table_line(const struct table *table, const void *row, const uint32_t widths[TABLE_COLUMNS],
                char line[LINE_SIZE]);

/* Shares lines out among so many tables: each gets what it needs up to an equal share,
 * and what some leave over goes to the others, the first first. */
void table_share(uint32_t lines, const uint32_t *needs, uint32_t *shares, uint32_t count);

#endif
