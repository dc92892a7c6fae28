/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a snapshot makes of the numbers in the shared memory, and the forms that it is
 * printed in. Ticks are ns here.
 */
#include "base/clock.h"
#include "ipc/tally.h"
#include "multicore.h"
#include "tests/test.h"
#include "tools/stats.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { MS = 1000000 };

static void begin(void)
{
    clock_machine = (struct clock_machine){.counter = false};
}

/* So many tasks that waited and ran for so long. */
static void count(struct view_handler *handler, uint64_t tasks, uint64_t wait_ns, uint64_t run_ns)
{
    handler->ended += tasks;
    handler->waited[tally_span(wait_ns)] += tasks;
    handler->ran[tally_span(run_ns)] += tasks;
}

static void is_near(uint64_t measured, uint64_t expected)
{
    ck_assert_msg(measured >= expected && measured <= expected * 5 / 4, "%llu is not near %llu",
                  (unsigned long long)measured, (unsigned long long)expected);
}

START_TEST(without_a_snapshot_before_all_tasks_count)
{
    struct view_handler handler = {.ended = 0};
    begin();
    view_measure(&handler, NULL, 0);
    ck_assert(handler.run_p50 == 0 && handler.run_p99 == 0 && handler.wait_p50 == 0);
    count(&handler, 98, 1 * MS, 10 * MS);
    count(&handler, 2, 100 * MS, 1000 * (uint64_t)MS);
    view_measure(&handler, NULL, 0);
    is_near(handler.wait_p50, 1 * MS);
    is_near(handler.wait_p99, 100 * MS);
    is_near(handler.run_p50, 10 * MS);
    is_near(handler.run_p99, 1000 * (uint64_t)MS);
    ck_assert(handler.per_second == 0);
}
END_TEST

START_TEST(an_interval_has_only_what_ended_in_it)
{
    struct view_handler before = {.ended = 0}, now;
    begin();
    count(&before, 1000, 100 * MS, 1000 * (uint64_t)MS);
    now = before;
    view_measure(&now, &before, 1000 * (uint64_t)MS);
    ck_assert(now.run_p99 == 0 && now.wait_p99 == 0 && now.per_second == 0);
    count(&now, 10, 2 * MS, 4 * MS);
    view_measure(&now, &before, 500 * (uint64_t)MS);
    is_near(now.wait_p50, 2 * MS);
    is_near(now.run_p50, 4 * MS);
    is_near(now.run_p99, 4 * MS);
    ck_assert(now.per_second > 19.99 && now.per_second < 20.01);
}
END_TEST

START_TEST(counters_that_went_back_count_as_nothing)
{
    struct view_handler before = {.ended = 0}, now = {.ended = 0};
    begin();
    count(&before, 10, 2 * MS, 4 * MS);
    count(&now, 3, 7 * MS, 9 * MS);
    view_measure(&now, &before, 1000 * (uint64_t)MS);
    is_near(now.run_p50, 9 * MS);
    ck_assert(now.per_second == 0);
}
END_TEST

START_TEST(a_time_without_a_bound_is_told_from_the_greatest_that_has_one)
{
    struct view_handler handler = {.ended = 0};
    begin();
    count(&handler, 1, view_most_ns() - 1, view_most_ns());
    view_measure(&handler, NULL, 0);
    ck_assert_uint_eq(handler.wait_p50, view_most_ns());
    ck_assert_uint_gt(handler.run_p50, view_most_ns());
}
END_TEST

START_TEST(shares_are_between_nothing_and_all)
{
    ck_assert(view_share(10, 5, 0) == 0);
    ck_assert(view_share(10, 5, 10) == 0.5);
    ck_assert(view_share(100, 5, 10) == 1);
    ck_assert(view_share(5, 10, 10) == 0);
    ck_assert(view_share(UINT64_MAX, 0, UINT64_MAX) == 1);
}
END_TEST

/* ---- forms ---- */

static struct view_worker workers[] = {
    {.seat = 0,
     .pid = 11,
     .cpu = 3,
     .state = VIEW_BUSY,
     .handler = 0,
     .lane = 5,
     .age_ns = MS,
     .pending = -1},
    {.seat = 1, .cpu = -1, .state = VIEW_NONE, .handler = -1, .lane = -1, .pending = 16384},
};
static struct view_client clients[] = {
    {.lane = 5, .pid = 12, .uid = (uid_t)-2, .command = "a \"b\\", .queued = 7, .delay_ms = 250},
};
static struct view_handler handlers[] = {{.name = "a\\b\"c", .flags = MC_ISOLATED}};

static struct view example(void)
{
    struct view view = {.seat_count = 2,
                        .seats_up = 1,
                        .io_seats = 1,
                        .pending = 16384,
                        .workers = workers,
                        .client_count = 1,
                        .clients = clients,
                        .handler_count = 1,
                        .handlers = handlers,
                        .psi_centi = VIEW_UNKNOWN,
                        .load = {-1, -1, -1},
                        .observer = {.path = "/a\"b"},
                        .totals = {.workers_started = 1, .reloads_failed = UINT64_MAX / 2}};
    begin();
    memset(&handlers[0].ended, 0, sizeof(handlers[0]) - offsetof(struct view_handler, ended));
    count(&handlers[0], 5, 2 * MS, 30 * MS);
    return view;
}

