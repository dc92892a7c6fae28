/* SPDX-License-Identifier: BSD-3-Clause */
#include "directory.h"

#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int directory_make(const char *parent, const char *name, char *path, size_t size,
                   struct failure *failure)
{
    int length = snprintf(path, size, "%s%s%s", parent, name ? "/" : "", name ? name : "");
    if (length < 0 || (size_t)length >= size)
        return failure_set(failure, -ENAMETOOLONG, "%.64s...: the name is longer than %zu bytes",
                           parent, size - 1);
    if (g_mkdir_with_parents(path, 0777) < 0) {
        int code = errno;
        return failure_set(failure, -code, "cannot create the directory %s: %s", path,
                           strerror(code));
    }
    if (access(path, W_OK | X_OK) < 0) {
        int code = errno;
        return failure_set(failure, -code, "cannot write to the directory %s: %s", path,
                           strerror(code));
    }
    return 0;
}
