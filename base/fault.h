/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Places at which a test can have a process die, stop, or see a call fail. In the
 * library as it ships all of this is nothing; the tests build the same sources with
 * MC_FAULTS. What is armed lies in memory shared by all processes of the pool that
 * is opened afterwards, so a fault strikes once, not in each successor.
 *
 *   FAULT_POINT(name)              here, by name
 *   FAULT_CALL(name, error, call)  before a system call, which may be left out and
 *                                  fail with error instead
 *   every atomic store             by itself: fault_stores.h
 *
 * Each place registers itself in a section of the program as it is compiled, so
 * that a list of all of them needs nobody to keep it.
 */
#ifndef BASE_FAULT_H
#define BASE_FAULT_H

#ifdef MC_FAULTS

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum fault_kind { FAULT_NAMED, FAULT_STORE, FAULT_FAILING };

struct fault_point {
    const char *name; /* of a store: what it does */
    const char *file, *function;
    int line;
    enum fault_kind kind;
    int error;   /* of a call: the errno that it may fail with */
    uint32_t id; /* copies of an inline function share theirs; set by fault_open() */
};

/* The section holds pointers, since compilers align structs as they like. */
#define FAULT_HERE(name, kind, error)                                                              \
    __extension__({                                                                                \
        static struct fault_point fault_here = {                                                   \
            name, __FILE__, __func__, __LINE__, kind, error, 0};                                   \
        static struct fault_point *fault_entry __attribute__((section("fault_points"), used)) =    \
            &fault_here;                                                                           \
        __builtin_expect(fault_opened, 0) ? fault_pass(&fault_here) : 0;                           \
    })

#define FAULT_POINT(name)             ((void)FAULT_HERE(name, FAULT_NAMED, 0))
#define FAULT_CALL(name, error, call) (FAULT_HERE(name, FAULT_FAILING, error) != 0 ? -1 : (call))
/* For calls that say otherwise that they failed; sets errno. */
#define FAULT_FAILS(name, error) (FAULT_HERE(name, FAULT_FAILING, error) != 0)
/* What this process is, from the name that it gives itself. */
#define FAULT_ROLE(name) fault_role(name)

extern bool fault_opened;
/* Not 0: the call is to fail, and errno says how. */
int fault_pass(const struct fault_point *point);
void fault_role(const char *process_name);

#else
#define FAULT_POINT(name)             ((void)0)
#define FAULT_CALL(name, error, call) (call)
#define FAULT_FAILS(name, error)      0
#define FAULT_ROLE(name)              ((void)0)
#endif

/* The process that passes `name` for the countdown-th time from now kills
 * itself with signal. One fault is armed at a time; name NULL disarms. */
void fault_arm(const char *name, int signal, int countdown);
/* True once the armed fault has struck. */
int fault_struck(void);

#ifdef MC_FAULTS

/* ---- for the program that visits all of them -------------------------------- */

enum fault_role_number {
    ROLE_OPENER,
    ROLE_CHILD, /* a fork of it that is a client too */
    ROLE_SUPERVISOR,
    ROLE_ZYGOTE,
    ROLE_WORKER,
    FAULT_ROLES,
    ROLE_ANY = FAULT_ROLES,
};
extern const char *const fault_role_names[FAULT_ROLES];

struct fault {
    uint32_t id;
    enum fault_role_number role;
    int signal; /* 0: the call fails instead */
    int countdown;
};

/* Numbers the points, and makes the memory that processes forked later share. */
void fault_open(void);
/* Another such memory, for processes that are to be struck by themselves: all that
 * follows is about the one in use. */
struct fault_memory *fault_memory_create(void);
void fault_use(struct fault_memory *memory);
uint32_t fault_count(void);
/* The first of those that share an id. */
const struct fault_point *fault_point(uint32_t id);
/* "pool/run.c:118 run_slot store", or a name of its own. */
const char *fault_title(uint32_t id);
/* "pool/run.c" of a point's file. */
const char *fault_file(const struct fault_point *point);

void fault_set(const struct fault *fault);
/* The process that was struck, 0: none yet. */
pid_t fault_victim(void);
/* Counts who passes where, from now on. */
void fault_record(bool on);
uint32_t fault_hits(uint32_t id, enum fault_role_number role);

#endif
#endif
