/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Thin wrappers around the system calls that glibc does not wrap, or whose
 * wrapper does more than we want. All return a negative errno on failure.
 */
#ifndef BASE_SYS_H
#define BASE_SYS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Sleeps while *word == expected, at most timeout_ns (UINT64_MAX: no limit).
 * 0, -EAGAIN when the word differed, -ETIMEDOUT, -EINTR. */
int sys_futex_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout_ns);
/* Returns the number of sleepers that were woken. Works through a read-only
 * mapping too. */
int sys_futex_wake(_Atomic uint32_t *word, int count);

/* fork() without atfork handlers. The child's exit sends exit_signal (0: none,
 * so that only a wait for that very pid with __WALL sees it). as_sibling makes
 * the child a child of our parent. *shared_pid, if given, is set by the kernel
 * before the child runs. */
pid_t sys_fork(int exit_signal, bool as_sibling, pid_t *shared_pid);

int sys_pidfd_open(pid_t pid);
int sys_pidfd_kill(int pidfd, int signal);
/* How the process behind pidfd ended, as for waitpid(); -EAGAIN while it has
 * not, -ECHILD when it is not our child. */
int sys_pidfd_reap(int pidfd, int *status);

/* The same, for the leader of a process group, whose members are killed before its pid,
 * which is also their group's, can become another's. */
int sys_pidfd_reap_group(int pidfd, pid_t pid, int *status);

int sys_close_from(int first);

/* Until there is something to read from fd, or its other end was closed: 1; 0 when
 * timeout_ms are over (-1: never). A signal does not end the wait. */
int sys_await_input(int fd, int timeout_ms);

/* The number of threads of this process, from /proc; 0 if it cannot be read. */
unsigned sys_thread_count(void);

static inline void sys_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield" ::: "memory");
#endif
}

/* Has the cache line fetched for writing; any address will do. */
static inline void sys_prefetch_write(const void *address)
{
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" ::"m"(*(const char *)address));
#else
    __builtin_prefetch(address, 1);
#endif
}

/* Closes *fd if it is open, and marks it closed. */
void sys_close(int *fd);

#endif
