/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool/zygote.h"

#include "base/error.h"
#include "base/fault.h"
#include "base/sys.h"
#include "ipc/channel.h"
#include "pool/limits.h"
#include "pool/modules.h"
#include "pool/process.h"
#include "pool/worker.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void spawn(const struct config *config, struct control *control, struct bells *bells,
                  const struct parcel *parcel, pid_t supervisor)
{
    uint32_t seat = parcel->message.index;
    if (seat >= config->seats || parcel->descriptor_count != 1)
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

static void tell(int socket, const struct parcel *parcel)
{
    if (channel_send(socket, parcel, 0) < 0)
        _exit(1);
}

static void tell_handler(int socket, const struct config *config, uint32_t number)
{
    struct handler_entry entry = config_handler_entry(&config->handlers[number]);
    struct parcel parcel = {.message = {.type = MESSAGE_HANDLER, .index = number}};
    static_assert(sizeof(entry) <= sizeof(parcel.message.text), "an entry fits into a message");
    memcpy(parcel.message.text, &entry, sizeof(entry));
    tell(socket, &parcel);
}

static void load(struct config *config, int socket)
{
    struct parcel parcel = {.message = {.type = MESSAGE_LOADED}};
    int result = modules_load(config);
    FAULT_POINT("zygote_loaded");
    if (result < 0) {
        parcel.message.type = MESSAGE_LOAD_FAILED;
        parcel.message.status = result;
        snprintf(parcel.message.text, sizeof(parcel.message.text), "%s", error_message());
        tell(socket, &parcel);
        _exit(1);
    }
    for (uint32_t number = 0; number < config->handler_count; number++)
        tell_handler(socket, config, number);
    tell(socket, &parcel);
}

_Noreturn static void make_workers(const struct config *config, struct control *control,
                                   struct bells *bells, int socket, pid_t supervisor)
{
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

void zygote_run(struct config *config, struct control *control, struct bells *bells, int socket,
                pid_t supervisor)
{
    process_begin("mc-zygote", &socket, true);
    process_follow(supervisor);
    if (config->serve != NULL)
        load(config, socket);
    limits_load(config);
    make_workers(config, control, bells, socket, supervisor);
}

void zygote_go_on(const struct config *config, struct control *control, struct bells *bells,
                  int socket, pid_t supervisor)
{
    const struct parcel parcel = {.message = {.type = MESSAGE_LOADED}};
    process_begin("mc-zygote", &socket, true);
    process_follow(supervisor);
    FAULT_POINT("zygote_forked");
    tell(socket, &parcel);
    make_workers(config, control, bells, socket, supervisor);
}
