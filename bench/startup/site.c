/* SPDX-License-Identifier: BSD-3-Clause */
#include "probes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum outcome site_open(struct site *site, unsigned modules, const char *kind, unsigned ms)
{
    snprintf(site->directory, sizeof(site->directory), "/tmp/multicore-bench-XXXXXX");
    if (mkdtemp(site->directory) == NULL)
        return failed("no directory in /tmp: %s", strerror(errno));
    snprintf(site->file, sizeof(site->file), "%s/conf", site->directory);
    snprintf(site->socket, sizeof(site->socket), "%s/socket", site->directory);
    FILE *file = fopen(site->file, "we");
    if (file == NULL)
        return failed("%s: %s", site->file, strerror(errno));
    fprintf(file, "socket = socket\nworkers = 1\n");
    for (unsigned i = 0; i < modules; i++)
        fprintf(file, "module \"%s/cost%u.so\" { %s = %u }\n", BENCH_MODULES, i, kind, ms);
    return fclose(file) == 0 ? MEASURED : failed("%s cannot be written", site->file);
}

void site_close(struct site *site)
{
    unlink(site->file);
    unlink(site->socket);
    rmdir(site->directory);
}
