/* SPDX-License-Identifier: BSD-3-Clause
 *
 * nginx_pool SOCKET MODULE WORKERS - serves a pool with one module at a socket for
 * everybody, and writes a line for each event of its life.
 */
#include "base/error.h"
#include "pool/serve.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static void tell(void *context, enum serve_event event, const char *text)
{
    static const char *const names[] = {"ready",    "reloading", "reloaded", "kept",
                                        "stopping", "ended",     "alive"};
    (void)context;
    printf("%s%s%s\n", names[event], text[0] != '\0' ? ": " : "", text);
    fflush(stdout);
}

static void tell_log(void *context, int level, const char *line)
{
    (void)context;
    (void)level;
    printf("log: %s\n", line);
    fflush(stdout);
}

static const struct serve_options *reload(void *context)
{
    return context;
}

static int listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    (void)unlink(path);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        chmod(path, 0666) < 0 || listen(listener, 128) < 0)
        return -1;
    return listener;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    struct module_spec module = {.path = argv[2]};
    struct serve_options options = {
        .pool = {.size = sizeof(struct mc_pool_options),
                 .workers = (unsigned)atoi(argv[3]),
                 .max_payload = 4 << 20,
                 .log = tell_log},
        .modules = &module,
        .module_count = 1,
        .listener = listen_at(argv[1]),
        .tell = tell,
        .reload = reload,
    };
    options.context = &options;
    if (options.listener < 0)
        return perror(argv[1]), 2;
    (void)serve_run(&options);
    fprintf(stderr, "%s\n", error_message());
    return 2;
}
