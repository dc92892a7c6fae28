/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One group after another: what a client's thread submits, how it waits, and how it
 * books what comes back.
 */
#include "tests/soak/soak.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DEPTH_MOST = 2 };

/* ---- calls that may block ---- */

void call_begin(struct thread *thread, const char *what)
{
    thread->inline_before = inline_ns();
    atomic_store(&thread->progress->what, what);
    atomic_store(&thread->progress->since_ns, now_ns());
}

/* What the thread ran itself is not waiting, and after the end of the pool a waiting
 * caller runs all that may run in it. */
void call_end(struct thread *thread)
{
    uint64_t now = now_ns(), since = atomic_exchange(&thread->progress->since_ns, 0);
    uint64_t own = inline_ns() - thread->inline_before, gone = gone_ns();
    if (now > since + own)
        note_stall(now - since - own, atomic_load(&thread->progress->what));
    if (gone == 0)
        return;
    uint64_t from = since > gone ? since : gone;
    if (now <= from + own)
        return;
    raise_to(&board->longest_gone_ns, now - from - own);
    if (!seen_in_time(now - from - own))
        complain(&board->wrong, "%s saw the end of the pool after %.0f ms",
                 atomic_load(&thread->progress->what), (double)(now - from - own) / 1e6);
}

static void over(struct thread *thread, int result)
{
    thread->over = true;
    if (!pool_over())
        complain(&board->wrong, "the pool is over without a reason: %d %s", result,
                 mc_error_message());
}

/* ---- opening ---- */

static struct mc_group_options draw_options(struct chance *chance)
{
    struct mc_group_options options = {.size = sizeof(options)};
    options.help = one_in(chance, 2) ? MC_HELP_AUTO : MC_HELP_NEVER;
    options.max_parallel = one_in(chance, 4) ? 1 + draw(chance, 5) : 0;
    options.urgent = one_in(chance, 4);
    options.interruptible = one_in(chance, 8);
    options.on_full = (enum mc_full)draw(chance, 3);
    if (options.on_full == MC_FULL_WAIT && one_in(chance, 3))
        options.full_timeout_ms = 1 + draw(chance, 20);
    if (one_in(chance, 8))
        options.time_limit_ms = 5 + draw(chance, 60);
    if (one_in(chance, 10))
        options.start_within_ms = 1 + draw(chance, 20);
    return options;
}

bool batch_open(struct batch *batch, struct thread *thread, mc_done_fn *on_done)
{
    batch->thread = thread;
    batch->group = NULL;
    batch->options = draw_options(&thread->chance);
    batch->options.on_done = on_done;
    batch->options.context = batch;
    batch->job_count = batch->task_count = batch->settled_count = 0;
    batch->cancelled = batch->killed = batch->done = false;
    call_begin(thread, "mc_group_open");
    int result = mc_group_open(thread->pool, &batch->options, &batch->group);
    call_end(thread);
    if (result == -ESHUTDOWN)
        over(thread, result);
    else if (result == -EUSERS && board->plan.options.max_clients != 0)
        pause_us(2000); /* the lane of one who died is not free yet */
    else if (result != 0)
        complain(&board->wrong, "no group: %d %s", result, mc_error_message());
    if (result == 0 && gone_ns() != 0 && !seen_in_time(now_ns() - gone_ns()))
        complain(&board->wrong, "a group was opened %.0f ms after the end of the pool",
                 (double)(now_ns() - gone_ns()) / 1e6);
    return result == 0;
}

/* ---- submitting ---- */

/* Of all orders of magnitude, the large ones seldom. */
static uint32_t draw_size(struct chance *chance)
{
    switch (draw(chance, 40)) {
    case 0:
        return (1 << 20) + draw(chance, PAYLOAD_MOST - (1 << 20) + 1);
    case 1:
    case 2:
        return (64 << 10) + draw(chance, 1 << 20);
    case 3:
    case 4:
    case 5:
    case 6:
        return 1024 + draw(chance, 64 << 10);
    case 7:
    case 8:
    case 9:
    case 10:
        return draw(chance, 1100);
    case 11:
        return 0;
    default:
        return draw(chance, 44);
    }
}

static void draw_act(struct chance *chance, struct order *order)
{
    uint32_t kind = draw(chance, 400);
    order->act = ACT_NOTHING;
    order->us = draw(chance, 100);
    if (kind < 60) {
        order->act = ACT_SPIN;
    } else if (kind < 80) {
        order->act = ACT_SLEEP;
        order->us = draw(chance, 3000);
    } else if (kind < 90) {
        order->act = ACT_FAIL;
    } else if (kind < 92) {
        order->act = ACT_LINGER;
        order->us = 1000 * draw(chance, 90);
    } else if (kind == 92 && one_in(chance, 8)) {
        order->act = ACT_CRASH;
        order->us = 1 + draw(chance, 6);
    }
}

