/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The seats: asking for workers, letting them start, noticing their death.
 */
#include "pool/supervisor.h"

#include "base/fault.h"
#include "base/sys.h"
#include "ipc/tally.h"
#include "ipc/wake.h"
#include "pool/log.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ATTEMPTS_LEAST = 3 }; /* that fail before tasks are given up for want of workers */
enum { HEIRS_MOST = 3 }; /* that may die before they are ready, until a new set-up is given up */

/* Ends a child that cannot be watched, here and now. Nobody but us waits for our
 * children, so the pid is still its own, and the kernel confirms the death. */
int keeper_end_child(pid_t pid)
{
    int status = 0;
    (void)kill(pid, SIGKILL);
    while (waitpid(pid, &status, __WALL) < 0 && errno == EINTR) {
    }
    return status;
}

struct bells *keeper_bells(const struct supervisor *supervisor, uint32_t index)
{
    return &supervisor->bells[control_class(supervisor->control, index)];
}

void keeper_kick_all(const struct supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->config->seats; i++)
        wake_kick(keeper_bells(supervisor, i), i);
}

/* ---- birth ---- */

static struct post *post_of(struct supervisor *supervisor, uint32_t index, int which)
{
    return &supervisor->seats[index].posts[which];
}

static _Atomic int32_t *pid_place(struct supervisor *supervisor, uint32_t index, bool heir)
{
    struct seat_row *row = &supervisor->control->rows[index];
    return heir ? &row->heir_pid : &row->pid;
}

static void rest(struct post *post, uint32_t rest_ms)
{
    post->life = LIFE_RESTING;
    post->due_ms = supervisor_now_ms() + rest_ms;
}

/* Tasks for these seats are given up if no worker of theirs can be started. */
static void consider_hope(struct supervisor *supervisor, uint32_t index)
{
    enum seat_class seats = control_class(supervisor->control, index);
    if (!roster_hopeless(supervisor, seats, ATTEMPTS_LEAST))
        return;
    atomic_fetch_or(&supervisor->control->hopeless, 1u << seats);
    lanes_alarm(supervisor);
}

/* A request that failed is made again after a rest; or as soon as there is a zygote. */
static void ask_later(struct supervisor *supervisor, uint32_t index, int which)
{
    struct seat *seat = &supervisor->seats[index];
    if (which == HEIR) {
        seat->posts[HEIR].life = LIFE_EMPTY;
        seat->retire_due_ms = supervisor_now_ms() + BACKOFF_FIRST_MS;
        return;
    }
    rest(&seat->posts[HOLDER],
         zygotes_fail(supervisor) ? BACKOFF_MOST_MS : seat_pause_ms(&seat->record));
    consider_hope(supervisor, index);
}

/* Makes the place that the worker will take; its end of the socket, or a negative errno. Before it
 * is asked for: one that is not watched would be reaped by nobody. */
static int expect(struct supervisor *supervisor, const struct zygote *zygote, uint32_t index,
                  int which)
{
    struct post *post = post_of(supervisor, index, which);
    int ends[2];
    int result = channel_pair(ends);
    if (result < 0)
        return result;
    *post = (struct post){.life = LIFE_ASKED,
                          .heir = which == HEIR,
                          .zygote = zygote->generation,
                          .edition = zygote->edition,
                          .set_up = zygote->set_up,
                          .pidfd = -1,
                          .socket = ends[0]};
    atomic_store(pid_place(supervisor, index, post->heir), 0);
    result = supervisor_watch(supervisor, post->socket,
                              which == HEIR ? WATCH_HEIR_SOCKET : WATCH_SEAT_SOCKET, index);
    if (result == 0)
        return ends[1];
    sys_close(&post->socket);
    close(ends[1]);
    return result;
}

