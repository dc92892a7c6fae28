/* SPDX-License-Identifier: BSD-3-Clause
 *
 * web - a web server whose slow requests are run in one of three ways.
 *
 *   main.c       what is opened, in which order
 *   options.c    the command line
 *   server.c     sockets, the loop, the end; listen.c, loop.c
 *   request.c    the life of a request; routes.c
 *   posts.c      the three routes of the study
 *   upload.c     the page: documents.c, stream.c, tally.c
 *   pages.c      pages of PDF documents, which drawing.c draws, a shared object
 *   mode.c       the ways of running: sync.c, async.c, pool.c
 *   handlers.c   what runs in the pool's workers
 *   database.c   connections and queries that do not wait
 */
#include "server.h"

#include <stdlib.h>

static int serve(const struct options *options, struct failure *failure)
{
    struct loop loop;
    struct mode mode = {0};
    struct server server = {0};
    int status = loop_init(&loop, failure);
    if (status < 0)
        return status;
    status = mode_open(&mode, options, &loop, failure);
    if (status == 0) {
        status = server_init(&server, options, &mode, &loop, failure);
        if (status == 0)
            status = server_run(&server, failure);
        server_fini(&server);
        mode.hurry = server.hurry;
    }
    mode_close(&mode);
    loop_fini(&loop);
    return status;
}

int main(int argc, char **argv)
{
    struct options options;
    struct failure failure = {0};
    int status;
    if (!options_read(argc, argv, &options, &status))
        return status;
    status = serve(&options, &failure);
    if (status == 0)
        return EXIT_SUCCESS;
    complain("%s", failure.text);
    return failure.usage ? EXIT_USAGE : EXIT_FAILURE;
}
