/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/top_table.h"

#include "tools/plain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void write_cell(const struct table *table, uint32_t column, const void *row,
                       char cell[CELL_SIZE])
{
    struct table_value value = table->value(row, column);
    char number[UNITS_TEXT_SIZE];
    if ((table->columns[column].flags & COLUMN_TEXT) == 0)
        value.text = number_write(table->columns[column].kind, value.number, number);
    snprintf(cell, CELL_SIZE, "%s%s", value.more ? ">" : "", value.text);
    plain_text(cell);
}

const void *table_row(const struct table *table, uint32_t place)
{
    return (const char *)table->rows + table->shown[place] * table->row_size;
}

uint64_t table_key(const struct table *table, uint32_t place)
{
    return table->key != NULL ? table->key(table_row(table, place)) : table->shown[place];
}

uint32_t table_place(const struct table *table, uint64_t key, uint32_t fallback)
{
    for (uint32_t i = 0; i < table->shown_count; i++)
        if (table_key(table, i) == key)
            return i;
    if (fallback >= table->shown_count)
        return table->shown_count == 0 ? 0 : table->shown_count - 1;
    return fallback;
}

static bool passes(const struct table *table, const void *row)
{
    char cell[CELL_SIZE];
    if (table->filter[0] == '\0')
        return true;
    for (uint32_t i = 0; i < table->column_count; i++) {
        if ((table->columns[i].flags & COLUMN_SOUGHT) == 0)
            continue;
        write_cell(table, i, row, cell);
        if (strcasestr(cell, table->filter) != NULL)
            return true;
    }
    return false;
}

/* Negative if the row on the left comes first by the column's own direction. */
static int by_column(const struct table *table, const void *left, const void *right)
{
    uint32_t flags = table->columns[table->sort].flags;
    struct table_value a = table->value(left, table->sort), b = table->value(right, table->sort);
    if ((flags & COLUMN_TEXT) != 0)
        return strcmp(a.text, b.text);
    int upwards = (a.number > b.number) - (a.number < b.number);
    return (flags & COLUMN_ASCENDING) != 0 ? upwards : -upwards;
}

static int compare(const void *left, const void *right, void *context)
{
    const struct table *table = context;
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    const char *rows = table->rows;
    int result = by_column(table, rows + a * table->row_size, rows + b * table->row_size);
    if (result != 0)
        return table->reversed ? -result : result;
    return (a > b) - (a < b);
}

void table_arrange(struct table *table, const void *rows, uint32_t count)
{
    table->rows = rows;
    table->row_count = count < TABLE_ROWS ? count : TABLE_ROWS;
    table->shown_count = 0;
    for (uint32_t i = 0; i < table->row_count; i++)
        if (passes(table, (const char *)rows + i * table->row_size))
            table->shown[table->shown_count++] = i;
    qsort_r(table->shown, table->shown_count, sizeof(table->shown[0]), compare, table);
}

/* ---- Columns ------------------------------------------------------------------ */

static uint32_t priority(const struct table *table, uint32_t column)
{
    bool stays = column == table->sort || column == table->column_count - 1;
    return stays ? 0 : table->columns[column].priority;
}

/* The column to drop first, or column_count if none may go. */
static uint32_t least_wanted(const struct table *table, const uint32_t widths[TABLE_COLUMNS])
{
    uint32_t found = table->column_count;
    for (uint32_t i = 0; i < table->column_count; i++)
        if (widths[i] != 0 && priority(table, i) != 0 &&
            (found == table->column_count || priority(table, i) >= priority(table, found)))
            found = i;
    return found;
}

void table_fit(const struct table *table, uint32_t width, uint32_t widths[TABLE_COLUMNS])
{
    uint32_t last = table->column_count - 1;
    memset(widths, 0, sizeof(widths[0]) * TABLE_COLUMNS);
    for (uint32_t i = 0; i <= last; i++)
        widths[i] = table->columns[i].width;
    while (table_offset(widths, last) + widths[last] > width) {
        uint32_t drop = least_wanted(table, widths);
        if (drop == table->column_count)
            return;
        widths[drop] = 0;
    }
    widths[last] = width - table_offset(widths, last);
}

uint32_t table_offset(const uint32_t widths[TABLE_COLUMNS], uint32_t column)
{
    uint32_t offset = 0;
    for (uint32_t i = 0; i < column; i++)
        offset += widths[i] != 0 ? widths[i] + 1 : 0;
    return offset;
}

void table_sort_by(struct table *table, const uint32_t widths[TABLE_COLUMNS], int step)
{
    uint32_t count = table->column_count, tries = count;
    do
        table->sort = (table->sort + count + (uint32_t)step) % count;
    while (widths[table->sort] == 0 && --tries > 0);
}

void table_line(const struct table *table, const void *row, const uint32_t widths[TABLE_COLUMNS],
                char line[LINE_SIZE])
{
    char cell[CELL_SIZE];
    size_t used = 0;
    line[0] = '\0';
    for (uint32_t i = 0; i < table->column_count && used + 1 < LINE_SIZE; i++) {
        const struct table_column *column = &table->columns[i];
        bool left = (column->flags & COLUMN_TEXT) != 0;
        int width = (int)widths[i];
        if (width == 0)
            continue;
        if (row != NULL)
            write_cell(table, i, row, cell);
        else
            snprintf(cell, sizeof(cell), "%s", column->title);
        /* A part of a number would be read as another one. */
        if (row != NULL && !left && strlen(cell) > widths[i])
            memset(cell, '#', widths[i]);
        snprintf(line + used, LINE_SIZE - used, "%s%*.*s", used == 0 ? "" : " ",
                 left ? -width : width, width, cell);
        used = strlen(line);
    }
    while (used > 0 && line[used - 1] == ' ')
        line[--used] = '\0';
}

void table_share(uint32_t lines, const uint32_t *needs, uint32_t *shares, uint32_t count)
{
    uint32_t left = lines;
    for (uint32_t i = 0; i < count; i++) {
        shares[i] = needs[i] < lines / count ? needs[i] : lines / count;
        left -= shares[i];
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t more = needs[i] - shares[i] < left ? needs[i] - shares[i] : left;
        shares[i] += more;
        left -= more;
    }
}
