/* SPDX-License-Identifier: BSD-3-Clause
 *
 * study_wire MILLISECONDS: a network namespace, and a slow way out of it.
 *
 * The process makes a new network namespace and stays in it, so that others can enter it by
 * its process id. It has a TUN device "late" there and one of the same name where it was
 * started. Packets that are sent into the inner one come out of the outer one so much later; the
 * other direction is not made. It prints "ready", and ends when its standard input does.
 * With 0 there are no devices, only the namespace.
 */
#include "delay.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

/* 200 ms of 80,000 packets a second. */
enum { PACKETS_MOST = 16384, DELAY_MOST_MS = 10000 };

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int open_device(void)
{
    struct ifreq request = {.ifr_name = "late", .ifr_flags = IFF_TUN | IFF_NO_PI};
    int device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (device < 0)
        err(1, "/dev/net/tun");
    if (ioctl(device, TUNSETIFF, &request) < 0)
        err(1, "no TUN device 'late'");
    return device;
}

static void take_in(struct delay *delay, int device)
{
    ssize_t size;
    while ((size = read(device, delay_room(delay), PACKET_MOST)) > 0)
        delay_put(delay, (size_t)size, now_ns());
    if (size < 0 && errno != EAGAIN && errno != EIO) /* EIO: not up yet */
        err(1, "cannot read packets");
}

/* A packet that the kernel does not take is lost, as on any wire. */
static void let_out(struct delay *delay, int device)
{
    const struct packet *packet;
    while ((packet = delay_first(delay, now_ns())) != NULL) {
        if (write(device, packet->bytes, packet->size) < 0)
            delay->dropped++;
        delay_drop_first(delay);
    }
}

static struct timespec *time_left(const struct delay *delay, struct timespec *time)
{
    uint64_t left = delay_until_due(delay, now_ns());
    if (left == UINT64_MAX)
        return NULL;
    *time = (struct timespec){(time_t)(left / 1000000000u), (long)(left % 1000000000u)};
    return time;
}

static void carry(struct delay *delay, int from, int to)
{
    enum { INPUT, DEVICE };
    struct pollfd polled[] = {{STDIN_FILENO, POLLIN, 0}, {from, POLLIN, 0}};
    struct timespec time;
    while (polled[INPUT].revents == 0) {
        if (ppoll(polled, from < 0 ? 1 : 2, time_left(delay, &time), NULL) < 0 && errno != EINTR)
            err(1, "cannot wait");
        if (polled[DEVICE].revents != 0)
            take_in(delay, from);
        let_out(delay, to);
    }
}

static unsigned read_delay(int argc, char **argv)
{
    char *end = NULL;
    unsigned long delay = argc == 2 ? strtoul(argv[1], &end, 10) : 0;
    if (end == NULL || end == argv[1] || *end != '\0' || delay > DELAY_MOST_MS)
        errx(2, "usage: study_wire MILLISECONDS, a number from 0 to %d", DELAY_MOST_MS);
    return (unsigned)delay;
}

int main(int argc, char **argv)
{
    unsigned delay_ms = read_delay(argc, argv);
    struct delay delay;
    int outer = -1, inner = -1;
    if (!delay_init(&delay, PACKETS_MOST, (uint64_t)delay_ms * 1000000u))
        errx(1, "no memory for %d packets", PACKETS_MOST);
    if (delay_ms > 0)
        outer = open_device();
    if (unshare(CLONE_NEWNET) < 0)
        err(1, "no network namespace");
    if (delay_ms > 0)
        inner = open_device();
    puts("ready");
    fflush(stdout);
    carry(&delay, inner, outer);
    if (delay.dropped > 0)
        warnx("%llu packets were lost", (unsigned long long)delay.dropped);
    delay_fini(&delay);
    return 0;
}
