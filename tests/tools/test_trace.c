/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the kernel says of processes that do not say it themselves.
 */
#include "loadavg/text.h"
#include "tests/test.h"
#include "tools/trace.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* When it returns, what the process does has begun. */
static pid_t start(bool spins)
{
    const struct timespec rest = {.tv_nsec = 1000000};
    atomic_bool *began =
        mmap(NULL, sizeof(*began), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert(began != MAP_FAILED);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) {
            atomic_store(began, true);
            if (!spins)
                pause();
        }
    }
    ck_assert_int_gt(pid, 0);
    while (!atomic_load(began))
        nanosleep(&rest, NULL);
    return pid;
}

static void end(pid_t pid)
{
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

static bool says(pid_t pid, const char *part)
{
    char text[512];
    trace_kernel_state(pid, text, sizeof(text));
    return strstr(text, part) != NULL;
}

/* Until it says so, for some seconds at most. */
static bool comes_to_say(pid_t pid, const char *part)
{
    const struct timespec rest = {.tv_nsec = 10000000};
    for (int i = 0; i < 1000 && !says(pid, part); i++)
        nanosleep(&rest, NULL);
    return says(pid, part);
}

START_TEST(a_system_call_is_told_where_there_is_one)
{
    char path[64], text[256];
    pid_t sleeper = start(false);
    snprintf(path, sizeof(path), "/proc/%d/syscall", (int)sleeper);
    ck_assert(comes_to_say(sleeper, "state S"));
    if (text_read(path, text, sizeof(text)) > 0) /* not every kernel lets us see it */
        ck_assert(comes_to_say(sleeper, ", system call "));
    end(sleeper);
}
END_TEST

START_TEST(none_is_told_of_a_process_that_computes)
{
    pid_t spinner = start(true);
    ck_assert(comes_to_say(spinner, "state R"));
    ck_assert(!says(spinner, "system call"));
    kill(spinner, SIGSTOP); /* which leaves it outside of any */
    ck_assert(comes_to_say(spinner, "state T"));
    ck_assert(!says(spinner, "system call"));
    end(spinner);
}
END_TEST

TEST_MAIN(trace, a_system_call_is_told_where_there_is_one, none_is_told_of_a_process_that_computes)
