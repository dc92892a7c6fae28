/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Tasks over their limits. While a task runs that has one, the supervisor looks at
 * the rows every TICK_MS; when none was seen for a while it stops, and the next such
 * task tells it to begin again.
 *
 * The kill of a worker must not strike a task that it began a moment later. So the
 * task's slot is marked first: whoever ends a marked task begins no other, and is
 * gone by itself if the kill comes too late.
 */
#include "pool/supervisor.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/sys.h"
#include "ipc/slot.h"
#include "pool/log.h"

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum {
    TICK_MS = 20,
    LINGER_MS = 1000,
    TRACE_TICKS = 25,   /* for a worker to say where it is, when it gets time to run */
    CLOCK_ERROR = 1000, /* one part in so many that clocks may be off: late rather than early */
};

/* What a row says of a task that is watched; started 0: none. */
struct sight {
    uint64_t started;
    uint32_t lane, lane_generation;
    name_t name;
    uint32_t soft_limit_ms, time_limit_ms;
    uint64_t ran_ms;
};

static struct sight look(const struct seat_row *row)
{
    struct sight sight = {0}, nothing = {0};
    sight.started = atomic_load_explicit(&row->started_ticks, memory_order_acquire); /* L1 */
    sight.lane = LOAD_ONCE(row->run_lane);
    sight.lane_generation = LOAD_ONCE(row->run_lane_generation);
    sight.name = atomic_load_explicit(&row->watched, memory_order_relaxed);
    sight.soft_limit_ms = atomic_load_explicit(&row->soft_limit_ms, memory_order_relaxed);
    sight.time_limit_ms = atomic_load_explicit(&row->time_limit_ms, memory_order_relaxed);
    atomic_thread_fence(memory_order_acquire); /* L2 */
    if (sight.started == 0 ||
        atomic_load_explicit(&row->started_ticks, memory_order_relaxed) != sight.started)
        return nothing;
    uint64_t ran_ns = clock_ticks_ns(clock_ticks() - sight.started);
    sight.ran_ms = (ran_ns - ran_ns / CLOCK_ERROR) / 1000000;
    return sight;
}

static const char *handler_name(const struct supervisor *supervisor, name_t name)
{
    uint32_t handler = name_handler(name);
    return handler < supervisor->config->handler_count ? supervisor->config->handlers[handler].name
                                                       : "?";
}

static struct slot *slot_of(const struct tenant *tenant, name_t name)
{
    return name_slot(name) < tenant->lane.geometry->slot_count
               ? &tenant->lane.slots[name_slot(name)]
               : NULL;
}

/* Tasks of other clients than this lane's wait in that seat, and would go with its worker:
 * so what their neighbour wishes for its own tasks is no reason to kill it. */
static bool others_wait(const struct supervisor *supervisor, uint32_t index, uint32_t lane)
{
    const struct control *control = supervisor->control;
    if (control_class(control, index) != SEAT_IO)
        return false;
    const struct pending_book *book = control_book(control, index);
    bool any = false;
    for (uint32_t i = 0; i < MAX_LANES; i++)
        any |= i != lane && atomic_load_explicit(&book->of_lane[i], memory_order_acquire) != 0;
    return any;
}

/* Over that of its handler, whatever its client has set. */
static bool over_handlers_limit(const struct supervisor *supervisor, const struct sight *sight)
{
    uint32_t handler = name_handler(sight->name);
    uint32_t limit_ms = handler < supervisor->config->handler_count
                            ? supervisor->config->handlers[handler].time_limit_ms
                            : 0;
    return limit_ms != 0 && sight->ran_ms >= limit_ms;
}

/* True if the row names it. The worker writes the lane first, so it is read last. */
static bool names(const struct seat_row *row, const struct doom *doom)
{
    uint32_t count = atomic_load_explicit(&row->run_count, memory_order_acquire);
    bool named = false;
    for (uint32_t i = 0; i < count && i < RUN_MAX; i++)
        named |= LOAD_ONCE(row->run_names[i]) == doom->name;
    atomic_thread_fence(memory_order_acquire);
    return named && LOAD_ONCE(row->run_lane) == doom->lane &&
           LOAD_ONCE(row->run_lane_generation) == doom->lane_generation;
}

