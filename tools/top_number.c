/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/top_number.h"

#include <stdbool.h>
#include <stdio.h>

struct unit {
    double size;
    const char *name;
};

/* The greatest first; the last takes what is below it too. */
static const struct unit counts[] = {{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}, {0, NULL}};
static const struct unit times[] = {{86400e9, "d"}, {3600e9, "h"}, {60e9, "m"}, {1e9, "s"},
                                    {1e6, "ms"},    {1e3, "us"},   {1, "ns"},   {0, NULL}};
static const struct unit sizes[] = {
    {0x1p40, "T"}, {0x1p30, "G"}, {0x1p20, "M"}, {0x1p10, "K"}, {0, NULL}};

/* Three figures, in the greatest unit that it has one of. */
static void in_units(char text[NUMBER_SIZE], double value, const struct unit *unit)
{
    while (value < unit->size && unit[1].name != NULL)
        unit++;
    value /= unit->size;
    snprintf(text, NUMBER_SIZE, "%.*f%s",
             value < 9.995   ? 2
             : value < 99.95 ? 1
                             : 0,
             value, unit->name);
}

static void count(char text[NUMBER_SIZE], double value)
{
    if (value < 99999.5)
        snprintf(text, NUMBER_SIZE, "%.0f", value);
    else
        in_units(text, value, counts);
}

const char *number_write(enum number_kind kind, double value, char text[NUMBER_SIZE])
{
    bool nothing = kind == NUMBER_PLAIN ? value < 0 : value <= 0;
    if (nothing && kind != NUMBER_COUNT && kind != NUMBER_RATE && kind != NUMBER_SHARE)
        snprintf(text, NUMBER_SIZE, "-");
    else if (kind == NUMBER_TIME || kind == NUMBER_BYTES)
        in_units(text, value, kind == NUMBER_TIME ? times : sizes);
    else if (kind == NUMBER_SHARE)
        snprintf(text, NUMBER_SIZE, "%.0f%%", value * 100);
    else if (kind == NUMBER_RATE && value > 0 && value < 99.95)
        snprintf(text, NUMBER_SIZE, "%.1f", value);
    else if (kind == NUMBER_PLAIN)
        snprintf(text, NUMBER_SIZE, "%.0f", value);
    else
        count(text, value);
    return text;
}
