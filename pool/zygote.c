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

static void tell(int socket, const struct parcel *parcel)
{
    if (channel_send(socket, parcel, 0) < 0)
        _exit(1);
}

static void spawn(struct config *config, struct control *control, struct bells *bells,
                  const struct parcel *parcel, int socket, pid_t supervisor)
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
    if (pid < 0) { /* whose socket ends as well, which it would also if we died */
        struct parcel failed = {.message = parcel->message};
        failed.message.type = MESSAGE_SPAWN_FAILED;
        failed.message.status = (int32_t)pid;
        tell(socket, &failed);
    }
}

static void tell_handler(int socket, const struct config *config, uint32_t number)
{
    struct handler_entry entry = config_handler_entry(&config->handlers[number]);
    struct parcel parcel = {.message = {.type = MESSAGE_HANDLER, .index = number}};
    static_assert(sizeof(entry) <= sizeof(parcel.message.text), "an entry fits into a message");
    memcpy(parcel.message.text, &entry, sizeof(entry));
    tell(socket, &parcel);
}

static void tell_loaded(int socket, const struct config *config)
{
    struct parcel parcel = {.message = {.type = MESSAGE_LOADED}};
    uint64_t rows = modules_awake(config);
    memcpy(parcel.message.text, &rows, sizeof(rows));
    tell(socket, &parcel);
}

_Noreturn static void fail(int socket, int status)
{
    struct parcel parcel = {.message = {.type = MESSAGE_LOAD_FAILED, .status = status}};
    snprintf(parcel.message.text, sizeof(parcel.message.text), "%s", error_message());
    tell(socket, &parcel);
    _exit(1);
}

static void load(struct config *config, int socket)
{
    int result = modules_load(config);
    FAULT_POINT("zygote_loaded");
    if (result < 0)
        fail(socket, result);
    for (uint32_t number = 0; number < config->handler_count; number++)
        tell_handler(socket, config, number);
    tell_loaded(socket, config);
}

_Noreturn static void make_workers(struct config *config, struct control *control,
                                   struct bells *bells, int socket, pid_t supervisor);

/* A fork of this zygote, in which the module is then loaded: if that fails, it has not
 * happened here. */
static void grow(struct config *config, struct control *control, struct bells *bells,
                 struct parcel *parcel, pid_t supervisor)
{
    static const struct parcel hello = {.message = {.type = MESSAGE_HELLO}};
    int socket = parcel->descriptors[0];
    if (parcel->descriptor_count != 1)
        return;
    FAULT_POINT("zygote_grow");
    if (sys_fork(SIGCHLD, true, (pid_t *)(void *)&control->rows[0].zygote_pid) != 0)
        return; /* if there is no zygote, the supervisor sees the end of its socket */
    process_begin("mc-zygote", &socket, true);
    process_follow(supervisor);
    tell(socket, &hello);
    FAULT_POINT("zygote_grows");
    int result = modules_wake(config, parcel->message.index);
    if (result < 0)
        fail(socket, result);
    tell_loaded(socket, config);
    make_workers(config, control, bells, socket, supervisor);
}

static void make_workers(struct config *config, struct control *control, struct bells *bells,
                         int socket, pid_t supervisor)
{
    struct parcel parcel;
    for (;;) {
        int result = channel_receive(socket, &parcel, 0);
        if (result <= 0)
            _exit(0);
        if (parcel.message.type == MESSAGE_SPAWN)
            spawn(config, control, bells, &parcel, socket, supervisor);
        else if (parcel.message.type == MESSAGE_GROW)
            grow(config, control, bells, &parcel, supervisor);
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

void zygote_go_on(struct config *config, struct control *control, struct bells *bells, int socket,
                  pid_t supervisor)
{
    process_begin("mc-zygote", &socket, true);
    process_follow(supervisor);
    FAULT_POINT("zygote_forked");
    tell_loaded(socket, config);
    make_workers(config, control, bells, socket, supervisor);
}
