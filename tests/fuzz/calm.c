/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fuzz/disturb.h"

const bool disturbed = false;

void disturb_begin(uint8_t *memory, size_t size, uint32_t seed)
{
}

void disturb_end(void)
{
}
