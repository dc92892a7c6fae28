/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the system tests share: a board that handlers and tests both see, pools
 * and groups that must open, and a look at the processes of a pool.
 *
 * Handlers run in other processes: they count and report on the board, and never
 * use Check. Whatever is waited for is observed, within a bound.
 */
#ifndef TESTS_SYSTEM_SUPPORT_H
#define TESTS_SYSTEM_SUPPORT_H

#include "multicore.h"
#include "tests/test.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    BOUND_MS = 10000, /* nothing takes longer, on a busy machine either */
    BOARD_NUMBERS = 4096,
    FAMILY_MOST = 16,
};

/* ---- the board ---- */

/* Memory that is shared with every process forked after board_open(). */
struct board {
    _Atomic uint32_t gate; /* handlers wait while it is 0; see gate_pass() */
    _Atomic uint32_t started, ended;
    _Atomic uint32_t running, most_running;
    _Atomic uint32_t words[16];            /* for the test's own use */
    _Atomic uint32_t runs[BOARD_NUMBERS];  /* how often each number was run */
    _Atomic uint32_t order[BOARD_NUMBERS]; /* the numbers, in the order of their begin */
};

extern struct board *board;

void board_open(void);
/* Adds one and wakes who waits for it. */
void board_count(_Atomic uint32_t *word);
/* Until *word is at least `least`; false when the bound is over. */
bool board_await(_Atomic uint32_t *word, uint32_t least, int bound_ms);
/* Notes the begin of a numbered task, and its end. */
void board_begin(uint32_t number);
void board_end(void);

/* In a handler: waits for gate_open(). Gives up when its test is long over. */
void gate_pass(void);
void gate_open(void);

/* ---- pools and groups ---- */

/* Two workers, the given handlers, otherwise defaults. */
struct mc_pool_options pool_options(const struct mc_handler *handlers, size_t count);
mc_pool *open_pool(const struct mc_pool_options *options);
mc_pool *open_simple(const struct mc_handler *handlers, size_t count);

#define HANDLERS(table) (table), sizeof(table) / sizeof((table)[0])

mc_group *open_group(mc_pool *pool);
/* A group whose tasks its caller never runs. */
mc_group *open_unhelped(mc_pool *pool);
mc_group *open_with(mc_pool *pool, struct mc_group_options options);

void run(mc_group *group, const char *handler, const void *args, size_t size);
void run_number(mc_group *group, const char *handler, uint32_t number);
/* Waits for all tasks, at most BOUND_MS. */
void wait_all(mc_group *group);
struct mc_result result_of(mc_group *group, size_t index);
/* The number of tasks whose status is not 0. */
size_t failures(mc_group *group);
/* Fails the test unless the call's result and its message are these. */
void expect_error(int result, int expected, const char *words);

/* The four bytes that run_number() passed. */
uint32_t number_of(mc_task *task);

/* All seats asleep, the lane of this client sound. */
void expect_quiet(mc_pool *pool);
/* As many workers as the pool has seats run now, and take tasks. */
bool await_workers(mc_pool *pool, int bound_ms);

/* ---- processes ---- */

/* A pool's processes, found through its workers' parent. */
struct family {
    pid_t supervisor, zygote;
    pid_t workers[FAMILY_MOST];
    unsigned worker_count;
};

/* Waits until all of them are there. */
void family_find(mc_pool *pool, struct family *family);
/* Until no process of the family is left, zombies not counted. */
bool family_await_end(const struct family *family, int bound_ms);
/* A child whose name begins so, other than `but`; 0: there is none. */
pid_t child_named(pid_t parent, const char *name, pid_t but);
bool process_lives(pid_t pid);
/* A child of this process is dead, and nobody has asked how. */
bool has_zombies(pid_t parent);
/* Until it is in that state of proc(5), such as 'S' for sleeping; false when the
 * bound is over. */
bool await_state(pid_t pid, char wanted);
/* Kills it, and waits until it is no more than a zombie. */
void end_process(pid_t pid);
/* waitpid() with a bound; fails the test when it is over. */
int await_exit(pid_t pid);

unsigned open_descriptors(void);
unsigned open_descriptors_of(pid_t pid);
unsigned mapped_memfds(void);

void pause_us(unsigned microseconds);
double ms_since(uint64_t began_ns);

#endif
