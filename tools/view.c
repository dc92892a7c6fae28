/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a worker does is its own word, and is taken as such: indices are checked, and
 * counters that went back count as nothing.
 */
#include "tools/view.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/sys.h"
#include "ipc/slot.h"
#include "ipc/tally.h"
#include "loadavg/text.h"
#include "pool/config.h"
#include "tools/plain.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    CALIBRATION_NS = 2000000, /* to tell ticks from ns, to about 1 in 10,000 */
    SAMPLED_NS = 1500000000,  /* for so long after we looked the supervisor samples its queues */
};

struct view_memory {
    struct view_handler *before; /* of the last snapshot; nothing, before the first */
    uint64_t busy_before[MAX_SEATS];
    int supervisor; /* its pidfd; -1: it cannot be had */
};

static_assert(sizeof(struct view_totals) == sizeof(struct totals), "the same fields");

/* ---- arithmetic ---- */

static uint64_t since(uint64_t now, uint64_t before)
{
    return now > before ? now - before : 0;
}

uint64_t view_most_ns(void)
{
    return clock_ticks_ns(tally_span_begin(SPANS - 1));
}

static uint64_t quantile_ns(const uint64_t now[SPANS], const uint64_t before[SPANS],
                            uint32_t thousandths)
{
    uint64_t counts[SPANS];
    for (uint32_t span = 0; span < SPANS; span++)
        counts[span] = before != NULL ? since(now[span], before[span]) : now[span];
    uint64_t ticks = tally_quantile(counts, thousandths);
    return ticks == UINT64_MAX ? view_most_ns() + 1 : clock_ticks_ns(ticks);
}

void view_measure(struct view_handler *handler, const struct view_handler *before,
                  uint64_t interval_ns)
{
    const uint64_t *waited = before != NULL ? before->waited : NULL;
    const uint64_t *ran = before != NULL ? before->ran : NULL;
    handler->wait_p50 = quantile_ns(handler->waited, waited, 500);
    handler->wait_p99 = quantile_ns(handler->waited, waited, 990);
    handler->run_p50 = quantile_ns(handler->ran, ran, 500);
    handler->run_p99 = quantile_ns(handler->ran, ran, 990);
    handler->per_second = 0;
    if (before != NULL && interval_ns != 0)
        handler->per_second =
            (double)since(handler->ended, before->ended) * 1e9 / (double)interval_ns;
}

double view_share(uint64_t busy_ns, uint64_t busy_before_ns, uint64_t interval_ns)
{
    uint64_t busy = since(busy_ns, busy_before_ns);
    if (interval_ns == 0)
        return 0;
    return busy < interval_ns ? (double)busy / (double)interval_ns : 1;
}

/* ---- the machine ---- */

static const char *process_file(pid_t pid, const char *name, char *text, size_t size)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    return text_read(path, text, size) > 0 ? text : NULL;
}

static void read_memory(struct view_worker *worker)
{
    char text[128];
    unsigned long long total, resident, shared;
    worker->rss = worker->private_bytes = 0;
    if (worker->pid == 0 || process_file(worker->pid, "statm", text, sizeof(text)) == NULL ||
        sscanf(text, "%llu %llu %llu", &total, &resident, &shared) != 3)
        return;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    worker->rss = resident * page;
    worker->private_bytes = since(resident, shared) * page;
}

/* Copies what others have written, without what a terminal would obey. */
static void copy_plain(char *to, size_t size, const char *from, size_t most)
{
    size_t length = strnlen(from, most < size ? most : size - 1);
    memcpy(to, from, length);
    to[length] = '\0';
    to[strcspn(to, "\n")] = '\0';
    plain_text(to);
}

static void read_command(struct view_client *client)
{
    char text[64];
    if (process_file(client->pid, "comm", text, sizeof(text)) == NULL)
        snprintf(text, sizeof(text), "?");
    copy_plain(client->command, sizeof(client->command), text, sizeof(text));
}

