/* SPDX-License-Identifier: BSD-3-Clause */
#include "ipc/notify.h"

#include "base/fault.h"
#include "base/probe.h"
#include "base/sys.h"
#include "ipc/slot.h"

#include <limits.h>
#include <sys/socket.h>

/* One byte until the client has looked: it clears the word before it does. A mark that was
 * made before is seen by that look, or by the next one. */
static void tell_event_loop(const struct lane *lane, const struct slot *slot, int socket)
{
    struct lane_header *header = lane->header;
    if (slot != NULL) {
        size_t number = (size_t)(slot - lane->slots);
        FAULT_POINT("notify_mark");
        atomic_fetch_or_explicit(&header->told[number / 64], UINT64_C(1) << number % 64,
                                 memory_order_seq_cst);
    }
    if (atomic_exchange_explicit(&header->notified, 1, memory_order_seq_cst) == 0) {
        char byte = 0;
        FAULT_POINT("notify_send");
        (void)send(socket, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
}

void notify_ended(const struct lane *lane, struct slot *slot, uint32_t flags, int socket)
{
    uint32_t ways = flags & (SLOT_WAITED | SLOT_WAITED_ANY | SLOT_NOTIFY);
    if (ways == 0)
        return;
    FAULT_POINT("notify");
    PROBE2(wake, ways, lane->number);
    if ((flags & SLOT_WAITED) && slot != NULL)
        sys_futex_wake(slot_futex(&slot->word), INT_MAX);
    if (flags & SLOT_WAITED_ANY) {
        atomic_fetch_add_explicit(&lane->header->any, 1, memory_order_seq_cst);
        sys_futex_wake(&lane->header->any, INT_MAX);
    }
    if ((flags & SLOT_NOTIFY) && socket >= 0)
        tell_event_loop(lane, slot, socket);
}
