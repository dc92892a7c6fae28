/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool/zygote.h"

#include "base/fault.h"
#include "base/sys.h"
#include "ipc/channel.h"
#include "pool/process.h"
#include "pool/worker.h"

#include <signal.h>
#include <unistd.h>

static void spawn(const struct config *config, struct control *control, struct bells *bells,
                  const struct parcel *parcel, pid_t supervisor)
{
    uint32_t seat = parcel->message.index;
    if (seat >= config->workers || parcel->descriptor_count != 1)
        return;
    FAULT_POINT("zygote_spawn");
    /* The kernel writes the pid into the row before the worker's first
     * instruction: the supervisor finds it there whoever dies next. */
    struct seat_row *row = &control->rows[seat];
    _Atomic int32_t *place = parcel->message.value != 0 ? &row->heir_pid : &row->pid;
    pid_t pid = sys_fork(SIGCHLD, true, (pid_t *)(void *)place);
    if (pid == 0)
        worker_run(config, control, bells, seat, parcel->descriptors[0], supervisor);
    FAULT_POINT("zygote_spawned");
    /* If there is no worker, the supervisor sees the end of its socket. */
}

void zygote_run(const struct config *config, struct control *control, struct bells *bells,
                int socket, pid_t supervisor)
{
    process_begin("mc-zygote", &socket, true);
    process_follow(supervisor);
    struct parcel parcel;
    for (;;) {
        int result = channel_receive(socket, &parcel, 0);
        if (result <= 0)
            _exit(0);
        if (parcel.message.type == MESSAGE_SPAWN)
            spawn(config, control, bells, &parcel, supervisor);
        parcel_drop(&parcel);
    }
}
