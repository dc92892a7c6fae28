/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A thread that changes bits of the memory between disturb_begin() and
 * disturb_end(), mostly in the slots and rings, which come first.
 */
#include "tests/fuzz/disturb.h"

#include "tests/fuzz/fuzz.h"

#include <pthread.h>
#include <stdatomic.h>

enum { BUSY_PART = 12 * 1024, AT_ONCE = 2, PAUSES = 2000 };

const bool disturbed = true;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wanted = PTHREAD_COND_INITIALIZER;
static _Atomic uint8_t *target; /* NULL: none */
static size_t target_size;
static uint32_t random_state;
static bool started;

static uint32_t draw(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state;
}

/* Bits are changed under the lock, some at a time: so whoever holds it knows that
 * none is. */
static void change_some(void)
{
    for (int i = 0; i < AT_ONCE; i++) {
        uint32_t number = draw();
        size_t part = (number & 3) != 0 && target_size > BUSY_PART ? BUSY_PART : target_size;
        atomic_fetch_xor_explicit(&target[draw() % part], (uint8_t)(1u << (number >> 29)),
                                  memory_order_relaxed);
    }
}

static void *work(void *unused)
{
    pthread_mutex_lock(&lock);
    for (;;) {
        while (target == NULL)
            pthread_cond_wait(&wanted, &lock);
        change_some();
        pthread_mutex_unlock(&lock);
        for (uint32_t pause = 0; pause < PAUSES; pause++)
            __asm__ volatile("" ::: "memory");
        pthread_mutex_lock(&lock);
    }
    return NULL;
}

void disturb_begin(uint8_t *memory, size_t size, uint32_t seed)
{
    pthread_t thread;
    pthread_mutex_lock(&lock);
    target = (_Atomic uint8_t *)memory;
    target_size = size;
    random_state = seed | 1;
    if (!started)
        EXPECT(pthread_create(&thread, NULL, work, NULL) == 0);
    started = true;
    pthread_cond_signal(&wanted);
    pthread_mutex_unlock(&lock);
}

void disturb_end(void)
{
    pthread_mutex_lock(&lock);
    target = NULL;
    pthread_mutex_unlock(&lock);
}
