/* SPDX-License-Identifier: BSD-3-Clause */
#include "sheet.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    MARGIN = 16, /* around the sheet and between cells */
    TITLE_HEIGHT = 24,
    CAPTION_HEIGHT = 14,
    CELL_WIDTH = THUMB_WIDTH + MARGIN,
    CELL_HEIGHT = THUMB_HEIGHT + CAPTION_HEIGHT + MARGIN,
};

unsigned sheet_pages(unsigned pages)
{
    return pages < SHEET_PAGES_MAX ? pages : SHEET_PAGES_MAX;
}

/* As many columns as make the sheet about 4:3. */
static unsigned columns_for(unsigned cells)
{
    double columns = sqrt((double)cells * CELL_HEIGHT * 4 / 3 / CELL_WIDTH);
    unsigned count = (unsigned)fmax(1, round(columns));
    return count < cells ? count : cells;
}

static void draw_text(cairo_t *cairo, double x, double y, double size, const char *text)
{
    cairo_set_font_size(cairo, size);
    cairo_set_source_rgb(cairo, 0.2, 0.2, 0.2);
    cairo_move_to(cairo, x, y);
    cairo_show_text(cairo, text);
}

static void draw_title(cairo_t *cairo, const char *path, unsigned shown, unsigned pages)
{
    /* A file's name may be no valid text, which cairo would stumble over. */
    char *name = g_filename_display_basename(path);
    char *title = shown < pages
                      ? g_strdup_printf("%s: pages 1 to %u of %u", name, shown, pages)
                      : g_strdup_printf("%s: %u page%s", name, pages, pages == 1 ? "" : "s");
    draw_text(cairo, MARGIN, MARGIN + 8, 14, title);
    g_free(title);
    g_free(name);
}

int sheet_init(struct sheet *sheet, const char *path, unsigned pages, struct failure *failure)
{
    unsigned shown = sheet_pages(pages);
    unsigned columns = columns_for(shown);
    unsigned rows = (shown + columns - 1) / columns;
    cairo_surface_t *surface =
        cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)(columns * CELL_WIDTH + MARGIN),
                                   (int)(rows * CELL_HEIGHT + TITLE_HEIGHT + MARGIN));
    if (cairo_surface_status(surface) != CAIRO_STATUS_SUCCESS) {
        cairo_surface_destroy(surface);
        return failure_set(failure, -ENOMEM, "no memory for a contact sheet of %u pages", shown);
    }
    *sheet = (struct sheet){surface, cairo_create(surface), shown, columns};
    cairo_set_source_rgb(sheet->cairo, 0.92, 0.92, 0.92);
    cairo_paint(sheet->cairo);
    cairo_select_font_face(sheet->cairo, "sans-serif", CAIRO_FONT_SLANT_NORMAL,
                           CAIRO_FONT_WEIGHT_NORMAL);
    draw_title(sheet->cairo, path, shown, pages);
    return 0;
}

void sheet_fini(struct sheet *sheet)
{
    if (sheet->cairo)
        cairo_destroy(sheet->cairo);
    if (sheet->surface)
        cairo_surface_destroy(sheet->surface);
    *sheet = (struct sheet){0};
}

/* The thumbnail's bytes are read where they lie, in the worker's memory. */
static void draw_thumb(cairo_t *cairo, double x, double y, const struct page_reply *reply)
{
    unsigned char *pixels = (unsigned char *)(uintptr_t)(reply + 1);
    cairo_surface_t *thumb =
        cairo_image_surface_create_for_data(pixels, CAIRO_FORMAT_RGB24, (int)reply->thumb_width,
                                            (int)reply->thumb_height, (int)reply->thumb_stride);
    double left = x + floor((THUMB_WIDTH - (double)reply->thumb_width) / 2);
    double top = y + floor((THUMB_HEIGHT - (double)reply->thumb_height) / 2);
    cairo_set_source_surface(cairo, thumb, left, top);
    cairo_rectangle(cairo, left, top, reply->thumb_width, reply->thumb_height);
    cairo_fill(cairo);
    cairo_surface_finish(thumb);
    cairo_surface_destroy(thumb);
    cairo_set_source_rgb(cairo, 0.7, 0.7, 0.7);
    cairo_set_line_width(cairo, 1);
    cairo_rectangle(cairo, left - 0.5, top - 0.5, reply->thumb_width + 1, reply->thumb_height + 1);
    cairo_stroke(cairo);
}

static void draw_failed(cairo_t *cairo, double x, double y)
{
    cairo_set_source_rgb(cairo, 0.8, 0.2, 0.2);
    cairo_set_line_width(cairo, 2);
    cairo_rectangle(cairo, x + 1, y + 1, THUMB_WIDTH - 2, THUMB_HEIGHT - 2);
    cairo_move_to(cairo, x + 1, y + 1);
    cairo_rel_line_to(cairo, THUMB_WIDTH - 2, THUMB_HEIGHT - 2);
    cairo_move_to(cairo, x + THUMB_WIDTH - 1, y + 1);
    cairo_rel_line_to(cairo, 2 - THUMB_WIDTH, THUMB_HEIGHT - 2);
    cairo_stroke(cairo);
}

void sheet_put(struct sheet *sheet, unsigned number, const struct page_reply *reply)
{
    char caption[16];
    cairo_text_extents_t extents;
    if (number < 1 || number > sheet->shown)
        return;
    unsigned column = (number - 1) % sheet->columns;
    unsigned row = (number - 1) / sheet->columns;
    double x = MARGIN + column * CELL_WIDTH;
    double y = MARGIN + TITLE_HEIGHT + row * CELL_HEIGHT;
    if (reply && reply->thumb_width > 0)
        draw_thumb(sheet->cairo, x, y, reply);
    else
        draw_failed(sheet->cairo, x, y);
    snprintf(caption, sizeof(caption), "%u", number);
    cairo_set_font_size(sheet->cairo, 10);
    cairo_text_extents(sheet->cairo, caption, &extents);
    draw_text(sheet->cairo, x + (THUMB_WIDTH - extents.width) / 2,
              y + THUMB_HEIGHT + CAPTION_HEIGHT - 2, 10, caption);
}

int sheet_write(struct sheet *sheet, const char *path, struct failure *failure)
{
    errno = 0;
    cairo_surface_flush(sheet->surface);
    cairo_status_t status = cairo_status(sheet->cairo);
    if (status == CAIRO_STATUS_SUCCESS)
        status = cairo_surface_write_to_png(sheet->surface, path);
    if (status == CAIRO_STATUS_SUCCESS)
        return 0;
    int code = errno ? errno : EIO;
    return failure_set(failure, -code, "cannot write %s: %s", path,
                       status == CAIRO_STATUS_WRITE_ERROR ? strerror(code)
                                                          : cairo_status_to_string(status));
}
