/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include <stdbool.h>

/* The names of all figures, and what they are. */
void report_list(void);

/* The figures, and the goals with whether they were met, on standard output. */
void report_print(void);

/* The same as JSON, into a file; false and a message when it cannot be written. */
bool report_write(const char *path);

#endif
