/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

struct unit {
    const char *name;
    uint64_t factor;
};

/* The largest first; the last is the bare number. */
static const struct unit sizes[] = {
    {"T", UINT64_C(1) << 40},
    {"G", UINT64_C(1) << 30},
    {"M", UINT64_C(1) << 20},
    {"K", UINT64_C(1) << 10},
    {"", 1},
};
static const struct unit durations[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1},
};
enum {
    SIZE_COUNT = sizeof(sizes) / sizeof(sizes[0]),
    DURATION_COUNT = sizeof(durations) / sizeof(durations[0]),
};

/* Returns what follows the digits; NULL if there are none, and *value is not touched. */
static const char *read_digits(const char *text, uint64_t *value, int *result)
{
    uint64_t number = 0;
    const char *next = text;
    *result = 0;
    for (; *next >= '0' && *next <= '9'; next++)
        if (__builtin_mul_overflow(number, 10u, &number) ||
            __builtin_add_overflow(number, (uint64_t)(*next - '0'), &number))
            *result = -ERANGE;
    if (next == text)
        return NULL;
    *value = number;
    return next;
}

static int read_unit(const char *text, const struct unit *units, int count, uint64_t *value)
{
    uint64_t number = 0;
    int result;
    const char *name = read_digits(text, &number, &result);
    if (name == NULL)
        return -EINVAL;
    for (int i = 0; i < count; i++) {
        if (strcmp(name, units[i].name) != 0)
            continue;
        if (result < 0 || __builtin_mul_overflow(number, units[i].factor, &number))
            return -ERANGE;
        *value = number;
        return 0;
    }
    return -EINVAL;
}

static const char *write_unit(uint64_t value, const struct unit *units, int count, char *text)
{
    int i = 0;
    while (i < count - 1 && (value == 0 || value % units[i].factor != 0))
        i++;
    snprintf(text, UNITS_TEXT_SIZE, "%" PRIu64 "%s", value / units[i].factor, units[i].name);
    return text;
}

int units_number(const char *text, uint64_t *value)
{
    return read_unit(text, &sizes[SIZE_COUNT - 1], 1, value);
}

int units_size(const char *text, uint64_t *bytes)
{
    return read_unit(text, sizes, SIZE_COUNT, bytes);
}

int units_duration(const char *text, uint64_t *ms)
{
    return read_unit(text, durations, DURATION_COUNT, ms);
}

const char *units_of_size(uint64_t bytes, char text[UNITS_TEXT_SIZE])
{
    return write_unit(bytes, sizes, SIZE_COUNT, text);
}

const char *units_of_duration(uint64_t ms, char text[UNITS_TEXT_SIZE])
{
    return write_unit(ms, durations, DURATION_COUNT, text);
}

/* ---- for people ---- */

/* Three digits, or four of a whole number. */
static const char *short_number(double value, const char *unit, char *text)
{
    int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
    snprintf(text, UNITS_TEXT_SIZE, "%.*f%s", decimals, value, unit);
    return text;
}

static const char *two_parts(uint64_t value, uint64_t part, const char *large, const char *small,
                             char *text)
{
    snprintf(text, UNITS_TEXT_SIZE, "%" PRIu64 "%s%02" PRIu64 "%s", value / part, large,
             value % part, small);
    return text;
}

const char *units_short_time(uint64_t ns, char text[UNITS_TEXT_SIZE])
{
    uint64_t seconds = ns / 1000000000;
    if (ns < 1000)
        snprintf(text, UNITS_TEXT_SIZE, "%" PRIu64 "ns", ns);
    else if (ns < 999500)
        short_number((double)ns / 1e3, "us", text);
    else if (ns < 999500000)
        short_number((double)ns / 1e6, "ms", text);
    else if (seconds < 60)
        short_number((double)ns / 1e9, "s", text);
    else if (seconds < 3600)
        two_parts(seconds, 60, "m", "s", text);
    else if (seconds < 86400)
        two_parts(seconds / 60, 60, "h", "m", text);
    else
        two_parts(seconds / 3600, 24, "d", "h", text);
    return text;
}

const char *units_short_size(uint64_t bytes, char text[UNITS_TEXT_SIZE])
{
    for (int i = 0; i < SIZE_COUNT - 1; i++)
        if (bytes >= sizes[i].factor)
            return short_number((double)bytes / (double)sizes[i].factor, sizes[i].name, text);
    snprintf(text, UNITS_TEXT_SIZE, "%" PRIu64, bytes);
    return text;
}
