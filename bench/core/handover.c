/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the memory alone costs of handing a task over and getting it back, with none of the
 * library: two cache lines, as in a lane. The ticket's goes over. The task's goes over,
 * is claimed, ended, and comes back.
 */
#include "probes.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WARM_UP = 2000 };
enum step { SUBMITTED, CLAIMED, ENDED, STEPS };

struct desk {
    _Alignas(64) _Atomic uint64_t ticket; /* the number of the newest task */
    _Alignas(64) _Atomic uint64_t task;   /* number * STEPS + step */
};

static void wait_for(_Atomic uint64_t *word, uint64_t value)
{
    while (atomic_load_explicit(word, memory_order_acquire) != value)
        relax();
}

static void change(_Atomic uint64_t *word, uint64_t from, uint64_t to)
{
    (void)atomic_compare_exchange_strong_explicit(word, &from, to, memory_order_acq_rel,
                                                  memory_order_relaxed);
}

static void serve(struct desk *desk)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    place_on(SECOND_CPU);
    for (uint64_t number = 1;; number++) {
        wait_for(&desk->ticket, number);
        change(&desk->task, number * STEPS + SUBMITTED, number * STEPS + CLAIMED);
        change(&desk->task, number * STEPS + CLAIMED, number * STEPS + ENDED);
    }
}

static void hand_over(struct desk *desk, uint64_t number)
{
    atomic_store_explicit(&desk->task, number * STEPS + SUBMITTED, memory_order_release);
    atomic_store_explicit(&desk->ticket, number, memory_order_release);
    wait_for(&desk->task, number * STEPS + ENDED);
}

enum outcome floor_handover(const struct probe *probe, unsigned samples)
{
    struct desk *desk =
        mmap(NULL, sizeof(*desk), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (desk == MAP_FAILED)
        return failed("no shared memory: %s", strerror(errno));
    pid_t server = fork();
    if (server == 0)
        serve(desk);
    if (server < 0) {
        munmap(desk, sizeof(*desk));
        return failed("no second process: %s", strerror(errno));
    }
    for (uint64_t number = 1; number <= WARM_UP + samples; number++) {
        uint64_t began = now_ns();
        hand_over(desk, number);
        if (number > WARM_UP)
            figure_add(probe->figure, elapsed_ns(began, now_ns()));
    }
    (void)kill(server, SIGKILL);
    while (waitpid(server, NULL, 0) < 0 && errno == EINTR) {
    }
    munmap(desk, sizeof(*desk));
    return MEASURED;
}