static void ask(struct supervisor *supervisor, uint32_t index, int which)
{
    const struct zygote *zygote = zygotes_target(supervisor);
    struct parcel parcel = {.message = {.type = MESSAGE_SPAWN, .index = index, .value = which},
                            .descriptor_count = 1};
    if (zygote == NULL) {
        ask_later(supervisor, index, which);
        return;
    }
    parcel.descriptors[0] = expect(supervisor, zygote, index, which);
    if (parcel.descriptors[0] < 0) {
        if (which == HOLDER)
            supervisor->seats[index].record.failed_starts++;
        ask_later(supervisor, index, which);
        return;
    }
    channel_tell(zygote->socket, &parcel);
    parcel_drop(&parcel); /* unless it was sent, we see the end of its socket */
}

/* The worker exists: from now on its death is known from its pidfd. */
static bool adopt(struct supervisor *supervisor, uint32_t index, int which)
{
    struct post *post = post_of(supervisor, index, which);
    post->pid = atomic_load(pid_place(supervisor, index, post->heir));
    post->pidfd = post->pid > 0 ? sys_pidfd_open(post->pid) : -ESRCH;
    return post->pidfd >= 0 &&
           supervisor_watch(supervisor, post->pidfd,
                            which == HEIR ? WATCH_HEIR_PID : WATCH_SEAT_PID, index) == 0;
}

static void tell(const struct post *post, uint32_t type)
{
    struct parcel parcel = {.message = {.type = type}};
    channel_tell(post->socket, &parcel);
}

/* An heir has the seat now; it may still be on its way. */
static void hand_over(struct supervisor *supervisor, uint32_t index)
{
    const struct post *post = post_of(supervisor, index, HOLDER);
    atomic_store(&supervisor->control->rows[index].pid, post->pid);
    tell(post, MESSAGE_TAKE);
}

static void end_unwatched(struct supervisor *supervisor, uint32_t index, int which)
{
    pid_t pid = post_of(supervisor, index, which)->pid;
    keeper_happen(supervisor, index, which, HAPPENS_DEATH, pid > 0 ? keeper_end_child(pid) : 0);
}

static void go(struct supervisor *supervisor, uint32_t index, int which)
{
    const struct topology *topology = &supervisor->config->topology;
    struct post *post = post_of(supervisor, index, which);
    bool pinned = supervisor->config->pinning == MC_PIN_CORE;
    struct parcel parcel = {.message = {.type = MESSAGE_GO,
                                        .status = post->heir ? 1 : 0,
                                        .value = pinned && index < supervisor->config->workers
                                                     ? topology->cpus[index % topology->cpu_count]
                                                     : -1}};
    if (!adopt(supervisor, index, which)) {
        end_unwatched(supervisor, index, which);
        return;
    }
    /* Who came before may be in it still, and this one as soon as it has heard. */
    if (supervisor->config->startup != NULL)
        supervisor->config->startup->starting[index] = 0;
    channel_tell(post->socket, &parcel);
    uint32_t limit_ms = supervisor->config->load_timeout_ms;
    post->due_ms = limit_ms != 0 ? supervisor_now_ms() + limit_ms : 0;
    if (post->heir && which == HOLDER)
        hand_over(supervisor, index);
}

static void open_seat(struct supervisor *supervisor, uint32_t index)
{
    supervisor->seats[index].record.failed_starts = 0;
    atomic_fetch_and(&supervisor->control->hopeless,
                     ~(1u << control_class(supervisor->control, index)));
    atomic_fetch_add(&supervisor->control->seats_up, 1);
    tally_count(&supervisor->control->totals.workers_started);
    if (supervisor->phase == PHASE_OPENING) {
        supervisor->phase = PHASE_OPEN;
        if (supervisor->config->serve != NULL)
            door_tell(supervisor, SERVE_READY, "");
        else
            lanes_welcome(supervisor, &supervisor->tenants[0]);
    }
}

/* The successor is ready: the holder is to leave after its present task. */
static void ask_to_leave(struct supervisor *supervisor, uint32_t index)
{
    atomic_store(&supervisor->control->rows[index].leave, 1);
    wake_seat(keeper_bells(supervisor, index), index);
    supervisor->seats[index].rouse_due_ms = supervisor_now_ms() + ROUSE_MS;
}