static void set_doomed(struct seat_row *row, uint32_t lane_plus_one)
{
    atomic_store_explicit(&row->doomed, lane_plus_one, memory_order_seq_cst);
}

/* Kills the worker for this task; false if it is at another by now. The slot's mark is in
 * memory that its client can write, so it is the row that decides, and the worker begins no
 * other task when it has read there that it is doomed. D1: of this pair of a store and a look
 * and the worker's (D2) at least one sees the other. */
static bool strike(struct supervisor *supervisor, uint32_t index, const struct doom *doom,
                   bool whoever_waits)
{
    struct seat *seat = &supervisor->seats[index];
    struct seat_row *row = &supervisor->control->rows[index];
    if (seat->doom.why != DOOM_NONE)
        return true; /* it is on its way already */
    FAULT_POINT("watch_marked");
    set_doomed(row, doom->lane + 1);
    atomic_thread_fence(memory_order_seq_cst); /* D1 */
    if (!names(row, doom) || (!whoever_waits && others_wait(supervisor, index, doom->lane))) {
        set_doomed(row, 0);
        return false;
    }
    seat->doom = *doom;
    FAULT_POINT("watch_doomed");
    (void)sys_pidfd_kill(seat->posts[HOLDER].pidfd, SIGKILL);
    return true;
}

/* A task that is over its limit and cannot be marked is just ending, or its lane is
 * damaged; if it is still there at the next tick, it is the latter. */
static void end_task(struct supervisor *supervisor, uint32_t index, const struct sight *sight)
{
    struct seat *seat = &supervisor->seats[index];
    bool whoever_waits = over_handlers_limit(supervisor, sight);
    if (seat->doom.why != DOOM_NONE ||
        (!whoever_waits && others_wait(supervisor, index, sight->lane)))
        return;
    const struct tenant *tenant = lanes_find_any(supervisor, sight->lane, sight->lane_generation);
    struct slot *slot = tenant != NULL ? slot_of(tenant, sight->name) : NULL;
    if ((slot == NULL || !slot_mark(&slot->word, sight->name, index + 1, SLOT_KILL)) &&
        seat->doom.started != sight->started) {
        seat->doom.started = sight->started;
        return;
    }
    struct doom doom = {.why = DOOM_TIME,
                        .lane = sight->lane,
                        .lane_generation = sight->lane_generation,
                        .name = sight->name,
                        .started = sight->started};
    if (strike(supervisor, index, &doom, whoever_waits))
        log_write(supervisor->control, MC_LOG_WARNING,
                  "handler '%s' has been running for %llu ms in worker %d (seat %u), over its time "
                  "limit of %u ms: the worker is killed",
                  handler_name(supervisor, sight->name), (unsigned long long)sight->ran_ms,
                  (int)seat->posts[HOLDER].pid, index, sight->time_limit_ms);
}

/* A task that this row names, and whose it is: the worker writes the lane first, so it is
 * read last. */
static struct doom named(const struct seat_row *row, uint32_t place)
{
    struct doom doom = {.why = DOOM_CANCEL, .name = LOAD_ONCE(row->run_names[place])};
    atomic_thread_fence(memory_order_acquire);
    doom.lane = LOAD_ONCE(row->run_lane);
    doom.lane_generation = LOAD_ONCE(row->run_lane_generation);
    return doom;
}

void watch_kill(struct supervisor *supervisor, const struct tenant *tenant, uint32_t slot,
                uint32_t generation)
{
    uint32_t lane = (uint32_t)(tenant - supervisor->tenants);
    for (uint32_t index = 0; index < supervisor->config->seats; index++) {
        const struct seat_row *row = &supervisor->control->rows[index];
        uint32_t count = atomic_load_explicit(&row->run_count, memory_order_acquire);
        for (uint32_t i = 0; i < count && i < RUN_MAX; i++) {
            struct doom doom = named(row, i);
            if (doom.lane != lane || doom.lane_generation != tenant->generation ||
                name_slot(doom.name) != slot || others_wait(supervisor, index, lane))
                continue;
            struct slot *found = slot_of(tenant, doom.name);
            if (found != NULL && slot_generation(slot_load(&found->word)) == generation &&
                slot_mark(&found->word, doom.name, index + 1, SLOT_KILL)) {
                (void)strike(supervisor, index, &doom, false);
                return;
            }
        }
    }
}

