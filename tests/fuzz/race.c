/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A thread that changes bits of the memory between disturb_begin() and
 * disturb_end(), mostly in the slots and rings, which come first.
 */
#include "tests/fuzz/disturb.h"

#include "tests/fuzz/fuzz.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum { BUSY_PART = 12 * 1024 };

const bool disturbed = true;

static _Atomic uint8_t *target;
static size_t target_size;
static uint32_t random_state;
static _Atomic bool wanted, working;
static bool started;

static uint32_t draw(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state;
}

static void *work(void *unused)
{
    for (;;) {
        if (!atomic_load(&wanted)) {
            atomic_store(&working, false);
            while (!atomic_load(&wanted))
                (void)sched_yield();
            atomic_store(&working, true);
        }
        uint32_t number = draw();
        size_t part = (number & 3) != 0 && target_size > BUSY_PART ? BUSY_PART : target_size;
        atomic_fetch_xor_explicit(&target[draw() % part], (uint8_t)(1u << (number >> 29)),
                                  memory_order_relaxed);
        for (uint32_t pause = 0; pause < (number >> 8 & 0xff); pause++)
            __asm__ volatile("" ::: "memory");
    }
    return NULL;
}

void disturb_begin(uint8_t *memory, size_t size, uint32_t seed)
{
    pthread_t thread;
    target = (_Atomic uint8_t *)memory;
    target_size = size;
    random_state = seed | 1;
    atomic_store(&wanted, true);
    if (!started)
        EXPECT(pthread_create(&thread, NULL, work, NULL) == 0);
    started = true;
    while (!atomic_load(&working))
        (void)sched_yield();
}

void disturb_end(void)
{
    atomic_store(&wanted, false);
    while (atomic_load(&working))
        (void)sched_yield();
}