/* ---- death ---- */

static void describe_death(const struct seat *seat, int status, char *text, size_t size)
{
    if (seat->posts[HOLDER].late)
        snprintf(text, size, "took too long (load-timeout)");
    else if (seat->doom.why == DOOM_TIME)
        snprintf(text, size, "was killed for a task that was over its time limit");
    else if (seat->doom.why == DOOM_CANCEL)
        snprintf(text, size, "was killed for a task that was cancelled by force");
    else if (WIFSIGNALED(status))
        snprintf(text, size, "was killed by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(text, size, "exited with status %d", WEXITSTATUS(status));
}

/* Where it was in its start. */
static void describe_start(const struct supervisor *supervisor, uint32_t index, char *text,
                           size_t size)
{
    const struct startup *startup = supervisor->config->startup;
    if (startup == NULL || !startup_blame_worker(startup, index, text, size))
        snprintf(text, size, " while it started");
}

/* The seat goes to the heir, however far that has come. */
static void promote(struct supervisor *supervisor, uint32_t index)
{
    struct seat *seat = &supervisor->seats[index];
    struct post *post = &seat->posts[HOLDER];
    *post = seat->posts[HEIR];
    seat->posts[HEIR] = (struct post){.life = LIFE_EMPTY, .pidfd = -1, .socket = -1};
    (void)supervisor_rewatch(supervisor, post->socket, WATCH_SEAT_SOCKET, index);
    if (post->pidfd >= 0)
        (void)supervisor_rewatch(supervisor, post->pidfd, WATCH_SEAT_PID, index);
    if (post->life == LIFE_UP)
        open_seat(supervisor, index);
    if (post->life != LIFE_ASKED)
        hand_over(supervisor, index);
}

/* Its worker is to stay. */
static void forget_wish(struct seat *seat)
{
    seat->retire_due_ms = 0;
    seat->retire_text[0] = '\0';
    seat->outlived = false;
}

/* Heirs that failed were those of the set-up that is given up; one that is there comes to
 * its turn. */
void keeper_stay(struct supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->config->seats; i++) {
        struct seat *seat = &supervisor->seats[i];
        if (seat->outlived && !roster_has_heir(seat))
            forget_wish(seat);
        if (seat->posts[HOLDER].life == LIFE_UP)
            seat->record.failed_starts = 0;
    }
}

/* What may come next at a seat whose worker is dead. */
static void succeed(struct supervisor *supervisor, uint32_t index, uint32_t rest_ms)
{
    struct seat *seat = &supervisor->seats[index];
    seat->leave_due_ms = seat->rouse_due_ms = 0;
    forget_wish(seat);
    const struct post *heir = &seat->posts[HEIR];
    if (heir->socket >= 0 && !heir->init_failed && !heir->late) { /* else it is about to end */
        promote(supervisor, index);
        return;
    }
    rest(&seat->posts[HOLDER], rest_ms);
    if (rest_ms == 0)
        keeper_happen(supervisor, index, HOLDER, HAPPENS_DUE, 0);
    else
        consider_hope(supervisor, index);
}

/* Workers of the target do not start, or this one has said why it cannot: back to what was
 * there before, if something was. */
static void consider_giving_up(struct supervisor *supervisor, const struct post *post,
                               const char *how)
{
    struct zygote *target = &supervisor->zygotes[supervisor->target];
    if (!supervisor->moving || post->zygote != target->generation)
        return;
    if (++target->failed_starts >= HEIRS_MOST || post->init_failed)
        zygotes_give_up(supervisor, post->init_failed ? supervisor->init_text : how);
}

/* This one did start. */
static void note_start(struct supervisor *supervisor, const struct post *post)
{
    struct zygote *target = &supervisor->zygotes[supervisor->target];
    if (post->zygote == target->generation)
        target->failed_starts = 0;
    supervisor->unborn_told = false;
}

