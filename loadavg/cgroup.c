/* SPDX-License-Identifier: BSD-3-Clause */
#include "loadavg/cgroup.h"

#include "loadavg/text.h"

#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    LINE_SIZE = 4096, /* cgroup mounts have short lines; longer ones are skipped */
    VALUE_SIZE = 64,
};

/* The process's own cgroups; "" for a hierarchy that there is not. */
struct membership {
    char unified[CGROUP_PATH_SIZE];
    char cpu[CGROUP_PATH_SIZE];
};

/* The next whole line that fits. */
static bool next_line(FILE *file, char line[static LINE_SIZE])
{
    bool whole = true;
    while (fgets(line, LINE_SIZE, file) != NULL) {
        bool ends = strchr(line, '\n') != NULL;
        if (whole && ends)
            return true;
        whole = ends;
    }
    return false;
}

static FILE *open_below(const char *root, const char *path)
{
    char full[PATH_MAX];
    int length = snprintf(full, sizeof(full), "%s%s", root, path);
    return length >= 0 && (size_t)length < sizeof(full) ? fopen(full, "re") : NULL;
}

static void read_membership(const char *root, struct membership *membership)
{
    char line[LINE_SIZE];
    *membership = (struct membership){.unified = "", .cpu = ""};
    FILE *file = open_below(root, "/proc/self/cgroup");
    if (file == NULL)
        return;
    while (next_line(file, line)) {
        bool unified;
        const char *path;
        if (!cgroup_parse_membership(line, &unified, &path))
            continue;
        size_t length = strlen(path);
        if (length < CGROUP_PATH_SIZE)
            memcpy(unified ? membership->unified : membership->cpu, path, length + 1);
    }
    fclose(file);
}

static bool read_value(const char *directory, const char *name, char value[static VALUE_SIZE])
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof(path), "%s/%s", directory, name);
    return length >= 0 && (size_t)length < sizeof(path) && text_read(path, value, VALUE_SIZE) > 0;
}

static uint32_t read_quota(const char *directory, bool unified)
{
    char quota[VALUE_SIZE];
    char period[VALUE_SIZE];
    if (unified)
        return read_value(directory, "cpu.max", quota) ? cgroup_parse_max(quota) : UINT32_MAX;
    if (!read_value(directory, "cpu.cfs_quota_us", quota) ||
        !read_value(directory, "cpu.cfs_period_us", period))
        return UINT32_MAX;
    return cgroup_parse_cfs(quota, period);
}

/* The directory's cpu.pressure, or "" where it cannot be read. */
static void find_pressure(const char *directory, char path[static CGROUP_PATH_SIZE])
{
    int length = snprintf(path, CGROUP_PATH_SIZE, "%s/cpu.pressure", directory);
    if (length < 0 || length >= CGROUP_PATH_SIZE || access(path, R_OK) != 0)
        path[0] = '\0';
}

/* Where the cgroup path lies below the mount's top, "" for the top itself or
 * when the mount does not show it, as when it is that of another namespace. */
static const char *below_top(const char *path, const char *top)
{
    size_t length = strcmp(top, "/") == 0 ? 0 : strlen(top);
    if (strncmp(path, top, length) != 0 || path[length] != '/' || path[length + 1] == '\0' ||
        strstr(path, "/..") != NULL)
        return "";
    return path + length;
}

/* Looks at the cgroup and at those above it, up to the mount. own_pressure is
 * set for a v2 cgroup below the top. */
static void read_hierarchy(const char *root, const struct cgroup_mount *mount, const char *path,
                           struct cgroup_limit *limit, char *own_pressure)
{
    char directory[PATH_MAX];
    const char *below = below_top(path, mount->top);
    int top = snprintf(directory, sizeof(directory), "%s%s", root, mount->point);
    int length = snprintf(directory, sizeof(directory), "%s%s%s", root, mount->point, below);
    if (top < 0 || length < 0 || (size_t)length >= sizeof(directory))
        return;
    if (mount->unified && below[0] != '\0')
        find_pressure(directory, own_pressure);
    for (;;) {
        uint32_t quota = read_quota(directory, mount->unified);
        if (quota < limit->quota_milli) {
            limit->quota_milli = quota;
            limit->pressure_path[0] = '\0';
            if (mount->unified)
                find_pressure(directory, limit->pressure_path);
        }
        char *slash = strrchr(directory, '/');
        if (slash == NULL || slash < directory + top)
            return;
        *slash = '\0';
    }
}

void cgroup_limit_read(const char *root, struct cgroup_limit *limit)
{
    char line[LINE_SIZE];
    char own_pressure[CGROUP_PATH_SIZE] = "";
    struct membership membership;
    struct cgroup_mount mount;
    *limit = (struct cgroup_limit){.quota_milli = UINT32_MAX};
    read_membership(root, &membership);
    FILE *file = open_below(root, "/proc/self/mountinfo");
    if (file == NULL)
        return;
    while (next_line(file, line)) {
        if (!cgroup_parse_mount(line, &mount))
            continue;
        const char *path = mount.unified ? membership.unified : membership.cpu;
        if (path[0] != '\0')
            read_hierarchy(root, &mount, path, limit, own_pressure);
    }
    fclose(file);
    if (limit->quota_milli != UINT32_MAX && limit->pressure_path[0] == '\0')
        memcpy(limit->pressure_path, own_pressure, sizeof(own_pressure));
}
