/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the server tells the service manager, over a whole life; and looking into
 * modules that hang or crash.
 */
#include "tests/test.h"
#include "tools/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WAIT_MS = 20000 };

static char directory[64], notify_path[80], configuration[80];
static int notify;
static pid_t server;

static void write_configuration(const char *text)
{
    FILE *file = fopen(configuration, "w");
    ck_assert_ptr_nonnull(file);
    fprintf(file, "socket = socket\nworkers = 1\nmodule \"%s/good.so\" { }\n%s", MODULE_DIR, text);
    ck_assert_int_eq(fclose(file), 0);
}

static void begin(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(directory, sizeof(directory), "/tmp/multicore-notify-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(notify_path, sizeof(notify_path), "%s/notify", directory);
    snprintf(configuration, sizeof(configuration), "%s/conf", directory);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", notify_path);
    notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(notify, (const struct sockaddr *)&address, sizeof(address)), 0);
    write_configuration("");
}

static void start(void)
{
    server = fork();
    if (server == 0) {
        char pid[16];
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        snprintf(pid, sizeof(pid), "%d", (int)getpid());
        setenv("NOTIFY_SOCKET", notify_path, 1);
        setenv("WATCHDOG_USEC", "200000", 1);
        setenv("WATCHDOG_PID", pid, 1);
        unsetenv("LISTEN_FDS");
        execl(PROGRAM, "multicore", "serve", configuration, (char *)NULL);
        _exit(127);
    }
}

static void end(void)
{
    unlink(configuration);
    unlink(notify_path);
    rmdir(directory);
    close(notify);
}

/* Waits for a message with this text; others may come before. */
static bool message_comes(const char *text, int timeout_ms)
{
    struct pollfd waited = {.fd = notify, .events = POLLIN};
    char message[2048];
    do {
        if (poll(&waited, 1, timeout_ms) != 1)
            return false;
        ssize_t size = recv(notify, message, sizeof(message) - 1, 0);
        ck_assert_int_ge(size, 0);
        message[size] = '\0';
        if (strstr(message, "WATCHDOG=1") == message && strcmp(text, "WATCHDOG=1") != 0)
            timeout_ms -= 100; /* these go on for ever */
    } while (strstr(message, text) == NULL && timeout_ms > 0);
    return strstr(message, text) != NULL;
}

static void expect_message(const char *text)
{
    ck_assert_msg(message_comes(text, WAIT_MS), "nothing of %s", text);
}

static void reload(void)
{
    ck_assert_int_eq(kill(server, SIGHUP), 0);
    expect_message("RELOADING=1\nMONOTONIC_USEC=");
}

START_TEST(the_manager_is_told_of_every_change)
{
    int status;
    begin();
    start();
    expect_message("READY=1\nSTATUS=Ready, with 1 modules.");
    expect_message("WATCHDOG=1");
    expect_message("WATCHDOG=1");
    reload();
    expect_message("READY=1\nSTATUS=Ready, with 1 modules, reloaded.");
    write_configuration("nonsense = 1\n");
    reload();
    expect_message("READY=1\nSTATUS=Ready; the last reload failed: ");
    ck_assert_int_eq(kill(server, SIGTERM), 0);
    expect_message("STOPPING=1");
    ck_assert_int_eq(waitpid(server, &status, 0), server);
    ck_assert_int_eq(status, 0);
    end();
}
END_TEST

START_TEST(the_manager_is_told_why_it_cannot_start)
{
    int status;
    begin();
    FILE *file = fopen(configuration, "w");
    fprintf(file, "socket = socket\nmodule \"%s/refuse.so\" { }\n", MODULE_DIR);
    fclose(file);
    start();
    expect_message("STATUS=Failed: ");
    ck_assert_int_eq(waitpid(server, &status, 0), server);
    ck_assert_int_eq(WEXITSTATUS(status), 1);
    end();
}
END_TEST

START_TEST(modules_that_hang_or_crash_are_survived)
{
    struct probe probe;
    probe_module(&probe, MODULE_DIR "/hang.so", 300);
    ck_assert_ptr_nonnull(probe.error);
    ck_assert_ptr_nonnull(strstr(probe.error, "within 300 ms"));
    probe_free(&probe);
    probe_module(&probe, MODULE_DIR "/crash.so", WAIT_MS);
    ck_assert_ptr_nonnull(strstr(probe.error, "signal 9"));
    probe_free(&probe);
    probe_module(&probe, MODULE_DIR "/quit.so", WAIT_MS);
    ck_assert_ptr_nonnull(strstr(probe.error, "status 7"));
    probe_free(&probe);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
}
END_TEST

START_TEST(a_module_tells_its_names)
{
    struct probe probe;
    probe_module(&probe, MODULE_DIR "/needy.so", WAIT_MS);
    ck_assert_ptr_null(probe.error);
    ck_assert_str_eq(probe.name, "needy");
    ck_assert_uint_eq(probe.handler_count, 1);
    ck_assert_str_eq(probe.handlers[0], "needy-echo");
    ck_assert_uint_eq(probe.require_count, 1);
    ck_assert_str_eq(probe.requires[0], "nowhere");
    ck_assert_ptr_null(probe.requires[1]);
    probe_free(&probe);
}
END_TEST

TEST_MAIN(notify, the_manager_is_told_of_every_change, the_manager_is_told_why_it_cannot_start,
          modules_that_hang_or_crash_are_survived, a_module_tells_its_names)
