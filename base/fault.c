/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/fault.h"

#ifdef MC_FAULTS

#include "base/check.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct armed {
    char name[64];
    int signal;
    _Atomic int countdown;
    _Atomic int struck;
};

static struct armed *armed;

void fault_arm(const char *name, int signal, int countdown)
{
    if (armed == NULL) {
        armed =
            mmap(NULL, sizeof(*armed), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        CHECK(armed != MAP_FAILED);
    }
    atomic_store(&armed->countdown, 0);
    atomic_store(&armed->struck, 0);
    if (name == NULL)
        return;
    snprintf(armed->name, sizeof(armed->name), "%s", name);
    armed->signal = signal;
    atomic_store(&armed->countdown, countdown);
}

int fault_struck(void)
{
    return armed != NULL && atomic_load(&armed->struck);
}

void fault_hit(const char *name)
{
    if (armed == NULL || atomic_load(&armed->countdown) <= 0 || strcmp(armed->name, name) != 0)
        return;
    if (atomic_fetch_sub(&armed->countdown, 1) != 1)
        return;
    atomic_store(&armed->struck, 1);
    kill(getpid(), armed->signal);
}

#endif