static void read_machine(struct view *view)
{
    struct load_sample sample = {0};
    if (getloadavg(view->load, 3) != 3)
        view->load[0] = view->load[1] = view->load[2] = -1;
    view->psi_centi =
        load_sample_read(NULL, NULL, &sample) == 0 ? sample.psi_some_avg10_centi : VIEW_UNKNOWN;
}

/* ---- workers ---- */

/* Which handler's task it is that runs: that of the row's watched name, if it is of this
 * run, otherwise that of the run's first task. */
static int running_handler(const struct view *view, const struct seat_row *row, uint32_t count)
{
    name_t watched = atomic_load_explicit(&row->watched, memory_order_relaxed);
    name_t name = LOAD_ONCE(row->run_names[0]);
    for (uint32_t i = 1; i < count && i < RUN_MAX; i++)
        if (LOAD_ONCE(row->run_names[i]) == watched)
            name = watched;
    return count != 0 && name_handler(name) < view->handler_count ? (int)name_handler(name) : -1;
}

static enum view_state state_of(const struct view_worker *worker, uint32_t bell, bool running)
{
    if (worker->pid == 0)
        return worker->heir != 0 ? VIEW_STARTING : VIEW_NONE;
    if (running) /* with quick tasks it stays LOOKING */
        return VIEW_BUSY;
    return bell == SEAT_SLEEPING ? VIEW_IDLE : bell == SEAT_LOOKING ? VIEW_LOOKING : VIEW_STARTING;
}

static uint64_t busy_until_now(const struct view_worker *worker)
{
    return worker->busy_ns + worker->age_ns;
}

/* The worker counts them itself; it has no room for more. */
static int pending_in(const struct observer *observer, uint32_t seat)
{
    if (control_class_at(&observer->sizes, seat) != SEAT_IO)
        return -1;
    const struct pending_book *book = control_book_at(observer->control, &observer->sizes, seat);
    uint32_t waiting = atomic_load_explicit(&book->waiting, memory_order_relaxed);
    return waiting < PENDING_MOST ? (int)waiting : PENDING_MOST;
}

static void take_worker(struct view *view, uint32_t seat, uint64_t now_ticks)
{
    const struct seat_row *row = &view->observer.control->rows[seat];
    struct view_worker *worker = &view->workers[seat];
    uint64_t started = atomic_load_explicit(&row->started_ticks, memory_order_acquire);
    uint32_t count = atomic_load_explicit(&row->run_count, memory_order_acquire);
    uint32_t lane = LOAD_ONCE(row->run_lane);
    bool running = count != 0 && started != 0;
    *worker = (struct view_worker){
        .seat = seat,
        .pid = atomic_load_explicit(&row->pid, memory_order_relaxed),
        .heir = atomic_load_explicit(&row->heir_pid, memory_order_relaxed),
        .cpu = (int)atomic_load_explicit(&row->cpu_plus_one, memory_order_relaxed) - 1,
        .handler = running ? running_handler(view, row, count) : -1,
        .lane = running && lane < MAX_LANES ? (int)lane : -1,
        .began = running ? (uint32_t)started : 0,
        .age_ns = running ? clock_ticks_ns(since(now_ticks, started)) : 0,
        .pending = pending_in(&view->observer, seat),
        .tasks = atomic_load_explicit(&row->tasks_done, memory_order_relaxed),
    };
    worker->state = state_of(
        worker,
        atomic_load_explicit(
            &view->observer.bells[control_class_at(&view->observer.sizes, seat)].seats[seat].state,
            memory_order_relaxed),
        running);
    worker->busy_ns = atomic_load_explicit(&row->busy_ns, memory_order_relaxed);
    worker->load =
        view_share(busy_until_now(worker), view->memory->busy_before[seat], view->interval_ns);
    read_memory(worker);
}

static void take_workers(struct view *view)
{
    uint64_t now_ticks = clock_ticks();
    view->busy = 0;
    view->pending = 0;
    for (uint32_t seat = 0; seat < view->seat_count; seat++) {
        view->memory->busy_before[seat] = busy_until_now(&view->workers[seat]);
        take_worker(view, seat, now_ticks);
        view->busy += view->workers[seat].state == VIEW_BUSY;
        if (view->workers[seat].pending > 0)
            view->pending += (uint32_t)view->workers[seat].pending;
    }
}

