/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/doctor.h"

#include "base/clock.h"
#include "base/sys.h"
#include "ipc/channel.h"
#include "ipc/segment.h"
#include "loadavg/text.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { KERNEL_MAJOR = 5, KERNEL_MINOR = 15 };

static void look_at_version(struct findings *findings)
{
    struct utsname name;
    int major = 0, minor = 0;
    if (uname(&name) < 0 || sscanf(name.release, "%d.%d", &major, &minor) != 2)
        found(findings, LEVEL_WARNING, "kernel", "its version cannot be read; it has to be %d.%d",
              KERNEL_MAJOR, KERNEL_MINOR);
    else if (major < KERNEL_MAJOR || (major == KERNEL_MAJOR && minor < KERNEL_MINOR))
        found(findings, LEVEL_ERROR, "kernel", "Linux %s is too old: install one from %d.%d on",
              name.release, KERNEL_MAJOR, KERNEL_MINOR);
    else
        found(findings, LEVEL_OK, "kernel", "Linux %s", name.release);
}

static void look_at_pidfd(struct findings *findings)
{
    int fd = sys_pidfd_open(getpid());
    if (fd < 0)
        found(findings, LEVEL_ERROR, "pidfd",
              "pidfd_open() fails (%s), and deaths are seen through it: allow it in the seccomp "
              "profile",
              strerror(-fd));
    else
        found(findings, LEVEL_OK, "pidfd", "deaths of processes are seen through descriptors");
    sys_close(&fd);
}

static void look_at_peer_pidfd(struct findings *findings)
{
    int ends[2];
    if (channel_pair(ends) < 0)
        return;
    int fd = -1;
    socklen_t size = sizeof(fd);
    if (getsockopt(ends[0], SOL_SOCKET, CHANNEL_PEERPIDFD, &fd, &size) == 0)
        found(findings, LEVEL_OK, "peer pidfd", "the kernel names clients itself (SO_PEERPIDFD)");
    else
        found(findings, LEVEL_NOTE, "peer pidfd",
              "no SO_PEERPIDFD (Linux 6.5): clients are found by their process ids, which a client "
              "that dies while it attaches may have passed on");
    sys_close(&fd);
    sys_close(&ends[0]);
    sys_close(&ends[1]);
}

static void look_at_memfd(struct findings *findings)
{
    int fd = segment_create("multicore-doctor", 4096);
    int result = fd < 0 ? fd : segment_seal_seals(fd);
    if (result < 0)
        found(findings, LEVEL_ERROR, "memfd",
              "shared memory cannot be made or sealed (%s): allow memfd_create() and fcntl() in "
              "the seccomp profile",
              strerror(-result));
    else
        found(findings, LEVEL_OK, "memfd", "shared memory can be sealed");
    sys_close(&fd);
}

static void look_at_io_uring(struct findings *findings)
{
    struct io_uring_params parameters = {0};
    int fd = (int)syscall(SYS_io_uring_setup, 1, &parameters);
    if (fd >= 0)
        found(findings, LEVEL_OK, "io_uring", "permitted");
    else
        found(findings, LEVEL_NOTE, "io_uring",
              "not to be had (%s): handlers that wait use epoll; see kernel.io_uring_disabled and "
              "the seccomp profile",
              strerror(errno));
    sys_close(&fd);
}

static void look_at_clone3(struct findings *findings)
{
    /* A size that no struct has: EINVAL when the call is there. */
    errno = 0;
    (void)syscall(SYS_clone3, NULL, 0);
    if (errno == EINVAL)
        found(findings, LEVEL_OK, "clone3", "permitted, and not needed");
    else
        found(findings, LEVEL_OK, "clone3",
              "not permitted (%s), and not needed: workers come from "
              "clone()",
              strerror(errno));
}

static void look_at_futex(struct findings *findings)
{
    _Atomic uint32_t word = 0;
    int result = sys_futex_wait(&word, 1, 0);
    errno = 0;
    (void)syscall(SYS_futex_waitv, NULL, 0, 0, NULL, 0);
    if (result != -EAGAIN)
        found(findings, LEVEL_ERROR, "futex", "futex() fails (%s): allow it in the seccomp profile",
              strerror(-result));
    else
        found(findings, LEVEL_OK, "futex", "works%s",
              errno == EINVAL ? ", futex_waitv() too" : "; futex_waitv() is not there, nor needed");
}

static void look_at_pressure(struct findings *findings)
{
    char text[256];
    int result = text_read("/proc/pressure/cpu", text, sizeof(text));
    if (result > 0)
        found(findings, LEVEL_OK, "pressure", "pressure of the CPUs (PSI) is known");
    else
        found(findings, LEVEL_NOTE, "pressure",
              "no PSI (%s): max-load-average goes by the load average alone, which rises late; "
              "boot with psi=1",
              strerror(result < 0 ? -result : ENODATA));
}

/* The one of some words that is in brackets. */
static const char *chosen(char *text)
{
    char *begin = strchr(text, '['), *end = strchr(text, ']');
    if (begin == NULL || end == NULL || end < begin)
        return "?";
    *end = '\0';
    return begin + 1;
}

static void look_at_huge_pages(struct findings *findings)
{
    char text[256];
    if (text_read("/sys/kernel/mm/transparent_hugepage/shmem_enabled", text, sizeof(text)) <= 0) {
        found(findings, LEVEL_NOTE, "huge pages", "the kernel has no transparent huge pages");
        return;
    }
    const char *mode = chosen(text);
    if (strcmp(mode, "never") == 0 || strcmp(mode, "deny") == 0)
        found(
            findings, LEVEL_NOTE, "huge pages",
            "shmem_enabled is '%s': large payloads take small pages, each with a fault when it is "
            "new; 'within_size' in /sys/kernel/mm/transparent_hugepage/shmem_enabled saves most",
            mode);
    else
        found(findings, LEVEL_OK, "huge pages", "shmem_enabled is '%s'", mode);
}

static void look_at_clock(struct findings *findings)
{
    if (clock_machine.counter)
        found(findings, LEVEL_OK, "clock", "the CPU counts time at a constant rate");
    else
        found(findings, LEVEL_NOTE, "clock",
              "no counter of constant rate that is known: times come from clock_gettime(), which "
              "makes tasks of a microsecond slower");
}

static void look_at_swap(struct findings *findings)
{
    char text[4096];
    uint64_t kib = 0;
    const char *line =
        text_read("/proc/meminfo", text, sizeof(text)) > 0 ? strstr(text, "SwapTotal:") : NULL;
    if (line != NULL)
        kib = strtoull(line + strlen("SwapTotal:"), NULL, 10);
    if (kib == 0)
        found(findings, LEVEL_OK, "swap", "none");
    else
        found(
            findings, LEVEL_NOTE, "swap",
            "%llu MiB: shared memory that rests may be swapped out, and first tasks after that be "
            "slow; MemorySwapMax=0 in the unit keeps it in",
            (unsigned long long)(kib >> 10));
}

void doctor_look_at_kernel(struct findings *findings)
{
    look_at_version(findings);
    look_at_pidfd(findings);
    look_at_peer_pidfd(findings);
    look_at_memfd(findings);
    look_at_futex(findings);
    look_at_clone3(findings);
    look_at_io_uring(findings);
    look_at_pressure(findings);
    look_at_huge_pages(findings);
    look_at_clock(findings);
    look_at_swap(findings);
}
