/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Forks in the middle of what another thread does with a pool at a socket: the children
 * begin with what that thread had done until then.
 */
#include "tests/system/server.h"

#include <sys/syscall.h>

enum { CHILDREN_MOST = 64 };

static struct server server;
static mc_pool *pool;
static bool forking;
static pid_t children[CHILDREN_MOST];
static unsigned child_count;

static void fork_here(void)
{
    pid_t child = fork();
    if (child == 0) {
        forking = false;
        expect_echo(pool, 1000);
        mc_pool_close(pool);
        _exit(0);
    }
    if (child_count < CHILDREN_MOST)
        children[child_count++] = child;
}

/* Called by the library as well: the thread that forks is this one, which makes no difference
 * to the child. */
int close(int fd)
{
    if (forking)
        fork_here();
    return (int)syscall(SYS_close, fd);
}

static int here(mc_task *task)
{
    int answer = 1;
    return mc_task_reply(task, &answer, sizeof(answer));
}

static const struct mc_handler linked[] = {{.name = "version", .run = here}};

/* A group of a pool that then goes, and is followed by another. */
static mc_group *open_outlived(void)
{
    mc_group *group = open_unhelped(pool);
    server_kill(&server);
    server_start(&server);
    await_version(pool, 107);
    return group;
}

START_TEST(children_are_whole_while_pools_that_are_gone_are_forgotten)
{
    board_open();
    server_prepare(&server);
    server_start(&server);
    pool = attach(&server, linked, 1);
    mc_group *first = open_outlived(), *second = open_outlived();
    mc_group_close(first);
    mc_group_close(second);
    forking = true;
    mc_group *group = open_unhelped(pool); /* both go */
    forking = false;
    ck_assert_uint_ge(child_count, 4);
    for (unsigned i = 0; i < child_count; i++)
        ck_assert_int_eq(await_exit(children[i]), 0);
    mc_group_close(group);
    mc_pool_close(pool);
    server_end(&server);
}
END_TEST

TEST_MAIN(serve_fork, children_are_whole_while_pools_that_are_gone_are_forgotten)
