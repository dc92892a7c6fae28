/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BENCH_SERVE_TOGETHER_H
#define BENCH_SERVE_TOGETHER_H

#include "crowd.h"

/* Lets a crowd begin, counts what all of them are answered per second, a sample for each
 * quarter of a second, and ends it. */
enum outcome together_measure(struct crowd *crowd, unsigned figure, unsigned samples);

#endif
