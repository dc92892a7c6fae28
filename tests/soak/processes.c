/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What /proc says of the processes of a round, and what a client sees of its pool:
 * for the measures, and for a report when somebody is wedged.
 */
#include "tests/soak/soak.h"

#include "ipc/slot.h"
#include "pool/pool.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- who there is ---- */

enum { EXITING = 4 }; /* the kernel's PF_EXITING, in field 9 of stat */

/* SIGKILL is on its way, to the process or to its thread. */
static bool killed(pid_t pid)
{
    char path[64], line[200];
    unsigned long long pending, all = 0;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        if (sscanf(line, "SigPnd: %llx", &pending) == 1 ||
            sscanf(line, "ShdPnd: %llx", &pending) == 1)
            all |= pending;
    if (file != NULL)
        fclose(file);
    return (all & (1u << (SIGKILL - 1))) != 0;
}

static bool read_process(pid_t pid, struct process *process)
{
    char path[64], line[512] = "";
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    bool read = fgets(line, sizeof(line), file) != NULL;
    fclose(file);
    const char *open = strchr(line, '('), *close = strrchr(line, ')');
    int parent;
    unsigned flags;
    if (!read || open == NULL || close == NULL || close - open > 31 ||
        sscanf(close + 1, " %c %d %*d %*d %*d %*d %u", &process->state, &parent, &flags) != 3)
        return false;
    process->pid = pid;
    process->parent = parent;
    memcpy(process->name, open + 1, (size_t)(close - open - 1));
    process->name[close - open - 1] = '\0';
    process->exiting =
        (flags & EXITING) != 0 || (strncmp(process->name, "mc-", 3) == 0 && killed(pid));
    return true;
}

static unsigned read_all(struct process *all, unsigned room)
{
    unsigned count = 0;
    DIR *directory = opendir("/proc");
    for (struct dirent *entry; directory != NULL && (entry = readdir(directory)) != NULL;) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid > 0 && count < room)
            count += read_process(pid, &all[count]);
    }
    if (directory != NULL)
        closedir(directory);
    return count;
}

unsigned processes_below(pid_t root, struct process *found, unsigned room)
{
    struct process all[4 * PROCESSES_MOST];
    unsigned count = read_all(all, 4 * PROCESSES_MOST), fit = 0, looked = 0;
    /* The children of the root, then theirs, and so on. */
    for (pid_t parent = root;; parent = found[looked++].pid) {
        for (unsigned i = 0; i < count && fit < room; i++)
            if (all[i].parent == parent)
                found[fit++] = all[i];
        if (looked == fit)
            return fit;
    }
}

static void print_file(const char *directory, const char *name)
{
    char path[64], line[200] = "";
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return;
    if (fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        fprintf(stderr, ", %s %s", name, line);
    }
    fclose(file);
}

static void print_threads(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *directory = opendir(path);
    for (struct dirent *entry; directory != NULL && (entry = readdir(directory)) != NULL;) {
        int thread = (int)strtol(entry->d_name, NULL, 10);
        if (thread <= 0)
            continue;
        snprintf(path, sizeof(path), "/proc/%d/task/%d", (int)pid, thread);
        fprintf(stderr, "soak:   thread %d", thread);
        print_file(path, "wchan");
        print_file(path, "syscall");
        print_file(path, "schedstat");
        fputc('\n', stderr);
    }
    if (directory != NULL)
        closedir(directory);
}

void processes_print(pid_t root)
{
    struct process found[PROCESSES_MOST];
    unsigned count = processes_below(root, found, PROCESSES_MOST);
    for (unsigned i = 0; i < count; i++) {
        fprintf(stderr, "soak: process %d (%s) of %d is in state %c\n", (int)found[i].pid,
                found[i].name, (int)found[i].parent, found[i].state);
        print_threads(found[i].pid);
    }
}

/* ---- what they take ---- */

static uint64_t private_memory(pid_t pid)
{
    char path[64], line[200];
    unsigned long long kib = 0;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        if (sscanf(line, "RssAnon: %llu kB", &kib) == 1)
            break;
    if (file != NULL)
        fclose(file);
    return kib * 1024;
}

/* The supervisor holds all segments. */
static void look_at_descriptors(pid_t pid, struct measure *measure)
{
    char path[64], target[128];
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    DIR *directory = opendir(path);
    for (struct dirent *entry; directory != NULL && (entry = readdir(directory)) != NULL;) {
        struct stat status;
        ssize_t length = readlinkat(dirfd(directory), entry->d_name, target, sizeof(target) - 1);
        if (length <= 0)
            continue;
        target[length] = '\0';
        measure->descriptors++;
        measure->lanes += strstr(target, "memfd:multicore-lane") != NULL;
        if (strstr(target, "memfd:") != NULL &&
            fstatat(dirfd(directory), entry->d_name, &status, 0) == 0)
            measure->shared += (uint64_t)status.st_blocks * 512;
    }
    if (directory != NULL)
        closedir(directory);
}

