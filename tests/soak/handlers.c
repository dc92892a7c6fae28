/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What runs in the workers, and at times in clients. Each handler notes its begin
 * before and its end after everything else, and looks at its arguments to the byte.
 */
#include "tests/soak/soak.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- patterns ---- */

static uint64_t pattern_word(uint64_t task, uint64_t salt, size_t at)
{
    return (task * 4 + salt) * UINT64_C(0x9e3779b97f4a7c15) + at * UINT64_C(0xd1342543de82ef95);
}

void pattern_fill(void *data, size_t size, uint64_t task, uint64_t salt)
{
    uint8_t *bytes = data;
    size_t at = 0;
    for (; at + 8 <= size; at += 8) {
        uint64_t word = pattern_word(task, salt, at);
        memcpy(bytes + at, &word, 8);
    }
    uint64_t last = pattern_word(task, salt, at);
    memcpy(bytes + at, &last, size - at);
}

bool pattern_check(const void *data, size_t size, uint64_t task, uint64_t salt)
{
    const uint8_t *bytes = data;
    size_t at = 0;
    for (; at + 8 <= size; at += 8) {
        uint64_t word;
        memcpy(&word, bytes + at, 8);
        if (word != pattern_word(task, salt, at))
            return false;
    }
    uint64_t last = pattern_word(task, salt, at);
    return memcmp(bytes + at, &last, size - at) == 0;
}

/* ---- the state from worker_init ---- */

struct state {
    pid_t pid;
    _Atomic int32_t thread; /* that uses it now */
    unsigned depth;
};

static _Thread_local uint64_t own_ns;
static _Thread_local unsigned own_depth; /* of tasks within one another */

uint64_t inline_ns(void)
{
    return own_ns;
}

int state_open(void *context, void **state)
{
    struct state *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    made->pid = getpid();
    *state = made;
    return 0;
}

void state_close(void *state)
{
    free(state);
}

/* A state is of this process, and no other thread is in it. */
static void state_enter(mc_task *task)
{
    struct state *state = mc_task_state(task);
    int32_t self = gettid(), nobody = 0;
    if (state == NULL || state->pid != getpid()) {
        complain(&board->wrong, "a handler has the state of process %d",
                 state != NULL ? (int)state->pid : 0);
        return;
    }
    if (!atomic_compare_exchange_strong(&state->thread, &nobody, self) && nobody != self)
        complain(&board->wrong, "two threads are in one state");
    state->depth++;
}

static void state_leave(mc_task *task)
{
    struct state *state = mc_task_state(task);
    if (state != NULL && --state->depth == 0)
        atomic_store(&state->thread, 0);
}

/* ---- acts ---- */

/* A death by the task's own fault. */
static void crash(uint32_t how)
{
    atomic_fetch_add(&board->killed[(unsigned)getpid() % PIDS], 1);
    if (how % 3 == 0)
        _exit(3);
    (void)raise(how % 3 == 1 ? SIGKILL : SIGSEGV);
}

static void spin(uint32_t us)
{
    for (uint64_t began = now_ns(); now_ns() - began < us * UINT64_C(1000);) {
    }
}

static void linger(mc_task *task, uint32_t us)
{
    for (uint64_t began = now_ns();
         !mc_task_cancelled(task) && now_ns() - began < us * UINT64_C(1000);)
        pause_us(200);
}

static void act(mc_task *task, const struct order *order)
{
    switch ((enum act)order->act) {
    case ACT_SPIN:
        spin(order->us);
        break;
    case ACT_SLEEP:
        pause_us(order->us);
        break;
    case ACT_CRASH: /* an idempotent task does better some time */
        if (!mc_task_inline(task) && mc_task_attempt(task) <= order->us)
            crash(order->us + (uint32_t)order->task);
        break;
    case ACT_LINGER:
        linger(task, order->us);
        break;
    default:
        break;
    }
}

static int reply(mc_task *task, uint64_t number, uint32_t size)
{
    void *room = NULL;
    int result = mc_task_reply_alloc(task, size, &room);
    if (result == 0)
        pattern_fill(room, size, number, SALT_REPLY);
    return result;
}

/* ---- handlers ---- */

static uint64_t items_of(mc_task *task)
{
    uint64_t items = mc_task_end(task) - mc_task_start(task);
    return items != 0 ? items : 1;
}

static void note_begin(mc_task *task, uint64_t first)
{
    uint64_t items = items_of(task);
    for (uint64_t i = 0; i < items; i++)
        atomic_fetch_add(&board->tasks[first + i].begun, 1);
}

