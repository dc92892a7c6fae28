/* SPDX-License-Identifier: BSD-3-Clause
 *
 * bench_peer_libuv SAMPLES CPU CPU: from uv_queue_work() to its callback, the
 * loop on one CPU and the two threads of the pool on the other.
 */
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

enum { WARM_UP = 50 };

static void pin(const char *cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(strtoul(cpu, NULL, 10), &set);
    (void)sched_setaffinity(0, sizeof(set), &set);
}

static void null_work(uv_work_t *request)
{
    (void)request;
}

static void null_after(uv_work_t *request, int status)
{
    (void)request;
    (void)status;
}

static int trip(uv_loop_t *loop)
{
    uv_work_t request;
    if (uv_queue_work(loop, &request, null_work, null_after) != 0)
        return -1;
    return uv_run(loop, UV_RUN_DEFAULT);
}

int main(int argc, char **argv)
{
    uv_loop_t loop;
    if (argc != 4 || setenv("UV_THREADPOOL_SIZE", "2", 1) != 0 || uv_loop_init(&loop) != 0)
        return 2;
    pin(argv[3]); /* the threads, which start with the first request, stay there */
    if (trip(&loop) != 0)
        return 1;
    pin(argv[2]);
    int samples = atoi(argv[1]);
    for (int i = -WARM_UP; i < samples; i++) {
        uint64_t began = uv_hrtime();
        if (trip(&loop) != 0)
            return 1;
        uint64_t ended = uv_hrtime();
        if (i >= 0)
            printf("libuv_queue_work %llu\n", (unsigned long long)(ended - began));
    }
    return uv_loop_close(&loop) == 0 ? 0 : 1;
}
