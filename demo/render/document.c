/* SPDX-License-Identifier: BSD-3-Clause */
#include "document.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the renderer calls damaged may never have been a file: look first. */
static int check_file(const char *path, struct failure *failure)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return failure_set(failure, -errno, "%s: %s", path, strerror(errno));
    int code = fstat(fd, &status) < 0 ? -errno : 0;
    close(fd);
    if (code < 0)
        return failure_set(failure, code, "%s: %s", path, strerror(-code));
    if (!S_ISREG(status.st_mode))
        return failure_set(failure, -EINVAL, "%s: not a regular file", path);
    if (status.st_size == 0)
        return failure_set(failure, -EBADMSG, "%s: the file is empty", path);
    return 0;
}

static int explain(const char *path, const GError *cause, struct failure *failure)
{
    if (cause->domain == POPPLER_ERROR && cause->code == POPPLER_ERROR_ENCRYPTED)
        return failure_set(failure, -EACCES,
                           "%s: needs a password; make a copy without one first, for example "
                           "with 'qpdf --password=... --decrypt'",
                           path);
    if (cause->domain == POPPLER_ERROR &&
        (cause->code == POPPLER_ERROR_DAMAGED || cause->code == POPPLER_ERROR_BAD_CATALOG))
        return failure_set(failure, -EBADMSG, "%s: damaged, or no PDF document", path);
    return failure_set(failure, -EIO, "%s: %s", path, cause->message);
}

int document_open(const char *path, PopplerDocument **document, unsigned *pages,
                  struct failure *failure)
{
    int status = check_file(path, failure);
    if (status < 0)
        return status;

    GError *cause = NULL;
    PopplerDocument *opened = NULL;
    char *absolute = g_canonicalize_filename(path, NULL);
    char *uri = g_filename_to_uri(absolute, NULL, &cause);
    if (uri)
        opened = poppler_document_new_from_file(uri, NULL, &cause);
    g_free(uri);
    g_free(absolute);
    if (!opened) {
        status = explain(path, cause, failure);
        g_error_free(cause);
        return status;
    }
    int count = poppler_document_get_n_pages(opened);
    if (count < 1) {
        document_close(opened);
        return failure_set(failure, -EINVAL, "%s: the document has no pages", path);
    }
    *pages = (unsigned)count;
    *document = opened;
    return 0;
}

void document_close(PopplerDocument *document)
{
    if (document)
        g_object_unref(document);
}
