/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The same page gives the same pixels in every process: antialiasing and font
 * options are set, not taken from the desktop's settings.
 */
#include "page.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int page_path(const char *out, unsigned number, char *path, size_t size)
{
    int length = snprintf(path, size, "%s/page-%04u.png", out, number);
    return length < 0 || (size_t)length >= size ? -ENAMETOOLONG : 0;
}

/* FNV-1a over pixels in place of bytes. The unused byte of a pixel does not
 * count: cairo leaves it undefined. */
static uint64_t hash_pixels(cairo_surface_t *surface)
{
    const unsigned char *data = cairo_image_surface_get_data(surface);
    int stride = cairo_image_surface_get_stride(surface);
    int width = cairo_image_surface_get_width(surface);
    int height = cairo_image_surface_get_height(surface);
    uint64_t hash = 0xcbf29ce484222325u;
    for (int y = 0; y < height; y++) {
        const uint32_t *row = (const uint32_t *)(const void *)(data + (size_t)y * (size_t)stride);
        for (int x = 0; x < width; x++)
            hash = (hash ^ (row[x] & 0xffffffu)) * 0x100000001b3u;
    }
    return hash;
}

static int measure(PopplerPage *source, const struct page_request *request,
                   struct page_reply *reply, struct failure *failure)
{
    double points_wide, points_high;
    poppler_page_get_size(source, &points_wide, &points_high);
    double width = ceil(points_wide * request->dpi / 72.0);
    double height = ceil(points_high * request->dpi / 72.0);
    if (!(width >= 1 && height >= 1))
        return failure_set(failure, -EINVAL, "the page has no area");
    if (width > PAGE_SIDE_MAX || height > PAGE_SIDE_MAX)
        return failure_set(failure, -EFBIG,
                           "at %u dpi it would be %.0f x %.0f pixels; the limit is %d a side: "
                           "choose a lower --dpi",
                           request->dpi, width, height, PAGE_SIDE_MAX);
    reply->width = (uint32_t)width;
    reply->height = (uint32_t)height;
    return 0;
}

static void plan_thumb(struct page_reply *reply)
{
    double scale = fmin((double)THUMB_WIDTH / reply->width, (double)THUMB_HEIGHT / reply->height);
    scale = fmin(scale, 1);
    reply->thumb_width = (uint32_t)fmax(1, floor(reply->width * scale));
    reply->thumb_height = (uint32_t)fmax(1, floor(reply->height * scale));
    reply->thumb_stride =
        (uint32_t)cairo_format_stride_for_width(CAIRO_FORMAT_RGB24, (int)reply->thumb_width);
}

static cairo_surface_t *draw(PopplerPage *source, const struct page_request *request,
                             const struct page_reply *reply)
{
    cairo_surface_t *surface =
        cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)reply->width, (int)reply->height);
    cairo_t *cairo = cairo_create(surface);
    cairo_font_options_t *fonts = cairo_font_options_create();
    cairo_font_options_set_antialias(fonts, CAIRO_ANTIALIAS_GRAY);
    cairo_font_options_set_hint_style(fonts, CAIRO_HINT_STYLE_NONE);
    cairo_font_options_set_hint_metrics(fonts, CAIRO_HINT_METRICS_OFF);
    cairo_set_font_options(cairo, fonts);
    cairo_font_options_destroy(fonts);
    cairo_set_antialias(cairo, CAIRO_ANTIALIAS_GRAY);

    cairo_set_source_rgb(cairo, 1, 1, 1);
    cairo_paint(cairo);
    cairo_scale(cairo, request->dpi / 72.0, request->dpi / 72.0);
    poppler_page_render(source, cairo);
    cairo_destroy(cairo);
    cairo_surface_flush(surface);
    return surface;
}

static int write_png(cairo_surface_t *surface, const char *path, struct failure *failure)
{
    errno = 0;
    cairo_status_t status = cairo_surface_write_to_png(surface, path);
    if (status == CAIRO_STATUS_SUCCESS)
        return 0;
    int code = errno ? errno : EIO;
    unlink(path);
    return failure_set(failure, -code, "cannot write %s: %s", path,
                       status == CAIRO_STATUS_WRITE_ERROR ? strerror(code)
                                                          : cairo_status_to_string(status));
}

