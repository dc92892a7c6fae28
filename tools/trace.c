/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Pairs: see pool/limits.h. T3 releases an answer, T4 acquires it; T2 and T5 see to it
 * that who reads a part of a later answer also sees that there was another request.
 */
#include "tools/trace.h"

#include "base/clock.h"
#include "ipc/slot.h"
#include "loadavg/text.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool trace_read(const struct seat_row *row, struct trace_copy *copy)
{
    uint32_t wanted = atomic_load_explicit(&row->trace_wanted, memory_order_relaxed);
    if (atomic_load_explicit(&row->trace_answered, memory_order_acquire) != wanted) /* T4 */
        return false;
    uint32_t count = atomic_load_explicit(&row->place.count, memory_order_relaxed);
    copy->count = count < TRACE_MOST ? count : TRACE_MOST;
    for (uint32_t i = 0; i < copy->count; i++)
        copy->addresses[i] = atomic_load_explicit(&row->place.addresses[i], memory_order_relaxed);
    atomic_thread_fence(memory_order_acquire); /* T5 */
    return atomic_load_explicit(&row->trace_wanted, memory_order_relaxed) == wanted;
}

void trace_doing(const struct control *control, uint32_t seat, char *text, size_t size)
{
    const struct seat_row *row = &control->rows[seat];
    uint32_t tasks = atomic_load_explicit(&row->run_count, memory_order_acquire);
    uint64_t started = atomic_load_explicit(&row->started_ticks, memory_order_relaxed);
    uint32_t handler = name_handler(LOAD_ONCE(row->run_names[0]));
    uint32_t lane = LOAD_ONCE(row->run_lane);
    char which[32] = "";
    if (tasks == 0) {
        snprintf(text, size, "idle");
        return;
    }
    if (tasks > 1) /* which of them it is at is in the client's memory, which is not for us */
        snprintf(which, sizeof(which), "one of %" PRIu32 " tasks from ", tasks);
    uint64_t ran_ns = started != 0 ? clock_ticks_ns(clock_ticks() - started) : 0;
    snprintf(text, size, "runs %s'%.*s' for client %d, for %.1f s", which, HANDLER_NAME_SIZE - 1,
             handler < MAX_HANDLERS ? control->handlers[handler].name : "?",
             lane < MAX_LANES ? (int)atomic_load(&control->lanes[lane].client_pid) : 0,
             (double)ran_ns / 1e9);
}

/* One line of a file of /proc/PID; "" if it cannot be read. */
static const char *proc_line(pid_t pid, const char *name, char *text, size_t size)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    if (text_read(path, text, size) < 0)
        text[0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return text;
}

/* The value of a line "name:\tvalue" of /proc/PID/status. */
static const char *status_value(char *status, const char *name)
{
    char *line = strstr(status, name);
    if (line == NULL)
        return "";
    line += strlen(name);
    return line + strspn(line, ": \t");
}

static bool blocks(char *status, int signal)
{
    uint64_t mask = strtoull(status_value(status, "\nSigBlk"), NULL, 16);
    return (mask >> (signal - 1) & 1) != 0;
}

void trace_kernel_state(pid_t pid, char *text, size_t size)
{
    char path[64], status[4096], where[128], call[256];
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    if (text_read(path, status, sizeof(status)) < 0) {
        snprintf(text, size, "it is gone, or out of sight");
        return;
    }
    const char *state = status_value(status, "\nState");
    proc_line(pid, "wchan", where, sizeof(where));
    proc_line(pid, "syscall", call, sizeof(call));
    call[strspn(call, "0123456789")] = '\0'; /* no arguments, nor "running", nor -1 for none */
    snprintf(text, size, "state %.*s%s%s%s%s%s", (int)strcspn(state, "\n"), state,
             where[0] != '\0' && strcmp(where, "0") != 0 ? ", in " : "",
             strcmp(where, "0") != 0 ? where : "", call[0] != '\0' ? ", system call " : "", call,
             blocks(status, SIGURG) ? ", blocks SIGURG" : "");
}
