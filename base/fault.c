/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Plain words and the compilers' builtins instead of <stdatomic.h>, whose stores
 * are fault points themselves.
 */
#include "base/fault.h"

#ifdef MC_FAULTS

#include "base/check.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { POINTS_MOST = 1024, TITLE_SIZE = 96 };

const char *const fault_role_names[FAULT_ROLES] = {"opener", "child", "supervisor", "zygote",
                                                   "worker"};

/* The linker knows where the section begins and ends. */
extern struct fault_point *__start_fault_points[], *__stop_fault_points[];

/* Shared by all processes that are forked after fault_open(). */
struct fault_memory {
    struct fault fault;
    int32_t countdown;
    pid_t victim;
    bool recording;
    uint32_t hits[POINTS_MOST][FAULT_ROLES];
};

bool fault_opened;
static struct fault_memory *memory;
static const struct fault_point *points[POINTS_MOST];
static uint32_t point_count;
static enum fault_role_number own_role = ROLE_OPENER;

/* ---- the list ---- */

const char *fault_file(const struct fault_point *point)
{
    const char *from = point->file;
    int slashes = 0;
    for (const char *at = point->file + strlen(point->file); at != point->file; at--)
        if (at[-1] == '/' && ++slashes == 2) {
            from = at;
            break;
        }
    return from;
}

/* Copies of an inline function are the same place, and so are points that were
 * given the same name. */
static bool same(const struct fault_point *one, const struct fault_point *other)
{
    if (one->kind != other->kind)
        return false;
    if (one->kind != FAULT_STORE)
        return strcmp(one->name, other->name) == 0;
    return one->line == other->line && strcmp(fault_file(one), fault_file(other)) == 0;
}

static uint32_t number(const struct fault_point *point)
{
    for (uint32_t id = 0; id < point_count; id++)
        if (same(points[id], point))
            return id;
    CHECK(point_count < POINTS_MOST);
    points[point_count] = point;
    return point_count++;
}

void fault_open(void)
{
    if (memory != NULL)
        return;
    for (struct fault_point **entry = __start_fault_points; entry != __stop_fault_points; entry++)
        (*entry)->id = number(*entry);
    fault_use(fault_memory_create());
    fault_opened = true;
}

struct fault_memory *fault_memory_create(void)
{
    struct fault_memory *made =
        mmap(NULL, sizeof(*made), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(made != MAP_FAILED);
    return made;
}

void fault_use(struct fault_memory *other)
{
    memory = other;
}

uint32_t fault_count(void)
{
    return point_count;
}

const struct fault_point *fault_point(uint32_t id)
{
    return points[id];
}

const char *fault_title(uint32_t id)
{
    static char title[TITLE_SIZE];
    const struct fault_point *point = points[id];
    if (point->kind != FAULT_STORE)
        return point->name;
    snprintf(title, sizeof(title), "%s:%d %s %s", fault_file(point), point->line, point->function,
             point->name);
    return title;
}

/* ---- arming and striking ---- */

void fault_set(const struct fault *fault)
{
    fault_open();
    __atomic_store_n(&memory->countdown, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&memory->victim, 0, __ATOMIC_SEQ_CST);
    if (fault == NULL)
        return;
    memory->fault = *fault;
    __atomic_store_n(&memory->countdown, fault->countdown, __ATOMIC_SEQ_CST);
}

void fault_arm(const char *name, int signal, int countdown)
{
    struct fault fault = {.role = ROLE_ANY, .signal = signal, .countdown = countdown};
    fault_set(NULL);
    if (name == NULL)
        return;
    while (fault.id < point_count && strcmp(fault_title(fault.id), name) != 0)
        fault.id++;
    fault_set(&fault);
}

pid_t fault_victim(void)
{
    return memory == NULL ? 0 : __atomic_load_n(&memory->victim, __ATOMIC_SEQ_CST);
}

int fault_struck(void)
{
    return fault_victim() != 0;
}

void fault_record(bool on)
{
    fault_open();
    if (on)
        memset(memory->hits, 0, sizeof(memory->hits));
    __atomic_store_n(&memory->recording, on, __ATOMIC_SEQ_CST);
}

uint32_t fault_hits(uint32_t id, enum fault_role_number role)
{
    return __atomic_load_n(&memory->hits[id][role], __ATOMIC_SEQ_CST);
}

void fault_role(const char *process_name)
{
    own_role = ROLE_WORKER;
    for (int role = 0; role < FAULT_ROLES; role++)
        if (strstr(process_name, fault_role_names[role]) != NULL)
            own_role = (enum fault_role_number)role;
}

int fault_pass(const struct fault_point *point)
{
    if (__atomic_load_n(&memory->recording, __ATOMIC_RELAXED))
        __atomic_fetch_add(&memory->hits[point->id][own_role], 1, __ATOMIC_RELAXED);
    if (__atomic_load_n(&memory->countdown, __ATOMIC_RELAXED) <= 0 ||
        memory->fault.id != point->id ||
        (memory->fault.role != ROLE_ANY && memory->fault.role != own_role) ||
        __atomic_fetch_sub(&memory->countdown, 1, __ATOMIC_SEQ_CST) != 1)
        return 0;
    int signal = memory->fault.signal;
    __atomic_store_n(&memory->victim, getpid(), __ATOMIC_SEQ_CST);
    if (signal != 0) {
        int saved = errno;
        kill(getpid(), signal);
        errno = saved;
        return 0;
    }
    errno = point->error;
    return point->error;
}

#endif
