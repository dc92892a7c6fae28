/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Decoded trees: looking at all of one, writing it again, comparing two.
 */
#ifndef TESTS_FUZZ_VALUES_H
#define TESTS_FUZZ_VALUES_H

#include "multicore.h"
#include "tests/fuzz/fuzz.h"

#include <stdbool.h>

/* Asks the value, and all that it holds, everything that there is to ask. Whether
 * the bytes below stay the same meanwhile is not taken for granted: only places
 * outside of them are wrong. Returns something that depends on every byte. */
uint64_t values_walk(mc_value value, unsigned depth);

/* Writes the value with the writer; what the writer says of it. */
int values_write(mc_writer *writer, mc_value value);

bool values_same(mc_value left, mc_value right);

/* Decodes data, walks it, writes it in both structured formats and decodes that
 * again: it must be the same value. */
void values_round_trip(enum mc_format format, const void *data, size_t size);

#endif
