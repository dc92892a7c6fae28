/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool/config.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/error.h"
#include "pool/serve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DEFAULT_QUEUE_DEPTH = 4096,
    LEAST_QUEUE_DEPTH = 16,
    DEFAULT_CLOSE_TIMEOUT_MS = 10000,
    DEFAULT_LOAD_TIMEOUT_MS = 60000,
    DEFAULT_ATTEMPTS = 3,
    MOST_ATTEMPTS = 100,
};
#define KNOWN_FLAGS         ((uint32_t)(MC_ISOLATED | MC_THREAD_SAFE | MC_IDEMPOTENT | MC_IO))
#define DEFAULT_MAX_PAYLOAD (UINT64_C(256) << 20)
#define MOST_MAX_PAYLOAD    (UINT64_C(1) << 30)
#define MOST_ARENA_SIZE     (UINT64_C(64) << 30)
/* Places in a lane are 32-bit numbers of units. */
#define MOST_LANE_SIZE ((UINT64_C(1) << 32) * UNIT - (UINT64_C(1) << 30))

static int check_limits(const struct mc_handler *given)
{
    bool idempotent = (given->flags & MC_IDEMPOTENT) != 0;
    if (given->max_attempts > (idempotent ? MOST_ATTEMPTS : 0))
        return error_set(-EINVAL, "max_attempts of handler '%s' is %u: %s", given->name,
                         given->max_attempts,
                         idempotent ? "at most 100" : "it is for handlers that are MC_IDEMPOTENT");
    if (given->time_limit_ms != 0 && given->soft_time_limit_ms > given->time_limit_ms)
        return error_set(-EINVAL,
                         "soft_time_limit_ms of handler '%s' is %u: its time_limit_ms of %u "
                         "would come first",
                         given->name, given->soft_time_limit_ms, given->time_limit_ms);
    return 0;
}

static int check_handler(const struct mc_handler *given, size_t place)
{
    size_t length = given->name == NULL ? 0 : strnlen(given->name, HANDLER_NAME_SIZE);
    if (length == 0 || length == HANDLER_NAME_SIZE)
        return error_set(-EINVAL, "the name of handler %zu has %s; give 1 to %d bytes", place,
                         length == 0 ? "0 bytes" : "too many bytes", HANDLER_NAME_SIZE - 1);
    if (given->run == NULL)
        return error_set(-EINVAL, "handler '%s' has no function", given->name);
    if ((given->flags & ~KNOWN_FLAGS) != 0)
        return error_set(-EINVAL, "handler '%s' has unknown flags 0x%x", given->name, given->flags);
    if ((given->flags & MC_IO) != 0 && (given->flags & MC_THREAD_SAFE) != 0)
        return error_set(-EINVAL,
                         "handler '%s' is MC_IO and MC_THREAD_SAFE: the second is for handlers "
                         "that may run in the caller, which the first never do",
                         given->name);
    return check_limits(given);
}

static uint32_t attempts_of(const struct mc_handler *given)
{
    if ((given->flags & MC_IDEMPOTENT) == 0)
        return 1;
    return given->max_attempts != 0 ? given->max_attempts : DEFAULT_ATTEMPTS;
}

static uint32_t find(const struct config *config, const char *name)
{
    uint32_t i = 0;
    while (i < config->handler_count && strcmp(config->handlers[i].name, name) != 0)
        i++;
    return i;
}

/* A handler that is known already, and has no function, is an older set-up's, or the
 * pool's that we attached to. */
static int add_handler(struct config *config, uint32_t module, const struct mc_handler *given)
{
    uint32_t number = find(config, given->name);
    if (number < config->handler_count && config->handlers[number].run != NULL)
        return error_set(-EINVAL, "handler '%s' is there twice", given->name);
    if ((given->flags & MC_IO) != 0 && config->serve != NULL && config->io_workers == 0)
        return error_set(-EINVAL,
                         "handler '%s' is MC_IO, and the pool has no worker for it: set io-workers "
                         "to 1 or more",
                         given->name);
    if (number == config->handler_capacity)
        return error_set(-EINVAL, "handler '%s' is one too many: there can be %u in all",
                         given->name, config->handler_capacity);
    struct handler *handler = &config->handlers[number];
    snprintf(handler->name, sizeof(handler->name), "%s", given->name);
    handler->run = given->run;
    handler->flags = given->flags | ((given->flags & MC_IO) != 0 ? MC_ISOLATED : 0);
    handler->max_attempts = attempts_of(given);
    handler->soft_limit_ms = given->soft_time_limit_ms;
    handler->time_limit_ms = given->time_limit_ms;
    handler->on_soft_limit = given->on_soft_limit;
    handler->module = module;
    handler->watched = config->slow_task_ms != 0 || handler->max_attempts > 1 ||
                       given->soft_time_limit_ms != 0 || given->time_limit_ms != 0;
    if (number == config->handler_count)
        config->handler_count++;
    return 0;
}

