/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Who has which seat, who may stay there, and who has nothing to do.
 */
#include "pool/supervisor.h"

#include "base/sys.h"

#include <signal.h>

bool roster_has_heir(const struct seat *seat)
{
    return seat->posts[HEIR].socket >= 0 || seat->posts[HEIR].pidfd >= 0;
}

/* True for a worker that may stay while workers come from this zygote. */
static bool follows(const struct supervisor *supervisor, uint32_t index, const struct post *post,
                    const struct zygote *zygote)
{
    return control_class(supervisor->control, index) == SEAT_IO
               ? post->edition == zygote->edition
               : post->zygote == zygote->generation;
}

/* True for a worker of an older set-up whose turn it is to be followed: heirs start one by one.
 * One that is ready may wait for long, until its holder's task has ended. */
bool roster_outlived(struct supervisor *supervisor, uint32_t index)
{
    const struct zygote *zygote = zygotes_target(supervisor);
    const struct post *holder = &supervisor->seats[index].posts[HOLDER];
    if (zygote == NULL || holder->life != LIFE_UP || follows(supervisor, index, holder, zygote))
        return false;
    for (uint32_t i = 0; i < supervisor->config->seats; i++) {
        const struct seat *seat = &supervisor->seats[i];
        if (roster_has_heir(seat) && (i == index || seat->posts[HEIR].life != LIFE_UP))
            return false;
    }
    return true;
}

/* A seat whose workers cannot start may be why the zygote has to go. */
static bool is_settled(const struct seat *seat)
{
    enum seat_life life = seat->posts[HOLDER].life;
    return life == LIFE_UP || (life == LIFE_RESTING && seat->record.failed_starts == 0);
}

bool roster_all_follow(const struct supervisor *supervisor, const struct zygote *zygote)
{
    for (uint32_t i = 0; i < supervisor->config->seats; i++) {
        const struct seat *seat = &supervisor->seats[i];
        for (int which = HOLDER; which <= HEIR; which++)
            if (seat->posts[which].socket >= 0 &&
                !follows(supervisor, i, &seat->posts[which], zygote))
                return false;
        if (!is_settled(seat))
            return false;
    }
    return true;
}

bool roster_any_of(const struct supervisor *supervisor, enum seat_class seats, bool serving)
{
    const struct zygote *target = &supervisor->zygotes[supervisor->target];
    for (uint32_t i = 0; i < supervisor->config->seats; i++)
        for (int which = HOLDER; which <= (serving ? HOLDER : HEIR); which++) {
            const struct post *post = &supervisor->seats[i].posts[which];
            if (control_class(supervisor->control, i) == seats && post->life == LIFE_UP &&
                follows(supervisor, i, post, target))
                return true;
        }
    return false;
}

static bool idle(const struct supervisor *supervisor, uint32_t index)
{
    return supervisor->seats[index].posts[HOLDER].life == LIFE_UP &&
           atomic_load_explicit(&supervisor->control->rows[index].run_count,
                                memory_order_relaxed) == 0;
}

void roster_rouse(const struct supervisor *supervisor, uint32_t index)
{
    if (idle(supervisor, index))
        (void)sys_pidfd_kill(supervisor->seats[index].posts[HOLDER].pidfd, SIGURG);
}

bool roster_any_idle(const struct supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->config->seats; i++)
        if (idle(supervisor, i))
            return true;
    return false;
}

void roster_rouse_all(const struct supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->config->seats; i++)
        roster_rouse(supervisor, i);
}

bool roster_hopeless(const struct supervisor *supervisor, enum seat_class seats, uint32_t attempts)
{
    bool unborn = zygotes_fail(supervisor);
    uint32_t failed = 0;
    for (uint32_t i = 0; i < supervisor->config->seats; i++) {
        const struct seat *seat = &supervisor->seats[i];
        if (control_class(supervisor->control, i) != seats)
            continue;
        if (seat->posts[HOLDER].life != LIFE_RESTING ||
            (seat->record.failed_starts == 0 && !unborn))
            return false;
        failed += seat->record.failed_starts;
    }
    return failed >= attempts || unborn;
}

bool roster_all_hopeless(const struct supervisor *supervisor)
{
    for (enum seat_class seats = 0; seats < SEAT_CLASSES; seats++)
        if (!roster_hopeless(supervisor, seats, 0))
            return false;
    return true;
}

bool roster_all_gone(const struct supervisor *supervisor)
{
    if (supervisor->phase == PHASE_ENDED && !zygotes_all_gone(supervisor))
        return false;
    for (uint32_t i = 0; i < 2 * supervisor->config->seats; i++) {
        const struct post *post = &supervisor->seats[i / 2].posts[i % 2];
        if (post->pidfd >= 0 || post->socket >= 0)
            return false;
    }
    return true;
}
