/* SPDX-License-Identifier: BSD-3-Clause
 *
 * multicore warmup: how long a configuration takes from nothing to the first answer of
 * each module, held against a budget. The pool is one of its own, at a socket of its own.
 */
#include "base/clock.h"
#include "base/error.h"
#include "multicore.h"
#include "pool/serve.h"
#include "tools/command.h"
#include "tools/configuration.h"
#include "tools/journal.h"
#include "tools/profile.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORST = 3, ATTACH_MS = 60000, DAY_MS = 24 * 60 * 60 * 1000 };

/* What the server tells, in memory of both. */
struct told {
    struct startup startup;
    char why[256]; /* it ended */
};

struct warmup {
    uint64_t budget_ms, cpu_budget_ms; /* 0: none */
    bool serial_load, json;
    const char *trace;

    char directory[96], socket[104];
    pid_t server;
    int ready; /* a pipe: a byte when it is, the end when it never will be */
    struct told *told;
    double ready_ms, answered_ms, cpu_ms;
    double task_ms[MODULES_MOST];
};

/* ---- The server ---- */

struct teller {
    struct told *told;
    int ready;
};

static void on_log(void *context, int level, const char *line)
{
    (void)context;
    if (level <= MC_LOG_WARNING)
        journal_line(level, "%s", line);
}

static void on_started(void *context, const struct startup *startup)
{
    const struct teller *teller = context;
    memcpy((void *)&teller->told->startup, startup, sizeof(*startup));
}

static void on_event(void *context, enum serve_event event, const char *text)
{
    const struct teller *teller = context;
    if (event == SERVE_READY)
        (void)!write(teller->ready, "", 1);
    if (event == SERVE_ENDED)
        snprintf(teller->told->why, sizeof(teller->told->why), "%s", text);
}

static int listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (listener >= 0 && (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
                          listen(listener, 16) < 0)) {
        close(listener);
        listener = -1;
    }
    return listener;
}

_Noreturn static void be_server(const struct warmup *warmup, struct configuration *configuration,
                                int ready)
{
    struct teller teller = {.told = warmup->told, .ready = ready};
    struct serve_options *serve = &configuration->settings.serve;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)madvise((void *)warmup->told, sizeof(*warmup->told), MADV_DONTFORK); /* for modules */
    serve->pool.log = on_log;
    serve->listener = listen_at(warmup->socket);
    serve->tell = on_event;
    serve->started = on_started;
    serve->context = &teller;
    if (warmup->serial_load)
        serve->serial_load = 1;
    if (serve->listener < 0)
        snprintf(teller.told->why, sizeof(teller.told->why), "no socket at %s: %s", warmup->socket,
                 strerror(errno));
    else if (serve_run(serve) < 0)
        snprintf(teller.told->why, sizeof(teller.told->why), "%s", error_message());
    _exit(1);
}

/* Until it is gone; its status as for waitpid(). */
static int await_server(struct warmup *warmup)
{
    int status = 0;
    while (waitpid(warmup->server, &status, 0) < 0 && errno == EINTR) {
    }
    close(warmup->ready);
    warmup->server = 0;
    return status;
}

static int did_not_start(struct warmup *warmup)
{
    int status = await_server(warmup);
    if (warmup->told->why[0] == '\0' && WIFSIGNALED(status))
        return error_set(-ESRCH, "the pool did not start: it was killed by signal %d (%s)",
                         WTERMSIG(status), strsignal(WTERMSIG(status)));
    return error_set(-ESRCH, "the pool did not start: %s", warmup->told->why);
}

static int start(struct warmup *warmup, struct configuration *configuration)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_system(-errno, "no pipe to the server");
    fflush(NULL);
    warmup->server = fork();
    if (warmup->server == 0)
        be_server(warmup, configuration, ends[1]);
    close(ends[1]);
    warmup->ready = ends[0];
    if (warmup->server < 0)
        return error_system(-errno, "no process for the server");
    char byte;
    ssize_t got;
    while ((got = read(warmup->ready, &byte, 1)) < 0 && errno == EINTR) {
    }
    return got == 1 ? 0 : did_not_start(warmup);
}

