/* SPDX-License-Identifier: BSD-3-Clause */
#include "ipc/tally.h"

uint64_t tally_quantile(const uint64_t counts[SPANS], uint32_t thousandths)
{
    uint64_t all = 0, below = 0;
    for (uint32_t span = 0; span < SPANS; span++)
        all += counts[span];
    if (all == 0)
        return 0;
    uint64_t wanted = (uint64_t)((unsigned __int128)all * thousandths / 1000);
    for (uint32_t span = 0; span < SPANS - 1; span++) {
        below += counts[span];
        if (below > wanted)
            return tally_span_begin(span + 1);
    }
    return UINT64_MAX;
}
