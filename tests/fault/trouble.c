/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fault/trouble.h"

#include "ipc/slot.h"
#include "pool/pool.h"
#include "tests/fault/look.h"
#include "tests/fault/scenes.h"

#include <signal.h>
#include <unistd.h>

/* ---- trouble that is expected ---- */

void nested_tasks(void)
{
    struct batch batch;
    if (!batch_open(&batch, 3, unhelped))
        return;
    batch_repeat(&batch, 3, "nest", NESTING, (struct job){0}, sizeof(struct job));
    batch_finish(&batch);
}

void cancelled_tasks(void)
{
    struct batch gates, batch;
    if (!batch_open(&gates, 2, unhelped))
        return;
    gate_shut(&gates);
    if (batch_open(&batch, 6, unhelped)) {
        batch_repeat(&batch, 6, "work", CANCELLABLE, (struct job){.reply = 4}, sizeof(struct job));
        (void)ledger_call(mc_group_cancel(batch.group), "mc_group_cancel");
        batch_finish(&batch);
    }
    forget(&gates);
    (void)mc_group_cancel(gates.group); /* they run: they see it */
    batch_close(&gates);
    gate_lift();
}

void cancelled_events(void)
{
    struct batch gates, batch;
    bool done = false;
    if (!batch_open(&gates, 2, unhelped))
        return;
    gate_shut(&gates);
    if (batch_open(&batch, 3, (struct mc_group_options){.on_done = when_done, .context = &done})) {
        bool submitted = batch_repeat(&batch, 3, "work", CANCELLABLE, (struct job){.reply = 1},
                                      sizeof(struct job));
        (void)ledger_call(mc_group_cancel(batch.group), "mc_group_cancel");
        gate_lift();
        if (submitted)
            dispatch_until(&done, &batch);
        if (!done)
            forget(&batch);
        batch_close(&batch);
    }
    gate_lift();
    batch_finish(&gates);
}

void crash_amid_others(void)
{
    struct batch gates, batch;
    if (!batch_open(&gates, 2, unhelped))
        return;
    gate_shut(&gates);
    if (batch_open(&batch, 56, unhelped)) {
        (void)(batch_repeat(&batch, 2, "quick", 0, (struct job){0}, sizeof(struct job)) &&
               batch_run(&batch, "quick", CRASHES, (struct job){.gate = 1}, sizeof(struct job)) &&
               batch_repeat(&batch, 53, "quick", 0, (struct job){0}, sizeof(struct job)));
        gate_lift();
        batch_finish(&batch);
    }
    gate_lift();
    batch_finish(&gates);
}

void crash_with_result(void)
{
    struct batch batch;
    if (!batch_open(&batch, 4, unhelped))
        return;
    batch_run(&batch, "quick", CRASHES, (struct job){.gate = 1}, sizeof(struct job));
    batch_repeat(&batch, 3, "work", 0, (struct job){.reply = 5000}, sizeof(struct job));
    batch_next(&batch);
    batch_close(&batch);
}

void damaged_request(void)
{
    struct batch gates, batch;
    if (!batch_open(&gates, 2, unhelped))
        return;
    gate_shut(&gates);
    if (batch_open(&batch, 1, unhelped)) {
        if (batch_run(&batch, "work", DAMAGED, (struct job){.reply = 4}, sizeof(struct job))) {
            uint32_t slot = group_record(batch.group, 0)->slot;
            if (slot_state(slot_load(&the_pool->client.lane.slots[slot].word)) == SLOT_SUBMITTED)
                the_pool->client.lane.slots[slot].handler = UINT16_MAX;
        }
        gate_lift();
        batch_finish(&batch);
    }
    gate_lift();
    batch_finish(&gates);
}

/* ---- forked clients ---- */

void child_that_works(void)
{
    pid_t child = fork();
    if (child == 0) {
        be_child();
        small_tasks();
        payloads();
        event_loop(0, 0);
        if (pool_alive()) {
            const char *damage = lane_check(&the_pool->client.lane);
            if (damage != NULL)
                ledger_wrong(LOST, "the child's lane: %s", damage);
        }
        mc_pool_close(the_pool);
        if (look_own_memfds() != 0)
            ledger_wrong(LEAKED, "mc_pool_close() in a child left %u mappings", look_own_memfds());
        _exit(0);
    }
    if (child > 0)
        await_child(child);
}

void child_with_a_child(void)
{
    pid_t child = fork();
    if (child == 0) {
        be_child();
        small_tasks();
        if (fork() == 0) {
            uint32_t gate = atomic_load(&ledger->gate) + 1;
            for (int ms = 0;
                 ms < WAIT_MS && atomic_load(&ledger->gate) < gate && kill(ledger->opener, 0) == 0;
                 ms++)
                pause_us(1000);
        }
        _exit(0);
    }
    if (child > 0)
        await_child(child);
    small_tasks();
    pause_us(2000);
    gate_lift();
}

void child_that_dies(void)
{
    pid_t child = fork();
    if (child == 0) {
        be_child();
        struct batch batch;
        if (batch_open(&batch, 14, unhelped)) {
            forget(&batch);
            gate_shut(&batch);
            batch_repeat(&batch, 12, "work", FORGOTTEN, (struct job){.reply = 1000}, 1000);
        }
        _exit(0);
    }
    if (child > 0)
        await_child(child);
    gate_lift();
}