/* The slot that the worker in this seat claimed, or NULL. */
static struct slot *claimed(struct supervisor *supervisor, uint32_t index, struct doom *doom)
{
    const struct seat_row *row = &supervisor->control->rows[index];
    uint32_t count = atomic_load_explicit(&row->run_count, memory_order_acquire);
    for (uint32_t i = 0; i < count && i < RUN_MAX; i++) {
        *doom = named(row, i);
        const struct tenant *tenant = lanes_find_any(supervisor, doom->lane, doom->lane_generation);
        struct slot *slot = tenant != NULL ? slot_of(tenant, doom->name) : NULL;
        uint64_t word = slot != NULL ? slot_load(&slot->word) : 0;
        if (slot_state(word) == SLOT_RUNNING && slot_seat(word) == index + 1)
            return slot;
    }
    return NULL;
}

/* The seat that this worker has, or -ESRCH. */
static int seat_of(const struct supervisor *supervisor, pid_t worker)
{
    for (uint32_t i = 0; worker > 0 && i < supervisor->config->seats; i++)
        if (supervisor->seats[i].posts[HOLDER].pid == worker)
            return (int)i;
    return -ESRCH;
}

int watch_trace(struct supervisor *supervisor, pid_t worker)
{
    int index = seat_of(supervisor, worker);
    if (index < 0)
        return index;
    (void)atomic_fetch_add_explicit(&supervisor->control->rows[index].trace_wanted, 1,
                                    memory_order_release); /* T1 */
    return sys_pidfd_kill(supervisor->seats[index].posts[HOLDER].pidfd, SIGURG);
}

/* True if the worker there still runs what it began at that time. */
static bool still_runs(const struct supervisor *supervisor, uint32_t index, uint32_t began)
{
    const struct seat_row *row = &supervisor->control->rows[index];
    uint64_t started = atomic_load_explicit(&row->started_ticks, memory_order_acquire); /* L1 */
    return began == 0 || (uint32_t)started == began;
}

/* The task is found first and its start compared then: one that begins in between has
 * another start, and one that ends is not marked. */
int watch_end(struct supervisor *supervisor, pid_t worker, uint32_t began, bool by_force)
{
    struct doom doom;
    int found = seat_of(supervisor, worker);
    if (found < 0)
        return found;
    uint32_t index = (uint32_t)found;
    struct slot *slot = claimed(supervisor, index, &doom);
    if (slot == NULL || !still_runs(supervisor, index, began) ||
        !slot_mark(&slot->word, doom.name, index + 1, by_force ? SLOT_KILL : SLOT_CANCEL))
        return -ENOENT;
    if (!by_force)
        return 0;
    if (!strike(supervisor, index, &doom, true))
        return -ENOENT;
    log_write(supervisor->control, MC_LOG_WARNING,
              "the operator ends a task of handler '%s': worker %d (seat %u) is killed",
              handler_name(supervisor, doom.name), (int)worker, index);
    return 0;
}

/* ---- slow tasks ---- */

/* Module and place, and the symbol where there is one: as backtrace_symbols(3), but
 * the libraries are asked only when no lock of theirs can have been inherited. */
static int describe(const struct supervisor *supervisor, uint64_t address, char *text, size_t size)
{
    Dl_info info;
    bool safe = (supervisor->config->flags & MC_ALLOW_THREADS) == 0;
    if (!safe || dladdr((void *)(uintptr_t)address, &info) == 0 || info.dli_fname == NULL)
        return snprintf(text, size, "0x%llx", (unsigned long long)address);
    const char *slash = strrchr(info.dli_fname, '/');
    const char *module = slash != NULL ? slash + 1 : info.dli_fname;
    if (info.dli_sname == NULL)
        return snprintf(text, size, "%s+0x%llx", module,
                        (unsigned long long)(address - (uint64_t)(uintptr_t)info.dli_fbase));
    return snprintf(text, size, "%s(%s+0x%llx)", module, info.dli_sname,
                    (unsigned long long)(address - (uint64_t)(uintptr_t)info.dli_saddr));
}

