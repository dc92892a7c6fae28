/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool/startup.h"

#include "tests/test.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static struct startup *begin(void)
{
    struct startup *startup = startup_create();
    ck_assert_ptr_nonnull(startup);
    startup_reset(startup, 3);
    for (uint32_t i = 0; i < 3; i++) {
        startup->order[i] = i;
        snprintf(startup->modules[i].name, sizeof(startup->modules[i].name), "m%u", i);
    }
    return startup;
}

static void enter(struct startup *startup, uint32_t module, enum module_phase phase)
{
    startup_begin(startup, module, &startup->modules[module].spans[phase]);
}

START_TEST(who_is_in_a_phase_is_to_blame)
{
    struct startup *startup = begin();
    char text[256];
    startup_blame(startup, text, sizeof(text));
    ck_assert_str_eq(text, "");
    enter(startup, 1, MODULE_CONFIGURE);
    startup_end(&startup->modules[1].spans[MODULE_CONFIGURE]);
    startup_blame(startup, text, sizeof(text));
    ck_assert_str_eq(text, "");
    for (uint32_t i = 0; i < 3; i++)
        enter(startup, i, MODULE_LOAD);
    startup_blame(startup, text, sizeof(text));
    ck_assert_str_eq(text, "module 'm0' was in load, module 'm1' was in load and module 'm2' was "
                           "in load");
    startup->fatal = 1 + 2;
    startup_blame(startup, text, sizeof(text));
    ck_assert_str_eq(text, "module 'm2' was in load");
    startup_blame(startup, text, 10);
    ck_assert_str_eq(text, "module 'm");
    startup_free(startup);
}
END_TEST

START_TEST(what_was_written_over_is_read_within_bounds)
{
    struct startup *startup = begin(), copy;
    char text[256];
    memset((void *)startup, 0xff, sizeof(*startup));
    startup_read(startup, &copy);
    ck_assert_uint_eq(copy.module_count, MODULES_MOST);
    for (uint32_t i = 0; i < MODULES_MOST; i++) {
        ck_assert_uint_lt(copy.order[i], MODULES_MOST);
        ck_assert_uint_lt(strlen(copy.modules[i].name), sizeof(copy.modules[i].name));
        ck_assert_uint_lt(strlen(copy.modules[i].warmup), sizeof(copy.modules[i].warmup));
    }
    for (uint32_t i = 0; i < MODULES_MOST; i++)
        startup->order[i] = 3;
    startup_read(startup, &copy);
    for (uint32_t i = 0; i < MODULES_MOST; i++)
        ck_assert_uint_eq(copy.order[i], i); /* each once */
    startup_blame(startup, text, sizeof(text));
    ck_assert(!startup_blame_worker(startup, 0, text, sizeof(text)));
    startup_free(startup);
}
END_TEST

/* Has the kernel send SIGSYS for getppid(). */
static void forbid_getppid(void)
{
    struct sock_filter lines[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof(lines) / sizeof(lines[0]), lines};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) < 0)
        _exit(9);
}

static void segfault(void)
{
    char *page = mmap(NULL, 1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *(volatile char *)page = 1;
}

static void call_getppid(void)
{
    forbid_getppid();
    (void)syscall(SYS_getppid);
}

static void break_here(void)
{
#ifdef __x86_64__
    __asm__ volatile("int3");
#else
    raise(SIGTRAP);
#endif
}

static void is_fatal(void (*act)(void), int number)
{
    struct startup *startup = begin();
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_DUMPABLE, 0);
        startup_watch();
        enter(startup, 1, MODULE_LOAD);
        act();
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == number, "%d: status %x", number,
                  (unsigned)status);
    ck_assert_uint_eq(startup->fatal, 1 + 1);
    startup_free(startup);
}

START_TEST(whatever_brings_a_fatal_signal_ends_the_process)
{
    is_fatal(segfault, SIGSEGV);
    is_fatal(abort, SIGABRT);
    is_fatal(break_here, SIGTRAP);
    is_fatal(call_getppid, SIGSYS);
}
END_TEST

START_TEST(threads_are_known_by_their_names)
{
    ck_assert_int_eq(startup_module_of("m0/web"), 0);
    ck_assert_int_eq(startup_module_of("m63/"), 63);
    ck_assert_int_eq(startup_module_of("mc-zygote"), -1);
    ck_assert_int_eq(startup_module_of("m7"), -1);
    ck_assert_int_eq(startup_module_of("somebody"), -1);
    ck_assert_int_eq(startup_module_of(""), -1);
}
END_TEST

TEST_MAIN(startup, who_is_in_a_phase_is_to_blame, what_was_written_over_is_read_within_bounds,
          whatever_brings_a_fatal_signal_ends_the_process, threads_are_known_by_their_names)
