/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What `multicore doctor` finds: a list of findings, filled by
 *
 *   doctor_kernel.c  what the kernel has, and what the pool does without
 *   doctor_pool.c    what a configuration needs of this machine
 */
#ifndef TOOLS_DOCTOR_H
#define TOOLS_DOCTOR_H

#include "pool/config.h"

#include <stdbool.h>
#include <stddef.h>

enum level { LEVEL_OK, LEVEL_NOTE, LEVEL_WARNING, LEVEL_ERROR };

struct finding {
    enum level level;
    const char *subject; /* static */
    char text[360];      /* what was found, and the remedy if it is no OK */
};

enum { FINDINGS_MOST = 32 };
struct findings {
    struct finding list[FINDINGS_MOST];
    size_t count;
};

void found(struct findings *findings, enum level level, const char *subject, const char *format,
           ...) __attribute__((format(printf, 4, 5)));

void doctor_look_at_kernel(struct findings *findings);
/* config is what the configuration makes of this machine. */
void doctor_look_at_pool(struct findings *findings, const struct config *config);

#endif
