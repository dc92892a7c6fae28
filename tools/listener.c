/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/listener.h"

#include "base/error.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

enum { LOCK_TRIES = 100, LOCK_REST_MS = 20 };

/* ---- From systemd ---- */

/* Returns whether one was passed, or a negative errno. */
static int take_passed(struct listener *listener)
{
    int count = sd_listen_fds(1);
    if (count < 0)
        return error_system(count, "LISTEN_FDS of the environment cannot be used");
    if (count == 0)
        return 0;
    if (count > 1)
        return error_set(-EINVAL, "systemd passed %d sockets; name one in the socket unit", count);
    listener->socket = SD_LISTEN_FDS_START;
    if (sd_is_socket_unix(listener->socket, SOCK_SEQPACKET, 1, NULL, 0) <= 0)
        return error_set(-EINVAL, "systemd passed something else than a listening socket of "
                                  "packets; use ListenSequentialPacket= in the socket unit");
    return 1;
}

/* ---- Our own ---- */

/* Returns a descriptor that holds the lock. */
static int lock_directory(const struct listener *listener, const char *path)
{
    char directory[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
    snprintf(directory, sizeof(directory), "%s", path);
    char *slash = strrchr(directory, '/');
    if (slash == NULL)
        snprintf(directory, sizeof(directory), ".");
    else
        slash[slash == directory] = '\0';
    int lock = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock < 0)
        return error_system(-errno,
                            "the directory of the socket, %s, cannot be opened; create "
                            "it, or set %s to another path",
                            directory, listener->setting);
    for (int tries = 0; flock(lock, LOCK_EX | LOCK_NB) < 0; tries++) {
        int result = -errno;
        if ((result != -EWOULDBLOCK && result != -EINTR) || tries == LOCK_TRIES) {
            close(lock);
            return error_system(result,
                                "the directory of the socket, %s, cannot be locked; "
                                "another program keeps it",
                                directory);
        }
        const struct timespec rest = {.tv_nsec = LOCK_REST_MS * 1000000L};
        nanosleep(&rest, NULL);
    }
    return lock;
}

static struct sockaddr_un address_of(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
    return address;
}

/* Nobody listens at a socket that a dead server left. */
static int remove_stale(const struct listener *listener, const char *path)
{
    struct stat status;
    struct sockaddr_un address = address_of(path);
    if (lstat(path, &status) < 0)
        return errno == ENOENT ? 0 : error_system(-errno, "%s cannot be looked at", path);
    if (!S_ISSOCK(status.st_mode))
        return error_set(-EEXIST, "%s is there and no socket; remove it, or set %s to another path",
                         path, listener->setting);
    int probe = socket(AF_UNIX, listener->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe < 0)
        return error_system(-errno, "there is no socket to be had");
    int result =
        connect(probe, (const struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
    close(probe);
    if (result != -ECONNREFUSED && result != -ENOENT)
        return error_set(-EADDRINUSE,
                         "a server listens at %s already; stop it, or set %s to another path", path,
                         listener->setting);
    if (unlink(path) < 0 && errno != ENOENT)
        return error_system(-errno, "%s, which a dead server left, cannot be removed", path);
    return 0;
}

/* Nobody can connect before it listens, so it may get owner and mode one by one. */
static int make_socket(struct listener *listener, const struct settings *settings)
{
    const char *path = settings->socket;
    struct sockaddr_un address = address_of(path);
    struct stat status;
    mode_t mask = umask(0177);
    int result = bind(listener->socket, (const struct sockaddr *)&address, sizeof(address));
    result = result < 0 ? -errno : 0;
    umask(mask);
    if (result < 0)
        return error_system(result, "no socket can be made at %s", path);
    listener->path = path;
    if (lstat(path, &status) < 0)
        return error_system(-errno, "%s is gone again", path);
    listener->device = status.st_dev;
    listener->inode = status.st_ino;
    bool owned = settings->socket_user != (uid_t)-1 || settings->socket_group != (gid_t)-1;
    if (owned && lchown(path, settings->socket_user, settings->socket_group) < 0)
        return error_system(-errno,
                            "%s cannot be given to user %d and group %d (-1: unchanged); "
                            "that takes root, or membership of the group",
                            path, (int)settings->socket_user, (int)settings->socket_group);
    if (chmod(path, settings->socket_mode) < 0)
        return error_system(-errno, "%s cannot get mode %04o", path, settings->socket_mode);
    if (listen(listener->socket, SOMAXCONN) < 0)
        return error_system(-errno, "nobody can listen at %s", path);
    return 0;
}

static void remove_own(struct listener *listener)
{
    struct stat status;
    if (listener->path != NULL && lstat(listener->path, &status) == 0 &&
        status.st_dev == listener->device && status.st_ino == listener->inode)
        unlink(listener->path);
    listener->path = NULL;
}

static int open_own(struct listener *listener, const struct settings *settings)
{
    int lock = lock_directory(listener, settings->socket);
    if (lock < 0)
        return lock;
    int result = remove_stale(listener, settings->socket);
    if (result == 0) {
        listener->socket = socket(AF_UNIX, listener->type | SOCK_CLOEXEC, 0);
        result = listener->socket < 0 ? error_system(-errno, "there is no socket to be had")
                                      : make_socket(listener, settings);
    }
    if (result < 0) {
        remove_own(listener);
        sys_close(&listener->socket);
    }
    close(lock);
    return result;
}

int listener_open(struct listener *listener, const struct settings *settings)
{
    *listener = (struct listener){.socket = -1, .type = SOCK_SEQPACKET, .setting = "'socket'"};
    int passed = take_passed(listener);
    if (passed != 0)
        return passed < 0 ? passed : 0;
    return open_own(listener, settings);
}

int listener_open_stream(struct listener *listener, const char *path, mode_t mode)
{
    *listener = (struct listener){.socket = -1, .type = SOCK_STREAM, .setting = "--listen"};
    if (strlen(path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
        return error_set(-ENAMETOOLONG,
                         "--listen is %zu bytes long; the path of a socket has at most %zu",
                         strlen(path), sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1);
    struct settings settings = {
        .socket_user = (uid_t)-1, .socket_group = (gid_t)-1, .socket_mode = mode};
    settings.socket = path;
    return open_own(listener, &settings);
}

void listener_close(struct listener *listener)
{
    if (listener->path != NULL) {
        int lock = lock_directory(listener, listener->path);
        remove_own(listener);
        if (lock >= 0)
            close(lock);
    }
    sys_close(&listener->socket);
}
