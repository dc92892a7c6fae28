/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The loop of the cpu route in C, for Django to call.
 */
#include <stdint.h>

uint64_t study_sum_of_squares(uint64_t count);

/* Modulo 2^64. The compiler may know nothing of the square, or it would put a formula in
 * place of the loop. */
uint64_t study_sum_of_squares(uint64_t count)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t square = i * i;
        __asm__ volatile("" : "+r"(square));
        sum += square;
    }
    return sum;
}
