/* SPDX-License-Identifier: BSD-3-Clause
 *
 * multicore warmup says how long it took; it starts as multicore serve does.
 */
#include "probes.h"
#include "work.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* A number of a JSON object whose keys are all different. */
static double number(const char *text, const char *key)
{
    char quoted[64];
    snprintf(quoted, sizeof(quoted), "\"%s\": ", key);
    const char *found = strstr(text, quoted);
    return found == NULL ? -1 : strtod(found + strlen(quoted), NULL);
}

struct times {
    double first_ms, load_ms;
};

static enum outcome warm_up(const struct site *site, const char *option, struct times *times)
{
    char command[512], text[65536];
    snprintf(command, sizeof(command), "'%s' warmup --json %s '%s'", BENCH_COMMAND, option,
             site->file);
    FILE *stream = popen(command, "re");
    if (stream == NULL)
        return failed("no process for multicore warmup");
    text[fread(text, 1, sizeof(text) - 1, stream)] = '\0';
    int status = pclose(stream);
    times->first_ms = number(text, "answered_ms");
    times->load_ms = number(text, "modules_ms");
    if (status != 0 || times->first_ms < 0 || times->load_ms < 0)
        return failed("multicore warmup ended with status 0x%x", (unsigned)status);
    return MEASURED;
}

static enum outcome measure_modules(const struct probe *probe, unsigned samples, const char *kind,
                                    const char *option)
{
    struct site site = {.directory = ""};
    struct times times;
    enum outcome outcome = site_open(&site, (unsigned)probe->size, kind, COST_MS);
    bool only_load = probe->figure == LOAD_10_COMPUTE;
    for (unsigned i = 0; outcome == MEASURED && i < samples; i++) {
        outcome = warm_up(&site, option, &times);
        if (outcome != MEASURED)
            break;
        figure_add(probe->figure, only_load ? times.load_ms : times.first_ms);
        if (probe->beside[0] != NO_FIGURE)
            figure_add(probe->beside[0], times.load_ms);
    }
    site_close(&site);
    return outcome;
}

enum outcome modules_parallel(const struct probe *probe, unsigned samples)
{
    return measure_modules(probe, samples, "sleep", "");
}

enum outcome modules_serial(const struct probe *probe, unsigned samples)
{
    return measure_modules(probe, samples, "sleep", "--serial-load");
}

enum outcome modules_compute(const struct probe *probe, unsigned samples)
{
    return measure_modules(probe, samples, "compute", "");
}

enum outcome compute_floor(const struct probe *probe, unsigned samples)
{
    for (unsigned i = 0; i < samples; i++) {
        uint64_t began = now_ns();
        bool fine = true;
        for (size_t j = 0; fine && j < probe->size; j++) {
            pid_t pid = fork();
            fine = pid >= 0;
            if (pid == 0) {
                work_compute(COST_MS);
                _exit(0);
            }
        }
        while (wait(NULL) > 0) {
        }
        if (!fine)
            return failed("no process");
        figure_add(probe->figure, (double)(now_ns() - began) / 1e6);
    }
    return MEASURED;
}