int config_add_handlers(struct config *config, uint32_t module, const struct mc_handler *handlers,
                        size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int result = check_handler(&handlers[i], i);
        if (result == 0)
            result = add_handler(config, module, &handlers[i]);
        if (result < 0)
            return result;
    }
    return 0;
}

static int make_tables(struct config *config, size_t handlers, size_t modules)
{
    config->handlers = calloc(handlers, sizeof(*config->handlers));
    config->modules = calloc(modules != 0 ? modules : 1, sizeof(*config->modules));
    config->handler_capacity = (uint32_t)handlers;
    if (config->handlers == NULL || config->modules == NULL)
        return error_set(-ENOMEM, "no memory for %zu handlers", handlers);
    return 0;
}

static int set_handlers(struct config *config, const struct mc_pool_options *options)
{
    if (options->handler_count == 0 || options->handler_count > MAX_HANDLERS ||
        options->handlers == NULL)
        return error_set(-EINVAL, "handler_count is %zu: give 1 to %d handlers",
                         options->handler_count, MAX_HANDLERS);
    int result = make_tables(config, options->handler_count, 1);
    if (result < 0)
        return result;
    config->module_count = 1;
    config->modules[0].worker_init = options->worker_init;
    config->modules[0].worker_exit = options->worker_exit;
    config->modules[0].hook_context = options->hook_context;
    return config_add_handlers(config, 0, options->handlers, options->handler_count);
}

static int set_modules(struct config *config, const struct serve_options *serve)
{
    if (serve->module_count > MODULES_MOST)
        return error_set(-EINVAL, "there are %u modules: at most %d", serve->module_count,
                         MODULES_MOST);
    int result = make_tables(config, MAX_HANDLERS, serve->module_count);
    if (result < 0)
        return result;
    config->serve = serve;
    config->load_timeout_ms =
        serve->load_timeout_ms != 0 ? serve->load_timeout_ms : DEFAULT_LOAD_TIMEOUT_MS;
    config->startup = startup_create();
    if (config->startup == NULL)
        return error_set(-ENOMEM, "no memory for %u modules", serve->module_count);
    config->module_count = serve->module_count;
    for (uint32_t i = 0; i < serve->module_count; i++) {
        config->modules[i].config = config;
        config->modules[i].row = i;
        config->modules[i].path = serve->modules[i].path;
        config->modules[i].settings = serve->modules[i].settings;
        config->modules[i].setting_count = serve->modules[i].setting_count;
        config->modules[i].lazy = serve->modules[i].lazy;
    }
    return 0;
}

/* In a program of its own they are there when a handler wants them; modules, which are
 * loaded later, cannot be asked. */
static int set_io_workers(struct config *config, const struct mc_pool_options *options)
{
    if (options->io_workers > MAX_IO_SEATS || options->io_workers > MAX_SEATS - config->workers)
        return error_set(-EINVAL,
                         "io_workers is %u: at most %d, and %d together with the %u workers",
                         options->io_workers, MAX_IO_SEATS, MAX_SEATS, config->workers);
    if ((unsigned)options->io_engine > MC_IO_EPOLL)
        return error_set(-EINVAL, "io_engine is %d: give MC_IO_AUTO, MC_IO_URING or MC_IO_EPOLL",
                         (int)options->io_engine);
    config->io_engine = options->io_engine;
    config->io_workers = options->io_workers;
    for (uint32_t i = 0; i < config->handler_count && config->io_workers == 0; i++)
        config->io_workers = (config->handlers[i].flags & MC_IO) != 0;
    if (config->workers + config->io_workers > MAX_SEATS)
        config->workers = MAX_SEATS - config->io_workers;
    config->seats = config->workers + config->io_workers;
    return 0;
}