static void trace_text(const struct supervisor *supervisor, const struct seat_row *row, char *text,
                       size_t size)
{
    uint32_t count = atomic_load_explicit(&row->slow.count, memory_order_acquire);
    size_t used = 0;
    snprintf(text, size, "it did not say where it is");
    for (uint32_t i = 0; i < count && i < TRACE_MOST; i++) {
        char frame[128];
        uint64_t address = atomic_load_explicit(&row->slow.addresses[i], memory_order_relaxed);
        (void)describe(supervisor, address, frame, sizeof(frame));
        int length = snprintf(text + used, size - used, "%s%s", i == 0 ? "in " : " < ", frame);
        if (length < 0 || (size_t)length >= size - used) {
            text[used] = '\0';
            return;
        }
        used += (size_t)length;
    }
}

/* Asks the worker where it is, and reports when it has said so, or when it had a while to. */
static void report_slow(struct supervisor *supervisor, uint32_t index, const struct sight *sight)
{
    struct seat *seat = &supervisor->seats[index];
    const struct seat_row *row = &supervisor->control->rows[index];
    bool said = atomic_load_explicit(&row->slow.count, memory_order_relaxed) != 0;
    if (seat->slow.started != sight->started) {
        seat->slow = (struct slow){.started = sight->started};
        (void)sys_pidfd_kill(seat->posts[HOLDER].pidfd, SIGURG);
    } else if (!seat->slow.told && (said || ++seat->slow.ticks == TRACE_TICKS)) {
        char text[LOG_TEXT_SIZE - 128];
        seat->slow.told = true;
        trace_text(supervisor, row, text, sizeof(text));
        log_write(supervisor->control, MC_LOG_WARNING,
                  "handler '%s' has been running for %llu ms in worker %d (seat %u): %s",
                  handler_name(supervisor, sight->name), (unsigned long long)sight->ran_ms,
                  (int)seat->posts[HOLDER].pid, index, text);
    }
}

/* ---- ticks ---- */

/* True if a task with a limit runs there. */
static bool watch_seat(struct supervisor *supervisor, uint32_t index)
{
    struct seat *seat = &supervisor->seats[index];
    struct sight sight = look(&supervisor->control->rows[index]);
    uint32_t slow_ms = supervisor->config->slow_task_ms;
    if (sight.started == 0 || seat->posts[HOLDER].pidfd < 0 ||
        (sight.soft_limit_ms == 0 && sight.time_limit_ms == 0 && slow_ms == 0))
        return false;
    if (slow_ms != 0 && sight.ran_ms >= slow_ms)
        report_slow(supervisor, index, &sight);
    if (sight.time_limit_ms != 0 && sight.ran_ms >= sight.time_limit_ms) {
        end_task(supervisor, index, &sight);
    } else if (sight.soft_limit_ms != 0 && sight.ran_ms > sight.soft_limit_ms) {
        /* At each tick until its row says that it was told: its clock decides. */
        (void)sys_pidfd_kill(seat->posts[HOLDER].pidfd, SIGURG);
    }
    return true;
}

static bool watch_seats(struct supervisor *supervisor)
{
    bool any = false;
    for (uint32_t i = 0; i < supervisor->config->seats; i++)
        any |= watch_seat(supervisor, i);
    return any;
}

void watch_begin(struct supervisor *supervisor)
{
    uint64_t now = supervisor_now_ms();
    clock_calibrate_again();
    atomic_store(&supervisor->control->watching, 1);
    supervisor->watch_seen_ms = now;
    if (supervisor->watch_due_ms == 0)
        supervisor->watch_due_ms = now + 1;
}

void watch_due(struct supervisor *supervisor, uint64_t now_ms)
{
    if (supervisor->watch_due_ms == 0 || now_ms < supervisor->watch_due_ms)
        return;
    if (watch_seats(supervisor))
        supervisor->watch_seen_ms = now_ms;
    supervisor->watch_due_ms = now_ms + TICK_MS;
    if (now_ms - supervisor->watch_seen_ms < LINGER_MS)
        return;
    /* Either the next worker sees this, or we see its row. */
    atomic_store(&supervisor->control->watching, 0);
    atomic_thread_fence(memory_order_seq_cst);
    if (watch_seats(supervisor))
        watch_begin(supervisor);
    else
        supervisor->watch_due_ms = 0;
}