static enum handler_number draw_handler(struct chance *chance)
{
    static const uint8_t weights[HANDLERS] = {
        [H_PLAIN] = 6,          [H_ISOLATED] = 6,        [H_SAFE] = 4, [H_AGAIN] = 5,
        [H_AGAIN_ISOLATED] = 5, [H_LIMITED] = 3,         [H_NEST] = 1, [H_NEST_ISOLATED] = 1,
        [H_VALUES] = 3,         [H_VALUES_ISOLATED] = 2, [H_EMPTY] = 1};
    uint32_t at = draw(chance, 37);
    for (unsigned i = 0; i < HANDLERS; i++) {
        if (at < weights[i])
            return (enum handler_number)i;
        at -= weights[i];
    }
    return H_PLAIN;
}

static bool takes_orders(enum handler_number handler)
{
    return handler < H_VALUES;
}

/* What a submission may answer without anything being wrong. */
static void judge_refusal(struct batch *batch, int result)
{
    bool may_be_full = batch->options.on_done != NULL || batch->options.on_full == MC_FULL_FAIL ||
                       batch->options.full_timeout_ms != 0;
    if (result == -ESHUTDOWN)
        over(batch->thread, result);
    else if (!(result == -EAGAIN && may_be_full) &&
             !(result == -EINTR && batch->options.interruptible))
        complain(&board->wrong, "a task was refused: %d %s", result, mc_error_message());
}

static int submit_order(struct batch *batch, struct job *job)
{
    struct thread *thread = batch->thread;
    struct chance *chance = &thread->chance;
    struct order order = {.task = job->task, .reply = job->reply};
    struct mc_map_options split = {.size = sizeof(split),
                                   .split = (enum mc_split)draw(chance, 2),
                                   .min_chunk = draw(chance, 4),
                                   .max_chunk = 3 + draw(chance, 10)};
    const char *name = handlers[job->handler].name;
    draw_act(chance, &order);
    if (order.act == ACT_FAIL && (job->handler == H_NEST || job->handler == H_NEST_ISOLATED))
        order.act = ACT_NOTHING;
    if (job->items != 0)
        order.us %= 500;
    job->act = order.act;
    order.size = job->size = (uint32_t)sizeof(order) + draw_size(chance);
    if (order.size > PAYLOAD_MOST)
        order.size = job->size = PAYLOAD_MOST;
    memcpy(thread->buffer, &order, sizeof(order));
    pattern_fill(thread->buffer + sizeof(order), order.size - sizeof(order), order.task, SALT_ARGS);
    call_begin(thread, job->items != 0 ? "mc_group_map" : "mc_group_run");
    int result = job->items != 0 ? mc_group_map(batch->group, name, job->items, &split,
                                                thread->buffer, order.size)
                 : one_in(chance, 2)
                     ? mc_group_run(batch->group, name, thread->buffer, order.size)
                     : mc_group_run_encoded(batch->group, name, MC_RAW, thread->buffer, order.size);
    call_end(thread);
    return result;
}

static int submit_values(struct batch *batch, struct job *job)
{
    struct thread *thread = batch->thread;
    struct chance *chance = &thread->chance;
    char text[2000];
    size_t length = one_in(chance, 3) ? draw(chance, sizeof(text)) : draw(chance, 30);
    mc_writer *writer;
    job->format = one_in(chance, 2) ? MC_JSON : MC_MSGPACK;
    job->reply = (uint32_t)length;
    for (size_t i = 0; i < length; i++)
        text[i] = (char)('a' + (job->task + i) % 26);
    int result = mc_group_writer(batch->group, (enum mc_format)job->format, &writer);
    if (result < 0)
        return result;
    (void)mc_write_map(writer, 2);
    (void)mc_write_string(writer, "task");
    (void)mc_write_uint(writer, job->task);
    (void)mc_write_string(writer, "text");
    (void)mc_write_text(writer, text, length);
    call_begin(thread, "mc_group_run_value");
    result = mc_group_run_value(batch->group, handlers[job->handler].name, writer);
    call_end(thread);
    return result;
}

static int submit_empty(struct batch *batch)
{
    struct thread *thread = batch->thread;
    atomic_fetch_add(&board->empties_offered, 1);
    call_begin(thread, "mc_group_run without arguments");
    int result = mc_group_run(batch->group, handlers[H_EMPTY].name, NULL, 0);
    call_end(thread);
    if (result != 0)
        atomic_fetch_sub(&board->empties_offered, 1);
    return result;
}

