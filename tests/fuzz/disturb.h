/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Somebody else who writes to the lane while a target works on it, or nobody:
 * calm.c or race.c is linked.
 */
#ifndef TESTS_FUZZ_DISTURB_H
#define TESTS_FUZZ_DISTURB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* True if bytes change while they are read. */
extern const bool disturbed;

void disturb_begin(uint8_t *memory, size_t size, uint32_t seed);
/* From its return on nothing changes any more. */
void disturb_end(void);

#endif