/* Settles what the worker left and says when it is to be replaced. */
static void bury(struct supervisor *supervisor, uint32_t index, int status, enum seat_life was)
{
    struct seat *seat = &supervisor->seats[index];
    struct post *post = &seat->posts[HOLDER];
    char how[224];
    /* Its last message may not have been read yet, and the sweep clears the row. */
    bool left =
        (seat->leave_due_ms != 0 || atomic_load(&supervisor->control->rows[index].leave) != 0) &&
        WIFEXITED(status) && WEXITSTATUS(status) == 0;
    bool ended_by_us = seat->doom.why != DOOM_NONE && was == LIFE_UP;
    describe_death(seat, status, how, sizeof(how));
    sweep_seat(supervisor, index, status);
    seat->doom = (struct doom){.why = DOOM_NONE};
    sys_close(&post->pidfd);
    sys_close(&post->socket);
    if (was == LIFE_UP)
        atomic_fetch_sub(&supervisor->control->seats_up, 1);
    if (supervisor->phase >= PHASE_LEAVING)
        return;
    if (was == LIFE_ASKED) { /* never born: the zygote died, or could not fork, and says so */
        rest(post, seat_pause_ms(&seat->record));
        consider_hope(supervisor, index);
        return;
    }
    if (left) {
        tally_count(&supervisor->control->totals.workers_retired);
        log_write(supervisor->control, MC_LOG_INFO,
                  "worker %d (seat %u) made room for its successor, because of %s", (int)post->pid,
                  index, seat->retire_text);
        succeed(supervisor, index, 0);
        return;
    }
    tally_count(&supervisor->control->totals.workers_died);
    /* Clients have workers killed as they like, which says nothing against the next. */
    uint32_t rest_ms =
        ended_by_us ? 0 : seat_rest_ms(&seat->record, was == LIFE_UP, supervisor_now_ms());
    if (was == LIFE_STARTING && !post->init_failed) {
        describe_start(supervisor, index, how + strlen(how), sizeof(how) - strlen(how));
        if (supervisor->init_text[0] == '\0')
            snprintf(supervisor->init_text, sizeof(supervisor->init_text), "worker %d %s",
                     (int)post->pid, how);
    }
    log_write(supervisor->control, MC_LOG_WARNING, "worker %d (seat %u) %s; the next one starts %s",
              (int)post->pid, index, how, rest_ms == 0 ? "now" : "after a pause");
    if (was == LIFE_STARTING)
        consider_giving_up(supervisor, post, how);
    succeed(supervisor, index, rest_ms);
}

/* An heir that never came to be one: the holder goes on, and asks again later if it was
 * the one who wants to retire. */
static void bury_heir(struct supervisor *supervisor, uint32_t index)
{
    struct seat *seat = &supervisor->seats[index];
    struct post *post = &seat->posts[HEIR];
    char why[128];
    sys_close(&post->pidfd);
    sys_close(&post->socket);
    if (supervisor->phase >= PHASE_LEAVING)
        return;
    atomic_store(&supervisor->control->rows[index].leave, 0);
    seat->rouse_due_ms = 0;
    uint64_t now = supervisor_now_ms();
    uint32_t rest_ms = seat_rest_ms(&seat->record, false, now);
    snprintf(why, sizeof(why), "its workers %s", post->late ? "take too long" : "die");
    describe_start(supervisor, index, why + strlen(why), sizeof(why) - strlen(why));
    consider_giving_up(supervisor, post, why);
    if (seat->retire_text[0] == '\0')
        return;
    seat->retire_due_ms = now + rest_ms;
    log_write(supervisor->control, MC_LOG_WARNING,
              "no successor for seat %u: worker %d died before it was ready; another try in %u ms",
              index, (int)post->pid, rest_ms);
}

/* ---- what happens to a worker ---- */

