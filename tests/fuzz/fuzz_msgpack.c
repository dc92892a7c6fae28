/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The input is MessagePack.
 */
#include "tests/fuzz/values.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    values_round_trip(MC_MSGPACK, data, size);
    return 0;
}
