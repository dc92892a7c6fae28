/* SPDX-License-Identifier: BSD-3-Clause */
#include "routes.h"
#include "posts.h"
#include "stream.h"
#include "upload.h"

#include <string.h>

static const struct route routes[] = {
    {.method = "GET",
     .path = "/posts/cpu/",
     .serve = serve_work,
     .work = &posts_cpu,
     .success = MHD_HTTP_OK},
    {.method = "POST",
     .path = "/posts/io_create/",
     .serve = serve_work,
     .work = &posts_create,
     .success = MHD_HTTP_CREATED},
    {.method = "GET",
     .path = "/posts/io_read/",
     .serve = serve_work,
     .work = &posts_read,
     .success = MHD_HTTP_OK},
    {.method = "GET", .path = "/", .serve = serve_page},
    {.method = "GET", .path = "/style.css", .serve = serve_page},
    {.method = "GET", .path = "/script.js", .serve = serve_page},
    {.method = "GET", .path = "/events", .serve = serve_events},
    {.method = "POST",
     .path = "/documents",
     .serve = serve_upload,
     .receive = receive_upload,
     .upload = true},
    {.method = "GET", .path = "/documents/*", .serve = serve_document},
};

static bool has_path(const struct route *route, const char *path)
{
    size_t length = strlen(route->path);
    if (route->path[length - 1] == '*')
        return strncmp(route->path, path, length - 1) == 0;
    return strcmp(route->path, path) == 0;
}

const struct route *routes_find(const char *method, const char *path)
{
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
        if (has_path(&routes[i], path) && strcmp(routes[i].method, wanted) == 0)
            return &routes[i];
    return NULL;
}

/* No path has more than one route. */
const char *routes_allowed(const char *path)
{
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
        if (has_path(&routes[i], path))
            return strcmp(routes[i].method, "GET") == 0 ? "GET, HEAD" : routes[i].method;
    return "";
}