/* ---- clients ---- */

static void take_clients(struct view *view)
{
    view->client_count = 0;
    view->queued = 0;
    for (uint32_t lane = 0; lane < view->client_limit; lane++) {
        const struct lane_entry *entry = &view->observer.control->lanes[lane];
        if (atomic_load_explicit(&entry->generation, memory_order_acquire) % 2 == 0)
            continue;
        struct view_client *client = &view->clients[view->client_count++];
        *client = (struct view_client){
            .lane = lane,
            .pid = atomic_load_explicit(&entry->client_pid, memory_order_relaxed),
            .uid = atomic_load_explicit(&entry->client_uid, memory_order_relaxed),
            .weight = atomic_load_explicit(&entry->weight, memory_order_relaxed),
            .queued = atomic_load_explicit(&entry->queued, memory_order_relaxed),
            .delay_ms = atomic_load_explicit(&entry->delay_ms, memory_order_relaxed),
            .late = atomic_load_explicit(&entry->late, memory_order_relaxed) != 0,
        };
        read_command(client);
        view->queued += client->queued;
    }
}

/* ---- handlers ---- */

static void add(struct view_handler *handler, const struct tally *tally)
{
    uint64_t ended = atomic_load_explicit(&tally->ended, memory_order_relaxed);
    if (ended == 0)
        return;
    handler->ended += ended;
    handler->failed += atomic_load_explicit(&tally->failed, memory_order_relaxed);
    for (uint32_t span = 0; span < SPANS; span++) {
        handler->waited[span] += atomic_load_explicit(&tally->waited[span], memory_order_relaxed);
        handler->ran[span] += atomic_load_explicit(&tally->ran[span], memory_order_relaxed);
    }
}

static void take_handler(struct view *view, uint32_t number)
{
    const struct control *control = view->observer.control;
    const struct handler_entry *entry = &control->handlers[number];
    struct view_handler *handler = &view->handlers[number];
    memset(handler, 0, sizeof(*handler));
    copy_plain(handler->name, sizeof(handler->name), entry->name, sizeof(entry->name));
    handler->flags = LOAD_ONCE(entry->flags);
    for (uint32_t seat = 0; seat < view->seat_count; seat++)
        add(handler, &control_tallies_at(control, &view->observer.sizes, seat)[number]);
    /* One that came by a reload begins at nothing: so is the memory. */
    view_measure(handler, view->interval_ns != 0 ? &view->memory->before[number] : NULL,
                 view->interval_ns);
}

static void take_handlers(struct view *view)
{
    struct view_handler *before = view->handlers;
    view->handlers = view->memory->before;
    view->memory->before = before;
    view->ended = 0;
    view->per_second = 0;
    for (uint32_t number = 0; number < view->handler_count; number++) {
        take_handler(view, number);
        view->ended += view->handlers[number].ended;
        view->per_second += view->handlers[number].per_second;
    }
}

/* ---- the pool ---- */

static void take_totals(struct view *view)
{
    const _Atomic uint64_t *from = (const void *)&view->observer.control->totals;
    uint64_t *to = (void *)&view->totals;
    for (size_t i = 0; i < sizeof(view->totals) / sizeof(*to); i++)
        to[i] = atomic_load_explicit(&from[i], memory_order_relaxed);
}

static void take_admission(struct view *view)
{
    const struct control *control = view->observer.control;
    view->policy = config_policy_now(control);
    view->admission =
        admission_unpack(atomic_load_explicit(&control->admission, memory_order_acquire));
    (void)admission_reason(view->admission, &view->policy,
                           view->admission.busy ? MC_INLINE : MC_PARALLEL, view->sentence,
                           sizeof(view->sentence));
}

static void take_pool(struct view *view)
{
    const struct control *control = view->observer.control;
    uint32_t handlers = atomic_load_explicit(&control->handler_count, memory_order_acquire);
    view->closing = atomic_load_explicit(&control->closing, memory_order_relaxed);
    view->hopeless = atomic_load_explicit(&control->hopeless, memory_order_relaxed) != 0;
    view->seats_up = atomic_load_explicit(&control->seats_up, memory_order_relaxed);
    view->handler_count = handlers < view->observer.sizes.handler_capacity
                              ? handlers
                              : view->observer.sizes.handler_capacity;
}

