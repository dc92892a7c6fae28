/* SPDX-License-Identifier: BSD-3-Clause
 *
 * OpenMetrics. There are labels for what is bounded by the configuration only, seats and
 * handlers: clients come and go, and are counted.
 */
#include "tools/stats.h"

#include "base/clock.h"
#include "ipc/tally.h"
#include "multicore.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

/* Bounds of the buckets, as canonical numbers. */
static const struct {
    const char *seconds;
    uint64_t ns;
} bounds[] = {
    {"1e-05", 10000},      {"2.5e-05", 25000},  {"5e-05", 50000},      {"0.0001", 100000},
    {"0.00025", 250000},   {"0.0005", 500000},  {"0.001", 1000000},    {"0.0025", 2500000},
    {"0.005", 5000000},    {"0.01", 10000000},  {"0.025", 25000000},   {"0.05", 50000000},
    {"0.1", 100000000},    {"0.25", 250000000}, {"0.5", 500000000},    {"1.0", 1000000000},
    {"2.5", 2500000000},   {"5.0", 5000000000}, {"10.0", 10000000000}, {"25.0", 25000000000},
    {"50.0", 50000000000},
};
enum { BOUNDS = sizeof(bounds) / sizeof(bounds[0]) };

/* ---- lines ---- */

/* unit: NULL, or what the name ends with. */
static void family(FILE *out, const char *name, const char *type, const char *unit,
                   const char *help)
{
    fprintf(out, "# TYPE multicore_%s %s\n", name, type);
    if (unit != NULL)
        fprintf(out, "# UNIT multicore_%s %s\n", name, unit);
    fprintf(out, "# HELP multicore_%s %s\n", name, help);
}

static void sample(FILE *out, const char *name, double value)
{
    fprintf(out, "multicore_%s %.15g\n", name, value);
}

static void gauge(FILE *out, const char *name, const char *unit, const char *help, double value)
{
    family(out, name, "gauge", unit, help);
    sample(out, name, value);
}

static void counter(FILE *out, const char *name, const char *help, uint64_t value)
{
    family(out, name, "counter", NULL, help);
    fprintf(out, "multicore_%s_total %" PRIu64 "\n", name, value);
}

/* {handler="NAME"}, without the last brace. */
static void label_handler(FILE *out, const struct view_handler *handler)
{
    fputs("{handler=\"", out);
    for (const char *each = handler->name; *each != '\0'; each++) {
        if (*each == '\\' || *each == '"')
            fputc('\\', out);
        fputc(*each, out);
    }
    fputc('"', out);
}

/* ---- the pool ---- */

static void print_pool(const struct view *view, FILE *out)
{
    gauge(out, "closing", NULL, "0: open; 1: takes no new tasks; 2: workers leave.", view->closing);
    gauge(out, "hopeless", NULL, "1 while no worker can be started.", view->hopeless);
    gauge(out, "seats", NULL, "Workers that the pool has when it is whole.", view->seat_count);
    gauge(out, "seats_up", NULL, "Of them, those that are ready.", view->seats_up);
    gauge(out, "clients", NULL, "Clients that are attached.", view->client_count);
    gauge(out, "client_limit", NULL, "Clients that may be attached at once.", view->client_limit);
    gauge(out, "queued_tasks", NULL, "Tasks that wait for a worker.", (double)view->queued);
    gauge(out, "pending_tasks", NULL, "Tasks that have begun, and wait in I/O workers.",
          (double)view->pending);
    gauge(out, "queue_delay_seconds", "seconds",
          "For how long the oldest task has waited, at least.", stats_delay_ms(view) / 1e3);
    uint32_t late = 0;
    for (uint32_t i = 0; i < view->client_count; i++)
        late += view->clients[i].late;
    gauge(out, "clients_late", NULL, "Clients whose tasks wait for longer than max-queue-delay.",
          late);
    gauge(out, "admission_busy", NULL,
          "1 while the machine is above max-load-average, so that clients run tasks themselves.",
          view->admission.busy);
}

static void print_totals(const struct view *view, FILE *out)
{
    for (int i = 0; i < STATS_TOTALS; i++)
        counter(out, stats_totals[i].name, stats_totals[i].help, stats_total(view, i));
}

/* ---- workers ---- */

static double worker_busy(const struct view_worker *worker)
{
    return (double)worker->busy_ns / 1e9;
}

static double worker_tasks(const struct view_worker *worker)
{
    return (double)worker->tasks;
}

static double worker_age(const struct view_worker *worker)
{
    return (double)worker->age_ns / 1e9;
}

static double worker_rss(const struct view_worker *worker)
{
    return (double)worker->rss;
}

static double worker_private(const struct view_worker *worker)
{
    return (double)worker->private_bytes;
}

static double worker_pending(const struct view_worker *worker)
{
    return worker->pending;
}