static int set_workers(struct config *config, const struct mc_pool_options *options)
{
    if (options->workers > MAX_SEATS)
        return error_set(-EINVAL, "workers is %u: at most %d; 0 means one per usable core",
                         options->workers, MAX_SEATS);
    if ((unsigned)options->pinning > MC_PIN_NONE)
        return error_set(-EINVAL, "pinning is %d: give MC_PIN_CORE or MC_PIN_NONE",
                         (int)options->pinning);
    int result = topology_read(&config->topology);
    if (result < 0)
        return result;
    config->pinning = options->pinning;
    config->workers = options->workers != 0 ? options->workers : config->topology.usable;
    if (config->workers > MAX_SEATS)
        config->workers = MAX_SEATS;
    result = set_io_workers(config, options);
    if (result < 0)
        return result;
    /* Where cores cannot be told apart, the order of the CPUs will do. */
    if (config->pinning == MC_PIN_CORE)
        (void)topology_spread(&config->topology, config->workers);
    return 0;
}

static int set_memory(struct config *config, const struct mc_pool_options *options)
{
    uint32_t depth = options->queue_depth != 0 ? options->queue_depth : DEFAULT_QUEUE_DEPTH;
    if (depth < LEAST_QUEUE_DEPTH || depth > MAX_SLOTS || (depth & (depth - 1)) != 0)
        return error_set(-EINVAL, "queue_depth is %u: give a power of two from %d to %d", depth,
                         LEAST_QUEUE_DEPTH, MAX_SLOTS);
    config->max_payload = options->max_payload != 0 ? options->max_payload : DEFAULT_MAX_PAYLOAD;
    if (config->max_payload > MOST_MAX_PAYLOAD)
        return error_set(-EINVAL, "max_payload is %zu: at most %llu", options->max_payload,
                         (unsigned long long)MOST_MAX_PAYLOAD);
    uint64_t most = MOST_LANE_SIZE / (config->seats + 1);
    if (most > MOST_ARENA_SIZE)
        most = MOST_ARENA_SIZE;
    uint64_t arena = options->arena_size;
    if (arena == 0)
        arena = 4 * config->max_payload < most ? 4 * config->max_payload : most;
    if (arena < config->max_payload || arena > most)
        return error_set(-EINVAL,
                         "arena_size is %llu: with %u workers give max_payload (%llu) to %llu",
                         (unsigned long long)arena, config->seats,
                         (unsigned long long)config->max_payload, (unsigned long long)most);
    /* One payload of the largest size, its header, and the unit that is never used. */
    arena += UINT64_C(2) * PAGE_SIZE_BYTES;
    lane_geometry_set(&config->geometry, depth, arena, config->seats);
    return 0;
}

static int set_rest(struct config *config, const struct mc_pool_options *options)
{
    uint32_t known = MC_ALLOW_THREADS;
    if ((options->flags & ~known) != 0)
        return error_set(-EINVAL, "flags is 0x%x: unknown bits 0x%x", options->flags,
                         options->flags & ~known);
    if (options->max_clients > MAX_LANES)
        return error_set(-EINVAL, "max_clients is %u: at most %d", options->max_clients, MAX_LANES);
    if (options->refork_after > REFORK_AFTER_MOST)
        return error_set(-EINVAL, "refork_after is %u: at most %d; 0 means never",
                         options->refork_after, REFORK_AFTER_MOST);
    if (options->max_tasks_per_worker != 0 &&
        options->refork_after >= options->max_tasks_per_worker)
        return error_set(-EINVAL,
                         "refork_after is %u, but workers are replaced after %llu tasks: give less "
                         "than max_tasks_per_worker",
                         options->refork_after, (unsigned long long)options->max_tasks_per_worker);
    config->max_clients = options->max_clients != 0 ? options->max_clients : MAX_LANES;
    config->close_timeout_ms =
        options->close_timeout_ms != 0 ? options->close_timeout_ms : DEFAULT_CLOSE_TIMEOUT_MS;
    config->max_tasks_per_worker = options->max_tasks_per_worker;
    config->max_worker_age_s = options->max_worker_age_s;
    config->max_worker_memory = options->max_worker_memory;
    config->refork_after = options->refork_after;
    config->log = options->log;
    config->log_context = options->log_context;
    config->flags = options->flags;
    if (options->proc_path != NULL) {
        config->proc_path = strdup(options->proc_path);
        if (config->proc_path == NULL)
            return error_set(-ENOMEM, "no memory for the options");
    }
    int result =
        admission_parse(options->max_load_average, &config->policy, &config->policy_warning);
    config->policy.max_delay_ms = options->max_queue_delay_ms;
    return result;
}

