/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/nearest.h"

#include <stddef.h>
#include <string.h>

enum { LONGEST = 63 };

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* The number of characters to insert, delete, replace, or swap with the next one. */
static unsigned distance(const char *a, const char *b)
{
    unsigned rows[3][LONGEST + 1]; /* of the table of all prefixes: three are enough */
    size_t a_size = strlen(a), b_size = strlen(b);
    for (size_t j = 0; j <= b_size; j++)
        rows[0][j] = (unsigned)j;
    for (size_t i = 1; i <= a_size; i++) {
        unsigned *row = rows[i % 3], *above = rows[(i + 2) % 3], *higher = rows[(i + 1) % 3];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_size; j++) {
            unsigned change = a[i - 1] != b[j - 1];
            row[j] = least(least(above[j], row[j - 1]) + 1, above[j - 1] + change);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], higher[j - 2] + 1);
        }
    }
    return rows[a_size % 3][b_size];
}

struct nearest nearest_to(const char *given)
{
    /* A third of the name may be wrong, and of a short one two characters. */
    unsigned most = (unsigned)strlen(given) / 3;
    return (struct nearest){.given = given, .distance = (most > 2 ? most : 2) + 1};
}

void nearest_try(struct nearest *nearest, const char *name)
{
    if (strlen(nearest->given) > LONGEST || strlen(name) > LONGEST)
        return;
    unsigned found = distance(nearest->given, name);
    if (found < nearest->distance && found < strlen(name)) {
        nearest->best = name;
        nearest->distance = found;
    }
}
