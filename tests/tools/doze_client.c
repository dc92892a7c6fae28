/* SPDX-License-Identifier: BSD-3-Clause
 *
 * doze_client SOCKET HANDLER COUNT MS: runs so many tasks of that duration in the pool at
 * the socket, and prints how many failed. In the end it stays for as long as its standard
 * input is open.
 */
#include "multicore.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Returns how many failed, or a negative errno. */
static int run(mc_pool *pool, const char *handler, int count, uint32_t ms)
{
    mc_group *group;
    struct mc_result result = {.size = sizeof(result)};
    int failed = 0, status = mc_group_open(pool, NULL, &group);
    if (status < 0)
        return status;
    for (int i = 0; i < count && status == 0; i++)
        status = mc_group_run(group, handler, &ms, sizeof(ms));
    while (status >= 0 && (status = mc_group_next(group, &result, -1)) == 1)
        failed += result.status != 0;
    mc_group_close(group);
    return status < 0 ? status : failed;
}

int main(int argc, char **argv)
{
    const struct mc_attach_options options = {.size = sizeof(options)};
    mc_pool *pool;
    if (argc != 5)
        return 2;
    int status = mc_pool_attach(argv[1], &options, &pool);
    if (status == 0)
        status = run(pool, argv[2], atoi(argv[3]), (uint32_t)atoi(argv[4]));
    if (status < 0) {
        fprintf(stderr, "error %d: %s\n", status, mc_error_message());
        return 1;
    }
    printf("%d failed\n", status);
    fflush(stdout);
    while (getchar() != EOF) {
    }
    mc_pool_close(pool);
    return 0;
}