void keeper_happen(struct supervisor *supervisor, uint32_t index, int which,
                   enum seat_happening happening, int status)
{
    struct post *post = post_of(supervisor, index, which);
    enum seat_life was = post->life;
    struct seat_step step = seat_step(was, happening);
    post->life = step.next;
    switch (step.action) {
    case ACT_NOTHING:
    case ACT_REPORT:
        break;
    case ACT_ASK:
        ask(supervisor, index, which);
        break;
    case ACT_GO:
        go(supervisor, index, which);
        break;
    case ACT_OPEN:
        note_start(supervisor, post);
        if (which == HOLDER)
            open_seat(supervisor, index);
        else
            ask_to_leave(supervisor, index);
        break;
    case ACT_SWEEP:
        if (which == HOLDER)
            bury(supervisor, index, status, was);
        else
            bury_heir(supervisor, index);
        break;
    case ACT_KILL:
        (void)sys_pidfd_kill(post->pidfd, SIGKILL);
        break;
    }
}

void keeper_unborn(struct supervisor *supervisor, const struct message *message)
{
    uint32_t index = message->index;
    if (index >= supervisor->config->seats)
        return;
    supervisor->init_status = message->status;
    snprintf(supervisor->init_text, sizeof(supervisor->init_text),
             "no worker can be forked: %s; see the limits of processes (RLIMIT_NPROC, pids.max) "
             "and of memory",
             strerror(-message->status));
    if (!supervisor->unborn_told)
        log_write(supervisor->control, MC_LOG_ERROR, "%s", supervisor->init_text);
    supervisor->unborn_told = true;
    if (message->value != HOLDER)
        return; /* of an heir it is noted when its post is cleared */
    supervisor->seats[index].record.failed_starts++;
    consider_hope(supervisor, index);
}

static void init_failed(struct supervisor *supervisor, uint32_t index, int which,
                        const struct message *message)
{
    post_of(supervisor, index, which)->init_failed = true;
    supervisor->init_status = message->status;
    memcpy(supervisor->init_text, message->text, sizeof(message->text));
    log_write(supervisor->control, MC_LOG_ERROR, "worker_init failed in worker %d: %s",
              (int)post_of(supervisor, index, which)->pid, message->text);
    keeper_happen(supervisor, index, which, HAPPENS_INIT_FAILED, 0);
}

static void wants_to_retire(struct supervisor *supervisor, uint32_t index,
                            const struct message *message)
{
    struct seat *seat = &supervisor->seats[index];
    snprintf(seat->retire_text, sizeof(seat->retire_text), "%.31s", message->text);
    seat->outlived = false; /* it would go in any case */
    seat->retire_due_ms = supervisor_now_ms();
    if (message->status == 0 || supervisor->cramped_told)
        return;
    supervisor->cramped_told = true;
    log_write(supervisor->control, MC_LOG_WARNING,
              "max_worker_memory is %llu: workers have more before their first task, and are "
              "replaced every second or so; raise it",
              (unsigned long long)supervisor->config->max_worker_memory);
}

/* Tasks that a worker's task submits have the weight of the client whose task it is. */
static uint32_t nested_weight(struct supervisor *supervisor, uint32_t index)
{
    const struct tenant *tenant = lanes_find_run(supervisor, &supervisor->control->rows[index]);
    return tenant != NULL ? tenant->weight : DEFAULT_WEIGHT;
}

static void hear(struct supervisor *supervisor, uint32_t index, int which, struct parcel *parcel)
{
    struct message *message = &parcel->message;
    message->text[sizeof(message->text) - 1] = '\0';
    switch (message->type) {
    case MESSAGE_HELLO:
        keeper_happen(supervisor, index, which, HAPPENS_HELLO, 0);
        break;
    case MESSAGE_READY:
        keeper_happen(supervisor, index, which, HAPPENS_READY, 0);
        break;
    case MESSAGE_INIT_FAILED:
        init_failed(supervisor, index, which, message);
        break;
    case MESSAGE_WANT_LANE:
        lanes_send(supervisor, post_of(supervisor, index, which)->socket, message->index,
                   message->generation);
        break;
    case MESSAGE_LANE_FAULT:
        lanes_fault(supervisor, message->index, message->generation, message->text);
        break;
    case MESSAGE_ATTACH:
        lanes_admit(supervisor, parcel, nested_weight(supervisor, index));
        break;
    case MESSAGE_WATCH:
        watch_begin(supervisor);
        break;
    case MESSAGE_RETIRE:
        wants_to_retire(supervisor, index, message);
        break;
    case MESSAGE_WARM:
        if (which == HOLDER)
            forks_by_worker(supervisor, index, message->value);
        break;
    case MESSAGE_DEFER:
        lazy_defer(supervisor, index, which, message);
        break;
    case MESSAGE_LEAVING:
        supervisor->seats[index].leave_due_ms = supervisor_now_ms() + LEAVE_WAIT_MS;
        supervisor->seats[index].rouse_due_ms = 0;
        break;
    default:
        break;
    }
}

