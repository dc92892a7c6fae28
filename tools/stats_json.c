/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Units are last in the names. What is not known, or needs an interval and has none, is
 * null. Jansson makes NULL of what it has no memory for, and an object refuses NULL: one
 * that is not whole is not printed.
 */
#include "tools/stats.h"

#include "base/error.h"
#include "multicore.h"

#include <errno.h>
#include <jansson.h>

static json_t *whole(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static json_t *seconds(uint64_t ns)
{
    return json_real((double)ns / 1e9);
}

static json_t *if_known(bool known, double value)
{
    return known ? json_real(value) : json_null();
}

static json_t *number_or_null(int64_t value)
{
    return value >= 0 ? json_integer(value) : json_null();
}

/* An array with an object for each of so many. */
static json_t *array_of(const struct view *view, uint32_t count,
                        json_t *(*make)(const struct view *view, uint32_t index))
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < count; i++)
        if (json_array_append_new(array, make(view, i)) < 0) {
            json_decref(array);
            return NULL;
        }
    return array;
}

static json_t *worker_json(const struct view *view, uint32_t index)
{
    const struct view_worker *worker = &view->workers[index];
    bool named = worker->handler >= 0;
    return json_pack(
        "{s:i, s:o, s:o, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "seat",
        (int)worker->seat, "pid", number_or_null(worker->pid > 0 ? worker->pid : -1), "heir_pid",
        number_or_null(worker->heir > 0 ? worker->heir : -1), "cpu", number_or_null(worker->cpu),
        "state", view_state_name(worker->state), "handler",
        named ? json_string(view_worker_handler(view, worker)) : json_null(), "lane",
        number_or_null(worker->lane), "task_age_seconds",
        if_known(worker->state == VIEW_BUSY, (double)worker->age_ns / 1e9), "pending",
        number_or_null(worker->pending), "tasks", whole(worker->tasks), "busy_seconds",
        seconds(worker->busy_ns), "load", if_known(view->interval_ns != 0, worker->load),
        "resident_bytes", whole(worker->rss), "private_bytes", whole(worker->private_bytes));
}

static json_t *client_json(const struct view *view, uint32_t index)
{
    const struct view_client *client = &view->clients[index];
    return json_pack("{s:i, s:i, s:I, s:s, s:I, s:I, s:o, s:b}", "lane", (int)client->lane, "pid",
                     (int)client->pid, "uid", (json_int_t)client->uid, "command", client->command,
                     "weight", (json_int_t)client->weight, "queued", (json_int_t)client->queued,
                     "delay_seconds", json_real(client->delay_ms / 1e3), "late", client->late);
}

static json_t *handler_json(const struct view *view, uint32_t index)
{
    const struct view_handler *handler = &view->handlers[index];
    return json_pack(
        "{s:s, s:b, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "name", handler->name, "isolated",
        (handler->flags & MC_ISOLATED) != 0, "idempotent", (handler->flags & MC_IDEMPOTENT) != 0,
        "ended", whole(handler->ended), "failed", whole(handler->failed), "per_second",
        if_known(view->interval_ns != 0, handler->per_second), "wait_p50_seconds",
        seconds(handler->wait_p50), "wait_p99_seconds", seconds(handler->wait_p99),
        "run_p50_seconds", seconds(handler->run_p50), "run_p99_seconds", seconds(handler->run_p99));
}

static json_t *totals_json(const struct view *view)
{
    json_t *object = json_object();
    for (int i = 0; i < STATS_TOTALS; i++)
        if (json_object_set_new(object, stats_totals[i].name, whole(stats_total(view, i))) < 0) {
            json_decref(object);
            return NULL;
        }
    return object;
}

static json_t *pool_json(const struct view *view)
{
    return json_pack("{s:s, s:i, s:s, s:b, s:i, s:i, s:i, s:i}", "socket", view->observer.path,
                     "supervisor_pid", (int)view->supervisor, "phase", stats_phase(view),
                     "hopeless", view->hopeless, "seats", (int)view->seat_count, "seats_up",
                     (int)view->seats_up, "seats_busy", (int)view->busy, "client_limit",
                     (int)view->client_limit);
}

static json_t *tasks_json(const struct view *view)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "queued", whole(view->queued), "pending",
                     whole(view->pending), "delay_seconds", json_real(stats_delay_ms(view) / 1e3),
                     "ended", whole(view->ended), "per_second",
                     if_known(view->interval_ns != 0, view->per_second));
}

static json_t *admission_json(const struct view *view)
{
    const struct admission_policy *policy = &view->policy;
    return json_pack("{s:b, s:s, s:o, s:o}", "busy", view->admission.busy, "reason", view->sentence,
                     "max_load_average", if_known(policy->enabled, policy->limit_milli / 1e3),
                     "max_queue_delay_seconds",
                     if_known(policy->max_delay_ms != 0, policy->max_delay_ms / 1e3));
}

static json_t *machine_json(const struct view *view)
{
    bool known = view->load[0] >= 0;
    return json_pack("{s:[o, o, o], s:o}", "load_average", if_known(known, view->load[0]),
                     if_known(known, view->load[1]), if_known(known, view->load[2]),
                     "cpu_pressure_percent",
                     if_known(view->psi_centi != VIEW_UNKNOWN, view->psi_centi / 1e2));
}

int stats_json(const struct view *view, FILE *out)
{
    json_t *object = json_pack(
        "{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "version", mc_version(),
        "interval_seconds", if_known(view->interval_ns != 0, (double)view->interval_ns / 1e9),
        "pool", pool_json(view), "tasks", tasks_json(view), "admission", admission_json(view),
        "machine", machine_json(view), "workers", array_of(view, view->seat_count, worker_json),
        "clients", array_of(view, view->client_count, client_json), "handlers",
        array_of(view, view->handler_count, handler_json), "totals", totals_json(view));
    int result =
        object != NULL ? json_dumpf(object, out, JSON_COMPACT | JSON_REAL_PRECISION(9)) : -ENOMEM;
    json_decref(object);
    if (result < 0)
        return error_set(-ENOMEM, "the snapshot could not be written as JSON");
    fputc('\n', out);
    return 0;
}
