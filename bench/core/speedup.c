/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Uneven work: the rows of a picture, one after the other, in the pool, and by
 * OpenMP. All three must find the same checksum. The serial time is measured
 * afresh beside the other two.
 */
#include "mandelbrot.h"
#include "probes.h"

#include <string.h>

int rows_handler(mc_task *task)
{
    uint64_t start = mc_task_start(task);
    uint64_t count = mc_task_end(task) - start;
    void *room;
    int result = mc_task_reply_alloc(task, count * sizeof(uint64_t), &room);
    if (result < 0)
        return result;
    uint64_t *iterations = room;
    for (uint64_t i = 0; i < count; i++)
        iterations[i] = mandelbrot_row((unsigned)(start + i));
    return 0;
}

static uint64_t compute_serially(void)
{
    uint64_t sum = 0;
    for (unsigned row = 0; row < MANDELBROT_ROWS; row++)
        sum += mandelbrot_check(row, mandelbrot_row(row));
    return sum;
}

static uint64_t check_chunk(const struct mc_result *result)
{
    const uint64_t *iterations = result->data;
    uint64_t sum = 0;
    for (uint64_t row = result->start; row < result->end; row++)
        sum += mandelbrot_check((unsigned)row, iterations[row - result->start]);
    return sum;
}

static bool compute_in_pool(uint64_t *sum)
{
    struct mc_result result = {.size = sizeof(result)};
    mc_group *group;
    int status;
    *sum = 0;
    if (mc_group_open(subject(), NULL, &group) < 0)
        return false;
    status = mc_group_map(group, "rows", MANDELBROT_ROWS, NULL, NULL, 0);
    while (status >= 0 && (status = mc_group_next(group, &result, -1)) == 1) {
        if (result.status == 0)
            *sum += check_chunk(&result);
    }
    mc_group_close(group);
    return status == 0;
}

enum outcome speedup_rows(const struct probe *probe, unsigned samples)
{
    for (unsigned i = 0; i < samples; i++) {
        uint64_t began = now_ns();
        uint64_t expected = compute_serially();
        uint64_t serial_end = now_ns(), sum;
        if (!compute_in_pool(&sum))
            return failed("rows: %s", mc_error_message());
        double parallel_ns = elapsed_ns(serial_end, now_ns());
        if (sum != expected)
            return failed("the rows of the pool have another checksum");
        double serial_ns = elapsed_ns(began, serial_end);
        figure_add(probe->figure, serial_ns / parallel_ns);
        if (figures[OPENMP_SPEEDUP].problem[0] == '\0')
            blame(OPENMP_SPEEDUP, peer_openmp(serial_ns, expected));
    }
    return MEASURED;
}