static const struct worker_metric {
    const char *name, *type, *unit, *help;
    double (*value)(const struct view_worker *worker); /* negative: has none */
} worker_metrics[] = {
    {"worker_busy_seconds", "counter", "seconds", "Time in tasks that ended.", worker_busy},
    {"worker_tasks", "counter", NULL, "Tasks that were taken and ended.", worker_tasks},
    {"worker_task_age_seconds", "gauge", "seconds",
     "For how long the present task has been running; 0 without one.", worker_age},
    {"worker_pending_tasks", "gauge", NULL, "Tasks that wait in this I/O worker.", worker_pending},
    {"worker_resident_memory_bytes", "gauge", "bytes", "Resident memory.", worker_rss},
    {"worker_private_memory_bytes", "gauge", "bytes", "Of it, what is shared with nobody.",
     worker_private},
};

static void print_worker_metric(const struct view *view, const struct worker_metric *metric,
                                FILE *out)
{
    const char *suffix = strcmp(metric->type, "counter") == 0 ? "_total" : "";
    family(out, metric->name, metric->type, metric->unit, metric->help);
    for (uint32_t i = 0; i < view->seat_count; i++) {
        double value = metric->value(&view->workers[i]);
        if (value >= 0)
            fprintf(out, "multicore_%s%s{seat=\"%u\"} %.15g\n", metric->name, suffix, i, value);
    }
}

static void print_workers(const struct view *view, FILE *out)
{
    uint32_t counts[VIEW_BUSY + 1] = {0};
    for (uint32_t i = 0; i < view->seat_count; i++)
        counts[view->workers[i].state]++;
    family(out, "workers", "gauge", NULL, "Workers by what they do.");
    for (int state = VIEW_NONE; state <= VIEW_BUSY; state++)
        fprintf(out, "multicore_workers{state=\"%s\"} %u\n",
                view_state_name((enum view_state)state), counts[state]);
    for (size_t i = 0; i < sizeof(worker_metrics) / sizeof(worker_metrics[0]); i++)
        print_worker_metric(view, &worker_metrics[i], out);
}

/* ---- handlers ---- */

static void handler_counter(const struct view *view, const char *name, const char *help,
                            size_t field, FILE *out)
{
    family(out, name, "counter", NULL, help);
    for (uint32_t i = 0; i < view->handler_count; i++) {
        uint64_t value;
        memcpy(&value, (const char *)&view->handlers[i] + field, sizeof(value));
        fprintf(out, "multicore_%s_total", name);
        label_handler(out, &view->handlers[i]);
        fprintf(out, "} %" PRIu64 "\n", value);
    }
}

/* A span counts in the first bucket that it lies in as a whole: as percentiles do, this
 * errs upwards. For the sum each task took what is in the middle of its span; of the last
 * one, which has no end, its beginning. */
static void histogram(const struct view_handler *handler, const uint64_t *counts, const char *name,
                      FILE *out)
{
    uint64_t below = 0;
    double sum = 0;
    uint32_t span = 0;
    for (int bound = 0; bound <= BOUNDS; bound++) {
        for (; span < SPANS; span++) {
            uint32_t next = span + 1 < SPANS ? span + 1 : span;
            uint64_t begin = clock_ticks_ns(tally_span_begin(span));
            uint64_t end = clock_ticks_ns(tally_span_begin(next));
            if (bound < BOUNDS && (end > bounds[bound].ns || next == span))
                break;
            below += counts[span];
            sum += (double)counts[span] * (double)(begin + end) / 2e9;
        }
        fprintf(out, "multicore_%s_bucket", name);
        label_handler(out, handler);
        fprintf(out, ",le=\"%s\"} %" PRIu64 "\n", bound < BOUNDS ? bounds[bound].seconds : "+Inf",
                below);
    }
    fprintf(out, "multicore_%s_count", name);
    label_handler(out, handler);
    fprintf(out, "} %" PRIu64 "\nmulticore_%s_sum", below, name);
    label_handler(out, handler);
    fprintf(out, "} %.15g\n", sum);
}

static void print_handlers(const struct view *view, FILE *out)
{
    handler_counter(view, "tasks", "Tasks that workers ended.",
                    offsetof(struct view_handler, ended), out);
    handler_counter(view, "task_failures", "Of them, those whose handler returned an error.",
                    offsetof(struct view_handler, failed), out);
    family(out, "task_wait_seconds", "histogram", "seconds",
           "From submission to the beginning, to a fifth.");
    for (uint32_t i = 0; i < view->handler_count; i++)
        histogram(&view->handlers[i], view->handlers[i].waited, "task_wait_seconds", out);
    family(out, "task_run_seconds", "histogram", "seconds", "From beginning to end, to a fifth.");
    for (uint32_t i = 0; i < view->handler_count; i++)
        histogram(&view->handlers[i], view->handlers[i].ran, "task_run_seconds", out);
}

void stats_metrics(const struct view *view, FILE *out)
{
    gauge(out, "up", NULL, "1 if the pool is there, and nothing else is told if not.",
          view != NULL);
    family(out, "build", "info", NULL, "The version of the command that observes.");
    fprintf(out, "multicore_build_info{version=\"%s\"} 1\n", mc_version());
    if (view != NULL) {
        print_pool(view, out);
        print_workers(view, out);
        print_handlers(view, out);
        print_totals(view, out);
    }
    fputs("# EOF\n", out);
}
