/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fault/ledger.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/fault.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "multicore.h"

struct ledger *ledger;

struct ledger *ledger_create(void)
{
    struct ledger *made =
        mmap(NULL, sizeof(*made), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(made != MAP_FAILED);
    return made;
}

void ledger_wrong(enum verdict verdict, const char *format, ...)
{
    atomic_fetch_add(&ledger->wrong[verdict], 1);
    uint32_t place = atomic_fetch_add(&ledger->text_count, 1);
    if (place >= LEDGER_TEXTS)
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(ledger->texts[place], TEXT_SIZE, format, arguments);
    va_end(arguments);
}

void ledger_line(void *context, int level, const char *line)
{
    uint32_t place = atomic_fetch_add(&ledger->line_count, 1) % LEDGER_LINES;
    snprintf(ledger->lines[place], TEXT_SIZE, "%9.3f %s", (double)clock_ns() / 1e9, line);
}

void ledger_print(const struct ledger *from)
{
    uint32_t lines = from->line_count, first = lines > LEDGER_LINES ? lines - LEDGER_LINES : 0;
    for (uint32_t i = 0; i < from->text_count && i < LEDGER_TEXTS; i++)
        fprintf(stderr, "    %s\n", from->texts[i]);
    for (uint32_t i = first; i < lines; i++)
        fprintf(stderr, "    log: %s\n", from->lines[i % LEDGER_LINES]);
}

bool ledger_call(int result, const char *call)
{
    if (result >= 0)
        return true;
    uint32_t place = atomic_fetch_add(&ledger->error_count, 1);
    if (place >= LEDGER_ERRORS)
        return false;
    struct call_error *error = &ledger->errors[place];
    error->pid = getpid();
    error->error = result;
    snprintf(error->call, sizeof(error->call), "%s: %s", call, mc_error_message());
    return false;
}

uint32_t ledger_reserve(uint32_t count)
{
    uint32_t first = atomic_fetch_add(&ledger->count, count);
    CHECK(first + count <= LEDGER_TASKS);
    return first;
}

bool ledger_await(_Atomic uint32_t *word, uint32_t least, int bound_ms)
{
    uint64_t deadline = clock_ns() + (uint64_t)bound_ms * 1000000;
    while (atomic_load(word) < least) {
        if (clock_ns() >= deadline)
            return false;
        struct timespec pause = {.tv_nsec = 50000};
        (void)nanosleep(&pause, NULL);
    }
    return true;
}

/* ---- judging ---- */

static bool died(const struct disturbance *disturbance, pid_t pid)
{
    if (disturbance->kills && pid == disturbance->victim)
        return true;
    for (unsigned i = 0; i < disturbance->dead_count; i++)
        if (disturbance->dead[i] == pid)
            return true;
    return false;
}

/* The pool, or half of it, may be gone for a client that did nothing wrong. */
static bool pool_may_be_gone(const struct disturbance *disturbance)
{
    if (ledger->poolless != 0)
        return true;
    return disturbance->victim != 0 && (disturbance->kills || disturbance->cuts) &&
           (disturbance->role == ROLE_SUPERVISOR || disturbance->role == ROLE_OPENER);
}

static bool may_see_error(const struct disturbance *disturbance, pid_t pid)
{
    if (pool_may_be_gone(disturbance))
        return true;
    if (!disturbance->fails || disturbance->victim == 0)
        return false;
    /* A process between the opener and the supervisor counts as the opener. */
    return pid == disturbance->victim || disturbance->role == ROLE_SUPERVISOR ||
           (disturbance->role == ROLE_OPENER && pid == ledger->opener);
}

/* How a task may end by what it is itself. */
static bool is_expected(const struct entry *entry)
{
    switch (atomic_load(&entry->status)) {
    case -EOWNERDEAD:
        return (entry->traits & (CRASHES | LOSABLE)) != 0;
    case -ECANCELED:
        return (entry->traits & CANCELLABLE) != 0 && entry->runs == 0;
    case -EPERM: /* what worker_init said, to the caller */
        return (entry->traits & LOSABLE) != 0;
    case -ETIMEDOUT:
        return (entry->traits & OVERDUE) != 0;
    case -ENOSPC:
        return (entry->traits & ROOMLESS) != 0;
    case -EFAULT:
        return (entry->traits & DAMAGED) != 0;
    default:
        return false;
    }
}

/* A task fails with the worker that runs it, or with a call that either side of it
 * makes; one that nests fails as well when its worker cannot attach to the pool. */
static bool may_fail(const struct disturbance *disturbance, const struct entry *entry)
{
    if (pool_may_be_gone(disturbance))
        return true;
    if (disturbance->victim == 0)
        return false;
    if (disturbance->kills)
        return entry->status == -EOWNERDEAD && entry->worker == disturbance->victim;
    return disturbance->fails &&
           (entry->worker == disturbance->victim || (entry->traits & NESTING) != 0 ||
            (entry->owner == disturbance->victim && entry->status == -ENOMEM));
}

/* Returns what the disturbance cost: 1 for a task that failed because of it. */
static unsigned judge_task(const struct disturbance *disturbance, uint32_t number)
{
    const struct entry *entry = &ledger->entries[number];
    if (entry->runs > 1 && !(entry->traits & REPEATED))
        ledger_wrong(LOST, "task %u ran %u times", number, entry->runs);
    if (entry->results > 1)
        ledger_wrong(LOST, "task %u had %u results", number, entry->results);
    if (entry->accepted == 0 || died(disturbance, entry->owner) || (entry->traits & FORGOTTEN))
        return 0;
    if (entry->results == 0)
        ledger_wrong(LOST, "task %u was accepted and has no result", number);
    else if (entry->status == 0 && entry->runs == 0)
        ledger_wrong(LOST, "task %u has a result and never ran", number);
    else if (entry->status == 0 && entry->runs != 1 && !(entry->traits & REPEATED))
        ledger_wrong(LOST, "task %u has a result and ran %u times", number, entry->runs);
    if (entry->results == 0 || entry->status == 0 || is_expected(entry))
        return 0;
    if (!may_fail(disturbance, entry))
        ledger_wrong(LOST, "task %u of process %d, in %d, ended with %d: %s", number,
                     (int)entry->owner, (int)entry->worker, entry->status, entry->error);
    return entry->counts && (entry->traits & WAITING) == 0;
}

void ledger_judge(const struct disturbance *disturbance)
{
    unsigned cost = 0;
    for (uint32_t i = 0; i < ledger->error_count && i < LEDGER_ERRORS; i++)
        if (!may_see_error(disturbance, ledger->errors[i].pid))
            ledger_wrong(LOST, "process %d: %s (%d)", (int)ledger->errors[i].pid,
                         ledger->errors[i].call, ledger->errors[i].error);
    for (uint32_t number = 0; number < ledger->count; number++)
        cost += judge_task(disturbance, number);
    if (cost > 1 && !pool_may_be_gone(disturbance))
        ledger_wrong(LOST, "it cost %u tasks", cost);
}
