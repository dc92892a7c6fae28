/* SPDX-License-Identifier: BSD-3-Clause
 *
 * make_pdf FILE PAGES [LARGE] - a document whose pages differ in size and cost.
 * Page LARGE measures 200 inches a side.
 */
#include <cairo-pdf.h>
#include <cairo.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void draw_page(cairo_t *cairo, double width, double height, int number)
{
    char text[32];
    int curves = 10 + number * 7 % 11 * (number * 7 % 11) * 12;
    for (int i = 0; i < curves; i++) {
        double turn = i * 2.399963;
        double reach = width / 2.2 * sqrt((double)i / curves);
        cairo_set_source_rgba(cairo, 0.5 + 0.5 * cos(turn), 0.5, 0.5 + 0.5 * sin(turn), 0.4);
        cairo_arc(cairo, width / 2 + reach * cos(turn), height / 2 + reach * sin(turn), 9, 0, 6.3);
        cairo_fill(cairo);
    }
    cairo_set_source_rgb(cairo, 0, 0, 0);
    cairo_set_font_size(cairo, 36);
    cairo_move_to(cairo, 36, 60);
    snprintf(text, sizeof(text), "Page %d", number);
    cairo_show_text(cairo, text);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fputs("usage: make_pdf FILE PAGES [LARGE]\n", stderr);
        return 2;
    }
    int pages = atoi(argv[2]);
    int large = argc > 3 ? atoi(argv[3]) : 0;
    cairo_surface_t *surface = cairo_pdf_surface_create(argv[1], 595, 842);
    cairo_t *cairo = cairo_create(surface);
    for (int number = 1; number <= pages; number++) {
        double width = number == large ? 14400 : number % 3 == 0 ? 842 : 595;
        double height = number == large ? 14400 : number % 3 == 0 ? 595 : 842;
        cairo_pdf_surface_set_size(surface, width, height);
        draw_page(cairo, width, height, number);
        cairo_show_page(cairo);
    }
    cairo_destroy(cairo);
    cairo_surface_finish(surface);
    cairo_status_t status = cairo_surface_status(surface);
    cairo_surface_destroy(surface);
    if (status != CAIRO_STATUS_SUCCESS) {
        fprintf(stderr, "make_pdf: %s: %s\n", argv[1], cairo_status_to_string(status));
        return 1;
    }
    return 0;
}
