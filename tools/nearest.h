/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Which of some names was probably meant. Pure.
 */
#ifndef TOOLS_NEAREST_H
#define TOOLS_NEAREST_H

struct nearest {
    const char *given;
    const char *best; /* NULL: none is near */
    unsigned distance;
};

struct nearest nearest_to(const char *given);
void nearest_try(struct nearest *nearest, const char *name);

#endif
