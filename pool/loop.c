/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool/loop.h"

#include "base/error.h"

static int open_with(struct loop *loop, const struct loop_engine *engine)
{
    loop->engine = engine;
    return engine->open(&loop->state);
}

int loop_open(struct loop *loop, enum mc_io_engine engine)
{
    int result = -ENOSYS;
    if (engine != MC_IO_EPOLL)
        result = open_with(loop, &loop_uring);
    if (result < 0 && engine == MC_IO_URING)
        return error_system(result, "io_engine is MC_IO_URING, and io_uring cannot be used here");
    if (result < 0)
        result = open_with(loop, &loop_epoll);
    return result < 0 ? error_system(result, "an I/O worker cannot make its epoll") : 0;
}
