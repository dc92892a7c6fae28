/* SPDX-License-Identifier: BSD-3-Clause */
#include "mandelbrot.h"

enum { COLUMNS = 512, ITERATIONS = 600 };

static const double LEFT = -2.0, WIDTH = 2.6, TOP = -0.15, HEIGHT = 1.35;

static unsigned iterations_at(double x, double y)
{
    double real = 0, imaginary = 0;
    unsigned count = 0;
    while (count < ITERATIONS && real * real + imaginary * imaginary <= 4.0) {
        double next = real * real - imaginary * imaginary + x;
        imaginary = 2 * real * imaginary + y;
        real = next;
        count++;
    }
    return count;
}

uint64_t mandelbrot_row(unsigned row)
{
    uint64_t sum = 0;
    double y = TOP + HEIGHT * row / MANDELBROT_ROWS;
    for (unsigned column = 0; column < COLUMNS; column++)
        sum += iterations_at(LEFT + WIDTH * column / COLUMNS, y);
    return sum;
}

uint64_t mandelbrot_check(unsigned row, uint64_t iterations)
{
    return (row + 1) * iterations;
}