/* What it has used is known when it is gone, with that of all whom it has waited for. */
static void stop(struct warmup *warmup)
{
    struct rusage usage = {0};
    if (warmup->server > 0) {
        (void)kill(warmup->server, SIGTERM);
        (void)await_server(warmup);
    }
    (void)getrusage(RUSAGE_CHILDREN, &usage);
    warmup->cpu_ms = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
                     (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3;
}

/* ---- The tasks ---- */

static int try_handler(mc_pool *pool, const char *handler, int timeout_ms)
{
    const struct mc_group_options options = {.size = sizeof(options), .help = MC_HELP_NEVER};
    struct mc_result result = {.size = sizeof(result)};
    mc_group *group;
    int status = mc_group_open(pool, &options, &group);
    if (status < 0)
        return status;
    status = mc_group_run(group, handler, NULL, 0);
    if (status == 0)
        status = mc_group_wait(group, timeout_ms);
    if (status == -ETIMEDOUT)
        status = error_set(status, "its warm-up task '%s' did not end within %d ms (load-timeout)",
                           handler, timeout_ms);
    if (status == 0)
        status = mc_group_result(group, 0, &result);
    if (status == 0 && result.status != 0)
        status = error_set(-EIO, "its warm-up task '%s' failed with %d (%s)", handler,
                           result.status, result.error);
    mc_group_close(group);
    return status;
}

static int try_modules(struct warmup *warmup, mc_pool *pool, int timeout_ms)
{
    const struct startup *startup = &warmup->told->startup;
    for (uint32_t i = 0; i < startup->module_count; i++) {
        const struct startup_module *module = &startup->modules[startup->order[i]];
        if (module->warmup[0] == '\0')
            continue;
        uint64_t began = clock_ns();
        int result = try_handler(pool, module->warmup, timeout_ms);
        if (result < 0) {
            char why[256];
            snprintf(why, sizeof(why), "%s", error_message());
            return error_set(result, "module '%s': %s", module->name, why);
        }
        warmup->task_ms[startup->order[i]] = (double)(clock_ns() - began) / 1e6;
    }
    return 0;
}

static int warm_up(struct warmup *warmup, struct configuration *configuration)
{
    const struct mc_attach_options options = {.size = sizeof(options), .timeout_ms = ATTACH_MS};
    mc_pool *pool;
    uint64_t began = clock_ns();
    int result = start(warmup, configuration);
    if (result < 0)
        return result;
    warmup->ready_ms = (double)(clock_ns() - began) / 1e6;
    result = mc_pool_attach(warmup->socket, &options, &pool);
    if (result < 0)
        return result;
    result = try_modules(warmup, pool, (int)configuration->settings.serve.load_timeout_ms);
    warmup->answered_ms = (double)(clock_ns() - began) / 1e6;
    mc_pool_close(pool);
    return result;
}

/* ---- The report ---- */

static double cost_of(const struct warmup *warmup, uint32_t module, bool cpu)
{
    const struct startup *startup = &warmup->told->startup;
    return cpu ? profile_cpu_ms(startup, module)
               : profile_own_ms(startup, module) + warmup->task_ms[module];
}

/* Returns how many there are. */
static int find_worst(const struct warmup *warmup, bool cpu, uint32_t worst[WORST])
{
    int count = 0;
    uint64_t taken = 0;
    uint32_t modules = warmup->told->startup.module_count;
    while (count < WORST && (uint32_t)count < modules) {
        uint32_t best = modules;
        for (uint32_t i = 0; i < modules; i++)
            if ((taken >> i & 1) == 0 &&
                (best == modules || cost_of(warmup, i, cpu) > cost_of(warmup, best, cpu)))
                best = i;
        taken |= UINT64_C(1) << best;
        worst[count++] = best;
    }
    return count;
}

static bool is_over(const struct warmup *warmup, bool cpu)
{
    uint64_t budget = cpu ? warmup->cpu_budget_ms : warmup->budget_ms;
    return budget != 0 && (cpu ? warmup->cpu_ms : warmup->answered_ms) > (double)budget;
}

static void print_over(const struct warmup *warmup, bool cpu)
{
    uint32_t worst[WORST];
    int count = find_worst(warmup, cpu, worst);
    fprintf(stderr, "multicore: %.1f ms%s are more than the budget of %.0f ms; the most of it:\n",
            cpu ? warmup->cpu_ms : warmup->answered_ms, cpu ? " of CPU time" : "",
            (double)(cpu ? warmup->cpu_budget_ms : warmup->budget_ms));
    for (int i = 0; i < count; i++)
        fprintf(stderr, "  %9.3f ms  module '%s'\n", cost_of(warmup, worst[i], cpu),
                warmup->told->startup.modules[worst[i]].name);
}

static void print_json(const struct warmup *warmup)
{
    json_t *tasks = json_object();
    for (uint32_t i = 0; i < warmup->told->startup.module_count; i++)
        if (warmup->told->startup.modules[i].warmup[0] != '\0')
            (void)json_object_set_new(tasks, warmup->told->startup.modules[i].name,
                                      json_real(warmup->task_ms[i]));
    json_t *object = json_pack("{s:f, s:f, s:f, s:b, s:o, s:o}", "ready_ms", warmup->ready_ms,
                               "answered_ms", warmup->answered_ms, "cpu_ms", warmup->cpu_ms, "over",
                               is_over(warmup, false) || is_over(warmup, true), "tasks_ms", tasks,
                               "startup", profile_json(&warmup->told->startup));
    json_dumpf(object, stdout, JSON_INDENT(2));
    json_decref(object);
    putchar('\n');
}

static int report(const struct warmup *warmup)
{
    if (warmup->json) {
        print_json(warmup);
    } else {
        profile_print(&warmup->told->startup, stdout);
        printf("ready after %.1f ms, every module had answered after %.1f ms; %.1f ms of CPU "
               "time, with the end\n",
               warmup->ready_ms, warmup->answered_ms, warmup->cpu_ms);
    }
    int status = fflush(stdout) == 0 ? STATUS_OK : STATUS_FAILED;
    for (int cpu = 0; cpu <= 1; cpu++)
        if (is_over(warmup, cpu != 0)) {
            print_over(warmup, cpu != 0);
            status = STATUS_FAILED;
        }
    if (warmup->trace != NULL && profile_write_trace(&warmup->told->startup, warmup->trace) < 0)
        return command_failed(error_code());
    return status;
}

/* ---- The place ---- */

static const struct warmup *placed; /* for on_signal() */

static void remove_place(const struct warmup *warmup)
{
    unlink(warmup->socket);
    rmdir(warmup->directory);
}

/* The server ends with this process. */
static void on_signal(int number)
{
    remove_place(placed);
    (void)raise(number);
}

static void watch_signals(const struct warmup *warmup)
{
    static const int numbers[] = {SIGHUP, SIGINT, SIGTERM};
    const struct sigaction ours = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    struct sigaction before;
    placed = warmup;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            (void)sigaction(numbers[i], &ours, NULL);
}

/* A directory of its own for the socket. */
static int make_place(struct warmup *warmup)
{
    const char *set = getenv("TMPDIR");
    const char *above = set != NULL && set[0] != '\0' ? set : "/tmp";
    int size =
        snprintf(warmup->directory, sizeof(warmup->directory), "%s/multicore-warmup-XXXXXX", above);
    if ((size_t)size >= sizeof(warmup->directory))
        return error_set(-ENAMETOOLONG,
                         "TMPDIR is '%s': it is %zu bytes too long for a socket in a directory "
                         "there; set it to another one",
                         above, (size_t)size + 1 - sizeof(warmup->directory));
    if (mkdtemp(warmup->directory) == NULL)
        return error_system(-errno, "no place for a socket in %s", above);
    snprintf(warmup->socket, sizeof(warmup->socket), "%s/socket", warmup->directory);
    watch_signals(warmup);
    return 0;
}

/* ---- The command ---- */

static int run(struct warmup *warmup, struct configuration *configuration)
{
    warmup->told = mmap(NULL, sizeof(*warmup->told), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (warmup->told == MAP_FAILED)
        return command_failed(error_system(-errno, "no memory to share with the server"));
    int result = make_place(warmup);
    if (result == 0) {
        journal_open();
        result = warm_up(warmup, configuration);
        stop(warmup);
        remove_place(warmup);
    }
    if (result < 0) {
        fprintf(stderr, "multicore: %s\n", error_message());
        return STATUS_FAILED;
    }
    return report(warmup);
}

/* None at all is written by leaving it out. */
static bool read_budget(const struct command *command, const char *option, uint64_t *ms)
{
    if (!command_duration(command, option, optarg, DAY_MS, ms))
        return false;
    if (*ms == 0)
        usage_error(command, "%s is '%s': it wants 1ms or more", option, optarg);
    return *ms != 0;
}

static bool read_option(const struct command *command, struct warmup *warmup, int option)
{
    switch (option) {
    case 'b':
        return read_budget(command, "--budget", &warmup->budget_ms);
    case 'c':
        return read_budget(command, "--cpu-budget", &warmup->cpu_budget_ms);
    case 'l':
        warmup->serial_load = true;
        return true;
    case 'j':
        warmup->json = true;
        return true;
    case 't':
        warmup->trace = optarg;
        return true;
    default:
        return false;
    }
}

int warmup_command(const struct command *command, int argc, char **argv)
{
    static const struct option options[] = {{"budget", required_argument, NULL, 'b'},
                                            {"cpu-budget", required_argument, NULL, 'c'},
                                            {"serial-load", no_argument, NULL, 'l'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"trace", required_argument, NULL, 't'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct warmup warmup = {0};
    int option;
    while ((option = command_option(command, argc, argv, options)) != -1) {
        if (option == 'h')
            return command_help(command);
        if (!read_option(command, &warmup, option))
            return STATUS_USAGE;
    }
    const char *file = command_argument(command, argc, argv);
    if (file == NULL)
        return STATUS_USAGE;
    struct configuration configuration;
    configuration_read(&configuration, file);
    configuration_print_problems(&configuration, stderr);
    int status =
        configuration.problems.errors > 0 ? STATUS_CONFIGURATION : run(&warmup, &configuration);
    configuration_free(&configuration);
    return status;
}