/* Of a map that failed midway some tasks are in the group; which, their results say. */
static void book(struct batch *batch, struct job *job, int result)
{
    size_t size = mc_group_size(batch->group);
    uint32_t added = (uint32_t)(size - batch->task_count), items = job->items != 0 ? job->items : 1;
    job->whole = result == 0;
    for (; batch->task_count < size; batch->task_count++) {
        batch->job_of[batch->task_count] = (uint16_t)batch->job_count;
        batch->settled[batch->task_count] = false;
    }
    batch->job_count++;
    atomic_fetch_add(&board->accepted, added);
    if (result == 0 ? added == 0 : added != 0 && job->items == 0)
        complain(&board->wrong, "a call returned %d and added %u tasks", result, added);
    for (uint32_t i = 0; i < items && job->task != 0; i++)
        board_fate(job->task + i, added != 0 ? FATE_ACCEPTED : FATE_REFUSED);
}

bool batch_submit(struct batch *batch)
{
    struct thread *thread = batch->thread;
    struct job *job = &batch->jobs[batch->job_count];
    enum handler_number handler = draw_handler(&thread->chance);
    bool again = (handlers[handler].flags & MC_IDEMPOTENT) != 0;
    if (batch->job_count == BATCH_JOBS || thread->over)
        return false;
    *job = (struct job){.handler = (uint8_t)handler};
    if (handler < H_LIMITED && one_in(&thread->chance, 12))
        job->items = 1 + draw(&thread->chance, 40);
    if (batch->task_count + (job->items != 0 ? job->items : 1) > BATCH_TASKS)
        return false;
    if (handler != H_EMPTY)
        job->task =
            board_tasks(job->items != 0 ? job->items : 1, again ? TASK_AGAIN : 0, thread->life);
    if (handler != H_EMPTY && job->task == 0)
        return false; /* the board is full: the round ends soon */
    if (takes_orders(handler))
        job->reply = draw_size(&thread->chance);
    if (handler == H_NEST || handler == H_NEST_ISOLATED)
        job->reply %= 5000;
    int result = handler == H_EMPTY      ? submit_empty(batch)
                 : takes_orders(handler) ? submit_order(batch, job)
                                         : submit_values(batch, job);
    book(batch, job, result);
    if (result != 0)
        judge_refusal(batch, result);
    return result == 0;
}

/* ---- booking ---- */

void check_death(const struct mc_result *result)
{
    if (result->status != -EOWNERDEAD || result->worker_pid == 0 || pool_over())
        return;
    unsigned at = (unsigned)result->worker_pid % PIDS;
    unsigned deaths = atomic_fetch_add(&board->crashed[at], 1) + 1u;
    if (deaths > atomic_load(&board->killed[at]) && !pool_over())
        complain(&board->wrong, "worker %d, which nobody killed%s, took a task with it: %s",
                 (int)result->worker_pid, deaths > 1 ? " that often" : "", result->error);
}

static bool starts_with(const char *text, const char *word, uint64_t number)
{
    char expected[40];
    snprintf(expected, sizeof(expected), "%s %llu", word, (unsigned long long)number);
    return strncmp(text, expected, strlen(expected)) == 0;
}

static unsigned time_limit_ms(const struct batch *batch, const struct job *job)
{
    return batch->options.time_limit_ms != 0 ? batch->options.time_limit_ms
                                             : handlers[job->handler].time_limit_ms;
}

/* The room that its result takes at most. Of the formats of values JSON takes more. */
static size_t result_size_most(const struct job *job)
{
    char number[24];
    if (job->handler == H_EMPTY)
        return 0;
    if (takes_orders((enum handler_number)job->handler))
        return job->reply;
    size_t digits = (size_t)snprintf(number, sizeof(number), "%" PRIu64, job->task + job->reply);
    return strlen("{\"task\":,\"list\":[]}") + digits + job->reply * (digits + 1);
}

/* False when there is no reason for a task to end like this. */
static bool ended_fairly(const struct batch *batch, const struct job *job,
                         const struct mc_result *result, uint64_t first)
{
    unsigned limit_ms = time_limit_ms(batch, job);
    switch (result->status) {
    case 0:
        return true;
    case -EOWNERDEAD:
        return true;
    case -ECANCELED:
        return batch->cancelled;
    case -ETIMEDOUT:
        return limit_ms != 0 && result->run_ns >= limit_ms * UINT64_C(1000000);
    case -ETIME:
        return batch->options.start_within_ms != 0;
    case -ENOSPC: /* we keep too many results */
        return result_size_most(job) > SLOT_RESULT;
    case -EPROTO:
        return job->act == ACT_FAIL && starts_with(result->error, "refused", first);
    case NEST_FAILED:
        return starts_with(result->error, "nested", first);
    default:
        return false;
    }
}

