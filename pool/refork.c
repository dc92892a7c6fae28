/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool/refork.h"

#include "base/fault.h"
#include "base/sys.h"
#include "ipc/channel.h"
#include "pool/pool.h"
#include "pool/zygote.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Undoes what a worker does for itself. What handlers and worker_init have made stays, the
 * worker's state among it, of which nobody knows any more; and its own pool, of which a handler
 * may, without what it holds. */
static void shed(struct worker *worker)
{
    struct control *control = worker->control;
    struct startup *startup = worker->config->startup;
    mc_task *task = worker->task;
    views_forget(&worker->views); /* first: nothing else may be mapped where lanes were */
    if (worker->pool != NULL)
        pool_drop_inherited(worker->pool);
    (void)mprotect(control, control->total_size, PROT_READ | PROT_WRITE);
    if (startup != NULL)
        startup_unseal(startup);
    topology_unpin(&worker->config->topology);
    free(worker->estimate_ns);
    memset(task, 0, sizeof(*task));
    memset(worker, 0, sizeof(*worker));
}

_Noreturn static void be_zygote(struct worker *worker, int socket)
{
    struct config *config = worker->config;
    struct control *control = worker->control;
    struct bells *bells = worker->pool_bells;
    pid_t supervisor = worker->supervisor;
    shed(worker);
    zygote_go_on(config, control, bells, socket, supervisor);
}

void refork_plan(struct worker *worker)
{
    const struct config *config = worker->config;
    if (config->refork_after != 0 && worker->seats == SEAT_CPU)
        worker->refork_at = atomic_load_explicit(&worker->row->tasks_done, memory_order_relaxed) +
                            config->refork_after;
}

void refork_offer(struct worker *worker)
{
    struct seat_row *row = worker->row;
    struct parcel parcel = {
        .message = {.type = MESSAGE_WARM, .value = (int32_t)sys_thread_count()}};
    if (channel_send(worker->socket, &parcel, 0) < 0 ||
        channel_receive(worker->socket, &parcel, 0) <= 0)
        _exit(1); /* no supervisor, no pool */
    refork_plan(worker);
    if (parcel.message.status == -ECANCELED)
        worker->refork_at = 0;
    if (parcel.message.type == MESSAGE_FORK && parcel.descriptor_count == 1) {
        fflush(NULL); /* what is in a buffer would be written by every worker again */
        FAULT_POINT("refork_begin");
        if (sys_fork(SIGCHLD, true, (pid_t *)(void *)&row->zygote_pid) == 0)
            be_zygote(worker, parcel.descriptors[0]);
        FAULT_POINT("refork_end");
    }
    parcel_drop(&parcel); /* if there is no zygote, the supervisor sees the end of its socket */
}
