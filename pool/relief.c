/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The seats as time goes by: rests that are over, workers that take too long to start or to
 * leave, and those that are to be followed.
 */
#include "pool/supervisor.h"

#include "base/sys.h"

#include <signal.h>
#include <stdio.h>

static const char *const move_texts[] = {[MOVE_SET_UP] = "a new set-up",
                                         [MOVE_WARM] = "a warm zygote",
                                         [MOVE_LAZY] = "a module that was loaded",
                                         [MOVE_BACK] = "a set-up that was given up"};

/* Its worker_init is not over by then, and has a limit. */
static bool starts_late(const struct post *post, uint64_t now_ms)
{
    return post->life == LIFE_STARTING && !post->late && post->due_ms != 0 &&
           post->due_ms <= now_ms;
}

static void end_late(struct seat *seat, uint64_t now_ms)
{
    for (int which = HOLDER; which <= HEIR; which++) {
        struct post *post = &seat->posts[which];
        if (starts_late(post, now_ms)) {
            post->late = true;
            (void)sys_pidfd_kill(post->pidfd, SIGKILL);
        }
    }
}

/* The holder is asked to leave, or about to, and does not. */
static void end_stay(struct supervisor *supervisor, uint32_t index, uint64_t now_ms)
{
    struct seat *seat = &supervisor->seats[index];
    if (seat->leave_due_ms != 0 && seat->leave_due_ms <= now_ms) {
        seat->leave_due_ms = 0; /* it stays too long in worker_exit */
        (void)sys_pidfd_kill(seat->posts[HOLDER].pidfd, SIGKILL);
    }
    if (seat->rouse_due_ms != 0 && seat->rouse_due_ms <= now_ms) {
        seat->rouse_due_ms = now_ms + ROUSE_MS; /* what woke it was swallowed, or it works */
        roster_rouse(supervisor, index);
    }
}

/* The holder is to be followed, for a reason of its own or because of a new set-up. */
static void name_heir(struct supervisor *supervisor, uint32_t index, uint64_t now_ms)
{
    struct seat *seat = &supervisor->seats[index];
    if (seat->retire_due_ms == 0 && roster_outlived(supervisor, index)) {
        snprintf(seat->retire_text, sizeof(seat->retire_text), "%s", move_texts[supervisor->move]);
        seat->outlived = true;
        seat->retire_due_ms = now_ms;
    }
    if (seat->retire_due_ms == 0 || seat->retire_due_ms > now_ms)
        return;
    seat->retire_due_ms = 0;
    if (seat->posts[HOLDER].life == LIFE_UP && !roster_has_heir(seat)) {
        seat->posts[HEIR].life = LIFE_EMPTY;
        keeper_happen(supervisor, index, HEIR, HAPPENS_SPAWN, 0);
    }
}

void relief_due(struct supervisor *supervisor, uint64_t now_ms)
{
    if (supervisor->phase >= PHASE_LEAVING)
        return;
    for (uint32_t i = 0; i < supervisor->config->seats; i++) {
        const struct post *holder = &supervisor->seats[i].posts[HOLDER];
        if (holder->life == LIFE_RESTING && holder->due_ms <= now_ms)
            keeper_happen(supervisor, i, HOLDER, HAPPENS_DUE, 0);
        end_late(&supervisor->seats[i], now_ms);
        end_stay(supervisor, i, now_ms);
        name_heir(supervisor, i, now_ms);
    }
}

static void sooner(uint64_t *next, uint64_t due_ms)
{
    if (due_ms != 0 && due_ms < *next)
        *next = due_ms;
}

uint64_t relief_next_due(const struct supervisor *supervisor)
{
    uint64_t next = UINT64_MAX;
    if (supervisor->phase >= PHASE_LEAVING)
        return next;
    for (uint32_t i = 0; i < supervisor->config->seats; i++) {
        const struct seat *seat = &supervisor->seats[i];
        if (seat->posts[HOLDER].life == LIFE_RESTING)
            sooner(&next, seat->posts[HOLDER].due_ms);
        for (int which = HOLDER; which <= HEIR; which++)
            if (starts_late(&seat->posts[which], UINT64_MAX))
                sooner(&next, seat->posts[which].due_ms);
        sooner(&next, seat->retire_due_ms);
        sooner(&next, seat->leave_due_ms);
        sooner(&next, seat->rouse_due_ms);
    }
    return next;
}
