/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Programs that measure in a process of their own.
 */
#ifndef BENCH_CHILD_H
#define BENCH_CHILD_H

#include "measure.h"

/* Runs a program that prints lines "FIGURE VALUE", and adds these samples. It
 * starts on the given CPUs and is killed after a minute. */
enum outcome child_run(enum place place, const char *const *arguments);

/* This program, and one that lies beside it. The text is overwritten by the
 * next call. */
const char *child_self(void);
const char *child_beside(const char *name);

#endif
