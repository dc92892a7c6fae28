/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fault/allocations.h"

#include "base/fault.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What --wrap makes of a call, and of the function itself. */
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
int __wrap_posix_memalign(void **made, size_t alignment, size_t size);
char *__wrap_strdup(const char *text);
int __wrap_asprintf(char **made, const char *format, ...) __attribute__((format(printf, 2, 3)));
void __wrap_free(void *memory);
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
int __real_posix_memalign(void **made, size_t alignment, size_t size);
char *__real_strdup(const char *text);
void __real_free(void *memory);

static long live;

long allocations_live(void)
{
    return live;
}

static bool fails(void)
{
    return FAULT_FAILS("allocation", ENOMEM);
}

static void *counted(void *memory)
{
    live += memory != NULL;
    return memory;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : counted(__real_calloc(count, size));
}

void *__wrap_realloc(void *old, size_t size)
{
    if (fails())
        return NULL;
    void *made = __real_realloc(old, size);
    return old == NULL ? counted(made) : made;
}

int __wrap_posix_memalign(void **made, size_t alignment, size_t size)
{
    int result = fails() ? ENOMEM : __real_posix_memalign(made, alignment, size);
    live += result == 0;
    return result;
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : counted(__real_strdup(text));
}

int __wrap_asprintf(char **made, const char *format, ...)
{
    if (fails())
        return -1;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(made, format, arguments);
    va_end(arguments);
    live += length >= 0;
    return length;
}

void __wrap_free(void *memory)
{
    live -= memory != NULL;
    __real_free(memory);
}
