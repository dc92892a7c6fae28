/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/system/server.h"

#include "base/clock.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void tell(void *context, enum serve_event event, const char *text)
{
    struct server *server = context;
    if (text[0] != '\0')
        snprintf(server->told->text, sizeof(server->told->text), "%s", text);
    if (atomic_fetch_add(&server->told->events[event], 1) == 0 && server->again[event])
        kill(getpid(), SIGHUP);
}

static const struct serve_options *reload(void *context)
{
    struct server *server = context;
    bool same = server->fresh == NULL ||
                atomic_load(&server->told->events[SERVE_RELOADING]) < server->fresh_from;
    return same ? &server->options : server->fresh;
}

void server_prepare(struct server *server)
{
    memset(server, 0, sizeof(*server));
    snprintf(server->directory, sizeof(server->directory), "/tmp/multicore-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(server->directory));
    snprintf(server->path, sizeof(server->path), "%s/socket", server->directory);
    server->told = mmap(NULL, sizeof(*server->told), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(server->told, MAP_FAILED);
    server->module = (struct module_spec){.path = TEST_MODULE_1, .settings = server->settings};
    server->options = (struct serve_options){
        .pool = {.size = sizeof(struct mc_pool_options), .workers = 2},
        .modules = &server->module,
        .module_count = 1,
        .tell = tell,
        .reload = reload,
        .context = server,
    };
}

static int listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    unlink(path);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(listener, 128) < 0)
        _exit(9);
    return listener;
}

void server_start(struct server *server)
{
    memset((void *)server->told, 0, sizeof(*server->told));
    server->pid = fork();
    ck_assert_int_ge(server->pid, 0);
    if (server->pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        server->options.listener = listen_at(server->path);
        int result = serve_run(&server->options);
        tell(server, SERVE_ENDED, mc_error_message());
        _exit(result < 0 ? 2 : 0);
    }
    uint64_t began = clock_ns();
    while (atomic_load(&server->told->events[SERVE_READY]) == 0 &&
           atomic_load(&server->told->events[SERVE_ENDED]) == 0 && ms_since(began) < BOUND_MS)
        pause_us(500);
}

bool server_await(struct server *server, enum serve_event event, uint32_t least)
{
    uint64_t began = clock_ns();
    while (atomic_load(&server->told->events[event]) < least && ms_since(began) < BOUND_MS)
        pause_us(500);
    return atomic_load(&server->told->events[event]) >= least;
}

int server_stop(struct server *server)
{
    kill(server->pid, SIGTERM);
    return await_exit(server->pid);
}

void server_end(struct server *server)
{
    int status = server_stop(server);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", status);
    server_remove(server);
}

void server_kill(struct server *server)
{
    kill(server->pid, SIGKILL);
    (void)await_exit(server->pid);
}

pid_t server_zygote(const struct server *server, pid_t but)
{
    pid_t found;
    uint64_t began = clock_ns();
    while ((found = child_named(server->pid, "mc-zygote", but)) == 0 && ms_since(began) < BOUND_MS)
        pause_us(500);
    ck_assert_int_ne(found, 0);
    return found;
}

void server_remove(struct server *server)
{
    unlink(server->path);
    rmdir(server->directory);
}

mc_pool *attach(const struct server *server, const struct mc_handler *handlers, size_t count)
{
    struct mc_attach_options options = {
        .size = sizeof(options), .handlers = handlers, .handler_count = count};
    mc_pool *pool = NULL;
    int result = mc_pool_attach(server->path, &options, &pool);
    ck_assert_msg(result == 0, "%d %s", result, mc_error_message());
    ck_assert(mc_pool_connected(pool));
    return pool;
}

int version_of(mc_pool *pool)
{
    mc_group *group = open_unhelped(pool);
    run(group, "version", NULL, 0);
    wait_all(group);
    struct mc_result result = result_of(group, 0);
    ck_assert_msg(result.status == 0, "%d %s", result.status, result.error);
    int answer;
    memcpy(&answer, result.data, sizeof(answer));
    mc_group_close(group);
    return answer;
}

void await_version(mc_pool *pool, int version)
{
    uint64_t began = clock_ns();
    while (version_of(pool) != version && ms_since(began) < BOUND_MS)
        pause_us(10000);
    ck_assert_int_eq(version_of(pool), version);
}

void expect_echo(mc_pool *pool, size_t size)
{
    char *bytes = malloc(size);
    ck_assert_ptr_nonnull(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(i * 7);
    mc_group *group = open_unhelped(pool);
    run(group, "echo", bytes, size);
    wait_all(group);
    struct mc_result result = result_of(group, 0);
    ck_assert_msg(result.status == 0, "%d %s", result.status, result.error);
    ck_assert_uint_eq(result.data_size, size);
    if (size > 0)
        ck_assert_mem_eq(result.data, bytes, size);
    mc_group_close(group);
    free(bytes);
}
