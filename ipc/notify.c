/* SPDX-License-Identifier: BSD-3-Clause */
#include "ipc/notify.h"

#include "base/fault.h"
#include "base/probe.h"
#include "base/sys.h"
#include "ipc/slot.h"

#include <limits.h>
#include <sys/socket.h>

void notify_ended(const struct lane *lane, _Atomic uint64_t *word, uint32_t flags, int socket)
{
    uint32_t ways = flags & (SLOT_WAITED | SLOT_WAITED_ANY | SLOT_NOTIFY);
    if (ways == 0)
        return;
    FAULT_POINT("notify");
    PROBE2(wake, ways, lane->number);
    if (flags & SLOT_WAITED)
        sys_futex_wake(slot_futex(word), INT_MAX);
    if (flags & SLOT_WAITED_ANY) {
        atomic_fetch_add_explicit(&lane->header->any, 1, memory_order_seq_cst);
        sys_futex_wake(&lane->header->any, INT_MAX);
    }
    /* One byte until the client has looked: it clears the word before it does. */
    if ((flags & SLOT_NOTIFY) && socket >= 0 &&
        atomic_exchange_explicit(&lane->header->notified, 1, memory_order_seq_cst) == 0) {
        char byte = 0;
        FAULT_POINT("notify_send");
        (void)send(socket, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
}