/* Has the queues sampled. Who looks often need not wait for it: they are sampled
 * already, for those who looked before. */
static bool refresh(const struct view *view)
{
    static const struct message again = {.type = MESSAGE_OBSERVE, .value = 1};
    if (view->time_ns != 0 && clock_ns() - view->time_ns < SAMPLED_NS)
        return observer_refresh(&view->observer);
    return observer_ask(view->observer.path, &again) == 0;
}

/* A pool that has no time to answer, as at its very end, is there while its supervisor is. */
static bool is_there(const struct view *view)
{
    struct pollfd end = {.fd = view->memory->supervisor, .events = POLLIN};
    bool heard = refresh(view);
    return end.fd >= 0 ? poll(&end, 1, 0) == 0 : heard;
}

int view_take(struct view *view)
{
    if (!is_there(view)) {
        view->gone = true;
        return error_set(-ESHUTDOWN, "the pool at %s (supervisor %d) is gone", view->observer.path,
                         (int)view->supervisor);
    }
    uint64_t now = clock_ns();
    view->interval_ns = view->time_ns != 0 ? now - view->time_ns : 0;
    view->time_ns = now;
    take_pool(view);
    take_workers(view);
    take_clients(view);
    take_handlers(view);
    take_totals(view);
    take_admission(view);
    read_machine(view);
    return 0;
}

/* ---- from start to end ---- */

static int allocate(struct view *view)
{
    const struct control_sizes *sizes = &view->observer.sizes;
    uint32_t lanes = LOAD_ONCE(view->observer.control->lane_limit);
    view->supervisor = view->observer.supervisor;
    view->seat_count = sizes->seat_count;
    view->io_seats = sizes->io_seats;
    view->client_limit = lanes < MAX_LANES ? lanes : MAX_LANES;
    /* One more of each: none is no error. */
    view->workers = calloc(view->seat_count + 1, sizeof(*view->workers));
    view->clients = calloc(view->client_limit + 1, sizeof(*view->clients));
    view->handlers = calloc(sizes->handler_capacity + 1, sizeof(*view->handlers));
    view->memory = calloc(1, sizeof(*view->memory));
    if (view->memory == NULL)
        return -ENOMEM;
    view->memory->supervisor = sys_pidfd_open(view->supervisor);
    view->memory->before = calloc(sizes->handler_capacity + 1, sizeof(*view->memory->before));
    return view->workers == NULL || view->clients == NULL || view->handlers == NULL ||
                   view->memory->before == NULL
               ? -ENOMEM
               : 0;
}

int view_open(struct view **view, const char *socket)
{
    struct view *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return error_system(-ENOMEM, "no memory for a view of the pool");
    clock_calibrate_begin();
    int result = observer_open(&made->observer, socket);
    if (result == 0 && (result = allocate(made)) < 0)
        error_system(result, "no memory for a view of the pool");
    if (result < 0) {
        view_close(made);
        return result;
    }
    (void)nanosleep(&(struct timespec){.tv_nsec = CALIBRATION_NS}, NULL);
    clock_calibrate_end();
    *view = made;
    return 0;
}

void view_close(struct view *view)
{
    if (view == NULL)
        return;
    observer_close(&view->observer);
    if (view->memory != NULL) {
        sys_close(&view->memory->supervisor);
        free(view->memory->before);
    }
    free(view->memory);
    free(view->workers);
    free(view->clients);
    free(view->handlers);
    free(view);
}

const char *view_state_name(enum view_state state)
{
    static const char *const names[] = {"none", "starting", "idle", "looking", "busy"};
    return names[state];
}

const char *view_worker_handler(const struct view *view, const struct view_worker *worker)
{
    return worker->handler >= 0 && (uint32_t)worker->handler < view->handler_count
               ? view->handlers[worker->handler].name
               : "-";
}
