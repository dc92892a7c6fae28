/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the troupe's tasks do. Each notes in the ledger that it ran.
 */
#include "tests/fault/troupe.h"

#include "tests/fault/batch.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { RESULT_MOST = 32768, GATE_MS = 3000, MEET_MS = 300 };

static const struct job *job_of(mc_task *task, size_t *size)
{
    return mc_task_args(task, size);
}

static void note_run(uint32_t number)
{
    atomic_fetch_add(&ledger->entries[number % LEDGER_TASKS].runs, 1);
}

static bool intact(const struct job *job, size_t size)
{
    const uint8_t *bytes = (const uint8_t *)job;
    for (size_t i = sizeof(*job); i < size; i++)
        if (bytes[i] != (uint8_t)job->number)
            return false;
    return size >= sizeof(*job);
}

/* Answers with copies of the number's low byte. */
static int work(mc_task *task)
{
    static uint8_t answer[RESULT_MOST];
    size_t size;
    const struct job *job = job_of(task, &size);
    if (!intact(job, size))
        return mc_task_fail(task, -EBADMSG, "damaged arguments");
    note_run(job->number);
    memset(answer, (uint8_t)job->number, job->larger > job->reply ? job->larger : job->reply);
    int result = job->larger == 0 ? 0 : mc_task_reply(task, answer, job->larger);
    return result < 0 ? result : mc_task_reply(task, answer, job->reply);
}

/* Writes a string of as many bytes as the reply is to have, bit by bit, so that the
 * result's place is outgrown several times. */
static int tell(mc_task *task)
{
    char text[65];
    mc_writer *writer;
    size_t size;
    const struct job *job = job_of(task, &size);
    note_run(job->number);
    memset(text, 'a' + (int)(job->number % 26), 64);
    text[64] = '\0';
    int result = mc_task_writer(task, &writer);
    if (result < 0)
        return result;
    mc_write_array(writer, job->reply / 64);
    for (uint32_t i = 0; i < job->reply / 64; i++)
        mc_write_string(writer, text);
    return 0;
}

static int quick(mc_task *task)
{
    size_t size;
    const struct job *job = job_of(task, &size);
    note_run(job->number);
    if (job->gate != 0 && !mc_task_inline(task))
        kill(getpid(), SIGKILL);
    return 0;
}

static int gated(mc_task *task)
{
    size_t size;
    const struct job *job = job_of(task, &size);
    note_run(job->number);
    atomic_fetch_add(&ledger->started, 1);
    (void)ledger_await(&ledger->gate, job->gate, GATE_MS);
    return mc_task_cancelled(task) ? -EINTR : 0;
}

/* Kills its workers: the first, or all that try. */
static int retried(mc_task *task)
{
    size_t size;
    const struct job *job = job_of(task, &size);
    note_run(job->number);
    if (job->gate > 1 || ledger->entries[job->number % LEDGER_TASKS].runs == 1)
        kill(getpid(), SIGKILL);
    return 0;
}

static void told_to_hurry(mc_task *task)
{
    atomic_fetch_add(&ledger->hurried, 1);
}

/* Larger than is kept warm. */
static int huge(mc_task *task)
{
    size_t size;
    void *data;
    const struct job *job = job_of(task, &size);
    note_run(job->number);
    int result = mc_task_reply_alloc(task, job->reply, &data);
    if (result == 0)
        memset(data, (uint8_t)job->number, job->reply);
    return result;
}

/* One of two that must be in different workers at the same time. */
static int meet(mc_task *task)
{
    size_t size;
    const struct job *job = job_of(task, &size);
    note_run(job->number);
    uint32_t place = atomic_fetch_add(&ledger->met, 1);
    uint8_t met = ledger_await(&ledger->met, (place | 1) + 1, MEET_MS);
    return mc_task_reply(task, &met, sizeof(met));
}

/* Sums up what the numbers of its range are, each noted. */
static int range(mc_task *task)
{
    size_t size;
    const uint32_t *first = mc_task_args(task, &size);
    uint64_t sum = 0;
    for (uint64_t i = mc_task_start(task); i < mc_task_end(task); i++) {
        note_run(*first + (uint32_t)i);
        sum += i;
    }
    return mc_task_reply(task, &sum, sizeof(sum));
}

