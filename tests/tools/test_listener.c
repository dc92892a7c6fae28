/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The socket of the server: made with its rights, passed by systemd, stale, live, raced
 * for, removed.
 */
#include "base/error.h"
#include "tests/test.h"
#include "tools/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static char directory[64], path[80];
static struct settings settings;
static struct listener listener;

static void begin(void)
{
    snprintf(directory, sizeof(directory), "/tmp/multicore-listener-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/socket", directory);
    settings_init(&settings);
    settings.socket = path;
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_PID");
}

static void end(void)
{
    unlink(path);
    rmdir(directory);
}

static int connect_to(const char *place)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", place);
    int client = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(client, 0);
    if (connect(client, (const struct sockaddr *)&address, sizeof(address)) == 0)
        return client;
    int result = -errno;
    close(client);
    return result;
}

static void expect_open(void)
{
    int result = listener_open(&listener, &settings);
    ck_assert_msg(result == 0, "%d: %s", result, error_message());
}

static bool is_there(void)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

START_TEST(the_socket_has_the_mode_that_was_asked_for)
{
    const mode_t modes[] = {0600, 0660, 0666, 0};
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        struct stat status;
        begin();
        settings.socket_mode = modes[i];
        mode_t mask = umask(0);
        umask(mask);
        expect_open();
        ck_assert_int_eq(stat(path, &status), 0);
        ck_assert_uint_eq(status.st_mode, S_IFSOCK | modes[i]);
        ck_assert_uint_eq(umask(mask), mask);
        if (getuid() == 0 || (modes[i] & 0200) != 0)
            close(connect_to(path));
        listener_close(&listener);
        ck_assert(!is_there());
        end();
    }
}
END_TEST

START_TEST(the_socket_is_given_away)
{
    struct stat status;
    if (getuid() != 0)
        return;
    begin();
    settings.socket_group = 12345;
    expect_open();
    ck_assert_int_eq(stat(path, &status), 0);
    ck_assert_uint_eq(status.st_gid, 12345);
    ck_assert_uint_eq(status.st_uid, getuid());
    listener_close(&listener);
    end();
}
END_TEST

START_TEST(a_live_server_keeps_its_socket)
{
    struct listener second;
    begin();
    expect_open();
    ck_assert_int_eq(listener_open(&second, &settings), -EADDRINUSE);
    ck_assert_ptr_nonnull(strstr(error_message(), path));
    ck_assert_int_eq(second.socket, -1);
    int client = connect_to(path);
    ck_assert_int_ge(client, 0);
    close(client);
    listener_close(&listener);
    end();
}
END_TEST

START_TEST(a_dead_servers_socket_is_replaced)
{
    begin();
    expect_open();
    close(listener.socket); /* as its death would */
    ck_assert(is_there());
    ck_assert_int_eq(connect_to(path), -ECONNREFUSED);
    expect_open();
    int client = connect_to(path);
    ck_assert_int_ge(client, 0);
    close(client);
    listener_close(&listener);
    end();
}
END_TEST

START_TEST(what_is_no_socket_is_left_alone)
{
    begin();
    int file = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    ck_assert_int_ge(file, 0);
    close(file);
    ck_assert_int_eq(listener_open(&listener, &settings), -EEXIST);
    ck_assert(is_there());
    end();
}
END_TEST

START_TEST(somebody_elses_socket_is_not_removed)
{
    struct listener second;
    begin();
    expect_open();
    unlink(path);
    ck_assert_int_eq(listener_open(&second, &settings), 0);
    listener_close(&listener);
    ck_assert(is_there());
    listener_close(&second);
    ck_assert(!is_there());
    end();
}
END_TEST

/* Of several servers that start at a stale socket, one gets it. */
START_TEST(one_of_many_wins)
{
    enum { RUNNERS = 8 };
    int go[2], stop[2], won = 0, status;
    begin();
    expect_open();
    close(listener.socket);
    ck_assert_int_eq(pipe(go), 0);
    ck_assert_int_eq(pipe(stop), 0);
    for (int i = 0; i < RUNNERS; i++)
        if (fork() == 0) {
            char ignored;
            close(go[1]);
            close(stop[1]);
            (void)!read(go[0], &ignored, 1);
            int result = listener_open(&listener, &settings);
            if (result == 0)
                (void)!read(stop[0], &ignored, 1); /* it lives until all have tried */
            _exit(result == 0 ? 1 : result == -EADDRINUSE ? 0 : 2);
        }
    close(go[1]);
    close(stop[0]);
    for (int i = 0; i < RUNNERS; i++) {
        if (i == RUNNERS - 1)
            close(stop[1]);
        ck_assert_int_gt(wait(&status), 0);
        ck_assert(WIFEXITED(status));
        ck_assert_int_le(WEXITSTATUS(status), 1);
        won += WEXITSTATUS(status);
    }
    close(go[0]);
    ck_assert_int_eq(won, 1);
    end();
}
END_TEST

/* ---- From systemd ---- */

static void pass(int type, bool listening, const char *count)
{
    char pid[16];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int passed = socket(AF_UNIX, type, 0);
    ck_assert_int_ge(passed, 0);
    ck_assert_int_eq(bind(passed, (const struct sockaddr *)&address, sizeof(address)), 0);
    if (listening)
        ck_assert_int_eq(listen(passed, 5), 0);
    for (int to = 3; to < 5; to++)
        if (passed != to)
            ck_assert_int_eq(dup2(passed, to), to);
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", count, 1);
}

START_TEST(a_passed_socket_is_taken_and_stays)
{
    begin();
    pass(SOCK_SEQPACKET, true, "1");
    settings.socket = "/nowhere/at/all";
    expect_open();
    ck_assert_int_eq(listener.socket, 3);
    ck_assert_ptr_null(listener.path);
    ck_assert_ptr_null(getenv("LISTEN_FDS"));
    listener_close(&listener);
    ck_assert(is_there());
    end();
}
END_TEST

START_TEST(a_passed_socket_of_another_type_is_refused)
{
    begin();
    pass(SOCK_STREAM, true, "1");
    ck_assert_int_eq(listener_open(&listener, &settings), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error_message(), "ListenSequentialPacket"));
    end();
}
END_TEST

START_TEST(a_passed_socket_that_does_not_listen_is_refused)
{
    begin();
    pass(SOCK_SEQPACKET, false, "1");
    ck_assert_int_eq(listener_open(&listener, &settings), -EINVAL);
    end();
}
END_TEST

START_TEST(two_passed_sockets_are_refused)
{
    begin();
    pass(SOCK_SEQPACKET, true, "2");
    ck_assert_int_eq(listener_open(&listener, &settings), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error_message(), "2 sockets"));
    end();
}
END_TEST

TEST_MAIN(listener, the_socket_has_the_mode_that_was_asked_for, the_socket_is_given_away,
          a_live_server_keeps_its_socket, a_dead_servers_socket_is_replaced,
          what_is_no_socket_is_left_alone, somebody_elses_socket_is_not_removed, one_of_many_wins,
          a_passed_socket_is_taken_and_stays, a_passed_socket_of_another_type_is_refused,
          a_passed_socket_that_does_not_listen_is_refused, two_passed_sockets_are_refused)
