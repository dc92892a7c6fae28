/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the kernel writes about cgroups. Pure.
 */
#include "loadavg/cgroup.h"
#include "loadavg/text.h"

#include <stddef.h>
#include <string.h>

/* The kernel's own maximum is 1 s. */
static const uint64_t PERIOD_MAX_US = 1000000000;

/* Is name an item of the comma-separated list? */
static bool has_item(const char *list, const char *name)
{
    size_t length = strlen(name);
    while (list != NULL) {
        if (strncmp(list, name, length) == 0 && (list[length] == ',' || list[length] == '\0'))
            return true;
        list = strchr(list, ',');
        if (list != NULL)
            list++;
    }
    return false;
}

static bool is_octal(char character)
{
    return character >= '0' && character <= '7';
}

/* Spaces and the like are written as \040 in mountinfo. */
static void unescape(char *text)
{
    char *out = text;
    for (const char *in = text; *in != '\0'; out++) {
        if (in[0] == '\\' && is_octal(in[1]) && is_octal(in[2]) && is_octal(in[3])) {
            *out = (char)((in[1] - '0') << 6 | (in[2] - '0') << 3 | (in[3] - '0'));
            in += 4;
        } else {
            *out = *in++;
        }
    }
    *out = '\0';
}

/* 31 23 0:28 ROOT POINT options [optional...] - TYPE source SUPER_OPTIONS */
bool cgroup_parse_mount(char *line, struct cgroup_mount *mount)
{
    enum { ROOT = 3, POINT = 4, FIELDS = 6, TYPE = 0, SUPER = 2, TAIL = 3 };
    char *fields[FIELDS];
    char *tail[TAIL];
    char *place = NULL;
    char *token = strtok_r(line, " \n", &place);
    for (int i = 0; i < FIELDS; i++, token = strtok_r(NULL, " \n", &place)) {
        if (token == NULL)
            return false;
        fields[i] = token;
    }
    while (token != NULL && strcmp(token, "-") != 0)
        token = strtok_r(NULL, " \n", &place);
    for (int i = 0; i < TAIL; i++) {
        tail[i] = strtok_r(NULL, " \n", &place);
        if (tail[i] == NULL)
            return false;
    }
    bool unified = strcmp(tail[TYPE], "cgroup2") == 0;
    if (!unified && (strcmp(tail[TYPE], "cgroup") != 0 || !has_item(tail[SUPER], "cpu")))
        return false;
    unescape(fields[ROOT]);
    unescape(fields[POINT]);
    *mount = (struct cgroup_mount){.unified = unified, .top = fields[ROOT], .point = fields[POINT]};
    return true;
}

/* "0::/user.slice" is v2, "4:cpu,cpuacct:/user.slice" v1. */
bool cgroup_parse_membership(char *line, bool *unified, const char **path)
{
    char *controllers = strchr(line, ':');
    if (controllers == NULL)
        return false;
    *controllers++ = '\0';
    char *name = strchr(controllers, ':');
    if (name == NULL)
        return false;
    *name++ = '\0';
    bool is_unified = strcmp(line, "0") == 0 && *controllers == '\0';
    if (*name != '/' || (!is_unified && !has_item(controllers, "cpu")))
        return false;
    name[strcspn(name, "\n")] = '\0';
    *unified = is_unified;
    *path = name;
    return true;
}

static uint32_t share_milli(uint64_t quota_us, uint64_t period_us)
{
    if (quota_us == 0 || period_us == 0 || period_us > PERIOD_MAX_US)
        return UINT32_MAX;
    uint64_t cores = quota_us / period_us;
    if (cores >= UINT32_MAX / 1000 - 1)
        return UINT32_MAX;
    uint64_t rest = quota_us % period_us;
    return (uint32_t)(cores * 1000 + (rest * 1000 + period_us - 1) / period_us);
}

uint32_t cgroup_parse_max(const char *text)
{
    uint64_t quota;
    uint64_t period;
    const char *next = text_integer(text, &quota);
    if (next == NULL || *next != ' ' || text_integer(next + 1, &period) == NULL)
        return UINT32_MAX;
    return share_milli(quota, period);
}

uint32_t cgroup_parse_cfs(const char *quota_text, const char *period_text)
{
    uint64_t quota;
    uint64_t period;
    if (text_integer(quota_text, &quota) == NULL || text_integer(period_text, &period) == NULL)
        return UINT32_MAX;
    return share_milli(quota, period);
}
