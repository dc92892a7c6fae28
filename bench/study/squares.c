/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The loop of the cpu route in C, for Django to call: that of demo/web.
 */
#include <stdint.h>

void study_sum_of_squares(uint64_t count, uint64_t halves[2]);

/* The sum needs more than 64 bits: the low ones come first. The compiler may know nothing of
 * the square, or it would put a formula in place of the loop. */
void study_sum_of_squares(uint64_t count, uint64_t halves[2])
{
    unsigned __int128 sum = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t square = i * i;
        __asm__ volatile("" : "+r"(square));
        sum += square;
    }
    halves[0] = (uint64_t)sum;
    halves[1] = (uint64_t)(sum >> 64);
}
