/* SPDX-License-Identifier: BSD-3-Clause */
#include "loadavg/sample.h"

#include "base/clock.h"
#include "base/error.h"
#include "loadavg/text.h"

#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* Both files are one or two short lines. */
enum { FILE_SIZE = 512 };

/* "0.11 0.04 0.01 1/86 4648": averages, runnable/all tasks, last pid. */
static bool parse_loadavg(const char *text, uint32_t *load1_milli, uint32_t *runnable)
{
    uint64_t running;
    const char *slash = strchr(text, '/');
    const char *next = text_milli(text, load1_milli);
    if (slash == NULL || next == NULL || *next != ' ')
        return false;
    const char *field = slash;
    while (field > next && field[-1] != ' ')
        field--;
    if (text_integer(field, &running) != slash)
        return false;
    *runnable = running < UINT32_MAX ? (uint32_t)running : UINT32_MAX;
    return true;
}

/* "some avg10=0.39 avg60=0.52 ...", then a line "full ...". */
static uint32_t parse_pressure(const char *text)
{
    static const char start[] = "some avg10=";
    uint32_t percent_milli;
    if (strncmp(text, start, strlen(start)) != 0 ||
        text_milli(text + strlen(start), &percent_milli) == NULL)
        return UINT32_MAX;
    return percent_milli / 10;
}

static uint32_t read_pressure(const char *path)
{
    char text[FILE_SIZE];
    return text_read(path, text, sizeof(text)) < 0 ? UINT32_MAX : parse_pressure(text);
}

int load_sample_read(const char *proc_path, const char *pressure_path, struct load_sample *sample)
{
    char path[PATH_MAX];
    char text[FILE_SIZE];
    uint32_t load1_milli;
    uint32_t runnable;
    if (proc_path == NULL)
        proc_path = "/proc";

    /* The longer of the two names, so that both fit. */
    int length = snprintf(path, sizeof(path), "%s/pressure/cpu", proc_path);
    if (length < 0 || (size_t)length >= sizeof(path))
        return error_set(-ENAMETOOLONG, "proc_path is %d bytes; at most %d fit", length, PATH_MAX);
    uint32_t pressure = UINT32_MAX;
    if (pressure_path != NULL && pressure_path[0] != '\0')
        pressure = read_pressure(pressure_path);
    else if (!sample->quota)
        pressure = read_pressure(path);

    snprintf(path, sizeof(path), "%s/loadavg", proc_path);
    int result = text_read(path, text, sizeof(text));
    if (result < 0)
        return error_system(result, "cannot read the load average from %s", path);
    if (!parse_loadavg(text, &load1_milli, &runnable))
        return error_set(-EBADMSG, "%s does not begin with a load average", path);

    sample->taken_ms = clock_coarse_ms();
    sample->load1_milli = load1_milli;
    sample->psi_some_avg10_centi = pressure;
    sample->runnable = runnable;
    return 0;
}