/* Gives back the number that it reads, whichever way that is encoded. */
static int echo(mc_task *task)
{
    mc_value value;
    mc_writer *writer;
    uint64_t number;
    int result = mc_task_value(task, &value);
    if (result == 0)
        result = mc_value_uint(value, &number);
    if (result == 0)
        result = mc_task_writer(task, &writer);
    if (result < 0)
        return result;
    note_run((uint32_t)number);
    return mc_write_uint(writer, number);
}

/* Has others do six tasks. */
static int nest(mc_task *task)
{
    size_t size;
    const struct job *job = job_of(task, &size);
    struct mc_group_options options = {.size = sizeof(options)};
    mc_group *group;
    note_run(job->number);
    mc_pool *outer = mc_task_pool(task);
    if (outer == NULL || mc_group_open(outer, &options, &group) < 0)
        return mc_task_fail(task, -EIO, "%s", mc_error_message());
    uint32_t first = ledger_reserve(6);
    int result = 0;
    for (uint32_t i = 0; i < 6 && result == 0; i++) {
        struct job inner = {.number = first + i, .reply = 20 + 40 * i};
        ledger->entries[first + i].owner = getpid();
        result = mc_group_run(group, "work", &inner, sizeof(inner));
    }
    if (result == 0)
        result = mc_group_wait(group, GATE_MS);
    if (result == -ETIMEDOUT)
        ledger_wrong(WEDGED, "nested tasks do not end");
    mc_group_close(group);
    return result < 0 ? mc_task_fail(task, result, "%s", mc_error_message()) : 0;
}

static int work_at_last(mc_task *task, unsigned events, void *context)
{
    return work(task);
}

/* Works when the gate has been open for a moment, as others do. */
static int wait_a_moment(mc_task *task)
{
    int result = mc_task_await_timer(task, 1, work_at_last, NULL);
    return result < 0 ? result : MC_PENDING;
}

static int wake_up(mc_task *task, unsigned events, void *context)
{
    return (events & MC_EVENT_END) != 0 ? -ECANCELED : quick(task);
}

/* Waits for a descriptor that is never ready, and long enough for all else. */
static int wait_long(mc_task *task)
{
    static int never = -1;
    if (never < 0)
        never = eventfd(0, EFD_CLOEXEC);
    atomic_fetch_add(&ledger->started, 1);
    int result = mc_task_await_timer(task, GATE_MS, wake_up, NULL);
    if (result == 0)
        result = mc_task_await_fd(task, never, MC_EVENT_READ, wake_up, NULL);
    return result < 0 ? result : MC_PENDING;
}

static int retry_at_last(mc_task *task, unsigned events, void *context)
{
    return retried(task);
}

static int wait_and_retry(mc_task *task)
{
    int result = mc_task_await_timer(task, 2, retry_at_last, NULL);
    return result < 0 ? result : MC_PENDING;
}

const struct mc_handler troupe_handlers[TROUPE_WITH_IO] = {
    {.name = "work", .run = work},
    {.name = "tell", .run = tell},
    {.name = "quick", .run = quick},
    {.name = "gated", .run = gated},
    {.name = "stubborn", .run = gated, .flags = MC_ISOLATED, .on_soft_limit = told_to_hurry},
    {.name = "retried", .run = retried, .flags = MC_ISOLATED | MC_IDEMPOTENT},
    {.name = "huge", .run = huge, .flags = MC_ISOLATED},
    {.name = "meet", .run = meet},
    {.name = "range", .run = range},
    {.name = "echo", .run = echo},
    {.name = "nest", .run = nest, .flags = MC_ISOLATED},
    {.name = "isolated", .run = work, .flags = MC_ISOLATED},
    {.name = "threadsafe", .run = work, .flags = MC_THREAD_SAFE},
    {.name = "late", .run = work},
    {.name = "wait", .run = wait_a_moment, .flags = MC_IO},
    {.name = "wait-long", .run = wait_long, .flags = MC_IO},
    {.name = "wait-retried", .run = wait_and_retry, .flags = MC_IO | MC_IDEMPOTENT},
};

int troupe_init(void *context, void **state)
{
    *state = NULL;
    return ledger->init_fails != 0 ? -EPERM : 0;
}