int page_draw(PopplerDocument *document, const struct page_request *request, unsigned number,
              struct page *page, struct failure *failure)
{
    struct page drawn = {.reply = {.number = number}};
    PopplerPage *source = poppler_document_get_page(document, (int)number - 1);
    if (!source)
        return failure_set(failure, -EBADMSG, "it cannot be read from the document");
    int status = measure(source, request, &drawn.reply, failure);
    if (status == 0) {
        drawn.surface = draw(source, request, &drawn.reply);
        if (cairo_surface_status(drawn.surface) != CAIRO_STATUS_SUCCESS)
            status = failure_set(failure, -ENOMEM, "%s",
                                 cairo_status_to_string(cairo_surface_status(drawn.surface)));
    }
    g_object_unref(source);
    if (status == 0)
        *page = drawn;
    else
        page_fini(&drawn);
    return status;
}

int page_render(PopplerDocument *document, const struct page_request *request, unsigned number,
                struct page *page, struct failure *failure)
{
    char path[PATH_MAX];
    struct page done;
    int status = page_path(request->out, number, path, sizeof(path));
    if (status < 0)
        return failure_set(failure, status, "the name of its file is longer than %d bytes",
                           PATH_MAX);
    if (number == request->crash_page)
        raise(SIGSEGV);
    status = page_draw(document, request, number, &done, failure);
    if (status < 0)
        return status;
    status = write_png(done.surface, path, failure);
    if (status < 0) {
        page_fini(&done);
        return status;
    }
    done.reply.hash = hash_pixels(done.surface);
    if (number <= request->thumbs)
        plan_thumb(&done.reply);
    *page = done;
    return 0;
}

void page_fini(struct page *page)
{
    if (page->surface)
        cairo_surface_destroy(page->surface);
    page->surface = NULL;
}

static size_t reply_size(const struct page_reply *reply)
{
    return sizeof(*reply) + (size_t)reply->thumb_stride * reply->thumb_height;
}

size_t page_reply_size(const struct page *page)
{
    return reply_size(&page->reply);
}

int page_reply_write(const struct page *page, void *data, struct failure *failure)
{
    const struct page_reply *reply = &page->reply;
    memcpy(data, reply, sizeof(*reply));
    if (reply->thumb_width == 0)
        return 0;

    cairo_surface_t *thumb = cairo_image_surface_create_for_data(
        (unsigned char *)data + sizeof(*reply), CAIRO_FORMAT_RGB24, (int)reply->thumb_width,
        (int)reply->thumb_height, (int)reply->thumb_stride);
    cairo_t *cairo = cairo_create(thumb);
    cairo_scale(cairo, (double)reply->thumb_width / reply->width,
                (double)reply->thumb_height / reply->height);
    cairo_set_source_surface(cairo, page->surface, 0, 0);
    cairo_pattern_set_filter(cairo_get_source(cairo), CAIRO_FILTER_GOOD);
    cairo_pattern_set_extend(cairo_get_source(cairo), CAIRO_EXTEND_PAD);
    cairo_set_operator(cairo, CAIRO_OPERATOR_SOURCE);
    cairo_paint(cairo);
    cairo_status_t status = cairo_status(cairo);
    cairo_destroy(cairo);
    cairo_surface_finish(thumb);
    cairo_surface_destroy(thumb);
    if (status != CAIRO_STATUS_SUCCESS)
        return failure_set(failure, -ENOMEM, "no thumbnail: %s", cairo_status_to_string(status));
    return 0;
}

const struct page_reply *page_reply_read(const void *data, size_t size)
{
    const struct page_reply *reply = data;
    if (!data || size < sizeof(*reply))
        return NULL;
    if (reply->thumb_width > THUMB_WIDTH || reply->thumb_height > THUMB_HEIGHT ||
        reply->thumb_stride < 4 * reply->thumb_width || reply->thumb_stride > 8 * THUMB_WIDTH)
        return NULL;
    return size == reply_size(reply) ? reply : NULL;
}