static void note_end(mc_task *task, uint64_t first)
{
    uint64_t items = items_of(task);
    for (uint64_t i = 0; i < items; i++)
        atomic_fetch_add(&board->tasks[first + i].ended, 1);
}

/* The order, or false: the arguments are not what was sent. */
static bool read_order(mc_task *task, struct order *order)
{
    size_t size;
    const uint8_t *args = mc_task_args(task, &size);
    if (size >= sizeof(*order))
        memcpy(order, args, sizeof(*order));
    if (size < sizeof(*order) || size != order->size || order->task == 0 ||
        order->task + items_of(task) > TASKS_MOST ||
        !pattern_check(args + sizeof(*order), size - sizeof(*order), order->task, SALT_ARGS)) {
        complain(&board->wrong, "the arguments of a task are damaged (%zu bytes)", size);
        return false;
    }
    return true;
}

static int nest(mc_task *task, const struct order *order);

static int carry_out(mc_task *task, bool nested)
{
    struct order order;
    if (!read_order(task, &order))
        return -EBADMSG;
    uint64_t first = order.task + mc_task_start(task), began = now_ns();
    own_depth++;
    note_begin(task, first);
    state_enter(task);
    act(task, &order);
    int status = nested ? nest(task, &order)
                 : order.act == ACT_FAIL
                     ? mc_task_fail(task, -EPROTO, "refused %llu", (unsigned long long)first)
                     : reply(task, first, order.reply);
    state_leave(task);
    note_end(task, first);
    if (--own_depth == 0)
        own_ns += now_ns() - began;
    return status;
}

static int run_order(mc_task *task)
{
    return carry_out(task, false);
}

static int run_nest(mc_task *task)
{
    return carry_out(task, true);
}

static int run_empty(mc_task *task)
{
    size_t size;
    (void)mc_task_args(task, &size);
    if (size != 0)
        complain(&board->wrong, "%zu bytes of arguments where none were sent", size);
    atomic_fetch_add(&board->empties_begun, 1);
    return 0;
}

static void overdue(mc_task *task)
{
    (void)mc_task_overdue(task);
    atomic_fetch_add(&board->soft_limits, 1);
}

/* ---- tasks within tasks ---- */

enum { PARTS_MOST = 4 };

static bool part_failed_fairly(const struct mc_result *result, uint32_t size)
{
    return result->status == -EOWNERDEAD || (pool_over() && result->status == -ECANCELED) ||
           (result->status == -ENOSPC && size > SLOT_RESULT); /* its client keeps too many */
}

/* Books one part; false if it failed. */
static bool settle_part(mc_group *group, size_t index, uint64_t part, uint32_t size)
{
    struct mc_result result = {.size = sizeof(result)};
    int found = mc_group_result(group, index, &result);
    if (found != 0) {
        complain(&board->lost, "part %zu of a nested group is missing: %d", index, found);
        return false;
    }
    board->tasks[part].succeeded = result.status == 0;
    board_fate(part, FATE_ENDED);
    check_death(&result);
    if (result.status == 0 &&
        (result.data_size != size || !pattern_check(result.data, size, part, SALT_REPLY)))
        complain(&board->wrong, "the result of a nested task is damaged");
    else if (result.status != 0 && !part_failed_fairly(&result, size))
        complain(&board->wrong, "a nested task ended with %d: %s", result.status, result.error);
    return result.status == 0;
}

/* A handler in a caller whose lane is full gets no room for what must not run there. */
static bool part_refused_fairly(mc_task *task, enum handler_number kind, int result)
{
    return (result == -ESHUTDOWN && pool_over()) ||
           (result == -EDEADLK && mc_task_inline(task) && (handlers[kind].flags & MC_ISOLATED));
}

static bool submit_part(mc_task *task, mc_group *group, const struct order *outer, unsigned number,
                        uint64_t *part)
{
    static const enum handler_number kinds[] = {H_PLAIN, H_ISOLATED, H_AGAIN, H_SAFE};
    uint8_t args[sizeof(struct order) + 200];
    enum handler_number kind = kinds[(outer->us + number) % 4];
    bool again = (handlers[kind].flags & MC_IDEMPOTENT) != 0;
    struct order order = {.size = (uint32_t)(sizeof(order) + outer->task % 200),
                          .reply = outer->reply,
                          .act = outer->us % 3 == 0 ? ACT_SPIN : ACT_NOTHING,
                          .us = 20};
    order.task = *part =
        board_tasks(1, TASK_NESTED | (again ? TASK_AGAIN : 0), (uint32_t)outer->task);
    if (*part == 0)
        return false;
    memcpy(args, &order, sizeof(order));
    pattern_fill(args + sizeof(order), order.size - sizeof(order), *part, SALT_ARGS);
    int result = mc_group_run(group, handlers[kind].name, args, order.size);
    board_fate(*part, result == 0 ? FATE_ACCEPTED : FATE_REFUSED);
    if (result != 0 && !part_refused_fairly(task, kind, result))
        complain(&board->wrong, "a nested task was refused: %d %s", result, mc_error_message());
    return result == 0;
}