/* A program built against another version has a longer or a shorter struct. */
static int read_options(const void *options, size_t size, void *known, size_t known_size)
{
    if (options == NULL || size < sizeof(size_t))
        return error_set(-EINVAL, "options.size is 0: set it to the size of the struct");
    if (size % sizeof(void *) != 0) /* half a pointer is none */
        return error_set(-EINVAL, "options.size is %zu, which no such struct has: use sizeof",
                         size);
    memcpy(known, options, size < known_size ? size : known_size);
    for (size_t i = known_size; i < size; i++)
        if (((const unsigned char *)options)[i] != 0)
            return error_set(-EINVAL,
                             "options.size is %zu: this library knows the first %zu "
                             "bytes, and the rest is not zero",
                             size, known_size);
    return 0;
}

int config_create(const struct mc_pool_options *options, const struct serve_options *serve,
                  struct config **config)
{
    struct mc_pool_options known = {0};
    int result = read_options(options, options == NULL ? 0 : options->size, &known, sizeof(known));
    if (result < 0)
        return result;
    struct config *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return error_set(-ENOMEM, "no memory for the options");
    made->slow_task_ms = known.slow_task_ms;
    result = serve != NULL ? set_modules(made, serve) : set_handlers(made, &known);
    if (result == 0)
        result = set_workers(made, &known);
    if (result == 0)
        result = set_memory(made, &known);
    if (result == 0)
        result = set_rest(made, &known);
    if (result < 0) {
        config_free(made);
        return result;
    }
    *config = made;
    return 0;
}

int config_create_local(const struct mc_attach_options *options, struct config **config)
{
    struct mc_attach_options known = {0};
    int result = options == NULL ? 0 : read_options(options, options->size, &known, sizeof(known));
    if (result == 0 && known.handler_count > MAX_HANDLERS)
        result = error_set(-EINVAL, "handler_count is %zu: at most %d", known.handler_count,
                           MAX_HANDLERS);
    if (result < 0)
        return result;
    struct config *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return error_set(-ENOMEM, "no memory for the options");
    struct mc_pool_options defaults = {.workers = 1, .pinning = MC_PIN_NONE};
    result = make_tables(made, MAX_HANDLERS, 1);
    if (result == 0)
        result = set_workers(made, &defaults);
    if (result == 0)
        result = set_memory(made, &defaults);
    if (result == 0) {
        made->module_count = 1;
        made->modules[0].worker_init = known.worker_init;
        made->modules[0].worker_exit = known.worker_exit;
        made->modules[0].hook_context = known.hook_context;
        made->max_clients = 1;
        result = config_add_handlers(made, 0, known.handlers, known.handler_count);
    }
    if (result < 0) {
        config_free(made);
        return result;
    }
    *config = made;
    return 0;
}

struct handler_entry config_handler_entry(const struct handler *handler)
{
    struct handler_entry entry = {.flags = handler->flags,
                                  .max_attempts = handler->max_attempts,
                                  .soft_limit_ms = handler->soft_limit_ms,
                                  .time_limit_ms = handler->time_limit_ms};
    memcpy(entry.name, handler->name, sizeof(entry.name));
    return entry;
}

/* The lane is laid out anew from a few numbers, which must give what the pool says. */
static int take_geometry(struct config *config, const struct control *control)
{
    struct lane_geometry theirs = control->geometry;
    if (control->seat_count == 0 || control->seat_count > MAX_SEATS ||
        control->io_seats >= control->seat_count || control->handler_capacity > MAX_HANDLERS ||
        theirs.slot_count < LEAST_QUEUE_DEPTH || theirs.slot_count > MAX_SLOTS ||
        (theirs.slot_count & (theirs.slot_count - 1)) != 0 ||
        theirs.arena_size > MOST_ARENA_SIZE + UINT64_C(2) * PAGE_SIZE_BYTES ||
        control->max_payload > theirs.arena_size)
        return -EPROTO;
    lane_geometry_set(&config->geometry, theirs.slot_count, theirs.arena_size, control->seat_count);
    config->seats = control->seat_count;
    config->io_workers = control->io_seats;
    config->workers = control->seat_count - control->io_seats;
    config->max_payload = control->max_payload;
    return lane_geometry_same(&config->geometry, &theirs) ? 0 : -EPROTO;
}