static bool value_is_right(struct batch *batch, const struct job *job, size_t index)
{
    mc_value value, field, item;
    uint64_t number;
    int64_t word;
    if (mc_group_value(batch->group, index, &value) < 0 ||
        mc_value_get(value, "task", &field) < 0 || mc_value_uint(field, &number) < 0 ||
        number != job->task || mc_value_get(value, "list", &field) < 0 ||
        mc_value_count(field) != job->reply)
        return false;
    for (size_t i = 0; i < job->reply; i++)
        if (mc_value_at(field, i, &item) < 0 || mc_value_int(item, &word) < 0 ||
            word != (int64_t)(number + i))
            return false;
    return true;
}

static bool data_is_right(struct batch *batch, const struct job *job,
                          const struct mc_result *result, uint64_t first)
{
    if (job->handler == H_EMPTY)
        return result->data_size == 0 && result->data == NULL;
    if (!takes_orders((enum handler_number)job->handler))
        return result->format == (enum mc_format)job->format &&
               value_is_right(batch, job, result->index);
    return result->data_size == job->reply && result->format == MC_RAW &&
           (result->data == NULL || (uintptr_t)result->data % 8 == 0) &&
           pattern_check(result->data, result->data_size, first, SALT_REPLY);
}

static void note_ends(struct job *job, const struct mc_result *result, uint64_t first,
                      uint64_t items)
{
    bool prevented =
        result->status == -ETIME || (result->status == -ECANCELED && result->worker_pid == 0);
    job->seen += (uint32_t)items;
    for (uint64_t i = 0; i < items && job->task != 0; i++) {
        board->tasks[first + i].succeeded = result->status == 0;
        board_fate(first + i, prevented ? FATE_PREVENTED : FATE_ENDED);
    }
}

void batch_settle(struct batch *batch, const struct mc_result *result)
{
    if (result->index >= batch->task_count || batch->settled[result->index]) {
        complain(&board->duplicated, "result %zu of a group came twice", result->index);
        return;
    }
    struct job *job = &batch->jobs[batch->job_of[result->index]];
    uint64_t items = job->items != 0 ? result->end - result->start : 1;
    uint64_t first = job->task + result->start;
    batch->settled[result->index] = true;
    batch->settled_count++;
    if (result->start > result->end || result->end > job->items || items == 0 ||
        job->seen + items > (job->items != 0 ? job->items : 1)) {
        complain(&board->wrong, "a map of %u items has a chunk from %llu to %llu", job->items,
                 (unsigned long long)result->start, (unsigned long long)result->end);
        return;
    }
    check_death(result);
    if (!ended_fairly(batch, job, result, first))
        complain(&board->wrong, "task %llu ('%s', act %u) ended with %d after %.1f ms: %s",
                 (unsigned long long)first, handlers[job->handler].name, job->act, result->status,
                 (double)result->run_ns / 1e6, result->error);
    else if (result->status == 0 && !data_is_right(batch, job, result, first))
        complain(&board->wrong, "the result of task %llu ('%s', %zu bytes) is damaged",
                 (unsigned long long)first, handlers[job->handler].name, result->data_size);
    note_ends(job, result, first, items);
    if (one_in(&batch->thread->chance, 3))
        mc_group_release(batch->group, result->index);
}

/* Items of maps that were cut short are in no task. */
static void settle_maps(struct batch *batch)
{
    for (uint32_t i = 0; i < batch->job_count; i++) {
        struct job *job = &batch->jobs[i];
        if (job->items == 0 || job->seen == 0 || job->seen == job->items)
            continue;
        if (job->whole)
            complain(&board->lost, "of %u items of a map %u were run", job->items, job->seen);
        for (uint32_t item = job->seen; item < job->items; item++)
            board_fate(job->task + item, FATE_REFUSED);
        job->seen = job->items;
    }
}

void batch_settle_all(struct batch *batch, bool all_ended)
{
    for (size_t index = 0; index < batch->task_count; index++) {
        struct mc_result result = {.size = sizeof(result)};
        if (batch->settled[index])
            continue;
        int found = mc_group_result(batch->group, index, &result);
        if (found == 0)
            batch_settle(batch, &result);
        else if (all_ended || found != -EAGAIN)
            complain(&board->lost, "a group has ended, but its task %zu has not: %d %s", index,
                     found, mc_error_message());
    }
    if (batch->settled_count == batch->task_count)
        settle_maps(batch);
}

