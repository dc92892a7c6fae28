/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A module for `multicore serve`: handlers that answer nginx.
 *
 *   hello  greets ?name, with a header of its own
 *   sum    adds up the numbers from 0 to ?n
 *   echo   the body, as it came
 *   slow   takes ?ms milliseconds
 *   crash  ends its worker
 *
 * All but crash are idempotent: when their worker is killed, another runs them again.
 */
#include <errno.h>
#include <multicore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What nginx passed under that key. */
static int member(mc_task *task, const char *key, mc_value *value)
{
    mc_value request;
    int result = mc_task_value(task, &request);
    return result < 0 ? result : mc_value_get(request, key, value);
}

/* The argument `name` of the query string, as it was sent; false if there is none. */
static bool argument(mc_task *task, const char *name, char *text, size_t capacity)
{
    mc_value value;
    const char *args;
    size_t size, length = strlen(name);
    if (member(task, "args", &value) < 0 || mc_value_string(value, &args, &size) < 0)
        return false;
    for (size_t start = 0; start < size;) {
        const char *end = memchr(args + start, '&', size - start);
        size_t until = end != NULL ? (size_t)(end - args) : size;
        if (until - start > length && memcmp(args + start, name, length) == 0 &&
            args[start + length] == '=') {
            snprintf(text, capacity, "%.*s", (int)(until - start - length - 1),
                     args + start + length + 1);
            return true;
        }
        start = until + 1;
    }
    return false;
}

static int number(mc_task *task, const char *name, unsigned long most, unsigned long *value)
{
    char text[32], *end;
    if (!argument(task, name, text, sizeof(text)))
        return mc_task_fail(task, -EINVAL, "there is no argument '%s'", name);
    errno = 0;
    *value = strtoul(text, &end, 10);
    if (errno != 0 || text[0] < '0' || text[0] > '9' || *end != '\0' || *value > most)
        return mc_task_fail(task, -EINVAL, "'%s' is not a number up to %lu", name, most);
    return 0;
}

static int hello(mc_task *task)
{
    char name[64] = "world", body[128];
    mc_writer *writer;
    (void)argument(task, "name", name, sizeof(name));
    snprintf(body, sizeof(body), "hello, %s\n", name);
    int result = mc_task_writer(task, &writer);
    if (result < 0)
        return result;
    mc_write_map(writer, 3);
    mc_write_string(writer, "status");
    mc_write_int(writer, 200);
    mc_write_string(writer, "headers");
    mc_write_map(writer, 2);
    mc_write_string(writer, "Content-Type");
    mc_write_string(writer, "text/plain; charset=utf-8");
    mc_write_string(writer, "X-Answered-By");
    mc_write_string(writer, "hello");
    mc_write_string(writer, "body");
    return mc_write_string(writer, body);
}

/* A request that is wrong gets an answer that says so; the handler has not failed. */
static int bad_request(mc_task *task)
{
    mc_writer *writer;
    int result = mc_task_writer(task, &writer);
    if (result < 0)
        return result;
    mc_write_map(writer, 2);
    mc_write_string(writer, "status");
    mc_write_int(writer, 400);
    mc_write_string(writer, "body");
    return mc_write_string(writer, "say ?n=, up to 10000000\n");
}

static int sum(mc_task *task)
{
    unsigned long n = 0;
    if (number(task, "n", 10000000, &n) < 0)
        return bad_request(task);
    unsigned long long total = 0;
    for (unsigned long i = 0; i <= n; i++)
        total += i;
    char body[32];
    int length = snprintf(body, sizeof(body), "%llu\n", total);
    return mc_task_reply(task, body, (size_t)length);
}

static int echo(mc_task *task)
{
    mc_value value;
    const void *body = NULL;
    size_t size = 0;
    int result = member(task, "body", &value);
    if (result == 0)
        result = mc_value_bytes(value, &body, &size);
    return result < 0 ? result : mc_task_reply(task, body, size);
}

static int slow(mc_task *task)
{
    unsigned long ms = 0;
    int result = number(task, "ms", 60000, &ms);
    if (result < 0)
        return result;
    for (unsigned long i = 0; i < ms && !mc_task_cancelled(task); i++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    return mc_task_reply(task, "done\n", 5);
}

static int crash(mc_task *task)
{
    (void)task;
    raise(SIGKILL);
    return 0;
}

static const struct mc_handler handlers[] = {
    {.name = "hello", .run = hello, .flags = MC_IDEMPOTENT},
    {.name = "sum", .run = sum, .flags = MC_IDEMPOTENT},
    {.name = "echo", .run = echo, .flags = MC_IDEMPOTENT},
    {.name = "slow", .run = slow, .flags = MC_IDEMPOTENT},
    {.name = "crash", .run = crash, .flags = MC_ISOLATED},
};

MC_MODULE = {
    MC_MODULE_HEAD("web"),
    .handlers = handlers,
    .handler_count = sizeof(handlers) / sizeof(handlers[0]),
};
