/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What each worker has done, for those who watch.
 */
#ifndef WEB_TALLY_H
#define WEB_TALLY_H

#include <stdint.h>
#include <sys/types.h>

enum { TALLY_MAX = 320 }; /* as many workers as a pool may have, of both kinds */

struct tally {
    unsigned count;
    struct tally_row {
        pid_t pid;
        uint64_t tasks;
        uint64_t run_ns;
    } rows[TALLY_MAX];
};

void tally_add(struct tally *tally, pid_t pid, uint64_t run_ns);
/* All zero for one that did nothing yet. */
struct tally_row tally_of(const struct tally *tally, pid_t pid);

#endif
