/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The books: every task has a number, handlers and clients note what happened to
 * it, and when all processes of a round are gone the notes must agree.
 */
#include "tests/soak/soak.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { COMPLAINTS_MOST = 60 };

struct board *board;

void board_open(void)
{
    board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (board == MAP_FAILED) {
        perror("soak: the board");
        _exit(2);
    }
}

void board_clear(void)
{
    size_t before = offsetof(struct board, plan);
    uint64_t tasks = atomic_load(&board->next_task);
    size_t used = offsetof(struct board, tasks) +
                  (tasks < TASKS_MOST ? tasks : TASKS_MOST) * sizeof(struct task_note);
    memset((char *)board + before, 0, used - before);
    atomic_store(&board->next_task, 1);
}

bool phase_step(enum phase from, enum phase to)
{
    uint32_t expected = from;
    return atomic_compare_exchange_strong(&board->phase, &expected, to);
}

uint64_t board_tasks(uint32_t count, uint8_t flags, uint32_t owner)
{
    uint64_t first = atomic_fetch_add(&board->next_task, count);
    if (first + count > TASKS_MOST)
        return 0;
    for (uint64_t task = first; task < first + count; task++) {
        board->tasks[task].flags = flags;
        board->tasks[task].owner = owner;
        atomic_store(&board->tasks[task].fate, FATE_OFFERED);
    }
    return first;
}

void board_fate(uint64_t task, enum fate fate)
{
    enum fate before = (enum fate)atomic_exchange(&board->tasks[task].fate, fate);
    if (before != FATE_OFFERED && before != FATE_ACCEPTED)
        complain(&board->wrong, "task %llu ended twice (%d, then %d)", (unsigned long long)task,
                 (int)before, (int)fate);
}

uint32_t board_life(void)
{
    uint32_t number = atomic_fetch_add(&board->next_life, 1) % LIVES_MOST;
    board->lives[number].pid = getpid();
    atomic_store(&board->lives[number].complete, 0);
    return number;
}

/* True when nobody is left who could have seen the end of this task. */
static bool bereaved(const struct task_note *note)
{
    if (!(note->flags & TASK_NESTED))
        return atomic_load(&board->lives[note->owner].complete) == 0;
    const struct task_note *outer = &board->tasks[note->owner];
    return atomic_load(&outer->begun) > atomic_load(&outer->ended);
}

static void settle(uint64_t task, const struct task_note *note)
{
    unsigned begun = atomic_load(&note->begun), ended = atomic_load(&note->ended);
    enum fate fate = (enum fate)atomic_load(&note->fate);
    bool again = (note->flags & TASK_AGAIN) != 0;
    if (fate == FATE_NONE)
        return;
    if (begun > (again ? ATTEMPTS_MOST : 1))
        complain(&board->duplicated, "task %llu%s began %u times", (unsigned long long)task,
                 again ? ", idempotent," : "", begun);
    else if (begun > 1)
        atomic_fetch_add(&board->repeated, 1);
    if ((fate == FATE_OFFERED || fate == FATE_ACCEPTED) && !bereaved(note))
        complain(&board->lost, "task %llu was accepted and never ended (begun %u, ended %u)",
                 (unsigned long long)task, begun, ended);
    if ((fate == FATE_REFUSED || (fate == FATE_PREVENTED && !again)) && begun != 0)
        complain(&board->wrong, "task %llu was %s, but began", (unsigned long long)task,
                 fate == FATE_REFUSED ? "refused" : "cancelled, or too late");
    if (fate == FATE_ENDED && note->succeeded && ended == 0)
        complain(&board->wrong, "task %llu succeeded, but never ended", (unsigned long long)task);
    if (ended > begun)
        complain(&board->wrong, "task %llu ended more often than it began",
                 (unsigned long long)task);
}

void board_settle(void)
{
    uint64_t tasks = atomic_load(&board->next_task);
    for (uint64_t task = 1; task < tasks && task < TASKS_MOST; task++)
        settle(task, &board->tasks[task]);
    if (atomic_load(&board->empties_begun) > atomic_load(&board->empties_offered))
        complain(&board->duplicated, "%lld tasks without arguments were offered, %lld began",
                 (long long)atomic_load(&board->empties_offered),
                 (long long)atomic_load(&board->empties_begun));
}

/* ---- words ---- */

void complain(_Atomic uint64_t *count, const char *format, ...)
{
    char line[400];
    atomic_fetch_add(count, 1);
    if (atomic_fetch_add(&board->told, 1) >= COMPLAINTS_MOST)
        return;
    int used = snprintf(line, sizeof(line), "soak: pid %d: ", (int)getpid());
    va_list arguments;
    va_start(arguments, format);
    used += vsnprintf(line + used, sizeof(line) - (size_t)used, format, arguments);
    va_end(arguments);
    if (used > (int)sizeof(line) - 2)
        used = (int)sizeof(line) - 2;
    line[used++] = '\n';
    (void)!write(STDERR_FILENO, line, (size_t)used);
}

void board_log(void *context, int level, const char *line)
{
    uint32_t at = atomic_fetch_add(&board->log_next, 1) % LOG_LINES;
    snprintf(board->log[at], sizeof(board->log[at]), "%d %s", level, line);
}

void board_print_log(void)
{
    uint32_t next = atomic_load(&board->log_next);
    for (uint32_t at = next > LOG_LINES ? next - LOG_LINES : 0; at < next; at++)
        fprintf(stderr, "soak: log: %s\n", board->log[at % LOG_LINES]);
}

/* ---- chance and time ---- */

void chance_init(struct chance *chance, uint64_t seed, uint64_t salt)
{
    uint64_t state = seed * UINT64_C(0x9e3779b97f4a7c15) + salt * UINT64_C(0xbf58476d1ce4e5b9) + 1;
    state ^= state >> 31;
    state *= UINT64_C(0x94d049bb133111eb);
    state ^= state >> 29;
    chance->state = state != 0 ? state : 1;
}

uint32_t draw(struct chance *chance, uint32_t below)
{
    uint64_t state = chance->state;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    chance->state = state;
    return (uint32_t)((state >> 32) * below >> 32);
}

uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void pause_us(unsigned microseconds)
{
    struct timespec left = {.tv_sec = microseconds / 1000000,
                            .tv_nsec = (long)(microseconds % 1000000) * 1000};
    while (nanosleep(&left, &left) < 0 && errno == EINTR) {
    }
}

bool raise_to(_Atomic uint64_t *most, uint64_t value)
{
    uint64_t before = atomic_load(most);
    while (value > before)
        if (atomic_compare_exchange_weak(most, &before, value))
            return true;
    return false;
}

void note_stall(uint64_t ns, const char *what)
{
    if (raise_to(&board->longest_ns, ns))
        atomic_store(&board->longest_what, what);
}
