/* SPDX-License-Identifier: BSD-3-Clause */
#include "listen.h"

#include <errno.h>
#include <netdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { KIND = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC };

/* getaddrinfo() would take larger numbers, and drop what does not fit. */
static bool is_port(const char *text)
{
    size_t length = strlen(text);
    return length >= 1 && length <= 5 && strspn(text, "0123456789") == length &&
           strtoul(text, NULL, 10) <= UINT16_MAX;
}

/* Splits HOST:PORT, where HOST may be in brackets. */
static int split(const char *place, char *host, size_t size, const char **port,
                 struct failure *failure)
{
    const char *colon = strrchr(place, ':');
    size_t length = colon ? (size_t)(colon - place) : 0;
    const char *start = place;
    if (length >= 2 && place[0] == '[' && place[length - 1] == ']') {
        start++;
        length -= 2;
    }
    if (!colon || !is_port(colon + 1) || length >= size) {
        failure->usage = true;
        return failure_set(failure, -EINVAL,
                           "--listen %s: must be HOST:PORT, such as 127.0.0.1:8080; the port is a "
                           "number from 0 to 65535",
                           place);
    }
    memcpy(host, start, length);
    host[length] = '\0';
    *port = colon + 1;
    return 0;
}

static int bind_one(const struct addrinfo *address)
{
    int fd = socket(address->ai_family, KIND, 0);
    if (fd < 0)
        return -errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0)
        return fd;
    int status = -errno;
    close(fd);
    return status;
}

/* At the first address that this machine has: a name may stand for several. */
static int bind_tcp(const struct addrinfo *found)
{
    int fd = -EADDRNOTAVAIL;
    for (const struct addrinfo *address = found; address && fd < 0; address = address->ai_next)
        fd = bind_one(address);
    return fd;
}

static void put_name(int fd, char *name, size_t size)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    char host[64] = "?", port[16] = "?";
    getsockname(fd, (struct sockaddr *)&address, &length);
    getnameinfo((const struct sockaddr *)&address, length, host, sizeof(host), port, sizeof(port),
                NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(name, size, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

int listen_tcp(const char *place, char *name, size_t size, struct failure *failure)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found;
    char host[256];
    const char *port = NULL;
    int status = split(place, host, sizeof(host), &port, failure);
    if (status < 0)
        return status;
    int problem = getaddrinfo(*host ? host : NULL, port, &hints, &found);
    if (problem)
        return failure_set(failure, -EINVAL, "--listen %s: %s", place, gai_strerror(problem));
    int fd = bind_tcp(found);
    freeaddrinfo(found);
    if (fd < 0)
        return failure_set(failure, fd, "--listen %s: %s", place, strerror(-fd));
    put_name(fd, name, size);
    return fd;
}

/* A socket that nobody listens to. Connecting to any other file is refused as well. */
static bool is_left_over(const struct sockaddr_un *address)
{
    struct stat file;
    if (lstat(address->sun_path, &file) < 0 || !S_ISSOCK(file.st_mode))
        return false;
    int fd = socket(AF_UNIX, KIND, 0);
    bool refused = fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 &&
                   errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    return refused;
}

static int bind_unix(int fd, const struct sockaddr_un *address)
{
    return bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? -errno : 0;
}

int listen_unix(const char *path, struct failure *failure)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path))
        return failure_set(failure, -ENAMETOOLONG, "--unix %s: the limit is %zu bytes", path,
                           sizeof(address.sun_path) - 1);
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, KIND, 0);
    if (fd < 0)
        return failure_set(failure, -errno, "no socket: %s", strerror(errno));
    int status = bind_unix(fd, &address);
    if (status == -EADDRINUSE && is_left_over(&address) && unlink(path) == 0)
        status = bind_unix(fd, &address);
    if (status == 0 && listen(fd, SOMAXCONN) < 0)
        status = -errno;
    if (status == 0)
        return fd;
    close(fd);
    return failure_set(failure, status, "--unix %s: %s", path, strerror(-status));
}
