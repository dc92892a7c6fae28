/* SPDX-License-Identifier: BSD-3-Clause */
#include "tally.h"

#include <string.h>

void tally_add(struct tally *tally, pid_t pid, uint64_t run_ns)
{
    unsigned i = 0;
    while (i < tally->count && tally->rows[i].pid != pid)
        i++;
    if (i == TALLY_MAX) { /* many have died: the oldest row goes */
        memmove(tally->rows, tally->rows + 1, (TALLY_MAX - 1) * sizeof(tally->rows[0]));
        tally->count = --i;
    }
    if (i == tally->count)
        tally->rows[tally->count++] = (struct tally_row){.pid = pid};
    tally->rows[i].tasks++;
    tally->rows[i].run_ns += run_ns;
}

struct tally_row tally_of(const struct tally *tally, pid_t pid)
{
    for (unsigned i = 0; i < tally->count; i++)
        if (tally->rows[i].pid == pid)
            return tally->rows[i];
    return (struct tally_row){.pid = pid};
}
