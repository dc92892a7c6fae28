/* SPDX-License-Identifier: BSD-3-Clause
 *
 * 07-prefork: a server that forks after it has opened the pool. All children
 * share the same workers; each is a client with memory of its own.
 */
#include "check.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILDREN = 3 };

struct answer { /* what a child found out */
    uint64_t sum;
    int inherited; /* status of using a group of the parent's */
};

static int add(mc_task *task)
{
    uint64_t sum = 0;
    for (uint64_t i = mc_task_start(task); i < mc_task_end(task); i++)
        sum += i;
    return mc_task_reply(task, &sum, sizeof(sum));
}

static int serve(mc_pool *pool, mc_group *inherited, uint64_t items, struct answer *answer)
{
    mc_group *group;
    struct mc_result result = {.size = sizeof(result)};
    int status = mc_group_open(pool, NULL, &group); /* attaches this process */
    if (status < 0)
        return status;
    answer->inherited = mc_group_wait(inherited, 0);
    status = mc_group_map(group, "add", items, NULL, NULL, 0);
    if (status == 0)
        while ((status = mc_group_next(group, &result, -1)) == 1 && result.status == 0)
            answer->sum += *(const uint64_t *)result.data;
    mc_group_close(group);
    mc_pool_close(pool); /* detaches this process; the pool is the parent's */
    return status == 1 ? result.status : status;
}

int main(void)
{
    const struct mc_handler handlers[] = {{.name = "add", .run = add}};
    const struct mc_pool_options options = {
        .size = sizeof(options), .handlers = handlers, .handler_count = 1};
    struct answer *answers = mmap(NULL, CHILDREN * sizeof(*answers), PROT_READ | PROT_WRITE,
                                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (answers == MAP_FAILED)
        return EXIT_FAILURE;
    mc_pool *pool;
    mc_group *group;
    pid_t children[CHILDREN];
    check(mc_pool_open(&options, &pool));
    check(mc_group_open(pool, NULL, &group));
    for (int i = 0; i < CHILDREN; i++)
        if ((children[i] = fork()) == 0)
            _exit(serve(pool, group, 1000 * (uint64_t)(i + 1), &answers[i]) == 0 ? 0 : 1);
    for (int i = 0; i < CHILDREN; i++) {
        int status = -1;
        waitpid(children[i], &status, 0);
        printf("child %d: exit status %d, sum %" PRIu64 ", the parent's group is %s\n", i,
               WEXITSTATUS(status), answers[i].sum,
               answers[i].inherited == -ESTALE ? "stale" : "usable");
    }
    mc_group_close(group);
    mc_pool_close(pool);
    return 0;
}
