/* SPDX-License-Identifier: BSD-3-Clause */
#include "pages.h"
#include "drawing.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The file beside the program. */
static int find_beside(const char *name, char *path, size_t size, struct failure *failure)
{
    ssize_t length = readlink("/proc/self/exe", path, size - 1);
    if (length < 0)
        return failure_set(failure, -errno, "where the program is cannot be read");
    path[length] = '\0';
    char *end = strrchr(path, '/') + 1;
    size_t room = size - (size_t)(end - path);
    if ((size_t)snprintf(end, room, "%s", name) >= room)
        return failure_set(failure, -ENAMETOOLONG, "the path of the program is too long");
    return 0;
}

/* Loads it for the first work of this process, and for good. */
static int load(const struct drawing **found, struct failure *failure)
{
    static void *library;
    char path[PATH_MAX];
    int status = library ? 0 : find_beside(DRAWING_FILE, path, sizeof(path), failure);
    if (status < 0)
        return status;
    if (!library)
        library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    *found = library ? dlsym(library, DRAWING_SYMBOL) : NULL;
    if (!*found)
        return failure_set(failure, -ENOTSUP, "nothing here draws pages: %s", dlerror());
    return 0;
}

static int count_compute(const void *args, size_t size, struct reply *reply,
                         struct failure *failure)
{
    const struct drawing *found;
    int status = load(&found, failure);
    return status < 0 ? status : found->count(args, size, reply, failure);
}

static int draw_compute(const void *args, size_t size, struct reply *reply, struct failure *failure)
{
    const struct drawing *found;
    int status = load(&found, failure);
    return status < 0 ? status : found->draw(args, size, reply, failure);
}

static int prepare_compute(const void *args, size_t size, struct reply *reply,
                           struct failure *failure)
{
    const struct drawing *found;
    (void)args, (void)size, (void)reply;
    return load(&found, failure);
}

const struct work pages_count = {
    .name = "count", .media_type = "application/octet-stream", .compute = count_compute};
const struct work pages_draw = {.name = "page", .media_type = "image/png", .compute = draw_compute};
const struct work pages_prepare = {.name = "prepare", .compute = prepare_compute};
