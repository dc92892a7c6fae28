/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool/process.h"

#include "base/fault.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { SOCKET_PLACE = 3 };

static unsigned depth;

static void reset_signals(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    for (int number = 1; number < NSIG; number++)
        (void)sigaction(number, &action, NULL);
    /* A handler that writes to a closed connection wants EPIPE, not to die. */
    action.sa_handler = SIG_IGN;
    (void)sigaction(SIGPIPE, &action, NULL);
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static void replace_streams(int first, int last)
{
    int null = FAULT_CALL("process_null", EMFILE, open("/dev/null", O_RDWR));
    if (null < 0)
        return;
    for (int fd = first; fd <= last; fd++)
        (void)dup2(null, fd);
    if (null > last)
        close(null);
}

void process_begin(const char *name, int *socket, bool streams)
{
    FAULT_ROLE(name);
    FAULT_POINT("process_begin");
    depth++;
    reset_signals();
    (void)prctl(PR_SET_NAME, name);
    (void)setpgid(0, 0);
    if (*socket != SOCKET_PLACE) {
        if (FAULT_CALL("process_socket", EMFILE, dup3(*socket, SOCKET_PLACE, O_CLOEXEC)) < 0)
            _exit(1);
        *socket = SOCKET_PLACE;
    }
    (void)sys_close_from(SOCKET_PLACE + 1);
    replace_streams(0, streams ? 0 : 2);
}

unsigned process_depth(void)
{
    return depth;
}

void process_follow(pid_t parent)
{
    FAULT_POINT("process_follow");
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
}