static int nest(mc_task *task, const struct order *order)
{
    mc_pool *pool = mc_task_pool(task);
    mc_group *group = NULL;
    uint64_t parts[PARTS_MOST];
    unsigned count = 0;
    bool good = pool != NULL && mc_group_open(pool, NULL, &group) == 0;
    while (good && count < 1 + order->us % PARTS_MOST &&
           submit_part(task, group, order, count, &parts[count]))
        count++;
    int waited = group != NULL ? mc_group_wait(group, -1) : 0;
    if (waited != 0)
        complain(&board->wrong, "a nested wait failed: %d %s", waited, mc_error_message());
    for (unsigned i = 0; i < count; i++)
        good &= settle_part(group, i, parts[i], order->reply);
    mc_group_close(group);
    good &= count == 1 + order->us % PARTS_MOST;
    return good ? reply(task, order->task, order->reply)
                : mc_task_fail(task, NEST_FAILED, "nested %llu", (unsigned long long)order->task);
}

/* ---- structured values ---- */

/* {"task": 17, "text": "xxx...", "list": [17, 18, ...]} */
static int read_value(mc_task *task, uint64_t *number, size_t *length)
{
    mc_value value, field;
    const char *text;
    int result = mc_task_value(task, &value);
    if (result < 0 || (result = mc_value_get(value, "task", &field)) < 0 ||
        (result = mc_value_uint(field, number)) < 0 ||
        (result = mc_value_get(value, "text", &field)) < 0 ||
        (result = mc_value_string(field, &text, length)) < 0)
        return result;
    for (size_t i = 0; i < *length; i++)
        if (text[i] != (char)('a' + (*number + i) % 26))
            return -EBADMSG;
    return *number != 0 && *number < TASKS_MOST ? 0 : -EBADMSG;
}

static int run_values(mc_task *task)
{
    uint64_t number;
    size_t length;
    mc_writer *writer;
    int result = read_value(task, &number, &length);
    if (result < 0) {
        complain(&board->wrong, "the arguments of a task with values are damaged: %d %s", result,
                 mc_error_message());
        return result;
    }
    note_begin(task, number);
    state_enter(task);
    result = mc_task_writer(task, &writer);
    if (result == 0) {
        (void)mc_write_map(writer, 2);
        (void)mc_write_string(writer, "task");
        (void)mc_write_uint(writer, number);
        (void)mc_write_string(writer, "list");
        result = mc_write_array(writer, length);
        for (size_t i = 0; i < length && result == 0; i++)
            result = mc_write_int(writer, (int64_t)(number + i));
    }
    state_leave(task);
    note_end(task, number);
    return result;
}

const struct mc_handler handlers[HANDLERS] = {
    [H_PLAIN] = {.name = "plain", .run = run_order},
    [H_ISOLATED] = {.name = "isolated", .run = run_order, .flags = MC_ISOLATED},
    [H_SAFE] = {.name = "safe", .run = run_order, .flags = MC_THREAD_SAFE},
    [H_AGAIN] = {.name = "again", .run = run_order, .flags = MC_IDEMPOTENT},
    [H_AGAIN_ISOLATED] = {.name = "again-isolated",
                          .run = run_order,
                          .flags = MC_IDEMPOTENT | MC_ISOLATED,
                          .max_attempts = ATTEMPTS_MOST},
    [H_LIMITED] = {.name = "limited",
                   .run = run_order,
                   .flags = MC_ISOLATED,
                   .soft_time_limit_ms = LIMITED_SOFT_MS,
                   .time_limit_ms = LIMITED_MS,
                   .on_soft_limit = overdue},
    [H_NEST] = {.name = "nest", .run = run_nest},
    [H_NEST_ISOLATED] = {.name = "nest-isolated", .run = run_nest, .flags = MC_ISOLATED},
    [H_VALUES] = {.name = "values", .run = run_values},
    [H_VALUES_ISOLATED] = {.name = "values-isolated", .run = run_values, .flags = MC_ISOLATED},
    [H_EMPTY] = {.name = "empty", .run = run_empty},
};
