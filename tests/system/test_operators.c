/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the operator asks a served pool for, and what it answers.
 */
#include "tests/system/server.h"

#include "base/clock.h"
#include "ipc/channel.h"
#include "ipc/layout.h"
#include "pool/pool.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { FOREVER_MS = 600000 };

static struct server server;

static void begin(void)
{
    server_prepare(&server);
    server.options.pool.workers = 1;
    server_start(&server);
}

static void finish(void)
{
    server_end(&server);
}

/* The answer to one request. */
static struct message ask(struct message request)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct parcel parcel = {.message = request};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", server.path);
    parcel.message.index = LAYOUT_VERSION;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(channel_send(fd, &parcel, 0), 0);
    ck_assert_int_eq(channel_receive(fd, &parcel, 0), 1);
    ck_assert_int_eq(parcel.message.type, MESSAGE_DONE);
    parcel_drop(&parcel);
    close(fd);
    return parcel.message;
}

START_TEST(a_request_that_the_pool_does_not_know_is_answered_so)
{
    begin();
    struct message answer = ask((struct message){.type = 9999});
    ck_assert_int_eq(answer.status, -EOPNOTSUPP);
    ck_assert_msg(strstr(answer.text, "does not know request 9999") != NULL, "%s", answer.text);
    ck_assert_msg(strstr(answer.text, mc_version()) != NULL, "%s", answer.text);
    finish();
}
END_TEST

static const struct seat_row *only_row(const mc_pool *pool)
{
    const mc_pool *there = front_enter(pool->front);
    const struct seat_row *row = &there->control->rows[0];
    front_leave(pool->front);
    return row;
}

START_TEST(only_the_task_that_was_seen_is_ended)
{
    struct mc_result result = {.size = sizeof(result)};
    unsigned forever_ms = FOREVER_MS;
    begin();
    mc_pool *pool = attach(&server, NULL, 0);
    const struct seat_row *row = only_row(pool);
    mc_group *group = open_unhelped(pool);
    run(group, "doze", &forever_ms, sizeof(forever_ms));
    for (uint64_t began = clock_ns();
         atomic_load(&row->started_ticks) == 0 && ms_since(began) < BOUND_MS;)
        pause_us(1000);
    struct message request = {.type = MESSAGE_END,
                              .value = atomic_load(&row->pid),
                              .generation = (uint32_t)atomic_load(&row->started_ticks) + 1};
    for (request.status = 0; request.status <= 1; request.status++) {
        struct message answer = ask(request);
        ck_assert_int_eq(answer.status, -ENOENT);
        ck_assert_msg(strstr(answer.text, "does not run that task any more") != NULL, "%s",
                      answer.text);
    }
    ck_assert_int_eq(mc_group_next(group, &result, 50), -ETIMEDOUT);
    request.status = 1;
    request.generation--;
    ck_assert_int_eq(ask(request).status, 0);
    ck_assert_int_eq(mc_group_next(group, &result, BOUND_MS), 1);
    ck_assert_int_eq(result.status, -ECANCELED);
    mc_group_close(group);
    mc_pool_close(pool);
    finish();
}
END_TEST

TEST_MAIN(operators, a_request_that_the_pool_does_not_know_is_answered_so,
          only_the_task_that_was_seen_is_ended)
