/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool/worker.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fault.h"
#include "ipc/channel.h"
#include "pool/hooks.h"
#include "pool/io.h"
#include "pool/limits.h"
#include "pool/process.h"
#include "pool/refork.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

enum { MEMORY_REST_MS = 1000 }; /* no worker is replaced for its memory sooner than this */

static void expect(struct worker *worker, uint32_t type, struct parcel *parcel)
{
    if (channel_receive(worker->socket, parcel, 0) <= 0 || parcel->message.type != type)
        _exit(1);
}

static void tell(struct worker *worker, uint32_t type, int status, const char *text)
{
    struct parcel parcel = {.message = {.type = type, .status = status}};
    snprintf(parcel.message.text, sizeof(parcel.message.text), "%s", text);
    if (channel_send(worker->socket, &parcel, 0) < 0)
        _exit(1);
}

static void pin(struct worker *worker, int cpu)
{
    worker->cpu = cpu;
    if (cpu < 0)
        return;
    cpu_set_t *set = CPU_ALLOC((size_t)cpu + 1);
    if (set == NULL)
        return;
    CPU_ZERO_S(CPU_ALLOC_SIZE((size_t)cpu + 1), set);
    CPU_SET_S((size_t)cpu, CPU_ALLOC_SIZE((size_t)cpu + 1), set);
    if (FAULT_CALL("worker_pin", EINVAL,
                   sched_setaffinity(0, CPU_ALLOC_SIZE((size_t)cpu + 1), set)) == 0)
        atomic_store(&worker->row->cpu_plus_one, (uint32_t)cpu + 1);
    else
        worker->cpu = -1; /* the mask shrank meanwhile: better unpinned than none */
    CPU_FREE(set);
}

/* The same numbers in each worker would be a trap for handlers that draw some. */
static void reseed(void)
{
    unsigned seed = 0;
    (void)getrandom(&seed, sizeof(seed), GRND_NONBLOCK);
    srand(seed);
    srandom(seed);
    srand48((long)seed);
}

static void protect(struct worker *worker)
{
    struct control *control = worker->control;
    size_t before = offsetof(struct control, shared);
    size_t tallies = tallies_size(control->handler_capacity);
    FAULT_POINT("worker_protect");
    (void)mprotect(control, before, PROT_READ);
    for (uint32_t i = 0; i < worker->config->seats; i++)
        if (i != worker->seat) {
            (void)mprotect(&control->rows[i], sizeof(struct seat_row), PROT_READ);
            (void)mprotect(control_tallies(control, i), tallies, PROT_READ);
            if (control_class(control, i) == SEAT_IO)
                (void)mprotect(control_book(control, i), sizeof(struct pending_book), PROT_READ);
        }
}

static void initialise(struct worker *worker)
{
    int status =
        hooks_begin(worker->config, worker->seat, hooks_all(worker->config), &worker->states);
    if (status < 0) {
        tell(worker, MESSAGE_INIT_FAILED, status, error_message());
        _exit(1);
    }
}

static void prepare_io(struct worker *worker)
{
    int status = io_open(worker);
    if (status < 0) {
        tell(worker, MESSAGE_INIT_FAILED, status, error_message());
        _exit(1);
    }
}

/* A tenth more or less, lest all workers leave at once. */
static uint64_t jittered(uint64_t limit)
{
    uint64_t span = limit / 5 + 1;
    return limit - limit / 10 + (uint64_t)(drand48() * (double)span);
}

/* A limit that the first task would reach is no reason to do nothing but replace. */
static void plan_retirement(struct worker *worker)
{
    const struct config *config = worker->config;
    struct retirement *retirement = &worker->retirement;
    retirement->began_ns = clock_ns();
    if (config->max_tasks_per_worker != 0)
        retirement->tasks = atomic_load_explicit(&worker->row->tasks_done, memory_order_relaxed) +
                            jittered(config->max_tasks_per_worker);
    retirement->age_ns = jittered(config->max_worker_age_s * UINT64_C(1000000000));
    retirement->memory_due_ms = clock_coarse_ms() + MEMORY_REST_MS;
    retirement->cramped = work_too_large(worker);
    retirement->possible = config->max_tasks_per_worker != 0 || config->max_worker_age_s != 0 ||
                           config->max_worker_memory != 0;
}

_Noreturn static void leave(struct worker *worker)
{
    tell(worker, MESSAGE_LEAVING, 0, "");
    FAULT_POINT("worker_leaving");
    hooks_end(worker->config, &worker->states);
    fflush(NULL);
    _exit(0);
}

void worker_run(struct config *config, struct control *control, struct bells *bells, uint32_t seat,
                int socket, pid_t supervisor)
{
    char name[16];
    snprintf(name, sizeof(name), "mc-worker/%u", seat % 1000);
    process_begin(name, &socket, true);
    process_follow(supervisor);
    __fpurge(stdout); /* what the host had not written yet is the host's to write */
    __fpurge(stderr);
    static struct worker worker; /* zeroed pages, which cost nothing until used */
    static mc_task task;
    if (worker.config != NULL) { /* but not where a worker has opened this pool */
        memset(&worker, 0, sizeof(worker));
        memset(&task, 0, sizeof(task));
    }
    worker.config = config;
    worker.control = control;
    worker.seats = control_class(control, seat);
    worker.pool_bells = bells;
    worker.bells = &bells[worker.seats];
    worker.row = &control->rows[seat];
    worker.tallies = control_tallies(control, seat);
    worker.seat = seat;
    worker.socket = socket;
    worker.supervisor = supervisor;
    views_init(&worker.views, config, control, worker.bells, seat, socket);
    struct parcel parcel;
    tell(&worker, MESSAGE_HELLO, 0, "");
    FAULT_POINT("worker_hello");
    expect(&worker, MESSAGE_GO, &parcel);
    bool heir = parcel.message.status != 0;
    worker.estimate_ns = calloc(config->handler_capacity, sizeof(*worker.estimate_ns));
    if (worker.estimate_ns == NULL)
        _exit(1);
    task.config = config;
    task.home = &worker_home;
    task.owner = &worker;
    worker.task = &task;
    worker.pid = getpid();
    pin(&worker, parcel.message.value);
    protect(&worker);
    reseed();
    initialise(&worker);
    if (worker.seats == SEAT_IO)
        prepare_io(&worker);
    process_follow(supervisor); /* again: a change of user in worker_init clears it */
    clock_calibrate_end();
    tell(&worker, MESSAGE_READY, 0, "");
    FAULT_POINT("worker_ready");
    if (heir)
        expect(&worker, MESSAGE_TAKE, &parcel);
    limits_prepare(&worker);
    plan_retirement(&worker);
    refork_plan(&worker);
    if (worker.seats == SEAT_IO)
        io_work(&worker);
    else
        work(&worker);
    leave(&worker);
}