int config_create_attached(const struct control *control, const struct config *local,
                           struct config **config)
{
    struct config *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return error_set(-ENOMEM, "no memory for the options");
    int result = make_tables(made, MAX_HANDLERS, 1);
    if (result == 0 && (control->magic != LAYOUT_MAGIC_CONTROL ||
                        control->version != LAYOUT_VERSION || take_geometry(made, control) < 0))
        result = error_set(-EPROTO, "the pool's shared memory is not what this library makes");
    if (result < 0) {
        config_free(made);
        return result;
    }
    made->module_count = 1;
    made->modules[0] = local->modules[0];
    made->topology = local->topology;
    made->max_clients = control->lane_limit;
    config_learn_handlers(made, control, local, true);
    *config = made;
    return 0;
}

void config_learn_handlers(struct config *config, const struct control *control,
                           const struct config *local, bool again)
{
    uint32_t edition = atomic_load_explicit(&control->handlers_edition, memory_order_acquire);
    uint32_t count = atomic_load_explicit(&control->handler_count, memory_order_acquire);
    CHECK(config->handlers != NULL);
    if (edition == config->handlers_edition)
        return;
    uint32_t first = again ? 0 : config->handler_count;
    for (uint32_t i = first; i < count && i < config->handler_capacity; i++) {
        const struct handler_entry *entry = &control->handlers[i];
        struct handler *handler = &config->handlers[i];
        memcpy(handler->name, entry->name, sizeof(handler->name));
        handler->name[sizeof(handler->name) - 1] = '\0';
        uint32_t here = find(local, handler->name);
        bool linked = here < local->handler_count;
        handler->run = linked ? local->handlers[here].run : NULL;
        /* What is not here cannot run here. */
        handler->flags = entry->flags | (linked ? local->handlers[here].flags : MC_ISOLATED);
        handler->max_attempts = entry->max_attempts;
        handler->soft_limit_ms = entry->soft_limit_ms;
        handler->time_limit_ms = entry->time_limit_ms;
        if (i == config->handler_count)
            config->handler_count = i + 1;
    }
    if (again)
        config->handlers_edition = edition;
}

void config_free(struct config *config)
{
    if (config == NULL)
        return;
    free(config->handlers);
    free(config->modules);
    free(config->proc_path);
    startup_free(config->startup);
    free(config);
}

struct admission_policy config_policy_now(const struct control *control)
{
    uint32_t limit = atomic_load_explicit(&control->limit_milli, memory_order_relaxed);
    return (struct admission_policy){
        .enabled = limit != 0,
        .limit_milli = limit,
        .max_delay_ms = atomic_load_explicit(&control->max_delay_ms, memory_order_relaxed)};
}

struct admission config_admit(const struct config *config, const struct admission_policy *policy,
                              struct load_sample *sample, struct admission previous)
{
    /* Injected numbers are the whole truth: no cgroup of ours beside them. */
    bool injected = config->proc_path != NULL;
    sample->usable_cores = config->topology.usable;
    sample->quota = config->topology.quota_limits && !injected;
    int result =
        load_sample_read(config->proc_path, injected ? NULL : config->topology.pressure, sample);
    if (result == 0)
        return admission_decide(policy, sample, previous);
    return (struct admission){.cause = ADMISSION_UNREADABLE,
                              .taken_ms = (uint32_t)clock_coarse_ms()};
}

int config_handler(const struct config *config, const char *name)
{
    uint32_t number = find(config, name);
    if (number < config->handler_count)
        return (int)number;
    char names[256] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < config->handler_count; i++) {
        const char *next = config->handlers[i].name;
        if (used + strlen(next) + sizeof(", , ...") > sizeof(names)) {
            snprintf(names + used, sizeof(names) - used, ", ...");
            break;
        }
        used +=
            (size_t)snprintf(names + used, sizeof(names) - used, "%s%s", i > 0 ? ", " : "", next);
    }
    return error_set(-ENOENT, "no handler '%.64s'; the pool has: %s", name, names);
}