/* What has not ended by now is nobody's any more. */
static void abandon(struct batch *batch)
{
    for (uint32_t i = 0; i < batch->job_count; i++) {
        const struct job *job = &batch->jobs[i];
        for (uint32_t item = 0; job->task != 0 && item < (job->items != 0 ? job->items : 1); item++)
            if (atomic_load(&board->tasks[job->task + item].fate) == FATE_ACCEPTED)
                board_fate(job->task + item, FATE_ABANDONED);
    }
}

void batch_close(struct batch *batch)
{
    struct thread *thread = batch->thread;
    if (batch->group == NULL)
        return;
    if (batch->settled_count != batch->task_count)
        abandon(batch);
    call_begin(thread, "mc_group_close");
    mc_group_close(batch->group);
    call_end(thread);
    batch->group = NULL;
}

/* ---- waiting ---- */

/* True when all have ended. */
static bool judge_wait(struct batch *batch, int result)
{
    if (result != 0 && result != -ETIMEDOUT && !(result == -EINTR && batch->options.interruptible))
        complain(&board->wrong, "a wait failed: %d %s", result, mc_error_message());
    return result == 0;
}

static bool wait_whole(struct batch *batch, int timeout_ms)
{
    struct thread *thread = batch->thread;
    call_begin(thread, timeout_ms < 0 ? "mc_group_wait" : "mc_group_wait with a timeout");
    int result = mc_group_wait(batch->group, timeout_ms);
    call_end(thread);
    return judge_wait(batch, result);
}

/* One by one; stops now and then. */
static bool wait_each(struct batch *batch, int timeout_ms)
{
    struct thread *thread = batch->thread;
    struct mc_result result = {.size = sizeof(result)};
    for (;;) {
        call_begin(thread, timeout_ms < 0 ? "mc_group_next" : "mc_group_next with a timeout");
        int next = mc_group_next(batch->group, &result, timeout_ms);
        call_end(thread);
        if (next != 1)
            return judge_wait(batch, next);
        batch_settle(batch, &result);
        if (one_in(&thread->chance, 200))
            return false;
    }
}

static void collect(struct batch *batch)
{
    struct chance *chance = &batch->thread->chance;
    bool each = one_in(chance, 3), ended = false;
    unsigned tries = 0;
    /* mc_group_next() tells of each task once, so who has begun with it goes on. */
    while (!ended && tries++ < 50) {
        int timeout_ms = one_in(chance, 3) ? (int)draw(chance, 30) : -1;
        ended = each ? wait_each(batch, timeout_ms) : wait_whole(batch, timeout_ms);
    }
    while (!ended)
        ended = wait_whole(batch, -1);
    batch_settle_all(batch, true);
}

/* ---- one batch ---- */

static uint32_t draw_count(struct chance *chance)
{
    switch (draw(chance, 8)) {
    case 0:
        return BATCH_JOBS; /* more than most lanes hold */
    case 1:
    case 2:
        return draw(chance, 100);
    default:
        return 1 + draw(chance, 12);
    }
}

static void cancel(struct batch *batch, bool by_force)
{
    batch->cancelled = true;
    batch->killed |= by_force;
    call_begin(batch->thread, by_force ? "mc_group_kill" : "mc_group_cancel");
    int result = by_force ? mc_group_kill(batch->group) : mc_group_cancel(batch->group);
    call_end(batch->thread);
    if (result < 0 || (size_t)result > mc_group_size(batch->group))
        complain(&board->wrong, "%d tasks were cancelled: %s", result, mc_error_message());
}

void batch_run(struct thread *thread)
{
    struct chance *chance = &thread->chance;
    struct batch *batch = malloc(sizeof(*batch));
    if (batch == NULL)
        return;
    thread->depth++;
    if (!batch_open(batch, thread, NULL))
        goto out;
    uint32_t count = draw_count(chance);
    for (uint32_t i = 0; i < count; i++) {
        if (!batch_submit(batch) && thread->over)
            break;
        if (thread->depth < DEPTH_MOST && one_in(chance, 150))
            batch_run(thread); /* another one, while this one goes on */
    }
    if (one_in(chance, 12))
        cancel(batch, one_in(chance, 3));
    if (one_in(chance, 10))
        batch_settle_all(batch, false); /* closed with tasks in flight */
    else
        collect(batch);
    batch_close(batch);
out:
    thread->depth--;
    free(batch);
}
