/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A progress bar on stderr; nothing at all where stderr is not a terminal.
 */
#ifndef RENDER_PROGRESS_H
#define RENDER_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *label; /* "" for none */
    unsigned total;
    unsigned done;
    uint64_t start_ns;
    uint64_t drawn_ns;
    bool enabled;
    bool visible;
};

void progress_init(struct progress *progress, const char *label, unsigned total);

/* One more is done. Draws ten times a second at most. */
void progress_step(struct progress *progress);

/* Takes the bar off the screen, before a line is printed and at the end; the
 * next step draws it again. */
void progress_erase(struct progress *progress);

#endif
