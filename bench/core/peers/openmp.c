/* SPDX-License-Identifier: BSD-3-Clause
 *
 * bench_peer_openmp SERIAL_NS CHECKSUM: the rows of the picture by OpenMP, with
 * a team that is there already. Fails when its checksum is another.
 */
#include "mandelbrot.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t iterations[MANDELBROT_ROWS];

static void compute(void)
{
#pragma omp parallel for schedule(dynamic)
    for (unsigned row = 0; row < MANDELBROT_ROWS; row++)
        iterations[row] = mandelbrot_row(row);
}

static void start_team(void)
{
    static int seen;
#pragma omp parallel
    {
#pragma omp atomic
        seen++;
    }
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    start_team();
    double began = omp_get_wtime();
    compute();
    uint64_t sum = 0;
    for (unsigned row = 0; row < MANDELBROT_ROWS; row++)
        sum += mandelbrot_check(row, iterations[row]);
    double parallel_ns = (omp_get_wtime() - began) * 1e9;
    if (sum != strtoull(argv[2], NULL, 10))
        return 1;
    printf("openmp_speedup %.6f\n", strtod(argv[1], NULL) / parallel_ns);
    return 0;
}
