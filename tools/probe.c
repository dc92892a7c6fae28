/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The child writes lines of a letter and a text: (n)ame, (h)andler, (r)equires, an
 * (e)rror, and (k) for okay at the end.
 */
#include "tools/probe.h"

#include "base/clock.h"
#include "base/error.h"
#include "pool/modules.h"
#include "pool/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ANSWER_MOST = 256 * 1024 };

/* ---- In the child ---- */

static void put(FILE *out, char kind, const char *text)
{
    fputc(kind, out);
    for (; *text != '\0'; text++)
        fputc(*text != '\n' ? *text : ' ', out);
    fputc('\n', out);
}

static int look(const char *path, FILE *out)
{
    const struct serve_options serve = {.pool.size = sizeof(serve.pool)};
    const struct mc_module *module = module_open(path);
    struct config *config;
    if (module == NULL)
        return error_code();
    int result = config_create(&serve.pool, &serve, &config);
    if (result < 0)
        return result;
    put(out, 'n', module->name);
    result = config_add_handlers(config, 0, module->handlers, module->handler_count);
    config_free(config);
    for (size_t i = 0; result == 0 && i < module->handler_count; i++)
        put(out, 'h', module->handlers[i].name);
    for (size_t i = 0; result == 0 && module->requires != NULL && module->requires[i] != NULL; i++)
        put(out, 'r', module->requires[i]);
    return result;
}

static void run_child(const char *path, int answer)
{
    const struct rlimit none = {0};
    int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
    FILE *out = fdopen(answer, "w");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0);
    setrlimit(RLIMIT_CORE, &none);
    dup2(nowhere, STDIN_FILENO);
    dup2(nowhere, STDOUT_FILENO);
    if (out == NULL)
        _exit(1);
    if (look(path, out) < 0)
        put(out, 'e', error_message());
    else
        put(out, 'k', "");
    fclose(out);
    _exit(0); /* without the destructors of what was loaded */
}

/* ---- In the parent ---- */

/* Returns the answer's size, or -ETIMEDOUT. */
static int read_answer(int answer, char *text, int timeout_ms)
{
    size_t size = 0;
    uint64_t end = clock_coarse_ms() + (uint64_t)timeout_ms;
    struct pollfd waited = {.fd = answer, .events = POLLIN};
    while (size < ANSWER_MOST) {
        uint64_t now = clock_coarse_ms();
        int ready = now >= end ? 0 : poll(&waited, 1, (int)(end - now));
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            return -ETIMEDOUT;
        ssize_t got = read(answer, text + size, ANSWER_MOST - size);
        if (got <= 0)
            break;
        size += (size_t)got;
    }
    return (int)size;
}

static void fail(struct probe *probe, const char *text)
{
    free(probe->error);
    probe->error = strdup(text);
}

static void add(char ***list, size_t *count, char *text)
{
    char **grown = reallocarray(*list, *count + 2, sizeof(*grown));
    if (grown != NULL) {
        *list = grown;
        grown[(*count)++] = text;
        grown[*count] = NULL;
    }
}

/* Returns whether the child came to its end. */
static bool read_lines(struct probe *probe)
{
    char *rest = probe->text, *line;
    bool ended = false;
    while ((line = strsep(&rest, "\n")) != NULL) {
        if (line[0] == 'n')
            probe->name = line + 1;
        else if (line[0] == 'h')
            add(&probe->handlers, &probe->handler_count, line + 1);
        else if (line[0] == 'r')
            add(&probe->requires, &probe->require_count, line + 1);
        else if (line[0] == 'e')
            fail(probe, line + 1);
        ended = ended || line[0] == 'e' || line[0] == 'k';
    }
    return ended;
}

static void judge(struct probe *probe, int result, int status, int timeout_ms)
{
    char text[160];
    if (result == -ETIMEDOUT) {
        snprintf(text, sizeof(text), "it did not load within %d ms; its constructors must not wait",
                 timeout_ms);
        fail(probe, text);
    } else if (!read_lines(probe)) {
        if (WIFSIGNALED(status))
            snprintf(text, sizeof(text), "loading it ended with signal %d (%s)", WTERMSIG(status),
                     strsignal(WTERMSIG(status)));
        else
            snprintf(text, sizeof(text), "loading it ended the process with status %d",
                     WEXITSTATUS(status));
        fail(probe, text);
    }
}

void probe_module(struct probe *probe, const char *path, int timeout_ms)
{
    int ends[2], status = 0;
    *probe = (struct probe){.text = calloc(1, ANSWER_MOST + 1)};
    if (probe->text == NULL || pipe2(ends, O_CLOEXEC) < 0) {
        fail(probe, "there is no memory or descriptor to look into it");
        return;
    }
    fflush(NULL);
    pid_t child = fork();
    if (child == 0)
        run_child(path, ends[1]);
    close(ends[1]);
    if (child < 0) {
        fail(probe, "there is no process to look into it");
    } else {
        int result = read_answer(ends[0], probe->text, timeout_ms);
        /* A pipe at its end that is held open by nobody means a child that ends. */
        if (result == -ETIMEDOUT) {
            kill(-child, SIGKILL);
            kill(child, SIGKILL);
        }
        while (waitpid(child, &status, 0) < 0 && errno == EINTR)
            continue;
        judge(probe, result, status, timeout_ms);
    }
    close(ends[0]);
}

void probe_free(struct probe *probe)
{
    free(probe->handlers);
    free(probe->requires);
    free(probe->error);
    free(probe->text);
    *probe = (struct probe){0};
}
