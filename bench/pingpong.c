/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The asker makes the word odd, the answerer makes it even again.
 */
#include "pingpong.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WARM_UP = 200 };

static const uint32_t OVER = UINT32_MAX;

struct ball {
    _Alignas(64) _Atomic uint32_t word;
    bool spins;
    pid_t answerer;
};

static void set(struct ball *ball, uint32_t value)
{
    atomic_store_explicit(&ball->word, value, memory_order_release);
    if (!ball->spins)
        syscall(SYS_futex, &ball->word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* The new value. */
static uint32_t wait_while(struct ball *ball, uint32_t value)
{
    uint32_t seen;
    while ((seen = atomic_load_explicit(&ball->word, memory_order_acquire)) == value) {
        if (ball->spins)
            relax();
        else
            syscall(SYS_futex, &ball->word, FUTEX_WAIT, value, NULL, NULL, 0);
    }
    return seen;
}

static void answer(struct ball *ball)
{
    uint32_t value = 0;
    while ((value = wait_while(ball, value)) != OVER)
        set(ball, ++value);
    _exit(0);
}

static void ask(struct ball *ball)
{
    uint32_t value = atomic_load_explicit(&ball->word, memory_order_relaxed) + 1;
    set(ball, value);
    (void)wait_while(ball, value);
}

static struct ball *begin(bool spins, enum place answerer)
{
    struct ball *ball =
        mmap(NULL, sizeof(*ball), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (ball == MAP_FAILED)
        return NULL;
    ball->spins = spins;
    ball->answerer = fork();
    if (ball->answerer == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        place_on(answerer);
        answer(ball);
    }
    if (ball->answerer < 0) {
        munmap(ball, sizeof(*ball));
        return NULL;
    }
    for (int i = 0; i < WARM_UP; i++)
        ask(ball);
    return ball;
}

static void end(struct ball *ball)
{
    set(ball, OVER);
    while (waitpid(ball->answerer, NULL, 0) < 0 && errno == EINTR) {
    }
    munmap(ball, sizeof(*ball));
}

enum outcome ping_pong(unsigned figure, unsigned samples, struct ping_pong how)
{
    struct ball *ball = begin(how.spins, how.answerer);
    if (ball == NULL)
        return failed("no second process: %s", strerror(errno));
    for (unsigned i = 0; i < samples; i++) {
        if (how.idle_ns != 0)
            pause_ns(how.idle_ns);
        uint64_t began = now_ns();
        ask(ball);
        figure_add(figure, elapsed_ns(began, now_ns()));
    }
    end(ball);
    return MEASURED;
}
