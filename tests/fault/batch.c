/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fault/batch.h"

#include "tests/fault/troupe.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ARGS_MOST = 8192, GATE_SHUT_MS = 150 };

bool batch_open(struct batch *batch, uint32_t count, struct mc_group_options options)
{
    *batch = (struct batch){.count = count, .event = options.on_done != NULL};
    options.size = sizeof(options);
    if (!ledger_call(mc_group_open(the_pool, &options, &batch->group), "mc_group_open"))
        return false;
    batch->first = ledger_reserve(count);
    return true;
}

bool batch_run(struct batch *batch, const char *handler, uint32_t traits, struct job job,
               size_t size)
{
    static _Alignas(8) uint8_t args[ARGS_MOST];
    job.number = batch->first + batch->submitted;
    struct entry *entry = &ledger->entries[job.number];
    entry->owner = getpid();
    entry->traits |= traits;
    entry->reply_size = job.reply;
    entry->counts = true;
    memset(args, (uint8_t)job.number, size);
    memcpy(args, &job, sizeof(job));
    if (!ledger_call(mc_group_run(batch->group, handler, args, size), "mc_group_run"))
        return false;
    atomic_store(&entry->accepted, 1);
    batch->submitted++;
    return true;
}

bool batch_echo(struct batch *batch, enum mc_format format)
{
    mc_writer *writer;
    uint32_t number = batch->first + batch->submitted;
    struct entry *entry = &ledger->entries[number];
    entry->owner = getpid();
    entry->counts = true;
    if (!ledger_call(mc_group_writer(batch->group, format, &writer), "mc_group_writer"))
        return false;
    (void)mc_write_uint(writer, number);
    if (!ledger_call(mc_group_run_value(batch->group, "echo", writer), "mc_group_run_value"))
        return false;
    atomic_store(&entry->accepted, 1);
    batch->submitted++;
    return true;
}

void batch_values(struct batch *batch)
{
    for (uint32_t i = 0; i < batch->submitted; i++) {
        struct mc_result result = {.size = sizeof(result)};
        mc_value value;
        uint64_t number;
        if (mc_group_result(batch->group, i, &result) == 0 && result.status == 0 &&
            ledger_call(mc_group_value(batch->group, i, &value), "mc_group_value") &&
            (mc_value_uint(value, &number) != 0 || number != batch->first + i))
            ledger_wrong(LOST, "task %u has a wrong value", batch->first + i);
    }
}

bool batch_repeat(struct batch *batch, uint32_t times, const char *handler, uint32_t traits,
                  struct job job, size_t size)
{
    for (uint32_t i = 0; i < times; i++)
        if (!batch_run(batch, handler, traits, job, size))
            return false;
    return true;
}

bool batch_map(struct batch *batch)
{
    batch->map = true;
    for (uint32_t i = 0; i < batch->count; i++)
        ledger->entries[batch->first + i].owner = getpid();
    int result = mc_group_map(batch->group, "range", batch->count, NULL, &batch->first,
                              sizeof(batch->first));
    batch->submitted = (uint32_t)mc_group_size(batch->group);
    if (!ledger_call(result, "mc_group_map"))
        return false;
    for (uint32_t i = 0; i < batch->count; i++)
        atomic_store(&ledger->entries[batch->first + i].accepted, 1);
    return true;
}

static void enter(uint32_t number, const struct mc_result *result)
{
    struct entry *entry = &ledger->entries[number];
    atomic_store(&entry->status, result->status);
    atomic_store(&entry->worker, result->worker_pid);
    snprintf(entry->error, sizeof(entry->error), "%s", result->error);
    atomic_fetch_add(&entry->results, 1);
}

static void check_data(uint32_t number, const struct mc_result *result)
{
    const struct entry *entry = &ledger->entries[number];
    const uint8_t *bytes = result->data;
    if (result->format != MC_RAW || entry->reply_size <= 1)
        return;
    bool right = result->data_size == entry->reply_size;
    for (size_t i = 0; right && i < result->data_size; i++)
        right = bytes[i] == (uint8_t)number;
    if (!right)
        ledger_wrong(LOST, "task %u has a wrong result", number);
}

static void deliver_range(struct batch *batch, const struct mc_result *result)
{
    uint64_t sum = 0;
    ledger->entries[batch->first + result->start].counts = true;
    for (uint64_t i = result->start; i < result->end; i++) {
        enter(batch->first + (uint32_t)i, result);
        sum += i;
    }
    if (result->status == 0 &&
        (result->data_size != sizeof(sum) || memcmp(result->data, &sum, sizeof(sum)) != 0))
        ledger_wrong(LOST, "a range has a wrong result");
}

void batch_deliver(struct batch *batch, const struct mc_result *result)
{
    if (batch->map) {
        deliver_range(batch, result);
        return;
    }
    uint32_t number = batch->first + (uint32_t)result->index;
    enter(number, result);
    if (result->status == 0)
        check_data(number, result);
}

static void note_wait(int result, const char *call)
{
    if (result == -ETIMEDOUT) {
        ledger_wrong(WEDGED, "%s: %s", call, mc_error_message());
        troupe_describe();
    } else {
        (void)ledger_call(result, call);
    }
}

void batch_wait(struct batch *batch)
{
    note_wait(mc_group_wait(batch->group, WAIT_MS), "mc_group_wait");
}

void batch_next(struct batch *batch)
{
    struct mc_result result = {.size = sizeof(result)};
    int got;
    while ((got = mc_group_next(batch->group, &result, WAIT_MS)) == 1)
        batch_deliver(batch, &result);
    note_wait(got, "mc_group_next");
}

void batch_results(struct batch *batch)
{
    for (size_t i = 0; i < mc_group_size(batch->group); i++) {
        struct mc_result result = {.size = sizeof(result)};
        if (mc_group_result(batch->group, i, &result) == 0)
            batch_deliver(batch, &result);
    }
}

void batch_close(struct batch *batch)
{
    mc_group_close(batch->group);
}

void batch_finish(struct batch *batch)
{
    batch_wait(batch);
    batch_results(batch);
    batch_close(batch);
}

/* ---- gates ---- */

void gate_shut(struct batch *batch)
{
    atomic_store(&ledger->started, 0);
    struct job job = {.gate = atomic_load(&ledger->gate) + 1};
    if (batch_repeat(batch, 2, "gated", 0, job, sizeof(job)))
        (void)ledger_await(&ledger->started, 2, GATE_SHUT_MS);
}

void gate_lift(void)
{
    atomic_fetch_add(&ledger->gate, 1);
}
