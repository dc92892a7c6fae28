/* SPDX-License-Identifier: BSD-3-Clause */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATIENCE_S = 60, EXIT_NOT_THERE = 127 };

static char path[PATH_MAX];

const char *child_self(void)
{
    ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
    path[length < 0 ? 0 : length] = '\0';
    return path;
}

const char *child_beside(const char *name)
{
    (void)child_self();
    char *slash = strrchr(path, '/');
    size_t folder = slash == NULL ? 0 : (size_t)(slash - path) + 1;
    snprintf(path + folder, sizeof(path) - folder, "%s", name);
    return path;
}

static void run_program(enum place place, const char *const *arguments, int output)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    place_on(place);
    if (dup2(output, STDOUT_FILENO) < 0)
        _exit(1);
    alarm(PATIENCE_S); /* lasts through exec */
    execv(arguments[0], (char *const *)(uintptr_t)arguments);
    _exit(errno == ENOENT ? EXIT_NOT_THERE : 1);
}

/* False when a line is not what it should be; reads to the end all the same. */
static bool read_samples(FILE *stream)
{
    char line[256];
    bool fine = true;
    while (fgets(line, sizeof(line), stream) != NULL) {
        size_t name = strcspn(line, " ");
        unsigned id = figure_find(line, name);
        char *end;
        double value = strtod(line + name, &end);
        if (id == NO_FIGURE || end == line + name || *end != '\n')
            fine = false;
        else
            figure_add(id, value);
    }
    return fine;
}

static enum outcome judge(const char *program, bool fine, int status)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_NOT_THERE)
        return absent("%s is not there", program);
    if (WIFSIGNALED(status))
        return failed("%s was killed by signal %d", program, WTERMSIG(status));
    if (WEXITSTATUS(status) != 0)
        return failed("%s exited with status %d", program, WEXITSTATUS(status));
    return fine ? MEASURED : failed("%s printed something else than samples", program);
}

enum outcome child_run(enum place place, const char *const *arguments)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return failed("no pipe: %s", strerror(errno));
    pid_t pid = fork();
    if (pid == 0)
        run_program(place, arguments, ends[1]);
    close(ends[1]);
    FILE *stream = fdopen(ends[0], "r");
    if (pid < 0 || stream == NULL) {
        close(ends[0]);
        return failed("no child process: %s", strerror(errno));
    }
    bool fine = read_samples(stream);
    fclose(stream);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    const char *slash = strrchr(arguments[0], '/');
    return judge(slash == NULL ? arguments[0] : slash + 1, fine, status);
}
