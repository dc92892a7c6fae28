/* SPDX-License-Identifier: BSD-3-Clause */
#include "documents.h"
#include "seconds.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

static void make_path(const struct documents *documents, const char *name, char *path, size_t size)
{
    snprintf(path, size, "%s/%s.pdf", documents->directory, name);
}

int documents_init(struct documents *documents, struct failure *failure)
{
    *documents = (struct documents){.directory = "/tmp/multicore-web-XXXXXX"};
    TAILQ_INIT(&documents->list);
    if (mkdtemp(documents->directory))
        return 0;
    documents->directory[0] = '\0';
    return failure_set(failure, -errno, "no directory for documents: %s", strerror(errno));
}

static void forget(struct documents *documents, struct uploaded *uploaded)
{
    TAILQ_REMOVE(&documents->list, uploaded, entry);
    documents->count--;
    unlink(uploaded->path);
    free(uploaded);
}

void documents_fini(struct documents *documents)
{
    struct uploaded *first;
    if (documents->directory[0] == '\0')
        return;
    while ((first = TAILQ_FIRST(&documents->list)))
        forget(documents, first);
    rmdir(documents->directory);
}

int documents_name(const struct documents *documents, char name[DOCUMENT_NAME + 1], char *path,
                   size_t size, struct failure *failure)
{
    uint64_t number;
    if (getrandom(&number, sizeof(number), 0) != sizeof(number))
        return failure_set(failure, -EIO, "no random numbers");
    snprintf(name, DOCUMENT_NAME + 1, "%016llx", (unsigned long long)number);
    make_path(documents, name, path, size);
    return 0;
}

struct uploaded *documents_add(struct documents *documents, const char *name, unsigned pages)
{
    struct uploaded *uploaded = calloc(1, sizeof(*uploaded) + pages / 8 + 1);
    if (!uploaded)
        return NULL;
    if (documents->count == DOCUMENTS_MAX)
        forget(documents, TAILQ_FIRST(&documents->list));
    memcpy(uploaded->name, name, sizeof(uploaded->name));
    make_path(documents, name, uploaded->path, sizeof(uploaded->path));
    uploaded->pages = pages;
    TAILQ_INSERT_TAIL(&documents->list, uploaded, entry);
    documents->count++;
    return uploaded;
}

struct uploaded *documents_find(struct documents *documents, const char *text)
{
    struct uploaded *uploaded = TAILQ_FIRST(&documents->list);
    while (uploaded && strncmp(uploaded->name, text, DOCUMENT_NAME) != 0)
        uploaded = TAILQ_NEXT(uploaded, entry);
    return uploaded;
}

void documents_drawn(struct uploaded *uploaded, unsigned number, uint64_t run_ns)
{
    unsigned char *byte = &uploaded->was_drawn[number / 8];
    unsigned char bit = (unsigned char)(1u << number % 8);
    if (*byte & bit)
        return;
    *byte |= bit;
    uploaded->drawn++;
    uploaded->drawn_ns += run_ns;
    uploaded->last_ns = monotonic_ns();
}
