/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A module whose handlers do what operators meet: they answer, fail, hang and crash.
 */
#include "multicore.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int echo(mc_task *task)
{
    size_t size;
    const void *args = mc_task_args(task, &size);
    return mc_task_reply(task, args, size);
}

/* {"a": [true, {}]}, in the format of the arguments. */
static int nested(mc_task *task)
{
    mc_writer *writer;
    int result = mc_task_writer(task, &writer);
    if (result < 0)
        return result;
    (void)mc_write_map(writer, 1);
    (void)mc_write_string(writer, "a");
    (void)mc_write_array(writer, 2);
    (void)mc_write_bool(writer, true);
    return mc_write_map(writer, 0);
}

static int fail(mc_task *task)
{
    return mc_task_fail(task, -EIO, "the disk is full of holes");
}

static int range(mc_task *task)
{
    char text[64];
    int length =
        snprintf(text, sizeof(text), "%" PRIu64 " items", mc_task_end(task) - mc_task_start(task));
    return mc_task_reply(task, text, (size_t)length);
}

/* Whether it is a map, and how many elements it has, in the same format. */
static int describe(mc_task *task)
{
    mc_value value;
    mc_writer *writer;
    int result = mc_task_value(task, &value);
    if (result < 0 || (result = mc_task_writer(task, &writer)) < 0)
        return result;
    (void)mc_write_map(writer, 2);
    (void)mc_write_string(writer, "map");
    (void)mc_write_bool(writer, mc_value_type(value) == MC_MAP);
    (void)mc_write_string(writer, "count");
    return mc_write_uint(writer, mc_value_count(value));
}

static int crash(mc_task *task)
{
    (void)task;
    return raise(SIGKILL);
}

/* Where the stack is to show it; not static, lest it be inlined. */
int turn_in_circles(mc_task *task);
__attribute__((noinline)) int turn_in_circles(mc_task *task)
{
    while (!mc_task_cancelled(task))
        for (volatile int i = 0; i < 1000; i++) {
        }
    return 0;
}

static int hang(mc_task *task)
{
    return turn_in_circles(task) + 1;
}

/* Hears no signal but SIGKILL. */
static int deaf(mc_task *task)
{
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    while (!mc_task_cancelled(task))
        usleep(10000);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return 0;
}

/* How many of these the process, and what it is a fork of, has done before. */
static int before(mc_task *task)
{
    static int done;
    char text[16];
    int length = snprintf(text, sizeof(text), "%d", done++);
    return mc_task_reply(task, text, (size_t)length);
}

static const struct mc_handler handlers[] = {
    {.name = "echo", .run = echo},         {.name = "nested", .run = nested},
    {.name = "fail", .run = fail},         {.name = "range", .run = range},
    {.name = "describe", .run = describe}, {.name = "crash", .run = crash},
    {.name = "hang", .run = hang},         {.name = "deaf", .run = deaf},
    {.name = "before", .run = before},     {.name = "na\xefve", .run = crash},
};

MC_MODULE = {
    MC_MODULE_HEAD("work"),
    .handlers = handlers,
    .handler_count = sizeof(handlers) / sizeof(handlers[0]),
};
