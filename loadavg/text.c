/* SPDX-License-Identifier: BSD-3-Clause */
#include "loadavg/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <unistd.h>

int text_read(const char *path, char *buffer, size_t size)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return -errno;
    size_t length = 0;
    int result = 0;
    while (length < size - 1) {
        ssize_t got = read(descriptor, buffer + length, size - 1 - length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            result = -errno;
        if (got <= 0)
            break;
        length += (size_t)got;
    }
    close(descriptor);
    if (result < 0)
        return result;
    buffer[length] = '\0';
    return (int)length;
}

static bool is_digit(char character)
{
    return character >= '0' && character <= '9';
}

const char *text_integer(const char *text, uint64_t *value)
{
    uint64_t number = 0;
    const char *next = text;
    for (; is_digit(*next); next++) {
        if (__builtin_mul_overflow(number, 10u, &number) ||
            __builtin_add_overflow(number, (uint64_t)(*next - '0'), &number))
            return NULL;
    }
    if (next == text)
        return NULL;
    *value = number;
    return next;
}

const char *text_milli(const char *text, uint32_t *milli)
{
    uint64_t whole = 0;
    const char *next = text;
    if (is_digit(*text)) {
        next = text_integer(text, &whole);
        if (next == NULL || whole > UINT32_MAX)
            return NULL;
    }
    uint64_t number = whole * 1000;
    if (*next == '.') {
        if (!is_digit(next[1]))
            return NULL;
        next++;
        for (uint64_t place = 100; is_digit(*next); next++, place /= 10)
            number += place * (uint64_t)(*next - '0');
    }
    if (next == text || number > UINT32_MAX)
        return NULL;
    *milli = (uint32_t)number;
    return next;
}
