/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/top_number.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

static const char *with_decimals(double value, int decimals, const char *unit,
                                 char text[UNITS_TEXT_SIZE])
{
    snprintf(text, UNITS_TEXT_SIZE, "%.*f%s", decimals, value, unit);
    return text;
}

static const char *count(double value, char text[UNITS_TEXT_SIZE])
{
    static const char *const units[] = {"", "k", "M", "G", "T"};
    size_t unit = 0;
    if (value < 99999.5)
        return with_decimals(value, 0, "", text);
    while (value >= 999.5 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        value /= 1000;
        unit++;
    }
    return with_decimals(value, value < 9.995 ? 2 : value < 99.95 ? 1 : 0, units[unit], text);
}

const char *number_write(enum number_kind kind, double value, char text[UNITS_TEXT_SIZE])
{
    bool measured = kind == NUMBER_TIME || kind == NUMBER_BYTES;
    if (value < 0 || (measured && value < 1)) {
        snprintf(text, UNITS_TEXT_SIZE, "-");
        return text;
    }
    switch (kind) {
    case NUMBER_PLAIN:
        return with_decimals(value, 0, "", text);
    case NUMBER_TIME:
        return units_short_time((uint64_t)value, text);
    case NUMBER_BYTES:
        return units_short_size((uint64_t)value, text);
    case NUMBER_SHARE:
        return with_decimals(value * 100, 0, "%", text);
    case NUMBER_RATE:
        if (value > 0 && value < 99.95)
            return with_decimals(value, 1, "", text);
        break;
    case NUMBER_COUNT:
        break;
    }
    return count(value, text);
}
