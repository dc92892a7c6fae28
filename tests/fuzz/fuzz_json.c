/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The input is JSON.
 */
#include "tests/fuzz/values.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    values_round_trip(MC_JSON, data, size);
    return 0;
}