void measure_take(pid_t opener, struct measure *measure)
{
    struct process found[PROCESSES_MOST];
    unsigned count = processes_below(getpid(), found, PROCESSES_MOST);
    memset(measure, 0, sizeof(*measure));
    measure->opener = private_memory(opener);
    for (unsigned i = 0; i < count; i++) {
        uint64_t memory = private_memory(found[i].pid);
        if (strncmp(found[i].name, "mc-worker", 9) == 0 && memory > measure->worker)
            measure->worker = memory;
        if (strcmp(found[i].name, "mc-zygote") == 0)
            measure->zygote = memory;
        if (strcmp(found[i].name, "mc-supervisor") != 0)
            continue;
        measure->supervisor = memory;
        atomic_store(&board->supervisor, found[i].pid);
        look_at_descriptors(found[i].pid, measure);
    }
}

unsigned own_descriptors(void)
{
    struct measure measure = {0};
    look_at_descriptors(getpid(), &measure);
    return measure.descriptors;
}

unsigned own_segments(void)
{
    char line[512];
    unsigned count = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps != NULL && fgets(line, sizeof(line), maps) != NULL)
        count += strstr(line, "memfd:multicore") != NULL;
    if (maps != NULL)
        fclose(maps);
    return count;
}

/* ---- what a client sees ---- */

static void print_row(const mc_pool *pool, uint32_t seat)
{
    const struct seat_row *row = &pool->control->rows[seat];
    uint32_t count = atomic_load(&row->run_count);
    fprintf(stderr,
            "soak: seat %u: pid %d, heir %d, bell %u, tasks done %llu, started %llu, leave %u, "
            "run of %u in lane %u/%u:",
            seat, (int)atomic_load(&row->pid), (int)atomic_load(&row->heir_pid),
            atomic_load(&pool->bells->seats[seat].state),
            (unsigned long long)atomic_load(&row->tasks_done),
            (unsigned long long)atomic_load(&row->started_ticks), atomic_load(&row->leave), count,
            row->run_lane, row->run_lane_generation);
    for (uint32_t i = 0; i < count && i < RUN_MAX; i++)
        fprintf(stderr, " %u", name_slot(row->run_names[i]));
    fputc('\n', stderr);
}

static void print_slots(const struct client *client, uint32_t slots)
{
    for (uint32_t i = 0; i < slots; i++) {
        const struct slot *slot = &client->lane.slots[i];
        uint64_t word = atomic_load(&slot->word);
        if (slot_state(word) != SLOT_FREE && !slot_ended(word))
            fprintf(stderr,
                    "soak: slot %u: state %d, flags %x, seat %d, attempt %u, generation %u, "
                    "handler %u\n",
                    i, (int)slot_state(word), slot_flags(word), (int)slot_seat(word) - 1,
                    slot_attempt(word), slot_generation(word), slot->handler);
    }
}

static void print_rings(const struct client *client, const char *const names[])
{
    for (unsigned i = 0; i < LANE_RINGS; i++) {
        const struct ring_shared *ring = client->lane.rings[i].shared;
        fprintf(stderr, "soak: %s ring: head %llu, tail %llu\n", names[i],
                (unsigned long long)atomic_load(&ring->head),
                (unsigned long long)atomic_load(&ring->tail));
    }
}

void pool_print(const mc_pool *pool)
{
    static const char *const names[LANE_RINGS] = {"normal", "urgent", "normal I/O", "urgent I/O"};
    const struct control *control = pool->control;
    const struct client *client = &pool->client;
    fprintf(stderr,
            "soak: pool seen by %d, lane %u: closing %u, seats up %u, hopeless %u, watching %u, "
            "repairs %llu to %llu, active %llx, sleeping %llx, gone %d, free slots %u, "
            "abandoned %u\n",
            (int)getpid(), client->index, atomic_load(&control->closing),
            atomic_load(&control->seats_up), atomic_load(&control->hopeless),
            atomic_load(&control->watching),
            (unsigned long long)atomic_load(&control->shared.repair_head[SEAT_CPU]),
            (unsigned long long)atomic_load(&control->repair_tail[SEAT_CPU]),
            (unsigned long long)atomic_load(&pool->bells->lanes_active[0]),
            (unsigned long long)atomic_load(&pool->bells->seats_sleeping[0]),
            (int)atomic_load(&client->gone), client->free_count, client->abandoned_count);
    for (uint32_t seat = 0; seat < control->seat_count; seat++)
        print_row(pool, seat);
    if (!pool_current(pool) || client->lane.memory == NULL)
        return;
    print_rings(client, names);
    print_slots(client, pool->config->geometry.slot_count);
}