static void socket_event(struct supervisor *supervisor, uint32_t index, int which)
{
    struct post *post = post_of(supervisor, index, which);
    struct parcel parcel;
    int result = channel_receive(post->socket, &parcel, MSG_DONTWAIT);
    if (result == -EAGAIN)
        return;
    if (result > 0) {
        hear(supervisor, index, which, &parcel);
        parcel_drop(&parcel);
        return;
    }
    /* The end of the stream. Before HELLO nobody was born; later it is a dying
     * worker, or one that closed what it should not have. */
    sys_close(&post->socket);
    if (post->pidfd >= 0 || adopt(supervisor, index, which))
        (void)sys_pidfd_kill(post->pidfd, SIGKILL);
    else
        end_unwatched(supervisor, index, which);
}

void keeper_seat_event(struct supervisor *supervisor, uint32_t index, enum watched kind)
{
    int which = kind == WATCH_HEIR_PID || kind == WATCH_HEIR_SOCKET ? HEIR : HOLDER;
    struct post *post = post_of(supervisor, index, which);
    if (kind == WATCH_SEAT_SOCKET || kind == WATCH_HEIR_SOCKET) {
        if (post->socket >= 0)
            socket_event(supervisor, index, which);
        return;
    }
    int status;
    if (post->pidfd >= 0 && sys_pidfd_reap_group(post->pidfd, post->pid, &status) == 0)
        keeper_happen(supervisor, index, which, HAPPENS_DEATH, status);
}

void keeper_fill_seats(struct supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->config->seats; i++) {
        /* A seat whose workers did not fail rests because nobody could make one till now. */
        const struct seat *seat = &supervisor->seats[i];
        bool waits = seat->posts[HOLDER].life == LIFE_RESTING && seat->record.failed_starts == 0;
        keeper_happen(supervisor, i, HOLDER, waits ? HAPPENS_DUE : HAPPENS_SPAWN, 0);
    }
}

/* ---- the end ---- */

void keeper_dismiss_heirs(struct supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->config->seats; i++) {
        struct post *post = post_of(supervisor, i, HEIR);
        if (post->pidfd >= 0)
            (void)sys_pidfd_kill(post->pidfd, SIGKILL);
        else
            sys_close(&post->socket); /* one that is being born sees that, and leaves */
    }
}

void keeper_kill_all(struct supervisor *supervisor)
{
    zygotes_kill_all(supervisor);
    for (uint32_t i = 0; i < supervisor->config->seats; i++)
        if (supervisor->seats[i].posts[HOLDER].pidfd >= 0)
            (void)sys_pidfd_kill(supervisor->seats[i].posts[HOLDER].pidfd, SIGKILL);
    keeper_dismiss_heirs(supervisor);
}

void keeper_reap_all(struct supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->config->seats; i++) {
        sys_close(&post_of(supervisor, i, HOLDER)->socket);
        sys_close(&post_of(supervisor, i, HEIR)->socket);
        keeper_seat_event(supervisor, i, WATCH_SEAT_PID);
        keeper_seat_event(supervisor, i, WATCH_HEIR_PID);
    }
    zygotes_reap_all(supervisor);
}
