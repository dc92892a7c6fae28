/* SPDX-License-Identifier: BSD-3-Clause
 *
 * 03-values: structured arguments and results. The handler reads an array and
 * writes a map; whether they are JSON or MessagePack is up to its caller.
 */
#include "check.h"

#include <errno.h>
#include <string.h>

/* [numbers] -> {"mean": number} */
static int mean(mc_task *task)
{
    mc_value samples, sample;
    mc_writer *writer;
    double number, sum = 0;
    int status = mc_task_value(task, &samples);
    if (status == 0)
        status = mc_task_writer(task, &writer);
    if (status < 0)
        return status; /* with its message */
    size_t count = mc_value_count(samples);
    for (size_t i = 0; i < count; i++) {
        if (mc_value_at(samples, i, &sample) < 0 || mc_value_double(sample, &number) < 0)
            return mc_task_fail(task, -EINVAL, "sample %zu is not a number", i);
        sum += number;
    }
    mc_write_map(writer, 1); /* a writer keeps its first error: check the last call */
    mc_write_string(writer, "mean");
    return mc_write_double(writer, count > 0 ? sum / (double)count : 0);
}

static void submit(mc_group *group, enum mc_format format)
{
    mc_writer *writer;
    check(mc_group_writer(group, format, &writer));
    mc_write_array(writer, 2);
    mc_write_double(writer, 1.5);
    mc_write_int(writer, 3);
    check(mc_group_run_value(group, "mean", writer));
}

static void print(mc_group *group, size_t index)
{
    struct mc_result result = {.size = sizeof(result)};
    mc_value value, member;
    double number;
    check(mc_group_result(group, index, &result));
    if (result.status != 0) {
        printf("%zu: %s\n", index, result.status == -EBADMSG ? "malformed" : result.error);
        return;
    }
    check(mc_group_value(group, index, &value));
    check(mc_value_get(value, "mean", &member));
    check(mc_value_double(member, &number));
    printf("%zu: %g as %s\n", index, number, result.format == MC_JSON ? "JSON" : "MessagePack");
}

int main(void)
{
    static const char *const texts[] = {"[2, 4.5]", "[1, \"two\"]", "[1, "};
    const struct mc_handler handlers[] = {{.name = "mean", .run = mean}};
    const struct mc_pool_options options = {
        .size = sizeof(options), .handlers = handlers, .handler_count = 1};
    mc_pool *pool;
    mc_group *group;
    check(mc_pool_open(&options, &pool));
    check(mc_group_open(pool, NULL, &group));
    submit(group, MC_JSON);
    submit(group, MC_MSGPACK);
    for (int i = 0; i < 3; i++) /* encoded by somebody else */
        check(mc_group_run_encoded(group, "mean", MC_JSON, texts[i], strlen(texts[i])));
    check(mc_group_wait(group, -1));
    for (size_t i = 0; i < mc_group_size(group); i++)
        print(group, i);
    mc_group_close(group);
    mc_pool_close(pool);
    return 0;
}
