/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/sys.h"

#include "base/clock.h"
#include "base/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

int sys_futex_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout_ns)
{
    struct timespec timeout = {.tv_sec = (time_t)(timeout_ns / 1000000000u),
                               .tv_nsec = (long)(timeout_ns % 1000000000u)};
    long result = FAULT_CALL("futex_wait", EINTR,
                             syscall(SYS_futex, word, FUTEX_WAIT, expected,
                                     timeout_ns == UINT64_MAX ? NULL : &timeout, NULL, 0));
    return result < 0 ? -errno : 0;
}

int sys_futex_wake(_Atomic uint32_t *word, int count)
{
    FAULT_POINT("futex_wake");
    long result = syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
    return result < 0 ? -errno : (int)result;
}

/* Where glibc caches the thread id: a raw fork must refresh it. */
static void *thread_id_address(void)
{
    void *address = NULL;
#ifdef PR_GET_TID_ADDRESS
    if (prctl(PR_GET_TID_ADDRESS, &address) != 0)
        address = NULL;
#endif
    return address;
}

pid_t sys_fork(int exit_signal, bool as_sibling, pid_t *shared_pid)
{
    unsigned long flags = (unsigned long)exit_signal;
    void *tid = thread_id_address();
    if (tid != NULL)
        flags |= CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
    if (as_sibling)
        flags |= CLONE_PARENT;
    if (shared_pid != NULL)
        flags |= CLONE_PARENT_SETTID;
    /* The older call, because seccomp profiles that cannot look into clone3's
     * struct refuse that one. */
    if (FAULT_FAILS("fork", EAGAIN))
        return (pid_t)-errno;
#if defined(__aarch64__) || defined(__riscv) || defined(__arm__) || defined(__powerpc__)
    long pid = syscall(SYS_clone, flags, NULL, shared_pid, NULL, tid);
#else
    long pid = syscall(SYS_clone, flags, NULL, shared_pid, tid, NULL);
#endif
    return pid < 0 ? (pid_t)-errno : (pid_t)pid;
}

int sys_pidfd_open(pid_t pid)
{
    long fd = FAULT_CALL("pidfd_open", EMFILE, syscall(SYS_pidfd_open, pid, 0));
    return fd < 0 ? -errno : (int)fd;
}

int sys_pidfd_kill(int pidfd, int signal)
{
    FAULT_POINT("pidfd_kill");
    return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

int sys_pidfd_reap(int pidfd, int *status)
{
    siginfo_t info;
    FAULT_POINT("pidfd_reap");
    memset(&info, 0, sizeof(info));
    if (waitid((idtype_t)P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG | __WALL) < 0)
        return -errno;
    if (info.si_pid == 0)
        return -EAGAIN;
    if (info.si_code == CLD_EXITED)
        *status = (info.si_status & 0xff) << 8;
    else
        *status = info.si_status & 0x7f;
    return 0;
}

int sys_pidfd_reap_group(int pidfd, pid_t pid, int *status)
{
    siginfo_t info;
    memset(&info, 0, sizeof(info));
    if (waitid((idtype_t)P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) < 0)
        return -errno;
    if (info.si_pid == 0)
        return -EAGAIN;
    if (pid > 1)
        (void)kill(-pid, SIGKILL);
    return sys_pidfd_reap(pidfd, status);
}

int sys_close_from(int first)
{
    FAULT_POINT("close_from");
    return close_range((unsigned)first, ~0u, 0) < 0 ? -errno : 0;
}

unsigned sys_thread_count(void)
{
    char text[512];
    int fd = FAULT_CALL("thread_count", EMFILE, open("/proc/self/stat", O_RDONLY | O_CLOEXEC));
    if (fd < 0)
        return 0;
    ssize_t length = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (length <= 0)
        return 0;
    text[length] = '\0';
    /* num_threads is the 18th field after the name, which may hold anything
     * but ends with the last parenthesis. */
    const char *name_end = strrchr(text, ')');
    unsigned threads = 0;
    if (name_end != NULL)
        (void)sscanf(name_end + 1,
                     " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d"
                     " %*d %*d %u",
                     &threads);
    return threads;
}

int sys_await_input(int fd, int timeout_ms)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    uint64_t began_ms = clock_ns() / 1000000;
    int polled, left_ms = timeout_ms;
    do { /* signals may come more often than the time is over */
        polled = FAULT_CALL("await_input", EINTR, poll(&ready, 1, left_ms));
        uint64_t waited_ms = clock_ns() / 1000000 - began_ms;
        if (timeout_ms >= 0)
            left_ms = waited_ms < (uint64_t)timeout_ms ? timeout_ms - (int)waited_ms : 0;
    } while (polled < 0 && errno == EINTR);
    return polled < 0 ? -errno : polled;
}

void sys_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}
