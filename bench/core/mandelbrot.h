/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Rows of a picture whose cost differs widely: most of the work lies in the
 * first half. The peers compile the same file, so that a row is the same
 * machine code everywhere.
 */
#ifndef BENCH_MANDELBROT_H
#define BENCH_MANDELBROT_H

#include <stdint.h>

enum { MANDELBROT_ROWS = 512 };

/* The number of iterations of all points of the row. */
uint64_t mandelbrot_row(unsigned row);

/* What the checksum of a picture adds up for a row. */
uint64_t mandelbrot_check(unsigned row, uint64_t iterations);

#endif
