/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/stats.h"

#include "tools/units.h"

#include <inttypes.h>

static void print_pool(const struct view *view, FILE *out)
{
    char interval[UNITS_TEXT_SIZE];
    fprintf(out, "pool at %s: %s, supervisor %d%s\n", view->observer.path, stats_phase(view),
            (int)view->supervisor, view->hopeless ? ", and no worker can be started" : "");
    fprintf(out, "workers: %u of %u ready, %u busy\n", view->seats_up, view->seat_count,
            view->busy);
    fprintf(out, "tasks: %" PRIu64 " waiting, ", view->queued);
    if (view->io_seats != 0)
        fprintf(out, "%" PRIu64 " pending, ", view->pending);
    fprintf(out, "%" PRIu64 " ended", view->ended);
    if (view->interval_ns != 0)
        fprintf(out, ", %.1f a second over %s", view->per_second,
                units_short_time(view->interval_ns, interval));
    fputc('\n', out);
}

static void print_machine(const struct view *view, FILE *out)
{
    if (view->load[0] >= 0)
        fprintf(out, "load: %.2f %.2f %.2f", view->load[0], view->load[1], view->load[2]);
    else
        fputs("load: unknown", out);
    if (view->psi_centi != VIEW_UNKNOWN)
        fprintf(out, ", CPU pressure %u.%02u %%", view->psi_centi / 100, view->psi_centi % 100);
    fprintf(out, "\nadmission: %s\n", view->sentence);
}

static void print_worker(const struct view *view, const struct view_worker *worker, FILE *out)
{
    char cpu[UNITS_TEXT_SIZE] = "-", load[UNITS_TEXT_SIZE] = "-", age[UNITS_TEXT_SIZE] = "-";
    char pending[UNITS_TEXT_SIZE] = "-", busy[UNITS_TEXT_SIZE], rss[UNITS_TEXT_SIZE];
    char own[UNITS_TEXT_SIZE];
    if (worker->cpu >= 0)
        snprintf(cpu, sizeof(cpu), "%d", worker->cpu);
    if (view->interval_ns != 0)
        snprintf(load, sizeof(load), "%.0f%%", worker->load * 100);
    if (worker->handler >= 0)
        (void)units_short_time(worker->age_ns, age);
    if (worker->pending >= 0)
        snprintf(pending, sizeof(pending), "%d", worker->pending);
    fprintf(out, "%5u %8d %4s %-8s %5s %8s %7s %12" PRIu64 " %8s %7s %7s  %s\n", worker->seat,
            (int)worker->pid, cpu, view_state_name(worker->state), load, age, pending,
            worker->tasks, units_short_time(worker->busy_ns, busy),
            units_short_size(worker->rss, rss), units_short_size(worker->private_bytes, own),
            view_worker_handler(view, worker));
}

static void print_workers(const struct view *view, FILE *out)
{
    fprintf(out, "\n%5s %8s %4s %-8s %5s %8s %7s %12s %8s %7s %7s  %s\n", "SEAT", "PID", "CPU",
            "STATE", "LOAD", "FOR", "PENDING", "TASKS", "BUSY", "RSS", "PRIVATE", "HANDLER");
    for (uint32_t i = 0; i < view->seat_count; i++)
        print_worker(view, &view->workers[i], out);
}

static void print_clients(const struct view *view, FILE *out)
{
    if (view->client_count == 0) {
        fprintf(out, "\nno clients, of at most %u\n", view->client_limit);
        return;
    }
    fprintf(out, "\n%5s %8s %-15s %8s %6s %8s %8s %s\n", "LANE", "PID", "COMMAND", "UID", "WEIGHT",
            "WAITING", "DELAY", "LATE");
    for (uint32_t i = 0; i < view->client_count; i++) {
        const struct view_client *client = &view->clients[i];
        fprintf(out, "%5u %8d %-15s %8u %6u %8u %6ums %s\n", client->lane, (int)client->pid,
                client->command, (unsigned)client->uid, client->weight, client->queued,
                client->delay_ms, client->late ? "yes" : "no");
    }
}

/* 0: there was none. */
static const char *time_text(uint64_t ns, char text[UNITS_TEXT_SIZE])
{
    char time[UNITS_TEXT_SIZE];
    if (ns == 0)
        return "-";
    if (ns <= view_most_ns())
        return units_short_time(ns, text);
    snprintf(text, UNITS_TEXT_SIZE, ">%s", units_short_time(ns, time));
    return text;
}

static void print_handler(const struct view *view, const struct view_handler *handler, FILE *out)
{
    char rate[UNITS_TEXT_SIZE] = "-", wait50[UNITS_TEXT_SIZE], wait99[UNITS_TEXT_SIZE];
    char run50[UNITS_TEXT_SIZE], run99[UNITS_TEXT_SIZE];
    if (view->interval_ns != 0)
        snprintf(rate, sizeof(rate), "%.1f", handler->per_second);
    fprintf(out, "%12" PRIu64 " %10" PRIu64 " %10s %8s %8s %8s %8s  %s\n", handler->ended,
            handler->failed, rate, time_text(handler->wait_p50, wait50),
            time_text(handler->wait_p99, wait99), time_text(handler->run_p50, run50),
            time_text(handler->run_p99, run99), handler->name);
}

static void print_handlers(const struct view *view, FILE *out)
{
    fprintf(out, "\n%12s %10s %10s %8s %8s %8s %8s  %s\n", "ENDED", "FAILED", "A SECOND",
            "WAIT p50", "p99", "RUN p50", "p99", "HANDLER");
    for (uint32_t i = 0; i < view->handler_count; i++)
        print_handler(view, &view->handlers[i], out);
}

static void print_totals(const struct view *view, FILE *out)
{
    fputs("\nSINCE THE START\n", out);
    for (int i = 0; i < STATS_TOTALS; i++)
        fprintf(out, "%12" PRIu64 "  %s\n", stats_total(view, i), stats_totals[i].help);
}

void stats_text(const struct view *view, FILE *out)
{
    print_pool(view, out);
    print_machine(view, out);
    print_workers(view, out);
    print_clients(view, out);
    print_handlers(view, out);
    print_totals(view, out);
}