static char *printed(void (*print)(const struct view *view, FILE *out), const struct view *view)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    ck_assert_ptr_nonnull(out);
    print(view, out);
    ck_assert_int_eq(fclose(out), 0);
    return text;
}

static void print_json(const struct view *view, FILE *out)
{
    ck_assert_int_eq(stats_json(view, out), 0);
}

static void has(const char *text, const char *part)
{
    ck_assert_msg(strstr(text, part) != NULL, "no '%s' in:\n%s", part, text);
}

START_TEST(json_has_null_for_what_is_not_known)
{
    struct view view = example();
    char *text = printed(print_json, &view);
    json_t *object = json_loads(text, 0, NULL);
    ck_assert_msg(object != NULL, "%s", text);
    json_decref(object);
    has(text, "\"interval_seconds\":null");
    has(text, "\"cpu_pressure_percent\":null");
    has(text, "\"load_average\":[null,null,null]");
    has(text, "\"uid\":4294967294");
    has(text, "\"command\":\"a \\\"b\\\\\"");
    has(text, "\"handler\":\"a\\\\b\\\"c\"");
    has(text, "\"pid\":null,\"heir_pid\":null,\"cpu\":null,\"state\":\"none\",\"handler\":null");
    has(text, "\"pending\":null");
    has(text, "\"pending\":16384,\"tasks\":0");
    has(text, "\"reloads_failed\":9223372036854775807");
    free(text);
}
END_TEST

START_TEST(metrics_escape_labels_and_accumulate_buckets)
{
    struct view view = example();
    char *text = printed(stats_metrics, &view);
    has(text, "multicore_up 1\n");
    has(text, "multicore_tasks_total{handler=\"a\\\\b\\\"c\"} 5\n");
    has(text, "multicore_task_run_seconds_bucket{handler=\"a\\\\b\\\"c\",le=\"0.025\"} 0\n");
    has(text, "multicore_task_run_seconds_bucket{handler=\"a\\\\b\\\"c\",le=\"0.05\"} 5\n");
    has(text, "multicore_task_run_seconds_bucket{handler=\"a\\\\b\\\"c\",le=\"+Inf\"} 5\n");
    has(text, "multicore_task_run_seconds_count{handler=\"a\\\\b\\\"c\"} 5\n");
    has(text, "multicore_queue_delay_seconds 0.25\n");
    has(text, "multicore_workers{state=\"busy\"} 1\n");
    has(text, "multicore_pending_tasks 16384\n");
    has(text, "multicore_worker_pending_tasks{seat=\"1\"} 16384\n");
    ck_assert_ptr_null(strstr(text, "multicore_worker_pending_tasks{seat=\"0\"}"));
    ck_assert_str_eq(text + strlen(text) - strlen("\n# EOF\n"), "\n# EOF\n");
    free(text);
    text = printed(stats_metrics, NULL);
    has(text, "multicore_up 0\n");
    ck_assert_ptr_null(strstr(text, "multicore_seats"));
    free(text);
}
END_TEST

START_TEST(times_beyond_all_buckets_are_in_the_last)
{
    struct view view = example();
    count(&handlers[0], 2, 0, UINT64_MAX);
    char *text = printed(stats_metrics, &view);
    has(text, "multicore_task_run_seconds_bucket{handler=\"a\\\\b\\\"c\",le=\"50.0\"} 5\n");
    has(text, "multicore_task_run_seconds_bucket{handler=\"a\\\\b\\\"c\",le=\"+Inf\"} 7\n");
    has(text, "multicore_task_wait_seconds_bucket{handler=\"a\\\\b\\\"c\",le=\"1e-05\"} 2\n");
    free(text);
}
END_TEST

START_TEST(text_has_a_dash_for_what_is_not_known)
{
    struct view view = example();
    char *text = printed(stats_text, &view);
    has(text, "pool at /a\"b: open");
    has(text, "load: unknown\n");
    has(text, "1 of 2 ready");
    has(text, "0 waiting, 16384 pending, 0 ended");
    free(text);
}
END_TEST

START_TEST(text_says_that_a_time_is_above_what_is_told_apart)
{
    struct view view = example();
    count(&handlers[0], 100, view_most_ns() - 1, UINT64_MAX);
    view_measure(&handlers[0], NULL, 0);
    char *text = printed(stats_text, &view);
    has(text, "    2m17s    2m17s   >2m17s   >2m17s  a\\b");
    free(text);
    text = printed(print_json, &view);
    has(text, "\"wait_p99_seconds\":137.438953,\"run_p50_seconds\":137.438953,");
    free(text);
}
END_TEST

TEST_MAIN(view, without_a_snapshot_before_all_tasks_count, an_interval_has_only_what_ended_in_it,
          counters_that_went_back_count_as_nothing, shares_are_between_nothing_and_all,
          json_has_null_for_what_is_not_known, metrics_escape_labels_and_accumulate_buckets,
          times_beyond_all_buckets_are_in_the_last, text_has_a_dash_for_what_is_not_known,
          a_time_without_a_bound_is_told_from_the_greatest_that_has_one,
          text_says_that_a_time_is_above_what_is_told_apart)
