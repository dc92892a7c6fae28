/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Zygotes that are forked from what is set up: by a worker, whose tasks have warmed it up
 * (refork.c), or by the target, to load one more module (lazy.c). The supervisor makes the
 * place and the socket before, and adopts the process when it speaks.
 */
#include "pool/supervisor.h"

#include "base/sys.h"
#include "pool/log.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REFORKS_MOST = 3 }; /* that may fail */

/* Makes the place that it will take, for the set-up of the target; *socket is its end, and
 * the kernel will write its pid into the row of this seat. */
static int expect(struct supervisor *supervisor, uint32_t place, int *socket)
{
    const struct zygote *target = &supervisor->zygotes[supervisor->target];
    struct zygote *forked = zygotes_other(supervisor);
    int ends[2];
    int result = channel_pair(ends);
    if (result < 0)
        return result;
    *forked = *target;
    forked->generation = forked->edition = ++supervisor->zygote_count;
    forked->fresh = false;
    forked->ready = forked->late = forked->lazy = false;
    forked->forked = true;
    forked->place = place;
    forked->started_ms = supervisor_now_ms();
    forked->text[0] = '\0';
    forked->status = 0;
    forked->pid = 0;
    forked->pidfd = -1;
    forked->socket = ends[0];
    atomic_store(&supervisor->control->rows[place].zygote_pid, 0);
    result = zygotes_watch(supervisor, forked, forked->socket, WATCH_ZYGOTE_SOCKET);
    if (result == 0) {
        *socket = ends[1];
        return 0;
    }
    close(ends[0]);
    close(ends[1]);
    *forked = (struct zygote){.pidfd = -1, .socket = -1};
    return result;
}

/* ---- by a worker ---- */

/* What a worker that offers itself is told; 0: it is to fork. */
static int may_refork(const struct supervisor *supervisor, uint32_t seat)
{
    const struct zygote *target = &supervisor->zygotes[supervisor->target];
    const struct post *holder = &supervisor->seats[seat].posts[HOLDER];
    if (!zygotes_may_change(supervisor) || supervisor->reload_wanted || !target->ready ||
        holder->life != LIFE_UP)
        return -EAGAIN;
    return target->warm || target->refork_failures >= REFORKS_MOST ||
                   holder->zygote != target->generation
               ? -ECANCELED
               : 0;
}

static void tell_threads(struct supervisor *supervisor, uint32_t seat, int32_t threads)
{
    struct zygote *target = &supervisor->zygotes[supervisor->target];
    char how[32];
    if (target->threads_told)
        return;
    target->threads_told = true;
    snprintf(how, sizeof(how), "has %d threads", threads);
    log_write(supervisor->control, MC_LOG_WARNING,
              "worker %d (seat %u) %s, and can be no zygote with more than one: end them in the "
              "handler or module that starts them, or leave refork-after out",
              (int)supervisor->seats[seat].posts[HOLDER].pid, seat,
              threads > 0 ? how : "cannot read /proc to count its threads");
}

static int expect_warm(struct supervisor *supervisor, uint32_t seat, int *socket)
{
    struct zygote *warm = zygotes_other(supervisor);
    int result = expect(supervisor, seat, socket);
    if (result == 0) {
        warm->warm = true;
        warm->seat = seat;
        warm->parent = supervisor->seats[seat].posts[HOLDER].pid;
    }
    return result;
}

void forks_by_worker(struct supervisor *supervisor, uint32_t seat, int32_t threads)
{
    struct parcel parcel = {.message = {.type = MESSAGE_FORK}};
    int status = may_refork(supervisor, seat);
    if (status == 0 && threads != 1) {
        tell_threads(supervisor, seat, threads);
        status = -ECANCELED;
    }
    if (status == 0 && expect_warm(supervisor, seat, &parcel.descriptors[0]) < 0)
        status = -EAGAIN;
    parcel.descriptor_count = status == 0;
    parcel.message.status = status;
    channel_tell(supervisor->seats[seat].posts[HOLDER].socket, &parcel);
    parcel_drop(&parcel);
}

/* ---- by the target ---- */

int forks_by_target(struct supervisor *supervisor, uint32_t row)
{
    const struct zygote *target = zygotes_target(supervisor);
    struct parcel parcel = {.message = {.type = MESSAGE_GROW, .index = row}, .descriptor_count = 1};
    if (supervisor->phase > PHASE_DRAINING || supervisor->phase < PHASE_OPEN ||
        supervisor->moving || zygotes_other(supervisor)->config != NULL || target == NULL)
        return -EAGAIN;
    int result = expect(supervisor, 0, &parcel.descriptors[0]);
    if (result < 0)
        return result;
    zygotes_other(supervisor)->lazy = true;
    zygotes_other(supervisor)->edition = target->edition;
    channel_tell(target->socket, &parcel);
    parcel_drop(&parcel); /* unless it was sent, we see the end of its socket */
    return 0;
}

bool forks_is_growing(const struct supervisor *supervisor)
{
    return supervisor->zygotes[0].lazy || supervisor->zygotes[1].lazy;
}

/* ---- what becomes of it ---- */

static bool is_our_child(pid_t pid)
{
    siginfo_t info;
    return pid > 0 && waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0;
}

/* It exists: from now on its death is known from its pidfd. A worker could have written
 * any number into its row. */
bool forks_adopt(struct supervisor *supervisor, struct zygote *zygote)
{
    pid_t pid = atomic_load(&supervisor->control->rows[zygote->place].zygote_pid);
    if (!is_our_child(pid))
        return false;
    zygote->pid = pid;
    zygote->pidfd = sys_pidfd_open(pid);
    if (zygote->pidfd >= 0 &&
        zygotes_watch(supervisor, zygote, zygote->pidfd, WATCH_ZYGOTE_PID) == 0)
        return true;
    (void)keeper_end_child(pid);
    sys_close(&zygote->pidfd);
    return false;
}

void forks_failed(struct supervisor *supervisor, struct zygote *old, const char *why)
{
    bool again = ++old->refork_failures < REFORKS_MOST;
    log_write(supervisor->control, MC_LOG_WARNING, "no warm zygote: %s; %s", why,
              again ? "another try comes after as many tasks"
                    : "there is no other try until a reload");
}

void forks_abandon(struct supervisor *supervisor, struct zygote *forked, int status,
                   const char *why, bool died)
{
    bool lazy = forked->lazy;
    sys_close(&forked->socket);
    zygotes_forget(supervisor, forked);
    if (lazy)
        lazy_failed(supervisor, status, why, died);
    else
        forks_failed(supervisor, &supervisor->zygotes[supervisor->target], why);
}
