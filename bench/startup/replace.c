/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The next worker after one that was killed, where the modules took a second to load.
 */
#include "multicore.h"
#include "probes.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATIENCE_MS = 20000 };

enum outcome fork_floor(const struct probe *probe, unsigned samples)
{
    for (unsigned i = 0; i < samples; i++) {
        int ends[2];
        char byte;
        if (pipe2(ends, O_CLOEXEC) < 0)
            return failed("no pipe");
        uint64_t began = now_ns();
        pid_t pid = fork();
        if (pid == 0)
            _exit(write(ends[1], "", 1) == 1 ? 0 : 1);
        bool fine = pid > 0 && read(ends[0], &byte, 1) == 1 && waitpid(pid, NULL, 0) == pid;
        uint64_t ended = now_ns();
        close(ends[0]);
        close(ends[1]);
        if (!fine)
            return failed("no process");
        figure_add(probe->figure, (double)(ended - began) / 1e6);
    }
    return MEASURED;
}

static pid_t serve(const struct site *site)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
    execl(BENCH_COMMAND, "multicore", "serve", site->file, (char *)NULL);
    _exit(127);
}

/* The pid of the worker that answers, 0: nobody does. */
static pid_t ask(mc_pool *pool)
{
    const struct mc_group_options options = {.size = sizeof(options), .help = MC_HELP_NEVER};
    struct mc_result result = {.size = sizeof(result)};
    mc_group *group;
    pid_t pid = 0;
    if (mc_group_open(pool, &options, &group) < 0)
        return 0;
    if (mc_group_run(group, "cost0", NULL, 0) == 0 && mc_group_wait(group, PATIENCE_MS) == 0 &&
        mc_group_result(group, 0, &result) == 0 && result.status == 0)
        pid = result.worker_pid;
    mc_group_close(group);
    return pid;
}

static enum outcome replace(const struct probe *probe, mc_pool *pool, unsigned samples)
{
    uint64_t limit = now_ns() + (uint64_t)PATIENCE_MS * 1000000;
    pid_t worker;
    while ((worker = ask(pool)) == 0) {
        if (now_ns() > limit)
            return failed("the pool does not answer: %s", mc_error_message());
        pause_ns(1000000);
    }
    for (unsigned i = 0; i < samples; i++) {
        pause_ns(250000000); /* deaths in quick succession are something else */
        uint64_t began = now_ns();
        (void)kill(worker, SIGKILL);
        pid_t next = ask(pool);
        uint64_t ended = now_ns();
        if (next == 0 || next == worker)
            return failed("no worker followed: %s", mc_error_message());
        figure_add(probe->figure, (double)(ended - began) / 1e6);
        worker = next;
    }
    return MEASURED;
}

enum outcome replace_worker(const struct probe *probe, unsigned samples)
{
    struct site site = {.directory = ""};
    mc_pool *pool = NULL;
    enum outcome outcome = site_open(&site, 1, "sleep", REPLACE_LOAD_MS);
    pid_t server = outcome == MEASURED ? serve(&site) : 0;
    if (server > 0 && mc_pool_attach(site.socket, NULL, &pool) == 0)
        outcome = replace(probe, pool, samples);
    else if (outcome == MEASURED)
        outcome = failed("no pool: %s", mc_error_message());
    mc_pool_close(pool);
    if (server > 0) {
        (void)kill(server, SIGTERM);
        (void)waitpid(server, NULL, 0);
    }
    site_close(&site);
    return outcome;
}
